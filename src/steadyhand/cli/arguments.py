"""Reading the arguments of a verb: typed flags by tyro, and `--set` for anything that run.json holds."""

import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from steadyhand.cli.refusals import in_our_words
from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError
from steadyhand.core.parts import imported
from steadyhand.core.strict import parse_json

T = TypeVar("T")

Overrides = Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="PATH=VALUE")]
"""Fields of run.json to change; may be given several times."""

EnvName = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ENV")]
"""An env, as the argument that needs no flag."""

SEEN = "all that encoder or recipe can read; of the car: retina"
"""What a policy sees where nothing is named."""

SuccessText = Annotated[
    str,
    tyro.conf.arg(
        metavar="RULE",
        help="When an episode of a Gymnasium env counts as a success: `ever`, `last` (both with `:KEY` of "
        "the info), `terminated`, `survived`, `return>=200`, `mean_reward>=0.5` or `none`.",
        help_behavior_hint="(default: what is known of the env)",
    ),
]
"""A success rule; see `core.success`."""


def listed(metavar: str, *, default: str) -> Any:
    """Return how the help shows a flag that takes several values, and what no value means."""
    return tyro.conf.arg(metavar=f"{metavar} [{metavar} ...]", help_behavior_hint=f"(default: {default})")


def optional(metavar: str, *, default: str) -> Any:
    """Return how the help shows a flag that may be left out."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


ASSUMED_DT = 0.05
"""Time between steps of an npz file where nobody tells it [s]."""

ControlDt = Annotated[
    float | None,
    tyro.conf.arg(
        metavar="SECONDS",
        help="Time between steps [s]; only for a .npz file, which does not know it.",
        help_behavior_hint="(default: 0.05, and it is said)",
    ),
]


def step_of(control_dt: float | None) -> float:
    """Return the time between steps [s], which folders know themselves."""
    return ASSUMED_DT if control_dt is None else control_dt


def assumed_rate(data: Path, control_dt: float | None) -> str:
    """Return that nobody told the rate of an npz file, in words; empty where somebody did."""
    if control_dt is not None or data.suffix != ".npz":
        return ""
    return f"nobody tells its rate, so {1 / ASSUMED_DT:g} Hz is assumed; --control-dt tells it"


Rename = Annotated[
    tyro.conf.UseAppendAction[tuple[str, ...]],
    tyro.conf.arg(
        metavar="OLD=NEW",
        help="Name of a feature in the files and its name here, such as actions=action; may be given again.",
        help_behavior_hint="(default: the names in the files)",
    ),
]

ChosenEpisodes = Annotated[
    str,
    tyro.conf.arg(
        metavar="EPISODES",
        help="Episodes to read: numbers and ranges, those behind a ! left out, such as '0-9,!4' (in quotes, "
        "as the shell takes the ! otherwise).",
        help_behavior_hint="(default: all)",
    ),
]


def renaming(texts: Sequence[str]) -> dict[str, str] | None:
    """Return what `--rename` says, None if it was not given."""
    from steadyhand.data.selection import names_from

    return names_from(texts) if texts else None


def classes_from_text(text: str) -> tuple[int, int] | None:
    """Return the lowest and the highest class of "3" (0 to 2) or "1..3"; None of an empty text.

    Raises:
        ConfigError: It is neither, or there is no class.
    """
    if not text:
        return None
    first, separator, last = text.partition("..")
    try:
        classes = (int(first), int(last)) if separator else (0, int(first) - 1)
    except ValueError:
        classes = (0, -1)
    if classes[0] > classes[1]:
        raise ConfigError(
            "--classes names the values of a discrete action.",
            got=text,
            expected="a number of classes such as 3 (0 to 2), or the lowest and the highest such as 1..3",
        )
    return classes


def parse(kind: type[T], arguments: list[str], *, verb: str, description: str | None = None) -> T:
    """Read the flags of a verb into its dataclass; `--help` prints them and leaves.

    Args:
        kind: The dataclass.
        arguments: What was typed after the verb.
        verb: Its name, for the first line of the help.
        description: What the help says of it; None takes the docstring of `kind`.

    Raises:
        ConfigError: There is no such flag, a value that it cannot have, or something is missing.
    """
    with in_our_words(verb):
        chosen = tyro.cli(
            kind,
            prog=f"steadyhand {verb}",
            description=description,
            args=arguments,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    _refuse_empty_paths(chosen, arguments)
    return chosen


def _refuse_empty_paths(chosen: object, arguments: Sequence[str]) -> None:
    """Raise ConfigError if a path was given as an empty text, which would be the current folder.

    A script says so where its variable is not set; who means the current folder says ".".
    """
    empty = [*(one[0] for one in pairwise(["", *arguments]) if one[1] == "")]
    empty += [text.removesuffix("=") for text in arguments if text.startswith("--") and text.endswith("=")]
    for name, value in vars(chosen).items():
        flag = f"--{name.replace('_', '-')}"
        paths = value if isinstance(value, tuple) else (value,)
        if flag in empty and Path() in paths:
            raise ConfigError(
                f"{flag} is empty.", expected="a path", hint="name one; the current folder is called ."
            )
        if empty and Path() in paths and "." not in arguments:
            raise ConfigError("A path is empty.", got=f"{name} = ''", hint="the current folder is called .")


def with_overrides(run: T, overrides: Sequence[str]) -> T:
    """Return `run` with fields replaced by "path.to.field=value" texts; values are JSON, or plain text.

    Setting the "type" of a part gives it that type's defaults; what follows may change them.

    Raises:
        ConfigError: No such field, or a value of the wrong type.
    """
    if not overrides:
        return run
    data = to_data(run)
    for text in overrides:
        path, separator, value = text.partition("=")
        if not separator:
            raise ConfigError(
                "--set needs path=value.", got=text, expected="such as training.learning_rate=3e-4"
            )
        _put(data, path.split("."), _value(value))
    return from_data(data, type(run), source="--set " + " ".join(overrides))


def _put(data: Any, path: list[str], value: Any) -> None:
    *parents, last = path
    for depth, key in enumerate(parents):
        if key not in data:
            raise _no_field(path[: depth + 1], data)
        data = data[key]
        if not isinstance(data, dict):
            raise ConfigError(
                "--set goes into a field that has no fields of its own.",
                got=".".join(path),
                expected=f"{'.'.join(path[: depth + 1])}=VALUE",
            )
    if last == "type" and "type" in data:
        data.clear()
        if isinstance(value, str) and ":" in value:
            imported(value.partition(":")[0])  # a person named it, other than a file
    elif last not in data and "type" not in data:
        raise _no_field(path, data)
    data[last] = value


def _no_field(path: list[str], data: dict[str, Any]) -> ConfigError:
    *parents, last = path
    where = f"{'.'.join(parents)} has" if parents else "The run has"
    return ConfigError(f"{where} no such field to --set.", got=last, available=data)


def _value(text: str) -> Any:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text  # a word, which needs no quotes here
    return parse_json(text, source=f"--set ...={text}")


def is_terminal() -> bool:
    """Whether a person is watching, so that progress bars make sense."""
    return sys.stderr.isatty()
