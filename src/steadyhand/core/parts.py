"""Open sets of parts: what an encoder, a head or a gate may be, ours or anybody's.

A *part* is settings: a frozen dataclass that says what it is made of and builds it. A *kind* is an abstract
base class of parts, such as `EncoderConfig`; whoever derives from it has written an encoder, and nothing has
to be registered. The members of a kind are

- ours: a table of name -> "module:Class" at the kind, of which nothing is imported before it is asked for;
- those of installed packages: one entry point of the group `steadyhand.parts` for each class, whose kind is
  that of its base class;
- those that this process has defined or imported, and those that a caller hands over.

On disk a part is called by its class name if it is ours and "package.module:Class" otherwise. **A file never
causes an import** of anything but our own modules and what an installed package declares under exactly that
name: `resolved` finds classes and never looks for modules. What a person names may be imported, by `chosen`.
"""

import importlib
import inspect
import re
import sys
from abc import ABC
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import is_dataclass
from typing import Any, ClassVar, TypeGuard, TypeVar

from steadyhand.core.errors import ConfigError
from steadyhand.core.modules import imported
from steadyhand.core.settings import Settings

GROUP = "steadyhand.parts"
"""Entry point group of installed packages: NAME = "package.module:Class"."""


class UnknownPart(ConfigError):
    """A file names a part that this process does not know."""


P = TypeVar("P", bound="Part")


class Part(Settings):
    """Base of every kind of part; a class that derives from it and sets `kind` and `ours` is a kind.

    What the batteries of `steadyhand.testing` have to know of a part, it says itself: `toys` and `exempt`.

    Attributes:
        kind: What its members are called, in one word, such as "encoder".
        word_mark: What stands between the words of a member's name on the command line.
        ours: Name -> "module:Class" of the members that come with steadyhand.
    """

    kind: ClassVar[str] = "part"
    word_mark: ClassVar[str] = "-"
    ours: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def toys(cls: type[P]) -> tuple[P, ...]:
        """Return small forms of different kinds, which the batteries try; the first stands for all."""
        return (cls(),)

    @property
    def exempt(self) -> Mapping[str, str]:
        """Law of a battery -> why it need not hold to it; by default what holds for the parts within.

        A head whose samples are to cover the demonstrations and may be more ("memorises"), say.
        """
        within = [part for part in vars(self).values() if isinstance(part, Part)]
        return {law: why for part in within for law, why in part.exempt.items()}


_handed: ContextVar[tuple[type[Part], ...]] = ContextVar("parts handed over", default=())


def located(module: str, *names: str) -> dict[str, str]:
    """Return name -> "module:name", as `Part.ours` wants it."""
    return {name: f"{module}:{name}" for name in names}


def is_open(kind: object) -> bool:
    """Whether a field of this type holds any member of a kind: the type is a part, but no dataclass."""
    return isinstance(kind, type) and issubclass(kind, Part) and not is_dataclass(kind)


def is_part(value: object, kind: type[P]) -> TypeGuard[type[P]]:
    """Whether `value` is a class of settings of that kind, and no base of others: those derive from ABC."""
    return (
        isinstance(value, type)
        and issubclass(value, kind)
        and is_dataclass(value)
        and not inspect.isabstract(value)
        and ABC not in value.__bases__
    )


def summary(member: type) -> str:
    """Return what a part is: its `summary` if it has one, or the first sentence of its docstring."""
    if said := getattr(member, "summary", ""):
        return said
    text = inspect.cleandoc(member.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<!al)\.(?:\s+(?=[A-Z])|$)", text)[0]


def require_part(kind: type[Part], value: object) -> None:
    """Raise ConfigError if `value` could never be read back: it is no settings dataclass of that kind."""
    if isinstance(value, kind) and is_dataclass(value):
        return
    name = value.__name__ if isinstance(value, type) else type(value).__name__
    if isinstance(value, type):
        hint = f"give its settings, not its class: {name}()"
    elif isinstance(value, kind):
        hint = f"write @dataclass(frozen=True, kw_only=True) above class {name}"
    else:
        hint = f"derive it: `class {name}({kind.__name__})`, from {kind.__module__}"
    raise ConfigError(
        f"{name} is no {kind.kind}, so that what it trains could never be loaded.",
        got=repr(value),
        expected=f"a frozen dataclass that derives from {kind.__name__}",
        hint=hint,
    )


def qualified(member: type) -> str:
    """Return "package.module:Class"."""
    return f"{member.__module__}:{member.__qualname__}"


def name_of(member: type[Part]) -> str:
    """Return what a part is called on disk and on the command line: short if it is ours."""
    full = qualified(member)
    return member.__name__ if member.ours.get(member.__name__) == full else full


@contextmanager
def handed_over(parts: Iterable[type[Part]]) -> Generator[None]:
    """Let files name these classes while the block runs, by qualified name or by class name.

    Raises:
        ConfigError: One is no class of parts.
    """
    token = _handed.set((*_handed.get(), *_classes(parts)))
    try:
        yield
    finally:
        _handed.reset(token)


def _classes(parts: object) -> Generator[type[Part]]:
    for one in parts if isinstance(parts, list | tuple | set | frozenset) else (parts,):
        if not (isinstance(one, type) and issubclass(one, Part)):
            raise ConfigError(
                "What is handed over is no class of a part.",
                got=repr(one),
                expected="a sequence of classes, such as parts=[Fourier]",
            )
        yield one


def resolved(kind: type[P], name: str) -> type[P]:
    """Return the member that a file calls `name`; imports nothing but what is ours or installed as that.

    Args:
        kind: The kind, or a base class that narrows it.
        name: Such as "StateMLP" or "my_robot.encoders:Fourier".

    Raises:
        ConfigError: There is none, or it is of another kind; it says how to hand it over.
    """
    found = _ours(kind, name) or _defined(kind, name) or _installed(kind, name) or _given(kind, name)
    if found is None:
        raise UnknownPart(
            f"There is no {kind.kind} of that name.",
            got=name,
            available=available(kind),
            hint=_how_to_hand_over(kind, name),
        )
    return found


def chosen(kind: type[P], name: str) -> type[P]:
    """Return the member that a person names, on the command line say.

    Beside what `resolved` knows this is a name in short ("pure-pursuit" for PurePursuitExpert, "car" for
    CarConfig), the class name of what has been imported, the name of an entry point, or "module:Class", which
    is imported, also from the current directory.

    Raises:
        ConfigError: There is none, it is of another kind, or the module cannot be imported.
    """
    short = {short_name(kind, one): one for one in kind.ours}
    if not name:
        raise UnknownPart(f"A name of {kind.kind} parts is empty.", got="''", available=available(kind))
    named = [member for member in members(kind) if name in (member.__name__, getattr(member, "name", ""))]
    found = (
        _ours(kind, short.get(short_name(kind, name), name))
        or _only(named, kind, name)
        or _installed(kind, name, by_entry=True)
    )
    if found is not None:
        return found
    module, separator, path = name.partition(":")
    if not separator:
        return resolved(kind, name)
    value: Any = imported(module)
    for step in path.split("."):
        value = getattr(value, step, None)
    if value is None:
        names = [one.__name__ for one in members(kind) if one.__module__ == module]
        raise ConfigError(f"{module} has no such {kind.kind}.", got=path, available=names)
    return _fitting(kind, value)


def short_name(kind: type[Part], name: str) -> str:
    """Return a class name as a person may write it: "purepursuit" for PurePursuitExpert."""
    plain = name.lower().replace("-", "").replace("_", "")
    return plain.removesuffix("config").removesuffix(kind.kind)


def spoken_name(kind: type[Part], member: type[Part]) -> str:
    """Return what a person would call a part: its `name`, or else what `spoken` makes of it."""
    return getattr(member, "name", "") or spoken(kind, name_of(member))


def spoken(kind: type[Part], name: str) -> str:
    """Return "pure-pursuit" for PurePursuitExpert; "package.module:Class" stays as it is."""
    if ":" in name:
        return name
    words = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9])(?=[A-Z])", " ", name).lower().split()
    return kind.word_mark.join(words[:-1] if words[-1] in (kind.kind, "config") else words)


def made(kind: type[P], name: str) -> P:
    """Return the member that a person names with its default settings.

    Raises:
        ConfigError: Nothing is called that, see `chosen`, or it has settings without a default.
    """
    member = chosen(kind, name)
    settings = inspect.signature(member).parameters.values()
    missing = [one.name for one in settings if one.default is one.empty]
    if missing:
        raise ConfigError(
            f"{member.__name__} has settings without a default, so that its name alone says too little.",
            got=", ".join(missing),
            hint="give them defaults, or write the whole part into a run.json and name it with --config",
        )
    return member()


def attribute(kind: type[P], name: str, *, module: str) -> type[P]:
    """Return the member that is asked for as an attribute of a module, for its `__getattr__`.

    Raises:
        AttributeError: There is none.
    """
    try:
        if name[:1].isupper():  # in small letters it is one of the package's modules
            return chosen(kind, name)
        raise ConfigError(f"There is no {kind.kind} of that name.", got=name)
    except ConfigError as error:
        raise AttributeError(f"module {module!r} has no attribute {name!r}. {error}") from error


def available(kind: type[Part]) -> list[str]:
    """Return the names of all members that can be had without importing anything: ours, then the others."""
    others = [name_of(member) for member in members(kind)]
    return list(dict.fromkeys([*kind.ours, *others, *(entry.value for entry in _entries(kind))]))


def choices(kind: type[Part]) -> list[str]:
    """Return what a person may name: ours, of which nothing is imported, what is installed, what is defined.

    Which kind an installed part is of is known when it is imported; one that cannot be is left out.
    """
    installed: dict[str, str] = {}
    for entry in _entries(kind):
        with suppress(ConfigError):
            if is_part(member := _load(entry), kind):
                installed[qualified(member)] = entry.name
    others = [installed.get(name, name) for name in map(name_of, members(kind))]
    return list(dict.fromkeys([*kind.ours, *installed.values(), *others]))


def members(kind: type[P]) -> list[type[P]]:
    """Return the members that this process has defined or imported, each name once, the latest of it."""
    found: dict[str, type[P]] = {}
    pending = [kind]
    while pending:
        one = pending.pop(0)
        if is_part(one, kind):
            found[qualified(one)] = one
        pending += one.__subclasses__()
    return list(found.values())


def load_all(kind: type[P]) -> list[type[P]]:
    """Import every member that is ours or installed, and return them, ours first in their order."""
    found = [*(_import(place) for place in kind.ours.values()), *map(_load, _entries(kind))]
    known = [one for one in found if is_part(one, kind)]
    return list(dict.fromkeys([*known, *members(kind)]))


def _ours(kind: type[P], name: str) -> type[P] | None:
    return _fitting(kind, _import(kind.ours[name])) if name in kind.ours else None


def _import(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def _defined(kind: type[P], name: str) -> type[P] | None:
    return next((one for one in members(kind) if qualified(one) == name), None)


def _given(kind: type[P], name: str) -> type[P] | None:
    """Return what was handed over under this name of a class: its module may have another name now."""
    short = name.rpartition(":")[2].rpartition(".")[2]
    return next((one for one in _handed.get() if issubclass(one, kind) and one.__name__ == short), None)


def _only(found: list[type[P]], kind: type[P], name: str) -> type[P] | None:
    if len(found) > 1:
        raise ConfigError(
            f"Several {kind.kind}s have that name.", got=name, available=[qualified(one) for one in found]
        )
    return found[0] if found else None


def _entries(kind: type[Part]) -> list[Any]:
    """Return the entry points that are not known to be of another kind: importing alone tells for sure."""
    from importlib.metadata import entry_points

    others = {qualified(one) for one in members(Part)} - {qualified(one) for one in members(kind)}
    return [entry for entry in entry_points(group=GROUP) if entry.value not in others]


def _installed(kind: type[P], name: str, *, by_entry: bool = False) -> type[P] | None:
    for entry in _entries(kind):
        if entry.value == name or (by_entry and entry.name == name):
            return _fitting(kind, _load(entry))
    return None


def _load(entry: Any) -> Any:
    try:
        return entry.load()
    except Exception as error:
        raise ConfigError(
            f"The part {entry.name} of an installed package cannot be imported.",
            got=f"{type(error).__name__}: {error}",
            hint=f"mend or uninstall the package that declares {entry.value}",
        ) from error


def _fitting(kind: type[P], member: Any) -> type[P]:
    if is_part(member, kind):
        return member
    if isinstance(member, type) and issubclass(member, kind) and (missing := _unwritten(member)):
        raise ConfigError(
            f"{member.__name__} does not have all that a part of kind {kind.kind} needs.",
            expected=f"the methods {', '.join(missing)}",
            hint=f"write them; {kind.__module__} says what each is to do",
        )
    raise ConfigError(
        f"{getattr(member, '__name__', member)} cannot stand here.",
        got=f"a class, derived from {_bases(member)}" if isinstance(member, type) else type(member).__name__,
        expected=f"a frozen dataclass that derives from {kind.__name__} ({kind.__module__})",
    )


def _unwritten(member: type) -> list[str]:
    members = inspect.getmembers_static(member)
    return [name for name, value in members if getattr(value, "__isabstractmethod__", False)]


def _bases(member: type) -> str:
    return ", ".join(base.__name__ for base in member.__bases__)


def _how_to_hand_over(kind: type[Part], name: str) -> str | None:
    module, separator, path = name.partition(":")
    if not separator:
        return None
    if module == "__main__":
        return (
            f"it was defined in the script that was run: hand the class over, parts=[{path}], or move it "
            "into a module of its own"
        )
    if module in sys.modules:
        return f"{module} is imported, and defines no {kind.kind} {path}: hand the class over, parts=[...]"
    return (
        f"files never import code: import {module} first (on the command line --plugin {module}), or hand "
        f"the class over, parts=[{path}]"
    )
