"""What a caller asks for: numbers, paths and drivers are looked at before anything is done."""

from numbers import Integral
from pathlib import Path
from typing import Any

from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller


def whole(name: str, value: Any, *, least: int | None = 1) -> int:
    """Return a whole number, which NumPy may have made.

    Raises:
        ConfigError: It is none, or below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or (least is not None and value < least):
        expected = "a whole number" if least is None else f"a whole number >= {least}"
        raise ConfigError(f"{name} does not count.", got=f"{name} = {value!r}", expected=expected)
    return int(value)


def seed_of(value: Any) -> int:
    """Return a seed.

    Raises:
        ConfigError: It is no whole number.
    """
    return whole("seed", value, least=None)


def path_of(name: str, value: Any) -> Path:
    """Return a path.

    Raises:
        ConfigError: It is none, or empty.
    """
    if not isinstance(value, str | Path) or value == "":
        raise ConfigError(
            f"{name} is no path.",
            got=f"{name} = {value!r}",
            expected="a text or a pathlib.Path",
            hint="the current folder is called .",
        )
    return Path(value)


def require_controller(who: Any, *, role: str) -> Controller:
    """Return who drives or labels.

    Raises:
        ConfigError: It is no controller.
    """
    if isinstance(who, Controller):
        return who
    raise ConfigError(
        f"The {role} is no controller.",
        got=type(who).__name__ if not isinstance(who, str) else repr(who),
        expected="what steadyhand.expert(who, env) returns, or a class derived from steadyhand.Controller",
        hint=f"{role}=steadyhand.expert(who, env) takes names, functions, modules, files and policies",
    )
