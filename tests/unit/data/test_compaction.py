"""What a compaction writes, in which blocks, and what it leaves where it fails or dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from steadyhand.core.digests import sealed
from steadyhand.core.errors import DataError
from steadyhand.core.specs import image_spec
from steadyhand.data import staging
from steadyhand.data.dataset import open_dataset
from steadyhand.data.episode import EpisodeOrigin
from steadyhand.data.formats.blocks import EpisodeBlock
from steadyhand.data.formats.lerobot_v3_writer import EpisodeWriter
from steadyhand.data.journal import JOURNAL_PATH
from steadyhand.data.lock import WriterLock
from steadyhand.data.problems import Problem, from_error
from steadyhand.data.records import MAGIC
from steadyhand.data.store import EpisodeStore
from steadyhand.data.video_digests import altered_videos
from toy_episodes import ACTION_SPEC, OBSERVATION, assert_same, episode, record_steps

CAMERA = {"observation.images.top": image_spec(16, 24, 3)}


def new_store(root: Path, observation=OBSERVATION, **options) -> EpisodeStore:
    options = {"control_dt": 0.1, **options}
    return EpisodeStore.create(root, observation=observation, action=ACTION_SPEC, **options)


def info_of(root: Path) -> dict[str, object]:
    return json.loads((root / "meta/info.json").read_text())


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 16
    path.write_bytes(bytes(data))


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_totals_count_what_is_in_files(tmp_path: Path) -> None:
    (tmp_path / "meta/steadyhand").mkdir(parents=True)  # which another try may have left

    def totals() -> tuple[object, ...]:
        info = info_of(tmp_path)
        return tuple(info[f"total_{name}"] for name in ("episodes", "frames", "tasks"))

    with new_store(tmp_path) as store:
        assert totals() == (0, 0, 0)
        for seed, length in enumerate((3, 4)):
            store.append(episode(seed, length=length))
        store.compact()
        assert totals() == (2, 7, 2)
        store.append(episode(2, length=6))  # of the first task
        assert totals() == (2, 7, 2)
        store.compact()
        assert totals() == (3, 13, 2)


@pytest.mark.parametrize(
    ("seeds", "columns"),
    [  # episode k succeeded if k % 3 is 0, failed if it is 1, and nobody knows if it is 2
        ([[0, 2], [5]], [[[True, False]], [[True, False], [False]]]),
        ([[2], [0]], [None, None]),
        ([[2, 1], [2]], [[[False, False]], [[False, False], [False]]]),
        ([[2, 5]], [None]),
    ],
)
def test_success_is_a_column_where_anything_told_it_and_the_files_before_have_it(
    tmp_path: Path, seeds: list[list[int]], columns: list[list[list[bool]] | None]
) -> None:
    with new_store(tmp_path) as store:
        for part, expected in zip(seeds, columns, strict=True):
            for seed in part:
                store.append(episode(seed, length=2))
            assert store.compact() == len(part)
            assert ("next.success" in info_of(tmp_path)["features"]) == (expected is not None)
            files = sorted((tmp_path / "data").rglob("*.parquet"))
            tables = [pq.read_table(path) for path in files]
            found = [table["next.success"].to_pylist()[1::2] for table in tables if expected is not None]
            assert found == (expected or [])
            assert expected is not None or all("next.success" not in table.column_names for table in tables)
    every = [seed for part in seeds for seed in part]
    assert [one.success for one in open_dataset(tmp_path)] == [
        [True, False, None][seed % 3] for seed in every
    ]


def test_a_flipped_bit_in_the_text_of_a_task_is_found(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        store.append(episode(0))
        store.append(episode(1))
        store.compact()
    path = tmp_path / "meta/tasks.parquet"
    flip(path, path.read_bytes().index(b"push the block"))
    with pytest.raises(DataError, match="damaged"):
        open_dataset(tmp_path)


def test_pixels_of_all_compactions_are_counted(tmp_path: Path) -> None:
    with new_store(tmp_path, CAMERA) as store:
        for seed, length in enumerate((3, 5)):
            store.append(episode(seed, length=length, specs=CAMERA))
            store.compact()
    stats = json.loads((tmp_path / "meta/stats.json").read_text())["observation.images.top"]
    assert stats["count"] == [8]
    pixels = np.concatenate([one.observation["observation.images.top"] for one in open_dataset(tmp_path)])
    np.testing.assert_allclose(np.ravel(stats["mean"]), pixels.reshape(-1, 3).mean(axis=0) / 255)


def open_files(root: Path) -> list[str]:
    places = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return [str(place) for place in places if str(place).startswith(str(root / staging.STAGE_PATH))]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists open files")
@pytest.mark.parametrize("image_format", ["png", "mp4"])
def test_a_compaction_that_fails_leaves_no_file_and_none_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_format: str
) -> None:
    store = new_store(tmp_path, CAMERA, image_format=image_format)
    for seed in range(2):
        store.append(episode(seed, specs=CAMERA))
    held: list[str] = []
    add = EpisodeWriter.add

    def full(writer: EpisodeWriter, block: EpisodeBlock) -> None:
        if held:
            raise OSError(28, "No space left on device")
        add(writer, block)
        held.extend(open_files(tmp_path))

    with monkeypatch.context() as patch:
        patch.setattr("steadyhand.data.journal._BLOCK_EPISODES", 1)
        patch.setattr(EpisodeWriter, "add", full)
        with pytest.raises(OSError, match="No space") as refusal:
            store.compact()
    assert held
    assert open_files(tmp_path) == [], refusal  # whose traceback still holds what was at work
    assert not (tmp_path / staging.STAGE_PATH).exists()
    assert store.compact() == 2
    store.close()


@pytest.mark.parametrize("can_link", [True, False])
def test_a_journal_that_holds_nothing_but_damage_and_what_is_open_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, can_link: bool
) -> None:
    with new_store(tmp_path) as store:
        store.append(episode(0))
    flip(tmp_path / JOURNAL_PATH, 100)
    if not can_link:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(1, "not permitted")))
    whole = episode(1, length=4)
    with EpisodeStore.open(tmp_path) as store:
        store.begin(0, task="reach")
        record_steps(store, 0, whole, range(3))
        before = (tmp_path / JOURNAL_PATH).read_bytes()
        assert store.compact(set_damage_aside=True) == 0
        assert (tmp_path / "meta/steadyhand/journal-damaged-0.bin").read_bytes() == before
        assert open_dataset(tmp_path).journal_damages == []
        record_steps(store, 0, whole, range(3, 4))
        store.end(0, terminated=True, truncated=False)
    np.testing.assert_array_equal(open_dataset(tmp_path).episode(0).action, whole.action)


def test_a_damaged_journal_is_not_recorded_again(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        store.append(episode(0))
        store.append(episode(1))
    flip(tmp_path / JOURNAL_PATH, 100)
    refused = EpisodeStore.open(tmp_path, replay=True)
    with pytest.raises(DataError, match="cannot be recorded again") as refusal:
        refused.append(episode(0))
    assert refusal.value.rest["got"] == "a damaged journal"


def test_digests_of_videos_pass_over_what_is_not_there(tmp_path: Path) -> None:
    assert altered_videos(tmp_path) == []
    with new_store(tmp_path, CAMERA, image_format="mp4") as store:
        for seed in range(2):
            store.append(episode(seed, length=2, specs=CAMERA))
            store.compact()
    first, second = sorted(tmp_path.rglob("*.mp4"))
    first.unlink()
    assert altered_videos(tmp_path) == []
    second.write_bytes(second.read_bytes() + b"x")
    assert altered_videos(tmp_path) == [str(second.relative_to(tmp_path))]
    (tmp_path / "meta/steadyhand/videos.json").write_text(json.dumps(sealed({"videos": ["a.mp4"]})))
    with pytest.raises(DataError, match=r"videos\.json is damaged"):
        altered_videos(tmp_path)


def test_what_is_open_is_seen_by_nobody_before_it_ends(tmp_path: Path) -> None:
    origin = EpisodeOrigin(source="rollout", seed=7, round=2)
    store = new_store(tmp_path)
    store.append(episode(0))
    store.begin(0, task="reach", provenance=origin)
    record_steps(store, 0, episode(1), range(2))
    for dataset in (store.dataset(), open_dataset(tmp_path)):
        assert dataset.lengths.tolist() == [5]
    store.close()
    for dataset in (store.dataset(), open_dataset(tmp_path), EpisodeStore.open(tmp_path).dataset()):
        assert dataset.lengths.tolist() == [5, 2]
        found = dataset.episode(1)
        assert (found.task, found.truncated, found.terminated) == ("reach", True, False)
        assert (found.provenance.source, found.provenance.seed, found.provenance.round) == ("rollout", 7, 2)


def test_a_store_takes_episodes_of_its_own_clock_but_for_rounding(tmp_path: Path) -> None:
    with new_store(tmp_path, control_dt=0.02) as store:
        for near in (1 - 0.9e-6, 1.0, 1 + 0.9e-6):
            store.append(episode(0, control_dt=0.02 * near))
        for far in (1 - 1.5e-6, 1 + 1.5e-6):
            with pytest.raises(DataError, match="another control_dt"):
                store.append(episode(0, control_dt=0.02 * far))
    assert open_dataset(tmp_path).num_episodes == 3


def test_a_lock_is_made_with_its_folder_and_held_by_one(tmp_path: Path) -> None:
    for _ in range(2):  # the second finds folder and file
        lock = WriterLock(tmp_path / "a/b/lock")
        with pytest.raises(DataError, match="recording into this store"):
            WriterLock(tmp_path / "a/b/lock")
        lock.release()


def test_an_error_becomes_a_finding_with_its_hint() -> None:
    error = DataError("A file is damaged.", got=3, expected="a: b", hint="do: restore it")
    assert from_error("file", "meta", error) == Problem(
        code="file",
        severity="error",
        where="meta",
        what="A file is damaged; got: 3; expected: a: b",
        hint="do: restore it",
    )
    assert from_error("file", "meta", DataError("It is gone.")).hint == ""


def test_an_empty_store_has_an_empty_journal(tmp_path: Path) -> None:
    new_store(tmp_path).close()
    assert (tmp_path / JOURNAL_PATH).read_bytes() == MAGIC
    with EpisodeStore.open(tmp_path) as store:
        assert len(store) == store.compact() == 0
        store.append(episode(0))
    assert_same(open_dataset(tmp_path).episode(0), episode(0))


@pytest.mark.parametrize(("most", "size"), [(1, 1 << 26), (3, 1 << 26), (1000, 400), (1000, 1)])
def test_where_compaction_cuts_its_blocks_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, size: int
) -> None:
    wanted = [episode(seed, length=1 + seed % 4) for seed in range(8)]
    for name in ("whole", "cut"):
        with new_store(tmp_path / name) as store, monkeypatch.context() as patch:
            if name == "cut":
                patch.setattr("steadyhand.data.journal._BLOCK_EPISODES", most)
                patch.setattr("steadyhand.data.journal._BLOCK_BYTES", size)
            for one in wanted:
                store.append(one)
            store.compact()
    for number, one in enumerate(wanted):
        assert_same(open_dataset(tmp_path / "cut").episode(number), one)
    file = "meta/episodes/chunk-000/file-000.parquet"
    rows = [pq.read_table(tmp_path / name / file) for name in ("whole", "cut")]
    assert rows[0].equals(rows[1])
    stats = [(tmp_path / name / "meta/stats.json").read_text() for name in ("whole", "cut")]
    assert stats[0] == stats[1]


class Killed(BaseException):
    """Stands for the process dying: nothing after it runs, clean-up included."""


def die_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let the `count`-th change to the folder's names by staging be the last."""
    left = [count]

    def counted(function):
        def call(*args, **kwargs):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
    monkeypatch.setattr(staging.shutil, "rmtree", counted(staging.shutil.rmtree))


@pytest.mark.parametrize("point", range(14))
def test_compaction_that_dies_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: int
) -> None:
    wanted = [episode(seed, length=3 + seed) for seed in range(5)]
    store = new_store(tmp_path)
    for one in wanted[:2]:
        store.append(one)
    store.compact()
    for one in wanted[2:4]:
        store.append(one)
    earlier = files_of(tmp_path / "data")
    recording = store._recording
    with monkeypatch.context() as patch:
        die_after(patch, point)
        try:
            store.compact()
            died = False
        except Killed:
            died = True
    if store._recording is not None:
        recording.lock.release()  # the system does this when a process dies
    assert died or point >= 10
    for reopened in range(2):
        dataset = open_dataset(tmp_path)
        assert dataset.lengths.tolist() == [3, 4, 5, 6][: len(dataset)]
        for number in range(4):
            assert_same(dataset.episode(number), wanted[number])
        assert dataset.num_episodes == 4, reopened
    assert earlier.items() <= files_of(tmp_path / "data").items()
    with EpisodeStore.open(tmp_path) as again:
        again.append(wanted[4])
        again.compact()
    final = open_dataset(tmp_path)
    assert final.lengths.tolist() == [3, 4, 5, 6, 7]
    assert final.column("index").tolist() == [[i] for i in range(25)]
    assert not (tmp_path / staging.STAGE_PATH).exists()


COMPACTOR = """
import sys
from pathlib import Path
from steadyhand.data.store import EpisodeStore
store = EpisodeStore.open(Path({root!r}))
print("go", flush=True)
store.compact()
"""


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_sigkill_during_compaction_keeps_everything_once(tmp_path: Path, delay: float) -> None:
    wanted = [episode(seed, length=4) for seed in range(12)]
    with new_store(tmp_path) as store:
        for one in wanted:
            store.append(one)
    process = subprocess.Popen(
        [sys.executable, "-c", COMPACTOR.format(root=str(tmp_path))], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with EpisodeStore.open(tmp_path) as store:
        store.append(wanted[0])
        store.compact()
    dataset = open_dataset(tmp_path)
    assert dataset.num_episodes == 13
    for number, one in enumerate([*wanted, wanted[0]]):
        assert_same(dataset.episode(number), one)


def test_compaction_never_rewrites_earlier_data_files(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        store.append(episode(0))
        store.compact()
        before = files_of(tmp_path / "data") | files_of(tmp_path / "meta/episodes")
        store.append(episode(1))
        store.compact()
    after = files_of(tmp_path / "data") | files_of(tmp_path / "meta/episodes")
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1


def test_data_files_roll_over_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steadyhand.data.formats.lerobot_v3_writer.DATA_FILES_SIZE_MB", 0.02)
    wanted = [episode(seed, length=40) for seed in range(6)]
    with new_store(tmp_path) as store:
        for one in wanted:
            store.append(one)
        store.compact()
    assert len(list((tmp_path / "data/chunk-000").glob("*.parquet"))) > 1
    dataset = open_dataset(tmp_path)
    for number, one in enumerate(wanted):
        assert_same(dataset.episode(number), one)
