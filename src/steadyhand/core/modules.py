"""Modules: those that a person names, which alone are imported, and what `dir` shows of those of parts."""

import importlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from steadyhand.core.errors import ConfigError

if TYPE_CHECKING:
    from steadyhand.core.parts import Part


def imported(name: str) -> Any:
    """Import a module that a person named, also from the current directory, or by its file there.

    Raises:
        ConfigError: It is not there, or fails.
    """
    module = module_name(name)
    if module.startswith(".") or "/" in module:
        raise ConfigError(
            "A module is named as it is imported, or by its file below the current directory.",
            got=name,
            expected="such as package.module, or folder/module.py",
            hint="run the command in the folder that holds the module",
        )
    try:
        if "" not in sys.path:
            sys.path.append("")
        return importlib.import_module(module)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and module.startswith(error.name or "?")
        raise ConfigError(
            "A module of that name is not to be found." if missing else f"{module} cannot be imported.",
            got=module if missing else f"{type(error).__name__}: {error}",
            expected="an installed module, or one below the current directory",
            hint="install the package, or run the command in the folder that holds the module",
        ) from error


def module_name(text: str) -> str:
    """Return the name of a module that a person named, perhaps by its file, such as "envs/reach.py"."""
    if not text.endswith(".py"):
        return text
    return text.removesuffix(".py").removeprefix("./").replace("/", ".")


def listing(kind: "type[Part]", there: Mapping[str, Any]) -> list[str]:
    """Return what `dir` shows of a module, for its `__dir__`: parts, their base class, its own functions.

    Args:
        kind: The kind of its parts.
        there: `globals()` of the module.
    """
    own = [name for name, value in there.items() if getattr(value, "__module__", "") == there["__name__"]]
    plain = [name for name in own if not name.startswith("_")]
    return sorted({*kind.ours, kind.__name__, *plain, *(name for name in there if name.startswith("__"))})
