"""A folder holds the answer to one question: the same finds it, another is refused by what differs."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from steadyhand.core import question
from steadyhand.core.description import described
from steadyhand.core.digests import Digest
from steadyhand.core.errors import ConfigError
from steadyhand.core.question import answering, claim, differences
from steadyhand.core.source_code import class_values
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.experts.swing_up import SwingUp


@dataclass(frozen=True, kw_only=True)
class Settings:
    rate: float = 0.5
    sizes: tuple[int, ...] = (2, 3)


def ask(folder: Path, **parts: object) -> None:
    claim(folder, "fit", parts, answered=False)


def test_the_same_question_passes_and_another_names_what_differs(tmp_path: Path) -> None:
    ask(tmp_path, seed=0, settings=Settings())
    ask(tmp_path, seed=0, settings=Settings())
    with pytest.raises(ConfigError, match=r"seed: 0 there, 1 asked for"):
        ask(tmp_path, seed=1, settings=Settings())
    with pytest.raises(ConfigError, match=r"settings\.rate: 0\.5 there, 0\.25 asked for"):
        ask(tmp_path, seed=0, settings=Settings(rate=0.25))
    with pytest.raises(ConfigError, match="more: None there, 3 asked for"):
        ask(tmp_path, seed=0, settings=Settings(), more=3)


def test_data_are_named_by_their_steps_and_their_content(tmp_path: Path) -> None:
    assert differences({"steps": 4, "sha256": "ab"}, {"steps": 5, "sha256": "cd"}, "data") == (
        "data: 4 steps of content ab there, 5 steps of content cd asked for"
    )
    ask(tmp_path, data={"episodes": 1, "steps": 400, "sha256": "ab"})
    with pytest.raises(ConfigError, match="data: 400 steps of content ab there, 400 steps of content cd"):
        ask(tmp_path, data={"episodes": 1, "steps": 400, "sha256": "cd"})


def test_questions_of_two_kinds_lie_side_by_side_in_readable_form(tmp_path: Path) -> None:
    ask(tmp_path, seed=0)
    claim(tmp_path, "teach", {"seed": 7}, answered=False)
    ask(tmp_path, seed=0)
    held = json.loads((tmp_path / "question.json").read_text())
    assert {name: one["parts"] for name, one in held.items()} == {"fit": {"seed": 0}, "teach": {"seed": 7}}


def test_a_version_that_computes_other_numbers_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(tmp_path, seed=0)
    monkeypatch.setattr(question, "NUMERICS", question.NUMERICS + 1)
    with pytest.raises(ConfigError, match="computes other numbers"):
        ask(tmp_path, seed=0)


@pytest.mark.parametrize(
    ("held", "says"),
    [
        ([], "does not describe a question.*list"),
        ({"fit": 3}, "computes other numbers.*numerics None, of version None"),
        ({"fit": {"numerics": question.NUMERICS}}, "another question.*None there, {'seed': 0} asked for"),
    ],
)
def test_a_question_that_is_none_is_refused(held: object, says: str, tmp_path: Path) -> None:
    (tmp_path / "question.json").write_text(json.dumps(held))
    with pytest.raises(ConfigError, match=f"(?s){says}"):
        ask(tmp_path, seed=0)


def test_what_is_no_answer_leaves_the_folder_free(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with answering(tmp_path, "rounds", {"seed": 0}, answers="round-*"):
        (tmp_path / "round-01").mkdir()
    with answering(tmp_path, "rounds", {"seed": 0}, answers="round-*"):
        pass


def test_an_answer_without_its_question_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "round-01").mkdir()
    with (
        pytest.raises(ConfigError, match="does not say to which question"),
        answering(tmp_path, "rounds", {"seed": 0}, answers="round-*"),
    ):
        pass


def test_arrays_modules_and_functions_count_by_their_content() -> None:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert described(a) == described(np.asfortranarray(a))
    assert described(a) != described(a.T) != described(a.astype(np.float64))
    changed = a.copy()
    changed[1, 2] = np.nextafter(changed[1, 2], np.float32(9))
    assert described(a) != described(changed)

    one, two = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    assert described(one) != described(two)
    two.load_state_dict(one.state_dict())
    assert described(one) == described(two)

    def expert_around(module: torch.nn.Module):
        return lambda x: module(x)

    other = torch.nn.Linear(2, 1)
    assert described(expert_around(one)) == described(expert_around(two)) != described(expert_around(other))


class Law:
    """An expert as a user writes one: it gives no thought to questions."""

    def __init__(self, gain: float = 0.5, **more: object) -> None:
        self.gain, self._limit, self.calls = gain, (-1.0, 1.0), 0
        self.seen, self.random = np.zeros(2), np.random.default_rng(0)
        self.__dict__.update(more)

    def act(self, seen: np.ndarray) -> np.ndarray:
        self.calls += 1
        self.seen = seen
        self.last = self.random.normal()
        return -self.gain * seen


class Pid:
    __slots__ = ("kp",)

    def __init__(self, kp: float) -> None:
        self.kp = kp


@pytest.mark.parametrize(
    "changes",
    [
        {"gain": 0.7},
        {"_limit": (-1.0, 2.0)},
        {"seen": np.ones(2)},
        {"random": np.random.default_rng(1)},
        {"inner": Pid(2.0)},
        {"weights": torch.zeros(2)},
        {"name": "other"},
        {"hook": np.tanh},
        {"law": lambda x: 2 * x},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_expert_of_one_s_own_counts_by_its_attributes(changes: dict[str, object], tmp_path: Path) -> None:
    usual = {"inner": Pid(1.0), "weights": torch.ones(2), "name": "x", "hook": np.sin, "law": lambda x: 3 * x}
    ask(tmp_path, expert=Law(**usual))
    ask(tmp_path, expert=Law(**usual))
    name = next(iter(changes))
    with pytest.raises(ConfigError, match=rf"(?s)expert\.attributes\.{name}.*method question\(\)"):
        ask(tmp_path, expert=Law(**{**usual, **changes}))


def test_what_changed_while_it_drove_is_memory_and_what_somebody_set_is_not(tmp_path: Path) -> None:
    law, fresh = Law(), described(Law())
    with answering(tmp_path / "1", "rounds", {"expert": law}, answers="x"):
        law.act(np.ones(2))
    assert law.calls == 1
    assert described(law) == fresh
    with answering(tmp_path / "2", "rounds", {"expert": law}, answers="x"):
        law.act(np.full(2, 2.0))
    assert described(law) == fresh
    law.gain = 0.7
    set_by_hand = described(law)
    assert set_by_hand == described(Law(0.7)) != fresh
    with answering(tmp_path / "3", "rounds", {"expert": law}, answers="x"):
        law.act(np.ones(2))
    assert described(law) == set_by_hand
    with pytest.raises(ConfigError, match=r"expert\.attributes\.gain: 0\.5 there, 0\.7 asked for"):
        claim(tmp_path / "1", "rounds", {"expert": law}, answered=True)


def test_a_class_may_name_its_memory_or_return_its_settings() -> None:
    class Named(Law):
        memory = ("calls", "seen", "last", "random")

    class Asked(Law):
        def question(self) -> dict[str, object]:
            return {"gain": self.gain}

    for kind in (Named, Asked):
        law, fresh = kind(), described(kind())
        law.act(np.ones(2))
        assert described(law) == fresh != described(kind(0.7))


def test_objects_that_hold_each_other_and_dead_ones_are_described() -> None:
    law = Law()
    law.__dict__["me"] = [law]
    assert described(law) == described(law)
    for gain in range(50):
        assert described(Law(gain))["attributes"]["gain"] == gain


GAIN = 0.5


def around(x: float) -> float:
    return -GAIN * x


def outer(x: float) -> float:
    return around(x)


def test_functions_count_by_what_they_do_and_by_what_they_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def law(gain: float = 0.5, *, bias: float = 0.0):
        return lambda x, g=gain: bias - g * x

    assert described(law()) == described(law()) != described(law(0.7))
    assert described(law()) != described(law(bias=0.1))
    assert described(lambda x: 0.5 * x) != described(lambda x: 0.7 * x)
    assert described(lambda x: np.sin(x)) != described(lambda x: np.cos(x))
    assert described(partial(law, 0.5)) == described(partial(law, 0.5)) != described(partial(law, 0.7))
    assert described(partial(law, bias=1)) != described(partial(law, bias=2))
    assert described(Law(0.5).act) == described(Law(0.5).act) != described(Law(0.7).act)
    before = described(outer)
    monkeypatch.setitem(globals(), "GAIN", 0.7)
    assert described(outer) != before


def test_a_class_counts_by_its_code_and_ours_by_their_settings() -> None:
    def kind(factor: float) -> type:
        class Same(Law):
            def act(self, seen: np.ndarray) -> np.ndarray:
                return seen * (0.5 if factor < 1 else 0.7)

        class Other(Law):
            def act(self, seen: np.ndarray) -> np.ndarray:
                return seen * 0.7

        Other.__qualname__ = Same.__qualname__
        return Same if factor < 1 else Other

    assert described(kind(0.5)()) == described(kind(0.5)()) != described(kind(1.0)())
    assert described(PurePursuit(lookahead=0.6)) != described(PurePursuit(lookahead=0.8))
    assert described(SwingUp(gain=1.0)) != described(SwingUp(gain=2.0))
    one, two = (torch.nn.Sequential(torch.nn.Linear(1, 1), kind()) for kind in (torch.nn.ReLU, torch.nn.Tanh))
    two.load_state_dict(one.state_dict())
    assert described(one) != described(two)


SETS = "print(__import__('steadyhand.core.description', fromlist=['x']).described({'a', 'b', 'c', 'd', 'e'}))"


def test_a_description_is_the_same_in_every_process() -> None:
    said = {
        subprocess.check_output([sys.executable, "-c", SETS], env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    }
    assert len(said) == 1


def test_what_json_cannot_hold_can_be_asked(tmp_path: Path) -> None:
    ask(tmp_path, low=float("-inf"))
    ask(tmp_path, low=float("-inf"))
    with pytest.raises(ConfigError, match="low: '-inf' there, 'inf' asked"):
        ask(tmp_path, low=float("inf"))


def test_a_digest_does_not_confuse_where_things_end() -> None:
    assert Digest().text("ab", "c").hex() != Digest().text("a", "bc").hex()
    ones = np.ones(4, np.uint8)
    single = [Digest().array("x", np.array(value)).hex() for value in (1.0, 2.0, 1)]
    assert len({*single, Digest().array("x", np.ones(1)).hex()}) == 4
    assert Digest().array("x", ones).array("y", ones[:2]).hex() != (
        Digest().array("x", ones[:2]).array("y", ones).hex()
    )


def test_large_arrays_are_read_in_parts_with_the_same_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(1000, 7))
    whole = Digest().array("x", values).hex()
    monkeypatch.setattr("steadyhand.core.digests._AT_ONCE", 100)
    assert Digest().array("x", values).hex() == whole


def test_data_beside_something_else_are_compared_key_by_key():
    told = differences({"steps": 4, "sha256": "ab"}, {"episodes": 2}, "data")
    assert "data.steps: 4 there, None asked for" in told
    assert "data.episodes: None there, 2 asked for" in told


def test_single_numbers_and_arrays_of_one_have_digests_of_their_own() -> None:
    def of(values: np.ndarray) -> str:
        return Digest().array("x", values).hex()

    assert of(np.array(1.0)) == of(np.array(1.0))
    assert len({of(np.array(1.0)), of(np.array(2.0)), of(np.array([1.0])), of(np.array([[1.0]]))}) == 4


def test_a_part_that_is_no_table_any_more_is_shown_whole() -> None:
    assert differences({"a": 1}, 3, "part") == "part: {'a': 1} there, 3 asked for"
    assert differences(3, {"a": 1}, "part") == "part: 3 there, {'a': 1} asked for"


def test_differences_name_the_keys_and_what_is_missing():
    there, asked = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "d": {"e": 5}}
    assert differences(there, asked) == "a.c: 2 there, 4 asked for; d: 3 there, {'e': 5} asked for"
    assert differences({"a": {"e": 5}}, {}) == "a: {'e': 5} there, None asked for"


def test_what_a_class_holds_beside_its_functions_are_its_values() -> None:
    class Expert:
        memory = ("calls",)
        rate = 0.5
        _gain = (1, 2)

        def act(self) -> None: ...

        @property
        def size(self) -> int:
            return 3

        @staticmethod
        def help() -> None: ...

    name = Expert.__qualname__
    assert class_values(Expert) == {f"{name}._gain": (1, 2), f"{name}.rate": 0.5}


def test_what_can_be_made_an_array_is_a_tensor_only_if_it_can_be_detached() -> None:
    class Reading:
        def __init__(self) -> None:
            self.level = 2.0

        def numpy(self) -> np.ndarray:
            raise AssertionError("nobody asked")

    assert described(Reading())["attributes"] == {"level": 2.0}
    assert described(torch.ones(2)) == described(torch.ones(2))
    assert described(torch.ones(2)) != described(torch.zeros(2))
