"""steadyhand: teach a robot by showing it, and keep it on course.

    import steadyhand as sh

What `sh` offers is listed in `__init__.pyi`, which type checkers read, and so does this module: a name is
imported when it is first asked for, so that `import steadyhand` costs no time.
"""

from importlib import import_module

__version__ = "0.1.0"


def _offered() -> dict[str, tuple[str, str]]:
    """Return name -> (module, name in it; empty for a module itself), as `__init__.pyi` lists them."""
    table: dict[str, tuple[str, str]] = {}
    listed: bytes = __loader__.get_data(f"{__file__}i")
    for line in listed.decode().splitlines():
        match line.split():
            case ["from", package, "import", name, "as", alias]:
                table[alias] = (package, name)
            case _:
                continue
    return table


_OFFERED = _offered()


def __getattr__(name: str) -> object:
    if name == "__all__":
        return sorted(_OFFERED)
    if name not in _OFFERED:
        raise AttributeError(f"steadyhand offers no {name!r}; it offers {', '.join(sorted(_OFFERED))}")
    package, inner = _OFFERED[name]
    there = vars(import_module(package))
    value = there[inner] if inner in there else import_module(f"{package}.{inner}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*_OFFERED, *(name for name in globals() if name.startswith("__"))})
