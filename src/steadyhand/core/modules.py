"""Modules that a person names: nothing that a file names is imported."""

import importlib
import sys
from typing import Any

from steadyhand.core.errors import ConfigError


def imported(module: str) -> Any:
    """Import a module that a person named, also from the current directory, or by its file there.

    Raises:
        ConfigError: It is not there, or fails.
    """
    module = module_name(module)
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
