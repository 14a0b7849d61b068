"""Frozen dataclasses <-> JSON, with tagged unions and no silent keys.

Every field is written, defaults included. A member of a union of dataclasses carries its class name under
"type"; so does a member of an open set of parts, whose name is found by `core.parts`. Unknown keys, unknown
tags and wrong types are refused. Infinite numbers, which JSON lacks, are written as the texts "inf" and
"-inf".
"""

import json
import math
import types
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

from steadyhand.core import parts as open_parts
from steadyhand.core.errors import ConfigError, SteadyhandError
from steadyhand.core.parts import Part, UnknownPart
from steadyhand.core.strict import load_json, replacing

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")
_typed: ContextVar[bool] = ContextVar("a person typed the data")


def _members(kind: object) -> list[type]:
    """Return what a tag may stand for: the dataclasses of a union, or a kind of parts alone."""
    given = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return [one for one in given if isinstance(one, type) and (is_dataclass(one) or open_parts.is_open(one))]


def _is_tagged(kind: object) -> bool:
    members = _members(kind)
    return len(members) > 1 or any(map(open_parts.is_open, members))


def _tag(value: object) -> str:
    return open_parts.name_of(type(value)) if isinstance(value, Part) else type(value).__name__


def _tagged(kind: object, name: str) -> type:
    """Return the dataclass that a tag stands for.

    Raises:
        ConfigError: There is none.
    """
    first, *others = _members(kind)
    if open_parts.is_open(first):
        return (open_parts.chosen if _typed.get() else open_parts.resolved)(first, name)
    closed = {member.__name__: member for member in (first, *others)}
    if name not in closed:
        raise TypeError(f"got type {name!r}, available: {', '.join(closed)}")
    return closed[name]


def _strict(kind: type) -> Callable[[Any, Any], Any]:
    """Refuse what plain constructors would convert: "3" to 3, 1 to True, 2.7 to 2."""

    def structure(value: Any, _: Any) -> Any:
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if kind is float and value in ("inf", "-inf"):
            return float(value)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise TypeError(f"got {value!r}, expected {kind.__name__}")
        return value

    return structure


def _listed(converter: "Converter") -> Callable[[Any], Callable[[Any, Any], Any]]:
    """Refuse a text where a list is expected: it would be taken letter by letter."""
    from cattrs.cols import homogenous_tuple_structure_factory

    def fixed(kind: Any) -> Callable[[Any, Any], Any]:
        members = get_args(kind)

        def structure(value: Any, _: Any) -> Any:
            if len(value) != len(members):
                raise TypeError(f"got {value!r}, expected {len(members)} values")
            return tuple(converter.structure(one, of) for one, of in zip(value, members, strict=True))

        return structure

    def factory(kind: Any) -> Callable[[Any, Any], Any]:
        is_open = Ellipsis in get_args(kind)
        plain = homogenous_tuple_structure_factory(kind, converter) if is_open else fixed(kind)

        def structure(value: Any, _: Any) -> Any:
            if not isinstance(value, list | tuple):
                raise TypeError(f"got {value!r}, expected a list, such as [{json.dumps(value, default=str)}]")
            return plain(value, kind)

        return structure

    return factory


def _literal(kind: Any) -> Callable[[Any, Any], Any]:
    """Refuse words that a `Literal` does not list."""

    def structure(value: Any, _: Any) -> Any:
        if value not in get_args(kind):
            raise TypeError(f"got {value!r}, available: {', '.join(map(str, get_args(kind)))}")
        return value

    return structure


def _float_data(value: float) -> float | str:
    return str(float(value)) if isinstance(value, float) and math.isinf(value) else value


@cache
def _converter() -> "Converter":
    from cattrs import Converter  # what asks for help reads no JSON

    converter = Converter(forbid_extra_keys=True)
    for kind in (int, float, str, bool):
        converter.register_structure_hook(kind, _strict(kind))
    converter.register_structure_hook_factory(lambda kind: get_origin(kind) is Literal, _literal)
    converter.register_structure_hook_factory(lambda kind: get_origin(kind) is tuple, _listed(converter))
    converter.register_unstructure_hook(float, _float_data)
    _register_tagged(converter)
    return converter


def _register_tagged(converter: "Converter") -> None:
    """Let unions and open sets of parts be objects with a "type"."""

    def structure_tagged(kind: Any) -> Callable[[Any, Any], Any]:
        def structure(value: Any, _: Any) -> Any:
            if value is None and type(None) in get_args(kind):
                return None
            if not isinstance(value, dict) or not isinstance(value.get("type"), str):
                raise TypeError(f'got {value!r}, expected an object with a "type"')
            body = {key: item for key, item in value.items() if key != "type"}
            return converter.structure(body, _tagged(kind, value["type"]))

        return structure

    def unstructure_tagged(kind: Any) -> Callable[[Any], Any]:
        first = _members(kind)[0]

        def unstructure(value: Any) -> Any:
            if value is None:
                return None
            if open_parts.is_open(first):
                open_parts.require_part(first, value)
            return {"type": _tag(value), **converter.unstructure(value)}

        return unstructure

    converter.register_structure_hook_factory(_is_tagged, structure_tagged)
    converter.register_unstructure_hook_factory(_is_tagged, unstructure_tagged)


def _explain(error: BaseException, kind: Any) -> str:
    from cattrs.errors import ForbiddenExtraKeysError
    from cattrs.v import format_exception

    if isinstance(error, UnknownPart):
        return f"type {error.rest['got']!r}, available: {', '.join(error.rest['available'])}"
    if isinstance(error, SteadyhandError):
        said = [f"{name} {error.rest[name]}" for name in ("got", "expected") if error.rest[name] is not None]
        said += [f"available: {', '.join(error.rest['available'])}"] if error.rest["available"] else []
        return " ".join([error.what, ", ".join(said)]).strip()
    if str(error).startswith("got "):  # in words of this module
        return str(error)
    if isinstance(error, ForbiddenExtraKeysError) and is_dataclass(error.cl):
        unknown, known = sorted(error.extra_fields), [field.name for field in fields(error.cl)]
        return f"unknown field {', '.join(unknown)}, available: {', '.join(known)}"
    return format_exception(error, kind)


def to_data(value: object, kind: Any = None) -> Any:
    """Return `value` as plain JSON data; pass `kind` when its static type is a union."""
    return _converter().unstructure(value, kind or type(value))


def from_data(
    data: Any,
    kind: type[T],
    *,
    source: str = "the configuration",
    parts: Iterable[type[Part]] = (),
    typed: bool = False,
    hint: str = "compare it with a run.json that this version wrote",
) -> T:
    """Build `kind` from plain JSON data.

    Args:
        data: What `to_data` returned.
        kind: The dataclass.
        source: Where the data are from, for errors.
        parts: Classes that a "type" may name beside those that are known; see `core.parts`.
        typed: Whether a person typed it: then a "type" is what `core.parts.chosen` takes, short names too.
        hint: What to do where it does not fit and the error has no word on that.

    Raises:
        ConfigError: An unknown or missing key, an unknown tag or a wrong type; it names every place.
    """
    token = _typed.set(typed)
    try:
        with open_parts.handed_over(parts):
            return _converter().structure(data, kind)
    except Exception as error:
        from cattrs import transform_error

        name = getattr(kind, "__name__", str(kind))
        problems = "; ".join(transform_error(error, format_exception=_explain))
        told = _told(error)
        raise ConfigError(
            f"{source} does not describe a {name}.",
            got=problems,
            hint=(told and told.rest["hint"]) or hint,
        ) from error
    finally:
        _typed.reset(token)


def _told(error: BaseException) -> SteadyhandError | None:
    """Return the first error within `error` that says itself what to do, such as a part that nobody knows."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := _told(one))), None)
    return error if isinstance(error, SteadyhandError) and error.rest["hint"] else None


def write_json(path: Path, data: Any) -> None:
    """Write JSON under a temporary name, then rename, so that a reader never sees half a file.

    Raises:
        ConfigError: A number is NaN or infinite, which JSON cannot hold.
    """
    try:
        text = json.dumps(data, indent=2, allow_nan=False)
    except ValueError as error:
        raise ConfigError(f"{path} cannot be written as JSON.", got=str(error)) from error
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ConfigError: It is missing, no regular file, too large or too deep, is not JSON, or says a key twice.
    """
    return load_json(path)


def save(path: Path, value: object) -> None:
    """Write a config dataclass as JSON with every field."""
    write_json(path, to_data(value))


def load(path: Path, kind: type[T], *, parts: Iterable[type[Part]] = ()) -> T:
    """Read a config dataclass from JSON; see `from_data` for what is refused."""
    return from_data(read_json(path), kind, source=str(path), parts=parts)
