"""Round trips, recording at once, and SIGKILL."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyhand.core.errors import DataError
from steadyhand.core.specs import FeatureSpec, discrete_spec, image_spec
from steadyhand.data.checks import check
from steadyhand.data.dataset import open_dataset
from steadyhand.data.episode import Branch, demonstration
from steadyhand.data.formats.lerobot_v3_writer import next_file
from steadyhand.data.frames import Frames
from steadyhand.data.info import summarise
from steadyhand.data.store import EpisodeStore
from toy_episodes import ACTION_SPEC, CAMERAS, OBSERVATION, assert_same, end_of, episode, record_steps


def new_store(root: Path, observation=OBSERVATION, **options) -> EpisodeStore:
    options = {"action": ACTION_SPEC, "control_dt": 0.1, **options}
    return EpisodeStore.create(root, observation=observation, **options)


@pytest.mark.parametrize("image_format", ["png", "mp4"])
def test_episodes_come_back_from_journal_and_files(tmp_path: Path, image_format: str) -> None:
    wanted = [episode(seed, length=3 + seed, specs=CAMERAS) for seed in range(5)]
    with new_store(tmp_path / "d", CAMERAS, image_format=image_format) as store:
        for one in wanted[:3]:
            store.append(one)
        assert store.compact() == 3
        for one in wanted[3:]:
            store.append(one)
        mixed = store.dataset()
    tolerance = 0 if image_format == "png" else 12
    for dataset in (mixed, open_dataset(tmp_path / "d")):
        assert dataset.lengths.tolist() == [3, 4, 5, 6, 7]
        for number, one in enumerate(wanted):
            assert_same(dataset.episode(number), one, image_tolerance=tolerance)
    with EpisodeStore.open(tmp_path / "d") as store:
        assert store.compact() == 2
        assert store.compact() == 0
    dataset = open_dataset(tmp_path / "d")
    assert dataset.num_pending == 0
    for number, one in enumerate(wanted):
        assert_same(dataset.episode(number), one, image_tolerance=tolerance)
        image = dataset.image("observation.images.grey", number, 2)
        for wrong in (("observation.state", number, 2), ("observation.images.no", number, 2)):
            with pytest.raises(DataError, match="no such camera"):
                dataset.image(*wrong)
        for step in (len(one), -len(one) - 1):
            with pytest.raises(DataError):
                dataset.image("observation.images.grey", number, step)
        np.testing.assert_array_equal(
            image, dataset.episode(number).observation["observation.images.grey"][2]
        )


def test_specs_survive_bounds_units_and_discrete_actions(tmp_path: Path) -> None:
    action = discrete_spec(4)
    with new_store(tmp_path, action=action) as store:
        moves = np.array([0, 3, 1], dtype=np.int64)
        store.append(
            demonstration(
                {name: value[:3] for name, value in episode(0).observation.items()}, moves, control_dt=0.1
            )
        )
        store.compact()
    dataset = open_dataset(tmp_path)
    assert dataset.action == action
    assert dataset.observation == OBSERVATION
    assert dataset.frames().action[:, 0].tolist() == [0, 3, 1]


def test_interleaved_recording_equals_appending(tmp_path: Path) -> None:
    wanted = [episode(seed, length=4) for seed in range(3)]
    with new_store(tmp_path / "steps") as store:
        for key in range(3):
            store.begin(key)
        for t in range(4):
            for key in (2, 0, 1):
                record_steps(store, key, wanted[key], range(t, t + 1))
        for key in (1, 0, 2):
            store.end(key, **end_of(wanted[key]))
        assert len(store) == 3
        for found, number in zip(store.episodes(), (1, 0, 2), strict=True):
            assert_same(found, wanted[number])


def test_a_discarded_episode_leaves_no_trace(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        store.begin(7)
        record_steps(store, 7, episode(1))
        store.discard(7)
        store.append(episode(2))
        assert len(store) == 1
    with EpisodeStore.open(tmp_path) as store:  # which would end what a killed process left open
        store.append(episode(3))
        assert len(store) == 2
        store.compact()
    assert_same(open_dataset(tmp_path).episode(0), episode(2))


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_key_is_free_when_its_episode_is_over(tmp_path: Path, *, is_kept: bool) -> None:
    one = episode(2)
    with new_store(tmp_path) as store:
        for _ in range(2):
            store.begin(7)
            record_steps(store, 7, one)
            store.end(7, **end_of(one)) if is_kept else store.discard(7)
            for late in (lambda: record_steps(store, 7, one), lambda: store.discard(7)):
                with pytest.raises(DataError, match="No episode is open under this key"):
                    late()
        assert len(store) == 2 * is_kept
    for found in open_dataset(tmp_path):
        assert_same(found, one)


def test_open_episodes_outlive_compaction(tmp_path: Path) -> None:
    running = episode(4, length=6)
    with new_store(tmp_path) as store:
        store.append(episode(0))
        store.begin(0)
        record_steps(store, 0, running, range(3))
        assert store.compact() == 1
        record_steps(store, 0, running, range(3, 6))
        store.end(0, **end_of(running))
        assert_same(store.episodes([1])[0], running)
        store.compact()
    assert_same(open_dataset(tmp_path).episode(1), running)


def test_files_are_numbered_from_0_and_chunks_hold_a_thousand(tmp_path: Path) -> None:
    assert next_file(tmp_path, "parquet") == (0, 0)
    for last, following in (((0, 0), (0, 1)), ((0, 998), (0, 999)), ((0, 999), (1, 0)), ((2, 5), (2, 6))):
        (tmp_path / f"chunk-{last[0]:03d}").mkdir(exist_ok=True)
        (tmp_path / f"chunk-{last[0]:03d}/file-{last[1]:03d}.parquet").touch()
        assert next_file(tmp_path, "parquet") == following


def test_branches_are_remapped_and_checked(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        store.append(episode(0, length=4))
        store.append(episode(1, length=6))
        store.append(episode(2, length=1, branch=Branch(parent=1, step=5)))
        for wrong in (Branch(parent=1, step=6), Branch(parent=2, step=0), Branch(parent=3, step=0)):
            with pytest.raises(DataError):
                store.append(episode(2, length=1, branch=wrong))
        store.compact()
        store.append(episode(3, length=1, branch=Branch(parent=0, step=0)))
        for steps, wrong in ((1, Branch(parent=1, step=6)), (2, Branch(parent=1, step=0))):
            one = episode(2, length=steps)
            store.begin(0)
            record_steps(store, 0, one)
            with pytest.raises(DataError):
                store.end(0, **end_of(one) | {"branch": wrong})
            store.discard(0)
    with EpisodeStore.open(tmp_path) as store:
        for branch in (2, 3):  # of a file and of the journal
            with pytest.raises(DataError, match="itself a branch"):
                store.append(episode(4, length=1, branch=Branch(parent=branch, step=0)))
    dataset = open_dataset(tmp_path)
    assert summarise(dataset).num_branches == 2
    assert dataset.branch.tolist() == [[-1, -1], [-1, -1], [1, 5], [0, 0]]
    assert dataset.frames(episodes=[1, 2]).branch.tolist() == [[-1, -1], [0, 5]]
    assert dataset.frames(episodes=[0, 3]).branch.tolist() == [[-1, -1], [0, 0]]
    again = open_dataset(dataset.save(tmp_path / "copy"))
    assert again.branch.tolist() == dataset.branch.tolist()
    assert_same(again.episode(3), dataset.episode(3))
    with pytest.raises(DataError, match="without its parent"):
        dataset.frames(episodes=[0, 2])


def test_two_writers_are_refused_and_readers_are_not(tmp_path: Path) -> None:
    with new_store(tmp_path) as first:
        first.append(episode(0))
        second = EpisodeStore.open(tmp_path)
        assert len(second) == 1
        with pytest.raises(DataError, match="recording"):
            second.append(episode(1))
    second.append(episode(1))
    second.close()
    assert open_dataset(tmp_path).num_episodes == 2


WRITER = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from toy_episodes import episode, record_steps, end_of
from steadyhand.data.store import EpisodeStore
store = EpisodeStore.open(Path({root!r}))
done = episode(0, length=50)
store.begin(0); record_steps(store, 0, done); store.end(0, **end_of(done))
store.begin(1, task="reach")
store.begin(2)
running = episode(1, length=400)
for t in range(400):
    record_steps(store, 1, running, range(t, t + 1))
    print(t, flush=True)
    time.sleep(0.002)
"""


def test_sigkill_loses_no_recorded_step(tmp_path: Path) -> None:
    new_store(tmp_path).close()
    code = WRITER.format(tests=str(Path(__file__).parents[2]), root=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = -1
    for line in process.stdout:
        seen = int(line)
        if seen == 20:
            break
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    last = int(rest[-1]) if rest else seen

    reader = open_dataset(tmp_path)
    assert reader.num_episodes == 2
    assert_same(reader.episode(0), episode(0, length=50))
    cut = reader.episode(1)
    assert last + 1 <= len(cut) <= last + 2
    whole = episode(1, length=400)
    np.testing.assert_array_equal(cut.action, whole.action[: len(cut)])
    assert (cut.truncated, cut.terminated, cut.success) == (True, False, None)
    assert cut.provenance.outcome == "interrupted"
    assert cut.task == "reach"

    with EpisodeStore.open(tmp_path) as store:
        store.append(episode(2))
        assert store.compact() == 3
    dataset = open_dataset(tmp_path)
    assert dataset.lengths.tolist() == [50, len(cut), 5]
    assert_same(dataset.episode(1), cut)


def test_a_torn_tail_is_dropped_at_every_byte(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        store.append(episode(0))
        journal = tmp_path / "meta/steadyhand/journal.bin"
        whole = journal.stat().st_size
        store.append(episode(1, length=2))
    data = journal.read_bytes()
    for cut in range(whole, len(data), 37):
        journal.write_bytes(data[:cut])
        dataset = open_dataset(tmp_path)
        assert dataset.num_episodes == 1
        assert dataset.dropped_bytes == cut - whole
    flipped = bytearray(data)
    flipped[whole + 40] ^= 1
    journal.write_bytes(bytes(flipped))
    with EpisodeStore.open(tmp_path) as store:
        store.append(episode(2))
    dataset = open_dataset(tmp_path)
    assert dataset.num_episodes == 2
    assert_same(dataset.episode(1), episode(2))


def test_a_replayed_recording_writes_nothing_twice_and_ends_the_same(tmp_path: Path) -> None:
    first, second = episode(0, length=6), episode(1, length=4)

    def recorded(store: EpisodeStore, calls: int) -> None:
        todo = [
            lambda: store.begin(0, task="reach"),
            lambda: record_steps(store, 0, first, range(4)),
            lambda: store.begin(1),
            lambda: record_steps(store, 1, second),
            lambda: store.end(1, **end_of(second)),
            lambda: record_steps(store, 0, first, range(4, 6)),
            lambda: store.end(0, **end_of(first)),
        ]
        for call in todo[:calls]:
            call()

    journal = "meta/steadyhand/journal.bin"
    with new_store(tmp_path / "whole") as store:
        recorded(store, 7)
    with new_store(tmp_path / "killed") as store:
        recorded(store, 4)
    data = (tmp_path / "killed" / journal).read_bytes()
    (tmp_path / "killed" / journal).write_bytes(data[:-7])  # killed in the middle of a record
    with EpisodeStore.open(tmp_path / "killed", replay=True) as store:
        recorded(store, 7)
    assert (tmp_path / "killed" / journal).read_bytes() == (tmp_path / "whole" / journal).read_bytes()

    with EpisodeStore.open(tmp_path / "killed", replay=True) as store:
        store.begin(0, task="reach")
        with pytest.raises(DataError, match="another step than it holds"):
            record_steps(store, 0, second, range(1))
    assert (tmp_path / "killed" / journal).read_bytes() == (tmp_path / "whole" / journal).read_bytes()


@pytest.mark.parametrize(("control_dt", "fps"), [(1 / 96.73, 97), (0.03, 33), (2.0, 1), (1 / 29.97, 30)])
@pytest.mark.parametrize("image_format", ["png", "mp4"])
def test_any_control_dt_is_kept_beside_the_integer_rate(
    tmp_path: Path, control_dt: float, fps: int, image_format: str
) -> None:
    one = episode(0, specs=CAMERAS, control_dt=control_dt)
    with new_store(tmp_path, CAMERAS, control_dt=control_dt, image_format=image_format) as store:
        store.append(one)
        store.compact()
    assert json.loads((tmp_path / "meta/info.json").read_text())["fps"] == fps
    dataset = open_dataset(tmp_path)
    assert dataset.control_dt == dataset.episode(0).control_dt == dataset.frames().control_dt == control_dt
    np.testing.assert_allclose(dataset.column("timestamp")[:, 0], np.arange(5) / fps, rtol=1e-6)
    assert_same(dataset.episode(0), one, image_tolerance=0 if image_format == "png" else 12)
    assert not [problem for problem in check(tmp_path).problems if problem.code in ("rate", "timestamp")]


@pytest.mark.parametrize("control_dt", [0.0, -0.1, float("inf"), float("nan")])
def test_a_step_that_takes_no_time_is_refused(tmp_path: Path, control_dt: float) -> None:
    with pytest.raises(DataError, match="control_dt must be positive"):
        new_store(tmp_path, control_dt=control_dt)


@pytest.mark.parametrize("fps", [1, 3, 7, 30, 49, 240])
def test_integer_rates_are_kept(tmp_path: Path, fps: int) -> None:
    new_store(tmp_path, control_dt=1 / fps).close()
    assert open_dataset(tmp_path).fps == fps


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    for name in ("state", "observation/state", "observation.../x", "../observation.state"):
        with pytest.raises(DataError):
            new_store(tmp_path / "x", {name: FeatureSpec(shape=(1,))})
    with pytest.raises(DataError, match="channels"):
        new_store(tmp_path / "x", {"observation.images.a": image_spec(4, 4, 2)})
    one = episode(0)
    with new_store(tmp_path / "d") as store:
        with pytest.raises(DataError, match="There is a data set already"):
            new_store(tmp_path / "d")
        with pytest.raises(DataError, match="control_dt"):
            store.append(episode(0, control_dt=0.05))
        with pytest.raises(DataError, match="begin"):
            store.end(3, terminated=True, truncated=False)
        store.begin(0)
        with pytest.raises(DataError, match="open under this key"):
            store.begin(0)
        with pytest.raises(DataError, match="no steps"):
            store.end(0, terminated=True, truncated=False)
        step = {
            "observation": {name: value[0] for name, value in one.observation.items()},
            "action": one.action[0],
            "expert_action": one.action[0],
            "expert_action_valid": False,
            "actor": 1,
            "intervention": False,
            "weight": 1.0,
            "reward": 0.0,
        }
        for change in (
            {"observation": {}},
            {"action": one.action[0].astype(np.float64)},
            {"action": one.action[0, :1]},
            {"expert_action": one.action[0] + 1},
            {"action": one.action[0] * np.float32(np.nan)},
            {"reward": np.nan},
        ):
            with pytest.raises(DataError):
                store.record(0, **(step | change))
        assert len(store) == 0
        store.record(0, **step)
        store.end(0, terminated=True, truncated=False)
        assert len(store) == 1


@settings(max_examples=6)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    cuts=st.lists(st.booleans(), min_size=6, max_size=6),
    seed=st.integers(0, 1000),
)
def test_law_any_mix_of_appending_and_compacting_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], cuts: list[bool], seed: int
) -> None:
    root = tmp_path_factory.mktemp("law")
    wanted = [episode(seed + i, length=length) for i, length in enumerate(lengths)]
    with new_store(root / "d") as store:
        for one, cut in zip(wanted, cuts, strict=False):
            store.append(one)
            if cut:
                store.compact()
    found = open_dataset(root / "d")
    for number, one in enumerate(wanted):
        assert_same(found.episode(number), one)
    frames = found.frames()
    assert frames.episode_ends.tolist() == np.cumsum(lengths).tolist()
    np.testing.assert_array_equal(frames.action, np.concatenate([one.action for one in wanted]))
    weight = np.concatenate([one.weight * one.expert_action_valid for one in wanted])
    np.testing.assert_array_equal(frames.weight, weight)


def test_synced_within_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[float] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(time.monotonic()), real(handle)))
    with new_store(tmp_path) as store:
        store.append(episode(0))
        written = time.monotonic()
        deadline = written + 5
        while not synced and time.monotonic() < deadline:
            time.sleep(0.02)
        assert synced
        assert synced[0] - written < 2
        for seed in range(30):
            store.append(episode(seed))
        assert len(synced) <= 2


def test_the_number_after_the_last_episode_is_no_episode(tmp_path: Path) -> None:
    with new_store(tmp_path / "d") as store:
        store.append(episode(0))
        store.append(episode(1))
        dataset = store.dataset()
    for one in ([1], np.array(1), np.array([[1]])):
        assert len(dataset.frames(episodes=one)) == dataset.lengths[1]
    for number in (2, -1):
        with pytest.raises(DataError, match="no such episode"):
            dataset.frames(episodes=[number])


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists open files")
def test_a_store_that_is_compacted_and_closed_leaves_no_journal_open(tmp_path: Path) -> None:
    def journals() -> list[str]:
        open_now = list(Path("/proc/self/fd").iterdir())
        names = [str(path.readlink()) for path in open_now if path.is_symlink()]
        return [name for name in names if name.startswith(str(tmp_path)) and "journal" in name]

    with new_store(tmp_path / "d") as store:
        for seed in range(3):
            store.append(episode(seed))
            assert journals()
            store.compact()
            assert len(set(journals())) <= 1
            assert sum("deleted" in name for name in journals()) == 0
    assert journals() == []


@pytest.mark.parametrize(("height", "width"), [(16, 19), (17, 24), (17, 19), (16, 24)])
def test_videos_of_odd_sizes_come_back_without_their_padding(tmp_path: Path, height: int, width: int) -> None:
    specs = {**OBSERVATION, "observation.images.front": image_spec(height, width, 3)}
    wanted = episode(0, length=4, specs=specs)
    with new_store(tmp_path / "d", specs, image_format="mp4") as store:
        store.append(wanted)
        store.compact()
    assert_same(open_dataset(tmp_path / "d").episode(0), wanted, image_tolerance=14)


def test_episodes_of_two_clocks_are_no_frames() -> None:
    with pytest.raises(DataError, match="control_dt"):
        Frames.from_episodes(
            [episode(0, control_dt=0.1), episode(1, control_dt=0.2)],
            observation_spec=OBSERVATION,
            action_spec=ACTION_SPEC,
        )


def test_a_folder_that_cannot_be_recorded_again_is_free_for_others(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        store.append(episode(0))
        store.compact()
    refused = EpisodeStore.open(tmp_path, replay=True)
    with pytest.raises(DataError, match="episodes that are compacted already"):
        refused.append(episode(0))

    def elsewhere() -> None:
        with EpisodeStore.open(tmp_path) as again:
            again.append(episode(1))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert open_dataset(tmp_path).num_episodes == 2
