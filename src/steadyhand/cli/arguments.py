"""Reading the arguments of a verb: typed flags by tyro, and `--set` for anything that run.json holds."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from steadyhand.cli.refusals import in_our_words
from steadyhand.core.errors import ConfigError
from steadyhand.core.parts import imported
from steadyhand.core.strict import parse_json
from steadyhand.recipes.logs import LogName

T = TypeVar("T")
FieldPath = tuple[str, ...]

Overrides = Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="PATH=VALUE")]
"""Fields of run.json to change, as path=value or as JSON; may be given several times."""

EnvName = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ENV")]
"""An env, as the argument that needs no flag."""

SEEN = "all that encoder or recipe can read; of the car: retina"
"""What a policy sees where nothing is named."""

Log = Annotated[
    LogName,
    tyro.conf.arg(
        help="Report metrics to this tool as well, by its own package; metrics.jsonl is written in any case."
    ),
]
"""Where metrics go beside metrics.jsonl."""

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
        verb: Name of the verb, for the first line of the help.
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
    """Return `run` with fields replaced, each by "path.to.field=value" or by a JSON object.

    These say the same: `training.num_steps=500`, `training={"num_steps": 500}` and
    `{"training": {"num_steps": 500}}`. An object for a part sets the fields that it names and leaves the
    others; one for a table of names, such as env.rename, is the whole table. A value is JSON, or plain text.

    Setting the "type" of a part gives it that type's defaults; what follows, or stands beside it in an
    object, changes them.

    Raises:
        ConfigError: No such field, or a value of the wrong type.
    """
    if not overrides:
        return run
    from steadyhand.core.codec import from_data, to_data

    data, tables = to_data(run), _tables(run)
    for text in overrides:
        for path, value in _leaves(*_assignment(text), tables):
            _put(data, path, value, tables)
    return from_data(data, type(run), source="--set " + " ".join(overrides))


def _assignment(text: str) -> tuple[FieldPath, Any]:
    """Return the path of a field and its value; of a JSON object alone the path is that of the run."""
    if text.lstrip().startswith("{"):
        return (), parse_json(text, source=f"--set {text}")
    name, separator, value = text.partition("=")
    if not separator:
        raise ConfigError(
            "--set needs path=value, or a JSON object.",
            got=text,
            expected="such as training.learning_rate=3e-4",
        )
    return tuple(name.split(".")), _value(value)


def _tables(value: object, path: FieldPath = ()) -> frozenset[FieldPath]:
    """Return the paths of the fields that are tables of names, which an object sets as a whole."""
    if isinstance(value, Mapping):
        return frozenset({path})
    if not is_dataclass(value):
        return frozenset()
    return frozenset[FieldPath]().union(
        *(_tables(getattr(value, one.name), (*path, one.name)) for one in fields(value))
    )


def _leaves(path: FieldPath, value: Any, tables: frozenset[FieldPath]) -> Iterator[tuple[FieldPath, Any]]:
    """Return the assignments that an object stands for, that of a part's type before its other fields."""
    if not isinstance(value, dict) or path in tables:
        yield path, value
        return
    part: dict[str, Any] = value
    for key in sorted(part, key="type".__ne__):
        yield from _leaves((*path, key), part[key], tables)


def _put(data: Any, path: FieldPath, value: Any, tables: frozenset[FieldPath]) -> None:
    """Set one field; whether it is one is told when all are set: its part may have another type then."""
    table = next((path[:depth] for depth in range(1, len(path)) if path[:depth] in tables), None)
    if table is not None:  # names in it have dots: env.rename.observation.state
        path = (*table, ".".join(path[len(table) :]))
    *parents, last = path
    for depth, key in enumerate(parents):
        if data.get(key) is None:
            data[key] = {}
        data = data[key]
        if not isinstance(data, dict):
            raise ConfigError(
                "--set goes into a field that has no fields of its own.",
                got=".".join(path),
                expected=f"{'.'.join(path[: depth + 1])}=VALUE",
            )
    if last == "type":
        data.clear()
        if isinstance(value, str) and ":" in value:
            imported(value.partition(":")[0])  # a person named it, other than a file
    data[last] = value


def _value(text: str) -> Any:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text  # a word, which needs no quotes here
    return parse_json(text, source=f"--set ...={text}")


def is_terminal() -> bool:
    """Whether a person is watching, so that progress bars make sense."""
    return sys.stderr.isatty()
