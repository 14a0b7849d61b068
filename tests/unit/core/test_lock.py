"""One process and one thread at a time in a folder, and what a killed one leaves there."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from steadyhand.core import lock
from steadyhand.core.errors import ConfigError
from steadyhand.core.lock import FileLock, is_held, remove_leftovers, working_in
from steadyhand.core.question import claim

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
    claim(tmp_path, "fit", {"seed": 0}, answered=False)
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


def test_a_leftover_is_no_result_and_takes_no_result_s_place(tmp_path: Path) -> None:
    for name, text in ((".best.tmp", "half"), (".policy.7.old", "before"), ("policy", "after")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.json").write_text(text)
    (tmp_path / ".run.json.old").write_text("before")
    remove_leftovers(tmp_path)
    assert {path.name: path.is_dir() for path in tmp_path.iterdir()} == {"policy": True, "run.json": False}
    assert (tmp_path / "policy" / "policy.json").read_text() == "after"


def test_a_leftover_that_cannot_be_removed_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    (tmp_path / ".best.tmp").mkdir()
    monkeypatch.setattr(os, "rmdir", refuse)
    remove_leftovers(tmp_path)
    assert (tmp_path / ".best.tmp").exists()


def test_a_lock_tells_who_holds_it_and_whether_anybody_does(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    assert not is_held(path)
    assert not path.exists()
    assert not is_held(tmp_path)  # no lock can be made of a folder
    held = FileLock(path)
    assert is_held(path)
    for text in ("process 1234", "thread 7", ""):
        held.note(text)
        assert path.read_text() == text
    held.release()
    assert not is_held(path)
    assert not path.stat().st_mode & 0o111


def test_who_looks_for_an_instant_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one lets go at the second pause; every wait is one, and no descriptor stays open."""
    other, pauses = FileLock(tmp_path / "x"), list[float]()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            other.release()

    monkeypatch.setattr(lock.time, "sleep", pause)
    FileLock(tmp_path / "x").release()
    assert len(pauses) == 2


def test_a_refused_lock_leaves_no_file_open(tmp_path: Path) -> None:
    held = FileLock(tmp_path / "x")
    before = len([*Path("/dev/fd").iterdir()])
    with pytest.raises(BlockingIOError):
        FileLock(tmp_path / "x")
    assert len([*Path("/dev/fd").iterdir()]) == before
    held.release()


def test_a_folder_that_is_not_there_is_made_and_may_be_entered_again(tmp_path: Path) -> None:
    for _ in range(2):
        with working_in(tmp_path / "a" / "b"):
            assert is_held(tmp_path / "a" / "b" / ".lock")
            assert (tmp_path / "a" / "b" / ".lock").read_text() == f"process {os.getpid()}\n"


def test_an_unreadable_note_is_of_somebody(tmp_path: Path) -> None:
    held = FileLock(tmp_path / ".lock")
    for note in (b"", b"\xff"):
        (tmp_path / ".lock").write_bytes(note)
        with pytest.raises(ConfigError, match="another process"), working_in(tmp_path):
            pass
    held.release()
