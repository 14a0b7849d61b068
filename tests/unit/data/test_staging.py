"""Several files at once or none: what is forced to disk when, and who finishes what another began."""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from steadyhand.core.errors import DataError
from steadyhand.core.lock import is_held
from steadyhand.data import staging
from steadyhand.data.dataset import open_dataset
from steadyhand.data.lock import LOCK_PATH, WriterLock
from steadyhand.data.staging import STAGE_PATH, StagedFiles, is_committed, write_json_indented
from steadyhand.data.store import EpisodeStore
from toy_episodes import ACTION_SPEC, OBSERVATION, assert_same, episode

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists open files")


def test_staged_files_appear_when_they_are_committed_and_vanish_when_discarded(tmp_path: Path) -> None:
    staged = StagedFiles(tmp_path / "new")
    staged.path("a/b.txt").write_text("x")
    staged.discard()
    assert not (tmp_path / "new" / STAGE_PATH).exists()
    (tmp_path / "a").mkdir()
    staged = StagedFiles(tmp_path)
    for name in ("a/b.txt", "c/d/e.txt", "a/b.txt", "c/d/f.txt"):
        staged.path(name).write_text(name)
    assert staged.names == ("a/b.txt", "c/d/e.txt", "c/d/f.txt")
    assert not list((tmp_path / "a").iterdir())
    staged.commit()
    for name in staged.names:
        assert (tmp_path / name).read_text() == name
    assert not (tmp_path / STAGE_PATH).exists()
    assert not is_committed(tmp_path)


def test_a_stage_that_was_left_is_thrown_away_by_the_next(tmp_path: Path) -> None:
    StagedFiles(tmp_path).path("a.txt").write_text("of a process that died")
    staged = StagedFiles(tmp_path)
    assert list((tmp_path / STAGE_PATH).iterdir()) == []
    staged.path("b.txt").write_text("b")
    staged.commit()
    assert [path.name for path in tmp_path.glob("*.txt")] == ["b.txt"]


@needs_proc
def test_files_are_on_disk_before_they_are_committed_and_in_place_before_that_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = tmp_path / STAGE_PATH
    forced: list[tuple[str, bool, bool]] = []  # path, whether it is committed, whether files are staged

    def fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        left = any(path.is_file() for path in (stage / "files").rglob("*"))
        forced.append((str(path.relative_to(tmp_path)), is_committed(tmp_path), left))

    def held() -> list[str]:
        names: list[str] = []
        for path in list(Path("/proc/self/fd").iterdir()):
            with suppress(FileNotFoundError):  # closed meanwhile
                names.append(str(path.readlink()))
        return [name for name in names if name.startswith(str(tmp_path))]

    staged = StagedFiles(tmp_path)
    for name in ("a/b.txt", "c/d.txt"):
        staged.path(name).write_text(name)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        staged.commit()
    files = f"{STAGE_PATH}/files"
    first, commit, last = set(forced[:4]), forced[4:6], forced[6:]
    assert first == {(f"{files}/{name}", False, True) for name in ("a", "a/b.txt", "c", "c/d.txt")}
    assert {path for path, *_ in forced[:2]} == {f"{files}/a/b.txt", f"{files}/c/d.txt"}
    assert commit[0][0].startswith(f"{STAGE_PATH}/.COMMIT.json")  # before it has its name
    assert (commit[0][1:], commit[1]) == ((False, True), (STAGE_PATH, True, True))
    assert last == [("a", True, True), ("c", True, False), (STAGE_PATH, False, False)]
    assert held() == []


def committed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what a process leaves that dies right after its commit: a new README, and the stage."""
    staged = StagedFiles(root)
    staged.path("notes/README").write_text("new")
    with monkeypatch.context() as patch:
        patch.setattr(staging, "apply", lambda root: None)
        staged.commit()
    assert is_committed(root)
    assert not (root / "notes").exists()


def new_store(root: Path) -> EpisodeStore:
    return EpisodeStore.create(root, observation=OBSERVATION, action=ACTION_SPEC, control_dt=0.1)


@pytest.mark.parametrize("who", ["reader", "recorder"])
def test_whoever_comes_next_finishes_what_was_committed_and_lets_others_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    new_store(tmp_path).close()
    committed(tmp_path, monkeypatch)
    if who == "reader":
        open_dataset(tmp_path)
        assert not is_held(tmp_path / LOCK_PATH)
    else:
        with EpisodeStore.open(tmp_path) as store:
            store.append(episode(0))
    assert (tmp_path / "notes/README").read_text() == "new"
    assert not (tmp_path / STAGE_PATH).exists()


def test_a_reader_waits_for_the_one_who_is_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_store(tmp_path).close()
    committed(tmp_path, monkeypatch)
    lock = WriterLock(tmp_path / LOCK_PATH)
    with pytest.raises(DataError, match="compacted just now"):
        open_dataset(tmp_path)
    lock.release()
    assert open_dataset(tmp_path).num_episodes == 0


def test_a_change_that_was_half_moved_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(tmp_path, monkeypatch)
    stage = tmp_path / STAGE_PATH
    (tmp_path / "notes").mkdir()
    shutil.move(stage / "files/notes/README", tmp_path / "notes/README")
    staging.apply(tmp_path)
    assert (tmp_path / "notes/README").read_text() == "new"
    assert not stage.exists()
    staging.apply(tmp_path)  # there is nothing to do, and nothing happens


def test_a_store_whose_disk_fails_between_commit_and_end_is_closed_and_goes_on_when_it_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [episode(seed) for seed in range(3)]
    store = new_store(tmp_path)
    for one in wanted[:2]:
        store.append(one)
    unlink = Path.unlink

    def refused(path: Path, **options: bool) -> None:
        if path.name == "COMMIT.json":
            raise OSError(5, "Input/output error")
        unlink(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        with pytest.raises(OSError, match="Input/output"):
            store.compact()
    store.append(wanted[2])
    store.close()
    dataset = open_dataset(tmp_path)
    assert (dataset.num_episodes, dataset.num_pending) == (3, 1)
    for number, one in enumerate(wanted):
        assert_same(dataset.episode(number), one)


def test_a_compaction_on_a_disk_that_fails_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path)
    store.append(episode(0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(OSError, match="Input/output"):
            store.compact()
    store.close()
    assert open_dataset(tmp_path).num_pending == 1


def test_json_is_indented_by_four_and_keeps_its_letters(tmp_path: Path) -> None:
    write_json_indented(tmp_path / "a.json", {"a": ["\u00e4", 1]})
    assert (tmp_path / "a.json").read_text("utf-8") == '{\n    "a": [\n        "\u00e4",\n        1\n    ]\n}'
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json_indented(tmp_path / "a.json", [float("nan")])
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"a": ["\u00e4", 1]}
    assert len(list(tmp_path.iterdir())) == 1
