"""JSON data that tell one thing from another: settings, arrays, modules, functions, envs and experts.

An object of no known kind, such as an expert or an env that a user wrote, is described by its type, its code
and its attributes. Some of these are memory that changes while it runs, which is no part of what it is:

- what its own `begin`, `reset`, `step`, `observe`, `render`, `restore`, `place` or `close` assigns, or what
  they call, is left out: each start makes it anew;
- what it keeps of each env row (`PerRow`) is left out, and so is what its class names in `memory`, as in
  `memory = ("calls",)`;
- what changed while steadyhand had it run (`running`) counts as it was before;
- what changed in any other way counts as it is: somebody set it.

In an env random generators count for nothing, since every start has its seed, nor does the number of rows.
An object that knows better has a method `question` that returns a mapping, and is described by that alone.
"""

import enum
import math
import random
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from steadyhand.core.digests import Digest, data_digest
from steadyhand.core.memory import remembered, without_memory
from steadyhand.core.protocol import PerRow
from steadyhand.core.source_code import (
    around,
    class_digest,
    class_values,
    closed_over,
    code_digest,
    is_function,
    is_library,
    is_ours,
    methods,
    written_by_ours,
    written_by_running,
)
from steadyhand.core.specs import EnvSpec

_DEPTH = 16
_SHOWN = 100
"""Longer lists and tables are told by a digest."""
_FOREIGN = 3
"""Levels that an object of no known kind costs: who knows what hangs on it."""
_OURS = __name__.partition(".")[0]
_is_running: ContextVar[bool] = ContextVar("_is_running", default=False)


@dataclass(frozen=True, kw_only=True)
class Described:
    """What `described` said of a thing at an earlier time.

    Attributes:
        data: JSON data.
    """

    data: Any


def described(thing: object) -> Any:
    """Return JSON data that tell `thing` from others: its type, its settings, the content of its arrays."""
    return _Description().of(thing, _DEPTH)


def as_made(thing: object) -> Described:
    """Return the description of a thing that has not run yet, which stays when the thing changes."""
    return Described(data=_Description(remembers=False).of(thing, _DEPTH))


@contextmanager
def running() -> Generator[None]:
    """Have envs and experts run: what changes meanwhile in those that were described changes by running."""
    if _is_running.get():
        yield
        return
    _look(has_run=False)
    token = _is_running.set(True)
    try:
        yield
    finally:
        _is_running.reset(token)
        _look(has_run=True)


def _look(*, has_run: bool) -> None:
    for thing, depth in remembered():
        _Description(has_run=has_run).of(thing, depth)


class _Description:
    """One walk through a thing.

    Args:
        has_run: Whether attributes that changed have changed by running.
        remembers: Whether to remember what objects are like, to see later what has changed.
    """

    def __init__(self, *, has_run: bool = False, remembers: bool = True) -> None:
        self._has_run = has_run
        self._remembers = remembers
        self._above: list[int] = []  # what is being described: an object may hold what holds it
        self._told: set[int] = set()
        self._envs = self._strangers = 0  # how many of these are envs, and of no known kind

    def of(self, thing: object, depth: int) -> Any:
        """Return JSON data; below `depth` levels the type alone.

        Functions and classes cost no level: however far away one lies that another one calls, it counts.
        """
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
                    return self._inside(thing, depth)
                finally:
                    self._above.pop()

    def _inside(self, thing: Any, depth: int) -> Any:
        inner = depth - 1
        match thing:
            case Mapping():
                return _short(self._items(thing, inner))
            case set() | frozenset():
                return sorted((self.of(value, inner) for value in thing), key=repr)
            case bytes() | bytearray():
                return Digest().text(thing.hex()).hex()
            case np.ndarray():
                return _short([self.of(value, inner) for value in thing.ravel().tolist()])
            case Sequence():
                return _short([self.of(value, inner) for value in thing])
            case _:
                return self._object(thing, depth)

    def _items(self, held: Mapping[Any, object], depth: int) -> dict[str, Any]:
        return {str(key): self.of(value, depth) for key, value in held.items()}

    def _object(self, thing: Any, depth: int) -> Any:
        name, inner = _type_name(thing), depth - 1
        if isinstance(thing, Described):
            return thing.data
        if isinstance(thing, type):
            return name if is_library(thing) else self._once(thing, lambda: self._class(thing, depth))
        if isinstance(thing, partial):
            parts = {"function": thing.func, "arguments": thing.args, "named": thing.keywords}
            return {"type": "partial", **self._items(parts, inner)}
        owner = _part(thing, "__self__")
        if callable(thing) and owner is not None and not isinstance(owner, ModuleType):
            return {"method": getattr(thing, "__name__", ""), "of": self.of(owner, inner)}
        if is_function(thing):
            return self._once(thing, lambda: self._function(thing, depth))
        if callable(thing) and isinstance(called := _part(thing, "__name__"), str):
            wrapped = _part(thing, "__wrapped__")  # a function of C, or a cache around one
            inside = {"around": wrapped} if wrapped else {}
            return {"function": called, **self._items(inside, inner)}
        if callable(_part(thing, "question")):
            return {"type": name, **self._asked(thing, depth)}
        if isinstance(_part(thing, "spec"), EnvSpec):
            return {"type": name, **self._env(thing, depth)}
        if is_dataclass(thing) and (_is_frozen(thing) or not _acts(thing)):
            values = {field.name: getattr(thing, field.name) for field in fields(thing)}
            return {"type": name, **self._items(values, inner)}
        if callable(_part(thing, "state_dict")):  # a module of torch
            return {"type": name, **_network(thing)}
        if (state := _random_state(thing)) is not None:
            return {"type": name, **({} if self._envs else {"state": self.of(state, inner)})}
        if callable(_part(thing, "detach")) and callable(_part(thing, "numpy")):
            return _weights({"": thing})
        return {"type": name, **self._attributes(thing, depth)}

    def _function(self, thing: Any, depth: int) -> dict[str, Any]:
        name = f"{thing.__module__}.{thing.__qualname__}"
        closed = closed_over(thing)
        if is_ours(thing):
            return {"function": name, **self._items(_settings(closed), depth)}
        parts = {
            "defaults": thing.__defaults__,
            "named_defaults": thing.__kwdefaults__,
            "closed_over": closed,
        }
        code = {} if is_library(thing) else {"code": code_digest(thing.__code__).hex()}
        if code:
            parts["around"] = around([thing])
        said = {
            f"{part}.{key}": self.of(value, depth)
            for part in ("closed_over", "around")
            for key, value in parts.pop(part, {}).items()
        }
        whole = None if self._strangers or len(self._told) > 1 else depth
        said = self._without_memory(thing, said, whole)
        plain = self._items({key: value for key, value in parts.items() if value}, depth)
        return {"function": name, **code, **plain, **_nested(said)}

    def _class(self, kind: type, depth: int) -> Any:
        code = self._code(kind, depth)
        return {"class": _type_name(kind), **code} if code else _type_name(kind)

    def _once(self, thing: Any, say: Callable[[], Any]) -> Any:
        """Describe a function or a class once among those that one function or class leads to."""
        if id(thing) in self._told:
            return {"said": getattr(thing, "__qualname__", "")}
        is_first = not self._told
        self._told.add(id(thing))
        try:
            return say()
        finally:
            if is_first:
                self._told.clear()

    def _asked(self, thing: Any, depth: int) -> dict[str, Any]:
        """Return what `question` says, and what was added where somebody derived a class from one of ours."""
        answer: dict[str, Any] = self._items(thing.question(), depth - 1)
        kind = type(thing)
        asked = next((base for base in kind.__mro__ if "question" in vars(base)), kind)
        if not is_ours(asked) or is_ours(kind):
            return answer
        return {**answer, **self._attributes(thing, depth, without=written_by_ours(kind))}

    def _env(self, thing: Any, depth: int) -> dict[str, Any]:
        """Return what a `BatchEnv` is; one of ours is made by its config."""
        parts = {"spec": thing.spec, "config": getattr(thing, "config", None)}
        said = self._items(parts, depth - 1)
        if is_ours(type(thing)):
            return said
        without = written_by_ours(type(thing)) | {*parts, "num_rows"}
        return {**said, **self._attributes(thing, depth, without=without)}

    def _attributes(self, thing: Any, depth: int, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
        kind = type(thing)
        held = {
            name: value
            for name, value in _held(thing).items()
            if name not in without and not isinstance(value, PerRow)
        }
        for base in kind.__mro__:
            named = vars(base).get("memory", ())
            for name in named if isinstance(named, tuple) else ():
                held.pop(name, None)
        if is_ours(kind):
            return self._items(_settings(held), depth - _FOREIGN)
        written = written_by_running(kind)
        for name in list(held):
            is_mutated = name in written.mutated and isinstance(held[name], _CONTAINERS)
            if is_mutated or name in written.assigned:
                del held[name]
        is_env = callable(_part(thing, "reset")) and callable(_part(thing, "step"))
        self._envs += is_env
        self._strangers += 1
        now: dict[str, Any] = {}
        for name, value in sorted(held.items()):
            # However many wrappers there are around an env, it is looked at.
            is_wrapped = name == "env" and hasattr(thing, "unwrapped")
            now[name] = self.of(value, depth if is_wrapped else depth - _FOREIGN)
        self._envs -= is_env
        self._strangers -= 1
        now = self._without_memory(thing, now, None if self._strangers else depth)
        return {"attributes": now, **self._code(kind, depth - _FOREIGN)}

    def _without_memory(self, thing: Any, now: dict[str, Any], depth: int | None) -> dict[str, Any]:
        if not self._remembers:
            return now
        return without_memory(thing, now, depth=depth, has_run=self._has_run)

    def _code(self, kind: type, depth: int) -> dict[str, Any]:
        """Return what the code of a class does and reads; nothing of one that is ours or a library's."""
        functions = methods(kind)
        values = self._items(class_values(kind), depth)
        read = self._without_memory(kind, self._items(around(functions.values()), depth), None)
        return {
            **({"code": class_digest(functions)} if functions else {}),
            **({"class_values": values} if values else {}),
            **({"around": read} if read else {}),
        }


def _nested(said: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return {"part": {"name": value}} of {"part.name": value}."""
    parts: dict[str, dict[str, Any]] = {}
    for path, value in said.items():
        part, _, name = path.partition(".")
        parts.setdefault(part, {})[name] = value
    return parts


def _short(data: dict[str, Any] | list[Any]) -> Any:
    return data if len(data) <= _SHOWN else data_digest(data)[:16]


_CONTAINERS = (list, dict, set, deque, np.ndarray, bytearray)


def _part(thing: Any, name: str) -> Any:
    """Return an attribute, or None where an object of a stranger has none or raises anything."""
    try:
        return getattr(thing, name, None)
    except Exception:  # a proxy, a simulator that is closed
        return None


def _random_state(thing: Any) -> Any:
    match thing:
        case np.random.Generator():
            return thing.bit_generator.state
        case np.random.RandomState():
            return thing.get_state()
        case random.Random():
            return Digest().text(repr(thing.getstate())).hex()
        case _:
            return None


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
    return callable(value) or _acts(value) or (is_dataclass(value) and _is_frozen(value))


def _network(module: Any) -> dict[str, str]:
    weights = {"weights": _weights(module.state_dict())}
    return weights if is_ours(type(module)) else {**weights, "parts": _parts(module)}


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
    return callable(getattr(value, "act", None))


def _is_frozen(value: Any) -> bool:
    return bool(value.__dataclass_params__.frozen)


def _weights(state: Mapping[str, Any]) -> str:
    values = {name: value.detach().cpu() for name, value in state.items()}
    exact = {name: value.double() if value.is_floating_point() else value for name, value in values.items()}
    return Digest().arrays({name: value.numpy() for name, value in exact.items()}).hex()


def _type_name(thing: object) -> str:
    kind = thing if isinstance(thing, type) else type(thing)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix(f"{_OURS}.")
