"""What a damaged byte, a full disk or a failing disk costs: the record that it hit, and never in silence."""

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from steadyhand.core.errors import DataError
from steadyhand.data.checks import check
from steadyhand.data.dataset import open_dataset
from steadyhand.data.episode import Branch
from steadyhand.data.journal import JOURNAL_PATH
from steadyhand.data.records import MARK
from steadyhand.data.store import EpisodeStore
from toy_episodes import ACTION_SPEC, CAMERAS, OBSERVATION, assert_same, end_of, episode, record_steps


def new_store(root: Path, observation=OBSERVATION) -> EpisodeStore:
    return EpisodeStore.create(root, observation=observation, action=ACTION_SPEC, control_dt=0.1)


def offsets_of_records(root: Path) -> list[int]:
    data = (root / JOURNAL_PATH).read_bytes()
    found = [i for i in range(len(data)) if data[i : i + len(MARK)] == MARK]
    return [*found, len(data)]


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 16
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "place", [0, 5, 13, 17, 21, 60, -1], ids=["mark", "length", "text", "crc", "own", "header", "data"]
)
@pytest.mark.parametrize("victim", [0, 2, 4])
def test_damage_costs_the_record_that_it_hit_alone(tmp_path: Path, victim: int, place: int) -> None:
    wanted = [episode(seed, length=3 + seed) for seed in range(5)]
    with new_store(tmp_path) as store:
        for one in wanted:
            store.append(one)
    ends = offsets_of_records(tmp_path)
    journal = tmp_path / JOURNAL_PATH
    flip(journal, ends[victim] + place if place >= 0 else ends[victim + 1] - 1)
    damaged = journal.read_bytes()
    rest = [one for number, one in enumerate(wanted) if number != victim]

    dataset = open_dataset(tmp_path)
    assert dataset.num_episodes == 4
    for number, one in enumerate(rest):
        assert_same(dataset.episode(number), one)
    assert [(d.offset, d.size) for d in dataset.journal_damages] == [
        (ends[victim], ends[victim + 1] - ends[victim])
    ]
    with EpisodeStore.open(tmp_path) as store:
        store.append(episode(9))
    assert journal.read_bytes().startswith(damaged)
    assert open_dataset(tmp_path).num_episodes == 5


def test_damage_is_an_error_and_leaves_nothing_behind_unless_told_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = [episode(seed) for seed in range(4)]
    with new_store(tmp_path) as store:
        for one in wanted:
            store.append(one)
    journal, rest = tmp_path / JOURNAL_PATH, [wanted[0], *wanted[2:]]
    flip(journal, offsets_of_records(tmp_path)[1] + 50)
    with caplog.at_level(logging.WARNING, "steadyhand"):
        assert open_dataset(tmp_path).frames().num_episodes == 3
    assert "what 1 damaged records" in caplog.text  # whoever trains on it is told
    report = check(tmp_path)
    assert [p.code for p in report.problems if p.severity == "error"] == ["journal-damaged"]
    with EpisodeStore.open(tmp_path) as store:
        store.append(episode(9))
        with pytest.raises(DataError, match="set-damage-aside"):
            store.compact()
        before = journal.read_bytes()
        assert store.compact(set_damage_aside=True) == 4
        store.append(episode(10))
    assert (tmp_path / "meta/steadyhand/journal-damaged-0.bin").read_bytes() == before
    dataset = open_dataset(tmp_path)
    assert not dataset.journal_damages
    for number, one in enumerate([*rest, episode(9), episode(10)]):
        assert_same(dataset.episode(number), one)


def test_two_damaged_journals_are_both_kept(tmp_path: Path) -> None:
    new_store(tmp_path).close()
    kept: list[bytes] = []
    for number in range(2):
        with EpisodeStore.open(tmp_path) as store:
            store.append(episode(0))
        flip(tmp_path / JOURNAL_PATH, 100)
        kept.append((tmp_path / JOURNAL_PATH).read_bytes())
        with EpisodeStore.open(tmp_path) as store:
            assert store.compact(set_damage_aside=True) == 0
        for earlier in range(number + 1):
            side = tmp_path / f"meta/steadyhand/journal-damaged-{earlier}.bin"
            assert side.read_bytes() == kept[earlier]


def recorded(root: Path, length: int) -> list[int]:
    """Record one episode step by step between two whole ones; return the offsets of the records."""
    with new_store(root) as store:
        store.append(episode(0))
        store.begin(0, task="reach")
        record_steps(store, 0, episode(1, length=length))
        store.end(0, **end_of(episode(1, length=length)))
        store.append(episode(2))
    return offsets_of_records(root)


def test_an_episode_that_lost_a_step_is_read_as_two_and_never_as_one(tmp_path: Path) -> None:
    places = recorded(tmp_path, 6)  # episode 0; begin; steps 0 to 5; end; episode 2
    flip(tmp_path / JOURNAL_PATH, places[2 + 3] + 40)
    dataset, whole = open_dataset(tmp_path), episode(1, length=6)
    assert dataset.lengths.tolist() == [5, 3, 2, 5]
    before, behind = dataset.episode(1), dataset.episode(2)
    np.testing.assert_array_equal(before.action, whole.action[:3])
    np.testing.assert_array_equal(behind.action, whole.action[4:])
    assert (before.terminated, before.truncated, before.success) == (False, True, None)
    assert (before.provenance.outcome, before.task) == ("interrupted", "reach")
    assert before.final_observation is None
    assert behind.success == whole.success
    assert_same(dataset.episode(3), episode(2))


@pytest.mark.parametrize(
    ("record", "lengths"),
    [(1, [5, 4, 5]), (2, [5, 3, 5]), (5, [5, 3, 5]), (6, [5, 5, 4])],
    ids=["begin", "first step", "last step", "end"],
)
def test_other_records_of_an_episode(tmp_path: Path, record: int, lengths: list[int]) -> None:
    places = recorded(tmp_path, 4)
    flip(tmp_path / JOURNAL_PATH, places[record] + 30)
    dataset = open_dataset(tmp_path)
    assert dataset.lengths.tolist() == lengths
    assert len(dataset.journal_damages) == 1
    found, whole = dataset.episode(lengths.index(4) if 4 in lengths else 1), episode(1, length=4)
    first = 1 if record == 2 else 0
    np.testing.assert_array_equal(found.action, whole.action[first : first + len(found)])
    ended_well = record in (1, 2)
    assert (found.provenance.outcome == "interrupted") == (not ended_well)
    with EpisodeStore.open(tmp_path) as store:
        store.append(episode(3))
        assert sorted(store.dataset().lengths.tolist()) == sorted([*lengths, 5])


def test_branches_follow_their_parents_past_damage(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        store.append(episode(0, length=4))
        store.compact()
        for seed in (1, 2, 3):
            store.append(episode(seed, length=4))
        for parent, step in ((0, 1), (1, 0), (3, 2)):
            store.append(episode(9, length=1, branch=Branch(parent=parent, step=step)))
    flip(tmp_path / JOURNAL_PATH, 200)  # in episode 1
    dataset = open_dataset(tmp_path)
    assert dataset.lengths.tolist() == [4, 4, 4, 1, 1]
    assert dataset.branch.tolist()[3:] == [[0, 1], [2, 2]]  # the branch of the lost episode is left out
    assert_same(dataset.episode(2), episode(3, length=4))
    with EpisodeStore.open(tmp_path) as store:
        store.append(episode(9, length=1, branch=Branch(parent=2, step=3)))
        store.compact(set_damage_aside=True)
    assert open_dataset(tmp_path).branch.tolist()[3:] == [[0, 1], [2, 2], [2, 3]]


def test_zeros_behind_the_last_record_are_a_write_that_never_came(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        store.append(episode(0))
    journal = tmp_path / JOURNAL_PATH
    journal.write_bytes(journal.read_bytes() + bytes(5000))
    dataset = open_dataset(tmp_path)
    assert (dataset.num_episodes, dataset.dropped_bytes, dataset.journal_damages) == (1, 5000, [])


class Disk:
    """Stands in for os.write: takes `room` bytes, the last write in part, and then refuses."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def write(self, handle: int, data: memoryview | bytes) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(handle, data[: self.room])
        self.room -= written
        return written


def test_an_append_that_returned_is_readable_after_the_disk_was_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[int] = []
    refused: list[OSError] = []
    disk = Disk(room=10_000)
    store = new_store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", disk.write)
        for number in range(30):
            try:
                store.append(episode(number, length=20))
                returned.append(number)
            except OSError as error:
                refused.append(error)
                if number > 15:
                    disk.room = 1_000_000  # the user frees space and goes on
    store.close()
    assert 3 < len(returned) < 28
    assert all(error.errno == errno.ENOSPC and JOURNAL_PATH in str(error) for error in refused)
    dataset = open_dataset(tmp_path)
    assert (dataset.num_episodes, dataset.dropped_bytes, dataset.journal_damages) == (len(returned), 0, [])
    for place, number in enumerate(returned):
        assert_same(dataset.episode(place), episode(number, length=20))


def test_a_step_that_failed_can_be_recorded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = episode(0, length=6)
    with new_store(tmp_path) as store:
        store.begin(0)
        record_steps(store, 0, whole, range(3))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", Disk(room=30).write)
            with pytest.raises(OSError, match="No space"):
                record_steps(store, 0, whole, range(3, 4))
            with pytest.raises(OSError, match="No space"):
                store.end(0, **end_of(whole))
        record_steps(store, 0, whole, range(3, 6))
        store.end(0, **end_of(whole))
    assert_same(open_dataset(tmp_path).episode(0), whole)


def refuse(*arguments: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_where_a_torn_record_cannot_be_cut_away_nothing_more_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path)
    store.append(episode(0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Disk(room=30).write)
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(OSError, match="No space"):
            store.append(episode(1))
    for _ in range(2):
        with pytest.raises(DataError, match="nothing is recorded"):
            store.append(episode(1))
    store.close()
    with EpisodeStore.open(tmp_path) as again:
        again.append(episode(2))
    dataset = open_dataset(tmp_path)
    assert (dataset.num_episodes, dataset.journal_damages) == (2, [])
    assert_same(dataset.episode(1), episode(2))


def test_where_forcing_to_disk_fails_nothing_more_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path)
    store.append(episode(0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="Input/output"):
            store.flush()
    with pytest.raises(DataError, match="nothing is recorded"):
        store.append(episode(1))
    store.close()
    EpisodeStore.open(tmp_path).append(episode(1))  # the lock is free again


FULL = """
import resource, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from steadyhand.data.store import EpisodeStore
from toy_episodes import episode
store = EpisodeStore.open(Path({root!r}))
for seed in range(40):
    store.append(episode(seed, length=50))
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
try:
    store.compact()
except OSError as error:
    print("refused", error.errno, str(error.filename).startswith({root!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.append(episode(40, length=50))
print(len(store), sorted(p.name for p in Path({root!r}, "meta/steadyhand").iterdir()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits")
@pytest.mark.parametrize("limit", [0, 100, 5_000, 30_000])
def test_a_compaction_that_finds_no_room_changes_nothing(tmp_path: Path, limit: int) -> None:
    new_store(tmp_path).close()
    code = FULL.format(tests=str(Path(__file__).parents[2]), root=str(tmp_path), limit=limit)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    said = done.stdout.split("\n")
    assert said[0].split() == ["refused", str(errno.EFBIG), "True"]
    assert said[1] == "41 ['journal.bin', 'lock', 'store.json']"
    dataset = open_dataset(tmp_path)
    assert (dataset.num_episodes, dataset.num_pending) == (41, 41)
    for number in (0, 39, 40):
        assert_same(dataset.episode(number), episode(number, length=50))


@pytest.mark.parametrize(
    ("file", "needle", "read"),
    [
        ("data/chunk-000/file-000.parquet", "action", lambda d: d.episode(0)),
        ("meta/steadyhand/episodes-00000000.parquet", "start", lambda d: d.provenances),
        ("meta/episodes/chunk-000/file-000.parquet", "length", lambda d: d.lengths),
    ],
    ids=["steps", "endings", "episodes"],
)
def test_one_flipped_bit_in_a_page_of_parquet_is_found(tmp_path: Path, file: str, needle: str, read) -> None:
    with new_store(tmp_path, CAMERAS) as store:
        for seed in range(3):
            store.append(episode(seed, specs=CAMERAS))
        store.compact()
    read(open_dataset(tmp_path))
    path = tmp_path / file
    metadata = pq.ParquetFile(path).metadata
    group = metadata.row_group(0)
    chunks = [group.column(i) for i in range(group.num_columns)]
    chunk = next(c for c in chunks if c.path_in_schema.split(".")[0] == needle or c.path_in_schema == needle)
    first = chunk.dictionary_page_offset or chunk.data_page_offset
    flip(path, first + chunk.total_compressed_size - 2)
    with pytest.raises(DataError, match=r"damaged"):
        read(open_dataset(tmp_path))


def test_histograms_of_pixels_carry_a_digest(tmp_path: Path) -> None:
    with new_store(tmp_path, CAMERAS) as store:
        store.append(episode(0, specs=CAMERAS))
        store.compact()
    path = tmp_path / "meta/steadyhand/image_histograms.json"
    text = path.read_text()
    assert '"frames": 5' in text
    path.write_text(text.replace('"frames": 5', '"frames": 6', 1))
    with EpisodeStore.open(tmp_path) as store:
        store.append(episode(1, specs=CAMERAS))
        with pytest.raises(DataError, match=r"image_histograms\.json is damaged"):
            store.compact()
        assert len(store) == 2


def test_what_a_store_holds_carries_a_digest(tmp_path: Path) -> None:
    new_store(tmp_path).close()
    path = tmp_path / "meta/steadyhand/store.json"
    text = path.read_text()
    assert text.count("-1.0") >= 2
    path.write_text(text.replace("-1.0", "-9.0", 1))
    with pytest.raises(DataError, match=r"store\.json is damaged"):
        open_dataset(tmp_path)


def test_videos_carry_a_digest_that_sees_what_no_decoder_does(tmp_path: Path) -> None:
    store = EpisodeStore.create(
        tmp_path, observation=CAMERAS, action=ACTION_SPEC, control_dt=0.1, image_format="mp4"
    )
    with store:
        for number in range(2):
            store.append(episode(number, specs=CAMERAS))
            store.compact()  # the second adds files beside the first
    videos = sorted(tmp_path.rglob("*.mp4"))
    assert len(videos) == 2 * sum(spec.kind == "image" for spec in CAMERAS.values())
    assert [p for p in check(tmp_path).problems if p.code.startswith("video")] == []
    for video in (videos[0], videos[-1]):
        before = video.read_bytes()
        flip(video, before.rindex(b"Lavf"))  # the name of the program: it decodes to the same pixels
        (found,) = [p for p in check(tmp_path).problems if p.code.startswith("video")]
        assert (found.code, found.severity) == ("video-altered", "error")
        assert found.where == str(video.relative_to(tmp_path))
        video.write_bytes(before)
    digests = tmp_path / "meta/steadyhand/videos.json"
    digests.write_text(digests.read_text().replace(".mp4", ".mp5", 1))
    assert [p.code for p in check(tmp_path).problems if p.severity == "error"] == ["video-digests"]


MADE = """
import resource, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from steadyhand.data.store import EpisodeStore
from toy_episodes import ACTION_SPEC, OBSERVATION
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
for _ in range(2):
    try:
        EpisodeStore.create({root!r}, observation=OBSERVATION, action=ACTION_SPEC, control_dt=0.1)
    except OSError as error:
        print(error.filename.startswith({root!r}))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits")
@pytest.mark.parametrize("limit", [4, 100, 1500])
def test_a_store_that_could_not_be_made_can_be_made_later(tmp_path: Path, limit: int) -> None:
    code = MADE.format(tests=str(Path(__file__).parents[2]), root=str(tmp_path / "d"), limit=limit)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", "True\n")
    assert open_dataset(tmp_path / "d").num_episodes == 0


@pytest.mark.parametrize("name", ["terminated", "seed", "success"])
def test_endings_of_other_types_than_were_written_are_refused(tmp_path: Path, name: str) -> None:
    with new_store(tmp_path) as store:
        store.append(episode(0))
        store.compact()
    (path,) = (tmp_path / "meta/steadyhand").glob("episodes-*.parquet")
    table = pq.read_table(path)
    place = table.column_names.index(name)
    pq.write_table(table.set_column(place, name, table.column(name).cast("int8")), path)
    with pytest.raises(DataError, match="other types than were written") as refusal:
        _ = open_dataset(tmp_path).provenances
    assert refusal.value.rest["got"] == f"{name} (int8)"
