"""Reading the arguments of a verb: typed flags by tyro, and `--set` for anything that run.json holds."""

import inspect
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import tyro

from steadyhand.cli.lines import folded
from steadyhand.cli.refusals import in_our_words
from steadyhand.core.errors import ConfigError
from steadyhand.core.modules import imported
from steadyhand.core.strict import parse_json

T = TypeVar("T")
_SETTINGS = "`steadyhand parts KIND NAME` shows the settings of a part, and which values they take"
FieldPath = tuple[str, ...]


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
    width = shutil.get_terminal_size().columns
    text = inspect.cleandoc(description or kind.__doc__ or "")
    paragraphs = [" ".join(one.split()) for one in text.split("\n\n")]
    with in_our_words(verb):
        chosen = tyro.cli(
            kind,
            prog=f"steadyhand {verb}",
            description=folded("\n\n".join(paragraphs), width, indent="  "),  # tyro joins lines without
            args=arguments,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    _refuse_empty_paths(chosen, arguments)
    _refuse_twice(kind, arguments)
    return chosen


def _refuse_twice(kind: type, arguments: Sequence[str]) -> None:
    """Raise ConfigError if a flag that holds one value or list was given twice: the first would be lost."""
    typed = [text.partition("=")[0].replace("_", "-") for text in arguments if text.startswith("--")]
    for name in _single_flags(kind):
        flag = f"--{name.replace('_', '-')}"
        if typed.count(flag) > 1:
            raise ConfigError(
                f"{flag} is given {typed.count(flag)} times, and only the last would count.",
                hint=f"name it once; a list is written as {flag} A B",
            )


def _single_flags(kind: type) -> Iterator[str]:
    """Yield the names of the flags of a verb whose later values would replace the earlier ones."""
    for name, annotated in get_type_hints(kind, include_extras=True).items():
        inner = get_args(annotated)[0] if get_origin(annotated) is Annotated else annotated
        if isinstance(inner, type) and is_dataclass(inner):
            yield from _single_flags(inner)
        elif tyro.conf.UseAppendAction not in getattr(annotated, "__metadata__", ()):
            yield name


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
    return from_data(data, type(run), source="--set " + " ".join(overrides), typed=True, hint=_SETTINGS)


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
