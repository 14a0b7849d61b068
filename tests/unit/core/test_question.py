"""A folder holds the answer to one question: the same finds it, another is refused by what differs."""

import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from steadyhand.core import question
from steadyhand.core.digests import Digest
from steadyhand.core.errors import ConfigError
from steadyhand.core.lock import working_in
from steadyhand.core.names import file_name
from steadyhand.core.question import answering, claim, described


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


def test_the_memory_of_a_controller_is_no_part_of_a_question() -> None:
    class Counting:
        def __init__(self) -> None:
            self.settings, self.calls, self.seen = Settings(), 0, np.zeros(2)

    one, two = Counting(), Counting()
    two.calls, two.seen = 5, np.ones(2)
    assert described(one) == described(two)
    two.settings = Settings(rate=1.0)
    assert described(one) != described(two)


def test_what_json_cannot_hold_can_be_asked(tmp_path: Path) -> None:
    ask(tmp_path, low=float("-inf"))
    ask(tmp_path, low=float("-inf"))
    with pytest.raises(ConfigError, match="low: '-inf' there, 'inf' asked"):
        ask(tmp_path, low=float("inf"))


def test_a_digest_does_not_confuse_where_things_end() -> None:
    assert Digest().text("ab", "c").hex() != Digest().text("a", "bc").hex()
    ones = np.ones(4, np.uint8)
    assert Digest().array("x", ones).array("y", ones[:2]).hex() != (
        Digest().array("x", ones[:2]).array("y", ones).hex()
    )


def test_large_arrays_are_read_in_parts_with_the_same_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(1000, 7))
    whole = Digest().array("x", values).hex()
    monkeypatch.setattr("steadyhand.core.digests._AT_ONCE", 100)
    assert Digest().array("x", values).hex() == whole


HOLD = """
import sys, time
from pathlib import Path
from steadyhand.core.lock import working_in
with working_in(Path(sys.argv[1])):
    print("holding", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_by_the_number_of_the_first_and_let_in_once_it_died(
    tmp_path: Path,
) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"holding\n"
        with pytest.raises(ConfigError, match=f"process {first.pid}"), working_in(tmp_path):
            pass
        first.kill()
        first.wait()
    with working_in(tmp_path):
        pass


def test_a_thread_may_enter_its_folder_again_and_another_thread_may_not(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def other() -> None:
        try:
            with working_in(tmp_path):
                pass
        except ConfigError as error:
            errors.append(error)

    with working_in(tmp_path), working_in(tmp_path), working_in(tmp_path / "inner"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(errors) == 1
    assert "another thread" in str(errors[0])


def test_leftovers_of_a_killed_process_are_removed_and_what_it_moved_aside_returns(tmp_path: Path) -> None:
    ask(tmp_path, seed=0)
    inner = tmp_path / "round-01"
    for name in (".policy.tmp", ".episodes.123.tmp", ".step-00000040.tmp"):
        (inner / name).mkdir(parents=True)
        (inner / name / "weights.safetensors").write_bytes(b"half")
    (tmp_path / ".report.html.99.tmp").write_text("half")
    (inner / ".policy.old").mkdir()
    (inner / ".policy.old" / "policy.json").write_text("{}")
    (tmp_path / ".notes.tmp").write_text("of the user")
    with working_in(tmp_path):
        left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == [".lock", ".notes.tmp", "question.json", "round-01/policy/policy.json"]


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", " ", "a\\b", "x" * 200, "a\0b", "a\x1b[2J"])
def test_a_name_that_would_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be that of a file"):
        file_name(name, what="The name of a policy")
    assert file_name("HG-DAgger, round 2", what="x") == "HG-DAgger, round 2"
