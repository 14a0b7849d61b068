"""Frozen dataclasses <-> JSON, with tagged unions and no silent keys.

Every field is written, defaults included. A member of a union of dataclasses carries its class name under
"type". Unknown keys, unknown tags and wrong types are refused. Infinite numbers, which JSON lacks, are
written as the texts "inf" and "-inf".
"""

import json
import math
import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import cattrs
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.v import format_exception

from steadyhand.core.errors import ConfigError
from steadyhand.core.strict import load_json, replacing

T = TypeVar("T")


def _members(kind: object) -> list[type]:
    if get_origin(kind) not in (Union, types.UnionType):
        return []
    return [member for member in get_args(kind) if isinstance(member, type) and is_dataclass(member)]


def _is_config_union(kind: object) -> bool:
    return len(_members(kind)) > 1


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


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (int, float, str, bool):
        converter.register_structure_hook(kind, _strict(kind))

    def structure_literal(kind: Any) -> Callable[[Any, Any], Any]:
        def structure(value: Any, _: Any) -> Any:
            if value not in get_args(kind):
                raise TypeError(f"got {value!r}, available: {', '.join(map(str, get_args(kind)))}")
            return value

        return structure

    converter.register_structure_hook_factory(lambda kind: get_origin(kind) is Literal, structure_literal)

    def unstructure_float(value: float) -> float | str:
        return str(float(value)) if isinstance(value, float) and math.isinf(value) else value

    converter.register_unstructure_hook(float, unstructure_float)
    converter.register_unstructure_hook(Path, str)
    converter.register_structure_hook(Path, lambda value, _: Path(value))

    def structure_union(kind: Any) -> Callable[[Any, Any], Any]:
        by_name = {member.__name__: member for member in _members(kind)}

        def structure(value: Any, _: Any) -> Any:
            if value is None and type(None) in get_args(kind):
                return None
            if not isinstance(value, dict) or "type" not in value:
                raise TypeError(f'got {value!r}, expected an object with a "type"')
            if value["type"] not in by_name:
                raise TypeError(f"got type {value['type']!r}, available: {', '.join(by_name)}")
            body = {key: item for key, item in value.items() if key != "type"}
            return converter.structure(body, by_name[value["type"]])

        return structure

    def unstructure_union(_: Any) -> Callable[[Any], Any]:
        def unstructure(value: Any) -> Any:
            if value is None:
                return None
            return {"type": type(value).__name__, **converter.unstructure(value)}

        return unstructure

    converter.register_structure_hook_factory(_is_config_union, structure_union)
    converter.register_unstructure_hook_factory(_is_config_union, unstructure_union)
    return converter


_CONVERTER = _converter()


def _explain(error: BaseException, kind: Any) -> str:
    if isinstance(error, TypeError | ValueError) and str(error).startswith("got "):
        return str(error)
    if isinstance(error, ForbiddenExtraKeysError) and is_dataclass(error.cl):
        unknown, known = sorted(error.extra_fields), [field.name for field in fields(error.cl)]
        return f"unknown field {', '.join(unknown)}, available: {', '.join(known)}"
    return format_exception(error, kind)


def to_data(value: object, kind: Any = None) -> Any:
    """Return `value` as plain JSON data; pass `kind` when its static type is a union."""
    return _CONVERTER.unstructure(value, kind or type(value))


def from_data(data: Any, kind: type[T], *, source: str = "the configuration") -> T:
    """Build `kind` from plain JSON data.

    Raises:
        ConfigError: An unknown or missing key, an unknown tag or a wrong type; it names every place.
    """
    try:
        return _CONVERTER.structure(data, kind)
    except Exception as error:
        name = getattr(kind, "__name__", str(kind))
        problems = "; ".join(cattrs.transform_error(error, format_exception=_explain))
        raise ConfigError(
            f"{source} does not describe a {name}.",
            got=problems,
            hint="compare it with a run.json that this version wrote",
        ) from error


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


def load(path: Path, kind: type[T]) -> T:
    """Read a config dataclass from JSON; see `from_data` for what is refused."""
    return from_data(read_json(path), kind, source=str(path))
