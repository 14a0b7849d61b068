"""Settings: frozen dataclasses whose fields say in their type which values they take.

    num_modes: Count = 5
    min_std: Annotated[float, Range(gt=0, lt="init_std")] = 0.01

The types are checked when the settings are made, and `steadyhand parts` and the docs show them, so that a
range is written once. Checked are numbers, texts, ranges, also within a tuple, lengths, and words of
a `Literal`.
"""

import inspect
import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from operator import attrgetter, ge, gt, le, lt
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from steadyhand.core.errors import ConfigError

Bound = int | float | str


def _is_multiple(value: Any, of: Any) -> bool:
    return bool(of != 0 and value % of == 0)


_HOLDS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": gt,
    ">=": ge,
    "<": lt,
    "<=": le,
    "a multiple of": _is_multiple,
}


@dataclass(frozen=True, kw_only=True)
class Range:
    """The range of a number, which must be finite in any case; on a tuple, the range of its length.

    Attributes:
        gt: The number is greater than this. The name of a field stands for the value of that field, if it has
            one.
        ge: The number is at least this, or the field of that name.
        lt: The number is less than this, or the field of that name.
        le: The number is at most this, or the field of that name.
        multiple_of: The number is a multiple of this, or of the field of that name.
        unit: Unit of the number; empty for a plain number.
    """

    gt: Bound | None = None
    ge: Bound | None = None
    lt: Bound | None = None
    le: Bound | None = None
    multiple_of: Bound | None = None
    unit: str = ""

    def has(self, value: Any, settings: object) -> bool:
        """Whether a number in these settings lies in the range."""
        bounds = ((sign, _held(bound, settings)) for sign, bound in self._bounds())
        return math.isfinite(value) and all(
            _HOLDS[sign](value, bound) for sign, bound in bounds if isinstance(bound, Real)
        )

    def text(self, settings: object = None) -> str:
        """Return the range in words, with the values of the fields that it names if `settings` are given."""
        limits = " and ".join(f"{sign} {_said(bound, settings)}" for sign, bound in self._bounds())
        return f"{limits} [{self.unit}]" if self.unit else limits

    def _bounds(self) -> list[tuple[str, Bound]]:
        pairs = zip(_HOLDS, (self.gt, self.ge, self.lt, self.le, self.multiple_of), strict=True)
        return [(sign, bound) for sign, bound in pairs if bound is not None]


Count = Annotated[int, Range(ge=1)]
"""One, two, three ..."""
Whole = Annotated[int, Range(ge=0)]
"""Zero, one, two ..."""
Positive = Annotated[float, Range(gt=0)]
NotNegative = Annotated[float, Range(ge=0)]
Share = Annotated[float, Range(ge=0, le=1)]
"""From 0 to 1."""
PositiveShare = Annotated[float, Range(gt=0, le=1)]
"""Above 0 and at most 1."""
OpenShare = Annotated[float, Range(gt=0, lt=1)]
"""Between 0 and 1, neither of them included."""
Rate = Annotated[float, Range(ge=0, lt=1)]
"""From 0 to below 1, such as a dropout rate."""
Widths = tuple[Count, ...]
"""Units of each layer."""
SomeWidths = Annotated[Widths, Range(ge=1)]
"""Units of each layer, of at least one layer."""


class Settings:
    """Base of settings, which checks their values against their types.

    Numbers of NumPy become those of Python, and lists become tuples, so that settings are written as they are
    and read back equal. A dataclass that has a `__post_init__` of its own calls this one first. They print as
    they would be written: what is left out has its default.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__repr__" not in vars(cls):
            cls.__repr__ = Settings.__repr__  # or `dataclass` would write another

    def __repr__(self) -> str:
        return as_written(self) if is_dataclass(self) else object.__repr__(self)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            object.__setattr__(self, name, _plain(value))
        for name, kind in _types(type(self)):
            if not _fits(kind, value := getattr(self, name), self):
                said = field_texts(type(self)).get(name, "").partition(". ")[0].removesuffix(".")
                raise ConfigError(
                    f"{type(self).__name__} does not take this value of {name}"
                    + (f" ({said})." if said else "."),
                    got=f"{name} = {value!r}",
                    expected=type_text(kind, self),
                )


def as_written(thing: Any) -> str:
    """Return a dataclass as it would be written, on a line, without the fields that have their defaults."""
    said: list[str] = []
    for one in fields(thing):
        value = getattr(thing, one.name)
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if default is MISSING or value != default:
            said.append(f"{one.name}={value!r}")
    return f"{type(thing).__name__}({', '.join(said)})"


def _plain(value: Any) -> Any:
    """Return a value without numbers of NumPy and lists."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    return tuple(map(_plain, value)) if type(value) in (list, tuple) else value


def type_text(kind: Any, settings: object = None) -> str:
    """Return a type as it is shown: `int >= 1`, `tuple[int >= 1, ...]`, `float > 0 or None`.

    Args:
        kind: The type of a field, with its annotations.
        settings: Settings whose fields its bounds may name; None shows the names.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        ranges = [one.text(settings) for one in inner[1:] if isinstance(one, Range)]
        of = ", length " if get_origin(inner[0]) is tuple else " "
        return type_text(inner[0], settings) + of + " and ".join(ranges)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (Union, types.UnionType):
        return " or ".join(type_text(one, settings) for one in inner)
    if kind is Ellipsis:
        return "..."
    name = "None" if kind is types.NoneType else getattr(kind, "__name__", str(kind))
    return f"{name}[{', '.join(type_text(one, settings) for one in inner)}]" if inner else name


def field_texts(settings: type) -> dict[str, str]:
    """Return field -> what the section "Attributes" says of it, in a class and in those it derives from."""
    found: dict[str, str] = {}
    for one in reversed(settings.__mro__):
        section = inspect.cleandoc(one.__doc__ or "").partition("\nAttributes:\n")[2]
        for entry in re.split(r"\n(?=    \w+: )", "\n" + section)[1:]:
            name, _, text = entry.strip().partition(": ")
            found[name] = " ".join(text.split())
    return found


@cache
def _types(settings: Any) -> tuple[tuple[str, Any], ...]:
    """Return (name, type) of the fields."""
    try:
        hints = get_type_hints(settings, include_extras=True)
    except NameError:  # a class within a function, in a module whose annotations are texts
        return ()
    return tuple((one.name, hints[one.name]) for one in fields(settings))


def _fits(kind: Any, value: Any, settings: object) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        ranges = [one for one in inner[1:] if isinstance(one, Range)]
        if not _fits(inner[0], value, settings):
            return False
        size = len(value) if get_origin(inner[0]) is tuple else value
        return all(one.has(size, settings) for one in ranges)
    if origin is Literal:
        return value in inner
    if origin in (Union, types.UnionType):
        return any(_fits(one, value, settings) for one in inner)
    if origin is tuple:
        return isinstance(value, Sequence) and not isinstance(value, str) and _all_fit(inner, value, settings)
    if kind is types.NoneType:
        return value is None
    if kind in (bool, str):
        return isinstance(value, kind)
    if kind in (int, float):
        return not isinstance(value, bool) and isinstance(value, Integral if kind is int else Real)
    return True  # of any other type: the type checker and the codec see to that


def _all_fit(kinds: tuple[Any, ...], values: Sequence[Any], settings: object) -> bool:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return all(_fits(kinds[0], value, settings) for value in values)
    return len(kinds) == len(values) and all(map(_fits, kinds, values, (settings,) * len(values)))


def _held(bound: Bound, settings: object) -> object:
    return attrgetter(bound)(settings) if isinstance(bound, str) else bound


def _said(bound: Bound, settings: object) -> str:
    if not isinstance(bound, str):
        return f"{bound:g}"
    held = None if settings is None else _held(bound, settings)
    return bound if held is None else f"{bound} = {held}"
