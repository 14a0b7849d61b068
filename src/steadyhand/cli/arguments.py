"""Reading the arguments of a verb: typed flags by tyro, and `--set` for anything that run.json holds."""

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import tyro

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError

T = TypeVar("T")
Overrides = Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="PATH=VALUE")]
"""Fields of run.json to change; may be given several times."""


def parse(kind: type[T], arguments: list[str], *, verb: str) -> T:
    """Read the flags of a verb into its dataclass; `--help` prints them and leaves."""
    return tyro.cli(kind, prog=f"steadyhand {verb}", args=arguments, config=(tyro.conf.FlagCreatePairsOff,))


def with_overrides(run: T, overrides: Sequence[str]) -> T:
    """Return `run` with fields replaced by "path.to.field=value" texts; values are JSON, or plain text.

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
        _put(data, path.split("."), _value(value), text)
    return from_data(data, type(run), source="--set " + " ".join(overrides))


def _put(data: Any, path: list[str], value: Any, text: str) -> None:
    for key in path[:-1]:
        if not isinstance(data, dict) or key not in data:
            raise ConfigError("--set names a field that is not there.", got=text, available=_keys(data))
        data = data[key]
    if not isinstance(data, dict):
        raise ConfigError("--set names a field that is not there.", got=text, available=_keys(data))
    if path[-1] not in data and "type" not in data:
        raise ConfigError("--set names a field that is not there.", got=path[-1], available=_keys(data))
    data[path[-1]] = value


def _keys(data: Any) -> list[str]:
    return list(data) if isinstance(data, dict) else []


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def is_terminal() -> bool:
    """Whether a person is watching, so that progress bars make sense."""
    return sys.stderr.isatty()
