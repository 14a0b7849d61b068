"""What is told of a thing, exactly: how deep, how much of it, and what of it is memory."""

import functools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from steadyhand.core.description import Described, as_made, described, running
from steadyhand.core.digests import Digest, data_digest
from steadyhand.core.memory import remembered
from steadyhand.core.protocol import PerRow
from steadyhand.core.specs import EnvSpec, FeatureSpec
from steadyhand.envs.car import CarConfig


def nested(levels: int, inside: object) -> Any:
    """Return lists in each other."""
    return functools.reduce(lambda inner, _: [inner], range(levels), inside)


def deepest(around: Callable[[Any], object], levels: int) -> bool:
    """Return whether so many lists in each other are told apart by what is in the innermost, and no more."""
    first, second = (
        [described(around(nested(count, inside))) for inside in (1, 2)] for count in (levels, levels + 1)
    )
    return first[0] != first[1] and second[0] == second[1]


class Color(Enum):
    RED = 1


def test_plain_things_are_themselves():
    assert described({"a": None, 2: True, "c": (1, "x", 0.5)}) == {"a": None, "2": True, "c": [1, "x", 0.5]}
    assert described([math.inf, -math.inf, math.nan]) == ["inf", "-inf", "nan"]
    assert described([Color.RED, Path("a/b"), {"b", "a"}]) == ["RED", "a/b", ["a", "b"]]
    assert described(np.array([1, "a", None], dtype=object)) == [1, "a", None]
    assert described(np.float32(2.0)) == described(np.array(2.0, dtype=np.float32))
    assert described(b"ab") == described(bytearray(b"ab")) == Digest().text("6162").hex()
    assert described(CarConfig())["type"] == "envs.car.config.CarConfig"


def test_long_lists_and_tables_are_told_by_a_digest():
    assert described(list(range(100))) == list(range(100))
    assert described(list(range(101))) == data_digest(list(range(101)))[:16]
    table = {f"{number:03}": number for number in range(101)}
    assert described(table) == data_digest(table)[:16]


def test_the_same_thing_twice_is_told_twice_unless_it_is_within_itself():
    inner: list[Any] = [1]
    assert described([inner, inner]) == [[1], [1]]
    inner.append(inner)
    assert described(inner) == [1, "builtins.list"]


class Holder:
    def __init__(self, held: object, **more: object) -> None:
        self.held = held
        self.__dict__.update(more)


@dataclass(frozen=True, kw_only=True)
class Frozen:
    held: Any = None


class Wrapping:
    """As Gymnasium's wrappers."""

    unwrapped = None

    def __init__(self, env: object) -> None:
        self.env = env


class Enveloping:
    """No wrapper of an env, whatever its attribute is called."""

    def __init__(self, env: object) -> None:
        self.env = env


def wrapped(kind: type, times: int, thing: object) -> object:
    return functools.reduce(lambda inner, _: kind(inner), range(times), thing)


def closing(held: object) -> Callable[[], object]:
    return lambda: held


def defaulting(held: object) -> Callable[..., object]:
    def law(one: object = held) -> object:
        return one

    return law


class Asking:
    def __init__(self, held: object) -> None:
        self.held = held

    def question(self) -> dict[str, object]:
        return {"held": self.held}


class Configured:
    spec = EnvSpec(
        env_id="x",
        observation={"x": FeatureSpec(shape=(1,))},
        action=FeatureSpec(shape=(1,)),
        control_dt=0.1,
        max_episode_steps=1,
    )

    def __init__(self, config: object) -> None:
        self.config = config


def valued(held: object) -> type:
    return type("Valued", (), {"held": held, "__module__": __name__})


def test_how_deep_a_thing_is_looked_into():
    """Lists cost a level, objects of no known kind three, wrappers of an env, functions and classes none."""
    assert deepest(lambda inner: inner, 16)
    assert deepest(lambda inner: {"a": inner}, 15)
    assert deepest(lambda inner: {"a": (inner,)}, 14)
    assert deepest(lambda inner: Frozen(held=inner), 15)
    assert deepest(Holder, 13)
    assert deepest(lambda inner: Holder(Holder(inner)), 10)
    assert deepest(lambda inner: wrapped(Wrapping, 20, Holder(inner)), 13)
    assert deepest(lambda inner: wrapped(Enveloping, 2, inner), 10)
    assert deepest(lambda inner: Wrapping(Holder(None, other=1, env=inner)), 13)
    assert deepest(closing, 16)
    assert deepest(lambda inner: closing(closing(closing(inner))), 16)
    assert deepest(lambda inner: partial(closing, inner), 14)
    assert deepest(defaulting, 15)
    assert deepest(valued, 16)
    assert deepest(lambda inner: valued(inner)(), 13)
    assert deepest(lambda inner: ours(law=closing(inner)), 13)
    assert deepest(Asking, 15)
    assert deepest(Configured, 15)


def test_functions_and_methods_are_told_by_what_they_are_and_what_they_are_of():
    assert described(math.sin) == {"function": "sin"}
    assert described(partial(math.atan2, 1.0, x=2)) == {
        "type": "partial",
        "function": {"function": "atan2"},
        "arguments": [1.0],
        "named": {"x": 2},
    }
    assert described([1].append) == {"method": "append", "of": [1]}
    assert described(Frozen(held=1).__eq__)["of"]["held"] == 1

    @lru_cache
    def slow(x: float) -> float:
        return 2.0 * x

    told = described(slow)
    assert told["function"] == "slow"
    assert told["around"] == described(slow.__wrapped__)
    assert described(closing) == {
        "function": f"{__name__}.closing",
        "code": described(closing)["code"],
    }
    assert described(closing(3))["closed_over"] == {"held": 3}
    assert described(defaulting(4))["defaults"] == [4]


def common() -> float:
    return 2.0


def left() -> float:
    return common()


def right() -> float:
    return 3.0 * common()


def both() -> float:
    return left() + right()


def test_a_function_that_two_others_call_is_told_once_and_anew_for_another():
    told = described([both, both])
    assert told[0] == told[1]
    inside = told[0]["around"]
    assert list(inside) == ["left", "right"]
    assert "code" in inside["left"]["around"]["common"]
    assert inside["right"]["around"]["common"] == {"said": "common"}


@dataclass
class Loose:
    gain: float = 1.0


@dataclass
class Acting:
    gain: float = 1.0

    def act(self) -> float:
        return self.gain


@dataclass(frozen=True)
class Fixed:
    gain: float = 1.0

    def act(self) -> float:
        return self.gain


def test_a_dataclass_is_its_fields_unless_it_acts_and_may_change():
    for kind in (Loose, Fixed):
        assert described(kind()) == {"type": f"{__name__}.{kind.__name__}", "gain": 1.0}
    assert described(Acting())["attributes"] == {"gain": 1.0}
    assert "code" in described(Acting())


class Slotted:
    __slots__ = ("__dict__", "first", "unset")

    def __init__(self) -> None:
        self.first = 1
        self.second = 2


class One(Slotted):
    __slots__ = "third"  # noqa: PLC0205  as it may be written

    def __init__(self) -> None:
        super().__init__()
        self.third = 3


def test_slots_are_attributes():
    assert described(One())["attributes"] == {"first": 1, "second": 2, "third": 3}


def test_what_an_object_makes_anew_when_it_runs_is_left_out():
    class Memory:
        memory = ("named",)

        def __init__(self) -> None:
            self.rows, self.named, self.log, self.started = PerRow(0), 1, [1], 2
            self.tool, self.kept = SimpleNamespace(size=3), [4]

        def reset(self) -> None:
            self.started = 0
            self.log.append(1)
            self.tool.update()

    class Derived(Memory):
        memory = ("kept",)

    assert set(described(Memory())["attributes"]) == {"tool", "kept"}
    assert set(described(Derived())["attributes"]) == {"tool"}
    assert described(Derived())["attributes"]["tool"]["attributes"] == {"size": 3}


def test_random_generators_count_but_in_an_env():
    class Law:
        def __init__(self, seed: int) -> None:
            self.numpy, self.old = np.random.default_rng(seed), np.random.RandomState(seed)
            self.dice = random.Random(seed)

        def reset(self) -> None: ...

    class Env(Law):
        def step(self) -> None: ...

    told = described(Law(0))["attributes"]
    changed = described(Law(1))["attributes"]
    assert {name for name in told if told[name] != changed[name]} == {"numpy", "old", "dice"}
    assert described(Env(0)) == described(Env(1))
    assert described([Env(0), Law(0)]) != described([Env(0), Law(1)])
    assert described(Holder(Env(0))) == described(Holder(Env(1)))


def ours(**attributes: object) -> object:
    """Return an object that says it is of a class of this library."""
    thing = type("Ours", (), {"__module__": "steadyhand.experts.some"})()
    vars(thing).update(attributes)
    return thing


def test_of_ours_settings_count_and_private_arrays_do_not():
    settings = {"gain": 1, "_mode": "x", "fixed": Fixed(), "acting": Acting(), "law": math.sin, "kind": Loose}
    told = described(ours(table=np.ones(2), _buffer=np.ones(3), loose=Loose(), log=[1], **settings))
    assert set(told) == {"type", "table", *settings}
    assert told["type"] == "experts.some.Ours"


class Asked:
    __module__ = "steadyhand.envs.some"

    def __init__(self, size: int) -> None:
        self.size = size

    def question(self) -> dict[str, object]:
        return {"size": self.size}


def test_what_derives_from_ours_counts_beside_what_ours_answers():
    class Mine(Asked):
        def __init__(self, size: int, more: int) -> None:
            super().__init__(size)
            self.more = more

    class Answering(Mine):
        def question(self) -> dict[str, object]:
            return {"more": self.more}

    assert described(Asked(1)) == {"type": "envs.some.Asked", "size": 1}
    told = described(Mine(1, 2))
    assert (told["size"], told["attributes"]) == (1, {"more": 2})
    assert "code" in told
    assert set(described(Answering(1, 2))) == {"type", "more"}


def network(*layers: torch.nn.Module) -> torch.nn.Module:
    return torch.nn.Sequential(*layers)


def test_a_network_is_its_weights_its_layers_and_their_settings_in_whatever_mode():
    drop, more = network(torch.nn.Dropout(0.1)), network(torch.nn.Dropout(0.2))
    assert described(drop) == described(network(torch.nn.Dropout(0.1))) != described(more)
    assert described(drop.eval()) == described(network(torch.nn.Dropout(0.1)))
    assert described(network(torch.nn.Tanh())) != described(network(torch.nn.Sigmoid()))
    assert set(described(drop)) == {"type", "weights", "parts"}
    norm = network(torch.nn.BatchNorm1d(2))
    before = described(norm)
    norm(torch.randn(5, 2, generator=torch.Generator().manual_seed(0)))
    assert described(norm) != before
    assert described(torch.tensor([1, 2])) != described(torch.tensor([1, 3]))
    weight = torch.nn.Parameter(torch.ones(2))
    assert described(weight) == described(torch.ones(2, dtype=torch.float64))


def test_two_things_of_one_question_both_have_their_memory():
    class Counter:
        def __init__(self, inner: object = None) -> None:
            self.calls, self.recent, self.inner = 0, deque[int](maxlen=2), inner

        def act(self) -> None:
            self.calls += 1
            self.recent.append(self.calls)
            if isinstance(self.inner, Counter):
                self.inner.act()

    made = [Counter(Counter()), Counter(Counter()), Counter()]
    before = described(made)
    for _ in range(2):
        with running():
            for one in made:
                one.act()
        assert described(made) == before
    made[1].calls = 7
    assert described(made) != before
    assert described(made)[1]["attributes"]["calls"] == 7
    del made[0].calls
    made[2].more = 1  # type: ignore[attr-defined]
    assert "calls" not in described(made)[0]["attributes"]
    assert described(made)[2]["attributes"]["more"] == 1


def test_memory_at_the_end_of_what_is_looked_into_is_memory_too():
    """A function's sixteenth level, and the thirteenth in an object, which costs three."""
    places = [[0], [0]]
    law, thing = closing(nested(15, places[0])), Holder(nested(12, places[1]))
    before = described(law), described(thing)
    with running():
        for place in places:
            place[0] += 1
    assert (described(law), described(thing)) == before
    places[1][0] += 1
    assert described(thing) != before[1]


def test_what_is_described_as_made_stays_and_is_not_looked_at_again():
    thing, other = Holder([1]), Holder([1])
    told = as_made(thing)
    assert told.data == described(other)
    thing.held = [2]
    assert described(told) == described(other)
    assert described(Described(data={"a": 1})) == {"a": 1}
    seen = [one for one, _ in remembered()]
    assert any(one is other for one in seen)
    assert not any(one is thing for one in seen)


def test_an_attribute_that_raises_is_none_of_it():
    class Closed:
        @property
        def question(self) -> object:
            raise ConnectionError

        @property
        def spec(self) -> object:
            raise ConnectionError

    assert described(Closed())["attributes"] == {}


@pytest.mark.parametrize("kind", [list, dict, set])
def test_what_a_law_only_adds_to_is_its_log(kind):
    log = kind()

    def law() -> None:
        if isinstance(log, list):
            log.append(1)
        elif isinstance(log, set):
            log.add(1)
        else:
            log.update(a=1)

    before = described(law)
    law()
    assert (described(law) == before) == (kind is not dict)
