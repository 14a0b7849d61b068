"""JSON data that tell one thing from another: settings, arrays, modules, functions, experts of one's own.

An object of no known kind, such as an expert that a user wrote, is described by its type, its code and its
attributes. Some of these are memory that changes while it drives, which is no part of what it is:

- what its class names in `memory`, as in `memory = ("calls",)`, is left out;
- what changed while steadyhand had it drive (`noted` tells the end of that) counts as it was before;
- what changed in any other way counts as it is: somebody set it.

An object that knows better has a method `question` that returns a mapping, and is described by that alone.
"""

import enum
import math
import sys
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from steadyhand.core.digests import Digest
from steadyhand.core.specs import EnvSpec

_DEPTH = 16
_FOREIGN = 2
"""Levels that an object of no known kind costs beyond its own: who knows what hangs on it."""
_OURS = __name__.partition(".")[0]


def described(thing: object) -> Any:
    """Return JSON data that tell `thing` from others: its type, its settings, the content of its arrays."""
    return _Description().of(thing, _DEPTH)


def noted(thing: object) -> None:
    """Note that attributes of `thing` which changed since it was described changed because it drove."""
    _Description(has_driven=True).of(thing, _DEPTH)


@dataclass(kw_only=True)
class _Seen:
    """What is known of an object.

    Attributes:
        thing: The object.
        first: Its attributes, without what driving changed.
        left: Its attributes when they were last looked at.
    """

    thing: weakref.ref[Any]
    first: dict[str, Any]
    left: dict[str, Any]


_seen: dict[int, _Seen] = {}


class _Description:
    """One walk through a thing.

    Args:
        has_driven: Whether attributes that changed have changed by driving.
    """

    def __init__(self, *, has_driven: bool = False) -> None:
        self._has_driven = has_driven
        self._above: list[int] = []  # what is being described: an object may hold what holds it

    def of(self, thing: object, depth: int) -> Any:
        """Return JSON data; below `depth` levels the type alone."""
        inner = depth - 1
        match thing:
            case None | bool() | int() | str():
                return thing
            case enum.Enum():
                return thing.name
            case float():
                return thing if math.isfinite(thing) else repr(thing)
            case Path():
                return str(thing)
            case np.ndarray() | np.generic() if thing.dtype != object:
                return Digest().array("", np.asarray(thing)).hex()
            case _ if depth <= 0 or id(thing) in self._above:
                return _type_name(thing)
            case _:
                self._above.append(id(thing))
                try:
                    return self._inside(thing, inner)
                finally:
                    self._above.pop()

    def _inside(self, thing: Any, depth: int) -> Any:
        match thing:
            case Mapping():
                return self._items(thing, depth)
            case set() | frozenset():
                return sorted((self.of(value, depth) for value in thing), key=repr)
            case bytes() | bytearray():
                return Digest().text(thing.hex()).hex()
            case np.ndarray():
                return [self.of(value, depth) for value in thing.ravel().tolist()]
            case Sequence():
                return [self.of(value, depth) for value in thing]
            case _:
                return self._object(thing, depth)

    def _items(self, held: Mapping[Any, object], depth: int) -> dict[str, Any]:
        return {str(key): self.of(value, depth) for key, value in held.items()}

    def _object(self, thing: Any, depth: int) -> Any:
        name = _type_name(thing)
        if isinstance(thing, type):
            return name
        if isinstance(thing, partial):
            parts = {"function": thing.func, "arguments": thing.args, "named": thing.keywords}
            return {"type": "partial", **self._items(parts, depth)}
        owner = getattr(thing, "__self__", None)
        if callable(thing) and owner is not None and not isinstance(owner, ModuleType):
            return {"method": getattr(thing, "__name__", ""), "of": self.of(owner, depth)}
        if _is_function(thing):
            return self._function(thing, depth)
        if callable(thing) and isinstance(called := getattr(thing, "__name__", None), str):
            wrapped = getattr(thing, "__wrapped__", None)  # a function of C, or a cache around one
            inside = {"around": wrapped} if wrapped else {}
            return {"function": called, **self._items(inside, depth)}
        if callable(question := getattr(thing, "question", None)):
            answer: Any = question()
            return {"type": name, **self._items(answer, depth)}
        if isinstance(spec := getattr(thing, "spec", None), EnvSpec):
            config = getattr(thing, "config", None)
            return {"type": name, "spec": self.of(spec, depth), "config": self.of(config, depth)}
        if is_dataclass(thing) and (_is_frozen(thing) or not _acts(thing)):
            values = {field.name: getattr(thing, field.name) for field in fields(thing)}
            return {"type": name, **self._items(values, depth)}
        if _is_module(thing):
            return {"type": name, **_network(thing)}
        if isinstance(thing, np.random.Generator):
            return {"type": name, "state": self.of(thing.bit_generator.state, depth)}
        if callable(getattr(thing, "detach", None)) and callable(getattr(thing, "numpy", None)):
            return _weights({"": thing})
        return {"type": name, **self._attributes(thing, depth - _FOREIGN)}

    def _function(self, thing: Any, depth: int) -> dict[str, Any]:
        name = f"{thing.__module__}.{thing.__qualname__}"
        closed = _closure(thing)
        if _is_ours(thing):
            return {"function": name, **self._items(_settings(closed), depth)}
        parts = {
            "defaults": thing.__defaults__,
            "named_defaults": thing.__kwdefaults__,
            "closed_over": closed,
        }
        code = {} if _is_library(thing) else {"code": _code(thing.__code__).hex()}
        if code:
            parts["around"] = _around([thing])
        said = {key: value for key, value in parts.items() if value}
        return {"function": name, **code, **self._items(said, depth)}

    def _attributes(self, thing: Any, depth: int) -> dict[str, Any]:
        held = _held(thing)
        for kind in type(thing).__mro__:
            named = vars(kind).get("memory", ())
            for name in named if isinstance(named, tuple) else ():
                held.pop(name, None)
        if _is_ours(type(thing)):
            return self._items(_settings(held), depth)
        now: dict[str, Any] = {name: self.of(value, depth) for name, value in sorted(held.items())}
        methods = _methods(type(thing))
        around = self._items(_around(list(methods.values())), depth)
        return {
            "attributes": self._without_memory(thing, now),
            **({"code": _class_code(type(thing), methods)} if methods else {}),
            **({"around": around} if around else {}),
        }

    def _without_memory(self, thing: Any, now: dict[str, Any]) -> dict[str, Any]:
        key = id(thing)
        known = _seen.get(key)
        if known is None or known.thing() is not thing:
            try:
                end = weakref.ref(thing, lambda _: _seen.pop(key, None))
            except TypeError:  # it has no room for one
                return now
            _seen[key] = _Seen(thing=end, first=dict(now), left=now)
            return now
        if not self._has_driven:
            for name in {**known.left, **now}:
                if name not in now:
                    known.first.pop(name, None)
                elif name not in known.left or known.left[name] != now[name]:
                    known.first[name] = now[name]
        known.left = now
        return dict(known.first)


def _held(thing: object) -> dict[str, Any]:
    slots = (name for kind in type(thing).__mro__ for name in _slots(kind))
    inside = {name: getattr(thing, name) for name in slots if hasattr(thing, name)}
    return {**inside, **getattr(thing, "__dict__", {})}


def _slots(kind: type) -> tuple[str, ...]:
    names = vars(kind).get("__slots__", ())
    return (names,) if isinstance(names, str) else tuple(name for name in names if not name.startswith("__"))


def _settings(held: Mapping[str, Any]) -> dict[str, Any]:
    """Return what counts of the attributes of our own classes, whose memory is private arrays."""
    return {name: value for name, value in held.items() if _is_setting(name, value)}


def _is_setting(name: str, value: object) -> bool:
    if isinstance(value, bool | int | float | str | enum.Enum | Path):
        return True
    if isinstance(value, np.ndarray):
        return not name.startswith("_")
    frozen = is_dataclass(value) and not isinstance(value, type) and _is_frozen(value)
    return frozen or _is_module(value) or _is_function(value) or callable(value) or _acts(value)


def _closure(function: Any) -> dict[str, Any]:
    held: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            held[name] = cell.cell_contents
        except ValueError:  # a variable that is not set yet
            continue
    return held


def _names(code: CodeType) -> set[str]:
    inner = (_names(value) for value in code.co_consts if isinstance(value, CodeType))
    return set(code.co_names).union(*inner)


def _code(code: CodeType) -> Digest:
    """Return the digest of what a function does; where it stands and what its texts say is not part of it."""
    digest = Digest().text(code.co_code.hex(), code.co_names, code.co_varnames)
    for place, value in enumerate(code.co_consts):
        if isinstance(value, CodeType):
            digest.text(_code(value).hex())
        elif isinstance(value, frozenset):
            digest.text(sorted(map(repr, value)))
        elif place or not isinstance(value, str):  # the first text is the docstring
            digest.text(repr(value))
    return digest


def _around(functions: list[Any]) -> dict[str, Any]:
    """Return what functions read of the modules around them, which modules and classes are not."""
    found: dict[str, Any] = {}
    for function in functions:
        inside = function.__globals__
        found |= {name: inside[name] for name in _names(function.__code__) if name in inside}
    return {name: found[name] for name in sorted(found) if not isinstance(found[name], ModuleType | type)}


def _methods(kind: type) -> dict[str, Any]:
    """Return the functions of a class that are neither ours nor those of a library."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if _is_library(base):
            continue
        for name, value in vars(base).items():
            bare = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
            if _is_function(bare):
                found[f"{base.__qualname__}.{name}"] = bare
    return found


def _class_code(kind: type, methods: Mapping[str, Any]) -> str:
    digest = Digest()
    for name, function in sorted(methods.items()):
        digest.text(name, _code(function.__code__).hex())
    for base in kind.__mro__:
        for name, value in sorted(vars(base).items()):
            if isinstance(value, bool | int | float | str) and not name.startswith("__"):
                digest.text(name, repr(value))
    return digest.hex()


def _network(module: Any) -> dict[str, str]:
    weights = {"weights": _weights(module.state_dict())}
    return weights if _is_ours(type(module)) else {**weights, "parts": _parts(module)}


def _parts(module: Any) -> str:
    """Return the digest of the kinds of a network's layers and of their plain settings."""
    digest = Digest()
    for name, layer in module.named_modules():
        digest.text(name, _type_name(layer))
        for key, value in sorted(vars(layer).items()):
            if isinstance(value, bool | int | float | str) and not key.startswith("_") and key != "training":
                digest.text(key, repr(value))
    return digest.hex()


def _acts(value: object) -> bool:
    return not isinstance(value, type) and callable(getattr(value, "act", None))


def _is_ours(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).partition(".")[0] == _OURS


def _is_library(value: Any) -> bool:
    """Return whether a class or function comes with Python, with us or with an installed package."""
    name = str(getattr(value, "__module__", None))
    file = str(getattr(sys.modules.get(name), "__file__", ""))
    return name.partition(".")[0] in {*sys.stdlib_module_names, _OURS} or "-packages" in file


def _is_frozen(value: Any) -> bool:
    return bool(value.__dataclass_params__.frozen)


def _is_module(value: object) -> bool:
    """Return whether it is a torch module, without importing torch."""
    return not isinstance(value, type) and callable(getattr(value, "state_dict", None))


def _is_function(value: object) -> bool:
    return hasattr(value, "__code__") and hasattr(value, "__qualname__")


def _weights(state: Mapping[str, Any]) -> str:
    values = {name: value.detach().cpu() for name, value in state.items()}
    exact = {name: value.double() if value.is_floating_point() else value for name, value in values.items()}
    return Digest().arrays({name: value.numpy() for name, value in exact.items()}).hex()


def _type_name(thing: object) -> str:
    kind = thing if isinstance(thing, type) else type(thing)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix(f"{_OURS}.")
