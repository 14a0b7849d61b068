"""A mended copy: paired anew, copies left out, indices counted; and the original is not touched."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lerobot_folders import CAMERA, FEATURES, STATE, VIDEO, rows, write_lines, write_v21, write_v30
from steadyhand.analysis.replay import replay
from steadyhand.core.errors import DataError
from steadyhand.data.checks import check
from steadyhand.data.dataset import open_any, open_dataset
from steadyhand.data.episode import Branch
from steadyhand.data.formats.arrays import ArrayDataset, episodes_from_arrays
from steadyhand.data.journal import JOURNAL_PATH
from steadyhand.data.repair import losses, repair
from steadyhand.data.store import EpisodeStore
from steadyhand.envs.pendulum.config import PendulumConfig
from toy_episodes import ACTION_SPEC, OBSERVATION, episode


def pendulum(shift: int) -> tuple[ArrayDataset, np.ndarray, np.ndarray]:
    """Return three drives whose observation t + shift lies beside action t, and what was seen and done."""
    env = PendulumConfig().build(3)
    rows_ = np.arange(3)
    random = np.random.default_rng(0)
    env.reset(env.starts("train", 3), rows_)
    seen, done = [env.observe(rows_)[STATE]], []
    for _ in range(20):
        done.append(random.uniform(-3, 3, (3, 1)).astype(np.float32))
        env.step(done[-1], rows_)
        seen.append(env.observe(rows_)[STATE])
    observed, action = np.stack(seen[:-1], axis=1), np.stack(done, axis=1)
    late, early = max(shift, 0), max(-shift, 0)
    stored = observed[:, late : 20 - early], action[:, early : 20 - late]
    flat = [part.reshape(-1, part.shape[-1]) for part in stored]
    ends = np.arange(1, 4) * stored[1].shape[1]
    data = episodes_from_arrays({STATE: flat[0]}, flat[1], ends, control_dt=0.02)
    return data, observed, action


@pytest.mark.parametrize("shift", [1, -1])
def test_actions_are_paired_anew(tmp_path: Path, shift: int) -> None:
    data, observed, action = pendulum(shift)
    env = PendulumConfig().build(8)
    told = replay(data, env).pairing
    assert told == shift
    done = repair(data, tmp_path / "new", shift=told)
    assert "one step shorter" in " ".join(done.told)
    mended = open_dataset(tmp_path / "new")
    assert replay(mended, env).verdict == "follows"
    # What is left are the very pairs that were driven, those at the ends apart.
    np.testing.assert_array_equal(mended.episode(1).observation[STATE], observed[1, 1:19])
    np.testing.assert_array_equal(mended.episode(1).action, action[1, 1:19])
    assert check(tmp_path / "new").ok


def test_what_was_seen_last_is_kept_as_the_final_observation(tmp_path: Path) -> None:
    data, observed, _ = pendulum(1)
    repair(data, tmp_path / "new", shift=1)
    final = open_dataset(tmp_path / "new").episode(0).final_observation
    assert final is not None
    np.testing.assert_array_equal(final[STATE], observed[0, 19])


def test_copies_are_left_out_and_indices_counted(tmp_path: Path) -> None:
    root = write_v21(tmp_path / "d", [rows(0), rows(1), rows(0), rows(2)])
    path = root / "data/chunk-000/episode_000001.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("frame_index")
    pq.write_table(table.set_column(place, "frame_index", [np.full(12, 5)]), path)
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    assert {p.code for p in check(root).problems} >= {"duplicate", "frame-index"}
    done = repair(open_any(root, control_dt=0.1), tmp_path / "new")
    assert (done.dropped, done.num_episodes) == ({2: 0}, 3)
    assert done.told == (
        "left out copies of earlier episodes: 2 (of 0)",
        "counted index columns and timestamps anew, and took statistics anew",
    )
    assert check(tmp_path / "new").problems == ()
    old, new = open_dataset(root).frames(), open_dataset(tmp_path / "new").frames()
    np.testing.assert_array_equal(new.action, old.action[np.r_[0:24, 36:48]])
    assert {file: file.read_bytes() for file in before} == before


def test_nothing_is_written_over(tmp_path: Path) -> None:
    root = write_v21(tmp_path / "d", [rows(0)])
    data = open_any(root, control_dt=0.1)
    gone = tmp_path / "gone"
    gone.symlink_to(tmp_path / "nowhere")
    inside, taken = "within the data set", "something already"
    for folder, what in ((root, taken), (root / "new", inside), (root / "a/b", inside), (gone, taken)):
        with pytest.raises(DataError, match=what):
            repair(data, folder, tick=lambda *_: pytest.fail("it has begun"))
    assert sorted(path.name for path in root.iterdir()) == ["data", "meta"]


def test_a_folder_that_somebody_makes_meanwhile_stays(tmp_path: Path) -> None:
    data = open_any(write_v21(tmp_path / "d", [rows(0)]), control_dt=0.1)
    new = tmp_path / "new"
    with pytest.raises(DataError, match="something already"):
        repair(data, new, tick=lambda *_: new.mkdir())
    assert list(new.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "new"]


def test_a_copy_may_lie_in_folders_that_there_are_not_yet(tmp_path: Path) -> None:
    data = open_any(write_v21(tmp_path / "d", [rows(0), rows(1)]), control_dt=0.1)
    ticks: list[tuple[int, int]] = []
    done = repair(data, tmp_path / "a/b/c", tick=lambda *told: ticks.append(told))
    assert done.folder == tmp_path / "a/b/c"
    assert ticks == [(1, 2), (2, 2)]
    again = open_dataset(done.folder)
    assert (again.num_episodes, again.num_pending) == (2, 0)


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    root = write_v21(tmp_path / "d", [rows(0), rows(1)])
    data = open_any(root, control_dt=0.1)
    (root / "data/chunk-000/episode_000001.parquet").unlink()
    with pytest.raises(DataError):
        repair(data, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d"]


def test_what_lies_beside_the_new_folder_stays(tmp_path: Path) -> None:
    root = write_v21(tmp_path / "new.part", [rows(0), rows(1)])
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    repair(open_any(root, control_dt=0.1), tmp_path / "new")
    assert {file: file.read_bytes() for file in before} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "new.part"]
    assert open_dataset(tmp_path / "new").num_episodes == 2


def test_what_the_copy_cannot_hold_is_named_and_refused(tmp_path: Path) -> None:
    one = {"dtype": "float32", "shape": [1], "names": None}
    features = {**FEATURES, "weight": one, "motor.current": one}
    kilograms = np.full(12, 3.5, np.float32)
    data = [rows(seed, **{"weight": kilograms, "motor.current": kilograms}) for seed in (0, 1)]
    dataset = open_any(write_v21(tmp_path / "d", data, features), control_dt=0.1)
    assert sorted(line.split(":")[0] for line in losses(dataset)) == ["motor.current", "weight"]
    with pytest.raises(DataError, match="would not hold everything") as refusal:
        repair(dataset, tmp_path / "new")
    assert "motor.current" in str(refusal.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d"]
    repair(dataset, tmp_path / "new", lossy=True)
    again = open_any(tmp_path / "new", control_dt=0.1)
    assert losses(again) == ()
    np.testing.assert_array_equal(again.episode(0).weight, 1.0)


@pytest.mark.parametrize("differs", ["task", "reward"])
def test_equal_numbers_under_another_task_or_reward_are_no_copy(tmp_path: Path, differs: str) -> None:
    reward = {"next.reward": {"dtype": "float32", "shape": [1], "names": None}}
    data = [
        rows(0, **{"next.reward": np.full(12, value, np.float32), "task_index": np.full(12, task)})
        for value, task in ((0, 0), *([(0, 1)] * 2 if differs == "task" else [(1, 0)] * 2))
    ]
    root = write_v21(tmp_path / "d", data, FEATURES | reward, tasks=("lift", "push"))
    (found,) = (p for p in check(root).problems if p.code == "duplicate")
    assert found.where == "episode 2 (of 1)"
    assert repair(open_any(root, control_dt=0.1), tmp_path / "new").dropped == {2: 1}


ENDING = {name: {"dtype": "bool", "shape": [1], "names": None} for name in ("next.success", "next.done")}


def ending(*steps: int) -> np.ndarray:
    """Return a column of 12 steps that is true at some of them."""
    return np.isin(np.arange(12), steps)


def test_success_before_the_last_row_is_named_as_lost_and_at_the_last_row_kept(tmp_path: Path) -> None:
    early = [rows(0, **{"next.success": ending(0, 4, 11), "next.done": ending(11)}), rows(1)]
    early[1] |= {"next.success": ending(10), "next.done": ending(11)}
    dataset = open_any(write_v21(tmp_path / "d", early, FEATURES | ENDING), control_dt=0.1)
    (line,) = losses(dataset)
    assert line.startswith("next.success: 3 rows before the last of their episode")
    with pytest.raises(DataError, match="3 rows before the last"):
        repair(dataset, tmp_path / "new")
    repair(dataset, tmp_path / "new", lossy=True)
    again = open_dataset(tmp_path / "new")
    assert [again.episode(number).success for number in range(2)] == [True, False]
    assert [again.episode(number).terminated for number in range(2)] == [True, True]
    late = [rows(0, **{"next.success": ending(11), "next.done": ending(11)})]
    assert losses(open_any(write_v21(tmp_path / "e", late, FEATURES | ENDING), control_dt=0.1)) == ()


@pytest.mark.parametrize("name", ["next.done", "next.truncated"])
@pytest.mark.parametrize("at", [(), (11,), (3,)])
def test_an_end_is_what_the_last_row_tells_of_it(tmp_path: Path, name: str, at: tuple[int, ...]) -> None:
    """A column of dones alone says that nothing was cut, one of cuts alone that nothing came to its end."""
    features = FEATURES | {name: {"dtype": "bool", "shape": [1], "names": None}}
    told = ending(*at)
    told[4] |= bool(at)
    root = write_v21(tmp_path / "d", [rows(0, **{name: told})], features)
    repair(open_any(root, control_dt=0.1), tmp_path / "new", lossy=True)
    episode = open_dataset(tmp_path / "new").episode(0)
    assert episode.terminated == (name == "next.done" and 11 in at)
    if name == "next.truncated" and 11 in at:
        assert episode.truncated


def test_success_in_numbers_is_0_or_1(tmp_path: Path) -> None:
    features = FEATURES | {"next.success": {"dtype": "float32", "shape": [1], "names": None}}
    for name, value, expected in (("b", 1.0, True), ("c", 0.0, False)):
        data = [rows(0, **{"next.success": np.full(12, value, np.float32)})]
        assert open_dataset(write_v21(tmp_path / name, data, features)).episode(0).success is expected
    data = [rows(0, **{"next.success": np.full(12, 0.3, np.float32)})]
    dataset = open_dataset(write_v21(tmp_path / "d", data, features))
    with pytest.raises(DataError, match=r"(?s)neither bools.*0\.3 in the last row of episode 0.*--rename"):
        dataset.episode(0)


@pytest.mark.parametrize("write", [write_v21, write_v30])
def test_what_lies_in_the_metadata_of_other_programs_is_named_as_lost(tmp_path: Path, write) -> None:
    def add(path: Path, **columns: list[object]) -> None:
        table = pq.read_table(path)
        for name, values in columns.items():
            table = table.append_column(name, [values])
        pq.write_table(table, path)

    root = write(tmp_path / "d", [rows(0), rows(1)], splits={"train": "0:1", "test": "1:2"}, lab="north")
    before = losses(open_any(root, control_dt=0.1))
    assert [line.split(" of ")[0] for line in before] == ["lab", "splits"]
    if write is write_v21:
        lines = [json.loads(line) for line in (root / "meta/episodes.jsonl").read_text().splitlines()]
        write_lines(root / "meta/episodes.jsonl", [{**line, "operator": "Kim"} for line in lines])
        add(root / "data/chunk-000/episode_000000.parquet", temperature=[20.0] * 12)
    else:
        add(next((root / "meta/episodes").rglob("*.parquet")), operator=["Kim", "Lee"])
        add(next((root / "data").rglob("*.parquet")), temperature=[20.0] * 24)
    (root / "meta/modality.json").write_text("{}")
    found = losses(open_any(root, control_dt=0.1))
    assert {line.split(": ")[0] for line in set(found) - set(before)} == {
        *("operator of meta/episodes", "modality.json of meta", "temperature of the data files")
    }
    with pytest.raises(DataError, match="operator of meta/episodes"):
        repair(open_any(root, control_dt=0.1), tmp_path / "new")


def test_a_recording_of_ours_loses_nothing(tmp_path: Path) -> None:
    data, _, _ = pendulum(0)
    repair(data, tmp_path / "one")
    again = open_any(tmp_path / "one", control_dt=0.02)
    assert losses(again) == ()
    repair(again, tmp_path / "two")
    assert losses(open_any(tmp_path / "two", control_dt=0.02)) == ()


def test_transparency_and_damaged_records_are_named_as_lost(tmp_path: Path) -> None:
    picture = {"dtype": "image", "names": ["height", "width", "channels"]}
    for channels in (3, 4):
        features = {**FEATURES, CAMERA: {**picture, "shape": [8, 8, channels]}}
        cells = [{"bytes": b"", "path": None}] * 12
        root = write_v30(tmp_path / str(channels), [rows(0, **{CAMERA: pa.array(cells)})], features)
        expected = (f"{CAMERA}: its transparency vanishes",) if channels == 4 else ()
        assert losses(open_any(root, control_dt=0.1)) == expected
    ours = tmp_path / "ours"
    with EpisodeStore.create(ours, observation=OBSERVATION, action=ACTION_SPEC, control_dt=0.1) as store:
        for seed in range(2):
            store.append(episode(seed))
    journal = ours / JOURNAL_PATH
    assert losses(open_any(ours, control_dt=0.1)) == ()
    journal.write_bytes(journal.read_bytes()[:-1] + b"?")
    (line,) = losses(open_any(ours, control_dt=0.1))
    assert line == "meta/steadyhand/journal.bin: 1 damaged records vanish"


# What is lost


def one(dtype: str, *shape: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape or (1,)), "names": None}


@pytest.mark.parametrize(
    ("name", "feature", "expected"),
    [
        ("action", one("float32", 2), None),
        ("action", one("float64", 2), "float64 is stored as float32, rounded"),
        (STATE, one("float64", 2), "float64 is stored as float32, rounded"),
        (STATE, one("int64", 2), "int64 is stored as float32, rounded"),
        (STATE, one("int16", 2), None),
        ("next.reward", one("float32"), None),
        ("next.reward", one("float64"), "float64 is stored as float32, rounded"),
        ("next.reward", one("float32", 2), "vanishes (float32 [2])"),
        ("next.speed", one("float32"), "vanishes (float32 [1])"),
        ("next.done", one("bool"), None),
        ("next.done", one("bool", 2), "vanishes (bool [2])"),
        ("motor", one("float64", 3), "vanishes (float64 [3])"),
        ("weight", one("float32"), "vanishes; a column of ours takes its name and means something else"),
        (CAMERA, {**one("video", 8, 8, 3), "info": {"video.is_depth_map": True}}, "a depth map, vanishes"),
        (CAMERA, VIDEO, "pictures are encoded as a video anew, which changes them"),
    ],
)
def test_what_of_a_feature_is_lost(tmp_path: Path, name: str, feature: dict, expected: str | None) -> None:
    dtype = str(feature["dtype"])
    values = {} if dtype == "video" else {name: np.zeros((12, *feature["shape"]), dtype)}
    root = write_v21(tmp_path / "d", [rows(0, **values)], {**FEATURES, name: feature})
    assert losses(open_dataset(root)) == (() if expected is None else (f"{name}: {expected}",))


# What is written


def short(*lengths: int, **more: object) -> ArrayDataset:
    """Return episodes of few steps, whose states count up and whose actions are 100 more."""
    state = np.arange(sum(lengths), dtype=np.float32)[:, None]
    return episodes_from_arrays({STATE: state}, state + 100, np.cumsum(lengths), control_dt=0.1, **more)


@pytest.mark.parametrize(
    ("shift", "states", "actions"),
    [(1, [[1], [3, 4]], [[102], [104, 105]]), (-1, [[2], [4, 5]], [[101], [103, 104]])],
)
def test_episodes_of_a_single_step_have_no_pair(tmp_path: Path, shift, states, actions) -> None:
    done = repair(short(1, 2, 3, 1), tmp_path / "new", shift=shift)
    assert (done.too_short, done.num_episodes) == ((0, 3), 2)
    assert "left out episodes of a single step: 0, 3" in done.told
    mended = open_dataset(tmp_path / "new")
    assert [episode.observation[STATE].ravel().tolist() for episode in mended] == states
    assert [episode.action.ravel().tolist() for episode in mended] == actions


def test_numbers_of_some_episodes_are_those_in_the_data(tmp_path: Path) -> None:
    data = short(2, 2, 1, 2, episodes="1-")
    copied = [*data.all_episodes, data.all_episodes[0]]
    data = ArrayDataset(
        observation=data.observation,
        action=data.action,
        control_dt=0.1,
        all_episodes=tuple(copied),
        chosen=(1, 2, 3, 7),
    )
    done = repair(data, tmp_path / "new", shift=1)
    assert (done.dropped, done.too_short, done.num_episodes) == ({7: 1}, (2,), 2)


def test_episodes_that_differ_in_a_picture_are_no_copies(tmp_path: Path) -> None:
    pictures = np.zeros((4, 8, 8, 3), np.uint8)
    state, ends = np.tile(np.arange(2.0), 2)[:, None], np.array([2, 4])
    for changed, dropped in ((1, {}), (0, {1: 0})):
        pictures[3, 2, 1, 0] = changed
        data = episodes_from_arrays({STATE: state, CAMERA: pictures}, state, ends, control_dt=0.1)
        done = repair(data, tmp_path / str(changed))
        assert done.dropped == dropped
        again = open_dataset(done.folder).episode(1 - len(dropped))
        np.testing.assert_array_equal(again.observation[CAMERA], pictures[2:]), "stored without loss"


def test_branches_follow_their_parents(tmp_path: Path) -> None:
    with EpisodeStore.create(
        tmp_path / "d", observation=OBSERVATION, action=ACTION_SPEC, control_dt=0.1
    ) as store:
        parts = [episode(0), episode(0), episode(1)]
        parts += [episode(5 + parent, length=1, branch=Branch(parent=parent, step=3)) for parent in (1, 2, 0)]
        for part in parts:
            store.append(part)
        store.compact()
    data = open_dataset(tmp_path / "d")
    done = repair(data, tmp_path / "new")
    assert done.dropped == {1: 0}
    assert open_dataset(tmp_path / "new").branch.tolist() == [[-1, -1], [-1, -1], [0, 3], [1, 3], [0, 3]]
    with pytest.raises(DataError, match="cannot be paired anew"):
        repair(data, tmp_path / "other", shift=1)


@pytest.mark.parametrize(("shift", "tasks"), [(1, "aab"), (-1, "abb"), (0, "aabb")])
def test_tasks_stay_with_what_was_seen(tmp_path: Path, shift: int, tasks: str) -> None:
    data = short(4)
    (whole,) = data.all_episodes
    seen_last = {STATE: np.array([7.0], np.float32)}
    parts = (replace(whole, task="a", step_tasks=tuple("aabb"), final_observation=seen_last),)
    repair(replace(data, all_episodes=parts), tmp_path / "new", shift=shift)
    (mended,) = open_dataset(tmp_path / "new")
    assert (mended.task, "".join(mended.step_tasks)) == ("a", tasks)
    assert mended.final_observation is not None
    assert mended.final_observation[STATE] == [3.0 if shift == 1 else 7.0]


@pytest.mark.parametrize("ends", [("next.done", "next.truncated"), ("next.truncated", "next.done")])
def test_an_end_that_was_cut_is_none_of_the_task(tmp_path: Path, ends: tuple[str, str]) -> None:
    features = FEATURES | {name: one("bool") for name in ends}
    root = write_v21(tmp_path / "d", [rows(0, **{name: ending(11) for name in ends})], features)
    repair(open_any(root, control_dt=0.1), tmp_path / "new")
    mended = open_dataset(tmp_path / "new").episode(0)
    assert (mended.terminated, mended.truncated) == (False, True)
