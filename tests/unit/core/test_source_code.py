"""What code does, what it reads around it, and what it writes to its object while that runs."""

import math
import os.path
from collections import deque
from functools import cached_property, lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from steadyhand.core.digests import Digest
from steadyhand.core.source_code import (
    Written,
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
from steadyhand.core.specs import FeatureSpec
from steadyhand.envs.base import BatchEnv

LOG: list[int] = []
NAMES: set[int] = set()
RECENT: deque[int] = deque()
TABLE: dict[str, int] = {}
FACTORS = [1.0, 2.0]
GAIN = 0.5


class Ours:
    """A class that says it is of a module of this library."""

    __module__ = "steadyhand.envs.somewhere"


class Almost:
    __module__ = "steadyhands.envs"


@pytest.mark.parametrize(
    ("value", "ours", "library"),
    [
        (FeatureSpec, True, True),
        (FeatureSpec.check, True, True),
        (Ours, True, True),
        (Almost, False, False),
        (np.ndarray, False, True),
        (pytest, False, True),
        (math, False, True),
        (os.path.join, False, True),
        (is_ours, True, True),
        (ModuleType("physics"), False, False),
        (ModuleType("os.more"), False, True),
        (lambda: None, False, False),
        (object(), False, False),
    ],
)
def test_whose_a_thing_is_follows_from_its_module(value, ours, library):
    assert is_ours(value) == ours
    assert is_library(value) == library


def test_a_function_is_what_python_code_defines():
    assert is_function(closed_over)
    assert is_function(lambda: None)
    assert not is_function(math.sin)
    assert not is_function(FeatureSpec)
    frame_like = type("Frame", (), {"__code__": None})()
    assert not is_function(frame_like)


def test_what_a_function_closes_over_are_its_variables_without_its_logs():
    log, names, recent, table, factors, gain = [0], {0}, deque([0]), {"a": 1}, [1.0], 0.5

    class Sink:
        def append(self, _: int) -> None: ...

    sink = Sink()

    def law(x: float) -> Any:
        log.append(1)
        names.add(2)
        recent.appendleft(3)
        table.update(b=2)
        sink.append(4)
        return gain * factors[0] * x * later

    assert closed_over(law) == {"table": table, "factors": factors, "gain": gain, "sink": sink}
    later = 2.0
    assert closed_over(law)["later"] == later
    assert closed_over(test_what_a_function_closes_over_are_its_variables_without_its_logs) == {}
    namespace: dict[str, Any] = {}
    exec("def outer():\n    log = []\n    def law(): log.append(1)\n    return law", namespace)
    assert closed_over(namespace["outer"]()) == {"log": []}  # its text is nowhere to be read


def digest(text: str, name: str = "f") -> str:
    namespace: dict[str, Any] = {}
    exec(text, namespace)
    return code_digest(namespace[name].__code__).hex()


def test_code_counts_by_what_it_does_and_not_by_what_its_texts_say():
    plain = digest("def f(x): return 2.0 * x")
    assert digest("\n\ndef f(x):  # a comment\n    return 2.0 * x") == plain
    assert digest("def f(x):\n    'It doubles.'\n    return 2.0 * x") == digest(
        "def f(x):\n    'Twice.'\n    return 2.0 * x"
    )
    others = [
        "def f(x): return 3.0 * x",
        "def f(x): return 2.0 + x",
        "def f(x): return 2.0 * sin(x)",
        "def f(x): return 2.0 * cos(x)",
        "def f(y): return 2.0 * y",
        "def f(x): return x['a']",
        "def f(x): return x['b']",
        "def f(x): return x in {1, 2, 3}",
        "def f(x): return x in {1, 2, 4}",
        "def f(x): return [2.0 * y for y in x]",
        "def f(x): return [3.0 * y for y in x]",
        "def f(x): return lambda: 1",
        "def f(x): return lambda: 2",
    ]
    assert len({plain, *map(digest, others)}) == len(others) + 1

    def f(x: float) -> float: return 2.0 * x  # fmt: skip

    code = f.__code__
    words = Digest().text(code.co_code.hex(), code.co_names, code.co_varnames, "None", "2.0")
    assert code_digest(code).hex() == words.hex()


def reads(x: float, physics: Any = None) -> Any:
    def inner() -> float:
        return GAIN * FACTORS[0]

    LOG.append(1)
    NAMES.add(2)
    RECENT.extend([3])
    TABLE.update(a=1)
    return inner, math.sin(x), np.ndarray, Ours, Motor, model.pull, model.inner, closed_over, os.path


class Motor:
    strength = 1.0


def test_what_is_read_around_is_of_the_same_author(monkeypatch):
    model = ModuleType("model")
    model.pull, model.unread, model.inner = 3.0, 4.0, ModuleType("model.inner")  # type: ignore[attr-defined]
    monkeypatch.setitem(globals(), "model", model)
    found = around([reads])
    assert found == {
        "FACTORS": FACTORS,
        "GAIN": GAIN,
        "Motor": Motor,
        "TABLE": TABLE,
        "closed_over": closed_over,
        "model.pull": 3.0,
    }
    assert list(found) == sorted(found)
    assert set(around([reads, digest])) == {*found, "code_digest"}


class Base:
    rate = 1.0

    def act(self) -> float:
        return 1.0


class Derived(Base):
    memory = ("calls",)
    table = (1, 2)
    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept = 1

    @property
    def size(self) -> int:
        return 2

    @cached_property
    def area(self) -> int:
        return 3

    @staticmethod
    def help() -> int:
        return 4

    @classmethod
    def named(cls) -> int:
        return 5

    @lru_cache  # noqa: B019  as people write it
    def slow(self) -> int:
        return 6


def test_a_class_is_its_functions_and_its_values_with_those_of_its_bases():
    functions = methods(Derived)
    names = ("__init__", "size", "area", "help", "named", "slow")
    assert set(functions) == {f"Derived.{name}" for name in names} | {"Base.act"}
    assert functions["Derived.size"] is Derived.size.fget
    assert functions["Derived.help"] is Derived.help
    assert functions["Derived.named"] is Derived.named.__func__
    assert class_values(Derived) == {"Derived.table": (1, 2), "Base.rate": 1.0}
    assert methods(FeatureSpec) == {}
    digests = [Digest().text(name, code_digest(functions[name].__code__).hex()) for name in sorted(functions)]
    assert class_digest({"Base.act": Base.act}) == digests[0].hex()
    assert class_digest(functions) == class_digest(dict(reversed(functions.items())))
    assert class_digest(functions) != class_digest({**functions, "Base.act": Derived.help})


class Env:
    def reset(self, rows: Any) -> None:
        self.x = 1
        self.grid[0][1] += 1.0
        self.log.append(1)
        self._begin()
        other = self
        other.unseen = 1
        rows.taken = 2

    def _begin(self) -> None:
        self.inner.deep = 1
        del self.old
        self.queue[0].pop()
        self.__hidden = self.shown[0]
        self.__dunder__ = 1
        self.reset(1)
        self.told()

    def step(self, /) -> None:
        super().stepped()
        self.a, (self.b, *self.c) = 1, (2, 3)

    def stepped(self) -> None:
        self.by_super = 1

    @property
    def told(self) -> int:
        self.by_property = 1
        return 1

    def set_wind(self) -> None:
        self.wind = 1

    def act(self) -> None:
        self.acted = 1

    @staticmethod
    def observe() -> None:
        Env.observed = 1  # type: ignore[attr-defined]

    def close(*self: Any) -> None:
        self[0].closed = 1

    async def render(self) -> None:
        self.rendered = 1


class Longer(Env):
    def reset(self, rows: Any) -> None:
        super().reset(rows)
        self.more = 1

    def restore(self, state: Any) -> None:
        self.__hidden, self.__dunder__ = state, 2


def test_what_running_writes_is_what_its_methods_and_those_they_call_write():
    ours = {"x", "grid", "old", "_Env__hidden", "__dunder__", "a", "b", "c", "by_super", "by_property"}
    written = written_by_running(Env)
    assert written == Written(assigned=frozenset(ours), mutated=frozenset({"log", "queue"}))
    assert written_by_running(Longer).assigned == ours | {"more", "_Longer__hidden"}
    assert written_by_running(int) == Written()
    namespace: dict[str, Any] = {}
    exec("class Typed:\n    def reset(self): self.x = 1", namespace)
    assert written_by_running(namespace["Typed"]) == Written()  # its text is nowhere to be read


def test_what_ours_writes_to_an_object_of_a_derived_class_is_not_what_its_author_writes():
    class Mine(BatchEnv):
        def reset(self, starts: Any, rows: Any) -> None:
            self.mine = 1

    Ours_ = type("Ours", (), {"__module__": "steadyhand.x", "reset": Env.reset, "act": Env.act})
    kind = type("Kind", (Longer, Ours_), {})
    assert written_by_ours(kind) == {"x", "grid", "acted"}
    assert "mine" not in written_by_ours(Mine)
