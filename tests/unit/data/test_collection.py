"""Episodes in files and in the journal as one sequence: every view of it against the episodes themselves."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from lerobot_folders import CAMERA, FEATURES, VIDEO, rows, v30_video, write_v21, write_v30, write_video
from steadyhand.core.errors import DataError
from steadyhand.core.specs import image_spec
from steadyhand.data.collection import StoredDataset
from steadyhand.data.dataset import open_any, open_dataset
from steadyhand.data.episode import Branch, Episode
from steadyhand.data.pictures import resized
from steadyhand.data.store import EpisodeStore
from toy_episodes import ACTION_SPEC, OBSERVATION, assert_same, episode

TOP, STATE = "observation.images.top", "observation.state"
SPECS = {**OBSERVATION, TOP: image_spec(16, 24, 3)}
BRANCHES = {2: Branch(parent=1, step=3), 5: Branch(parent=4, step=1), 6: Branch(parent=0, step=2)}
LENGTHS = [4, 5, 1, 6, 2, 1, 1]
NUM_STORED = 3  # the others are in the journal
RECORDED = [
    episode(seed, length=length, specs=SPECS, branch=BRANCHES.get(seed))
    for seed, length in enumerate(LENGTHS)
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording") / "d"
    with EpisodeStore.create(
        folder, observation=SPECS, action=ACTION_SPEC, control_dt=0.1, env_id="car"
    ) as store:
        for number, one in enumerate(RECORDED):
            if number == NUM_STORED:
                store.compact()
            store.append(one)
    return folder


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign") / "d"
    write_v30(folder, [rows(k, 12) for k in range(2)], {**FEATURES, CAMERA: VIDEO})
    write_video(v30_video(folder), [10 * k for k in range(24)])
    return folder


def test_a_recording_is_whole_and_says_what_it_holds(root: Path) -> None:
    dataset = open_dataset(root)
    assert (dataset.is_whole, dataset.env_id, dataset.num_pending, dataset.num_episodes) == (
        *(True, "car", 4, 7),
    )
    assert dataset.numbers.tolist() == list(range(7))
    assert dataset.lengths.tolist() == LENGTHS
    assert dataset.branch.tolist() == [[-1, -1]] * 2 + [[1, 3]] + [[-1, -1]] * 2 + [[4, 1], [0, 2]]
    assert dataset.provenances == [one.provenance for one in RECORDED]
    assert dataset.tasks_of_episode == [(one.task,) for one in RECORDED]
    assert dataset.tasks == ("reach", "push the block")
    assert [dataset.task_of_step(number) for number in range(7)] == [
        (one.task,) * len(one) for one in RECORDED
    ]
    assert (dataset.dropped_bytes, dataset.journal_damages, dataset.depth) == (0, [], {})
    for number, one in enumerate(RECORDED):
        assert_same(dataset.episode(number), one)


def test_data_of_others_are_whole_and_have_no_journal(foreign: Path) -> None:
    dataset = open_dataset(foreign)
    assert (dataset.is_whole, dataset.env_id, dataset.num_pending, dataset.num_episodes) == (
        *(True, "", 0, 2),
    )
    assert (dataset.dropped_bytes, dataset.journal_damages) == (0, [])
    assert dataset.numbers.tolist() == [0, 1]
    assert dataset.tasks_of_episode == [("lift",)] * 2
    assert dataset.branch.tolist() == [[-1, -1]] * 2
    for choice in ([2], "0,2", [-1]):
        with pytest.raises(DataError):
            open_dataset(foreign, episodes=choice)
    chosen = open_dataset(foreign, episodes=[1])
    assert (chosen.is_whole, chosen.num_pending, chosen.numbers.tolist()) == (False, 0, [1])
    assert open_dataset(foreign, episodes="0-1").is_whole


@pytest.mark.parametrize(
    ("choice", "branches"),
    [
        ([1, 2, 4, 5], {1: (0, 3), 3: (2, 1)}),
        ([0, 1, 2, 3], {2: (1, 3)}),  # all of the files, some of the journal
        ([0, 3, 4, 5, 6], {3: (2, 1), 4: (0, 2)}),  # some of the files, all of the journal
        ([4, 5], {1: (0, 1)}),
        ([0, 6], {1: (0, 2)}),
        ([3], {}),
    ],
)
def test_some_episodes_are_numbered_anew(
    root: Path, choice: list[int], branches: dict[int, tuple[int, int]]
) -> None:
    dataset, wanted = open_dataset(root, episodes=choice), [RECORDED[number] for number in choice]
    assert not dataset.is_whole
    assert dataset.numbers.tolist() == choice
    assert dataset.lengths.tolist() == [len(one) for one in wanted]
    assert dataset.num_pending == sum(number >= NUM_STORED for number in choice)
    assert dataset.provenances == [one.provenance for one in wanted]
    assert dataset.tasks_of_episode == [(one.task,) for one in wanted]
    rows = [list(branches.get(place, (-1, -1))) for place in range(len(choice))]
    assert dataset.branch.tolist() == dataset.frames((STATE,)).branch.tolist() == rows
    assert open_dataset(root).frames((STATE,), episodes=choice).branch.tolist() == rows
    for place, one in enumerate(wanted):
        found = dataset.episode(place)
        np.testing.assert_array_equal(found.action, one.action)
        mark = branches.get(place)
        assert found.branch == (None if mark is None else Branch(parent=mark[0], step=mark[1]))


@pytest.mark.parametrize(
    ("choice", "orphan"), [([0, 2, 3], 2), ([0, 1, 2, 5], 5), ([1, 6], 6), ([1, 2, 3, 4, 5, 6], 6)]
)
def test_a_branch_needs_its_parent(root: Path, choice: list[int], orphan: int) -> None:
    for read in (
        lambda: open_dataset(root, episodes=choice),
        lambda: open_dataset(root).frames((STATE,), episodes=choice),
    ):
        with pytest.raises(DataError, match="without its parent") as refusal:
            read()
        assert refusal.value.rest["got"] == f"episode {orphan}"


@pytest.mark.parametrize("size", [None, (4, 7)])
@pytest.mark.parametrize("choice", [None, [0, 1], [1, 3, 4], [3, 4]])
def test_frames_hold_the_steps_end_to_end(
    root: Path, choice: list[int] | None, size: tuple[int, int] | None
) -> None:
    frames = open_dataset(root).frames(episodes=choice, picture_size=size)
    wanted = RECORDED if choice is None else [RECORDED[number] for number in choice]
    assert list(frames.observation) == list(SPECS)
    for name in SPECS:
        whole = np.concatenate([one.observation[name] for one in wanted])
        expected = resized(whole, size) if name == TOP and size else whole
        np.testing.assert_array_equal(frames.observation[name], expected, err_msg=name)
    np.testing.assert_array_equal(frames.action, np.concatenate([one.action for one in wanted]))
    assert frames.episode_ends.tolist() == np.cumsum([len(one) for one in wanted]).tolist()
    texts = [one.task for one in wanted for _ in range(len(one))]
    index = [0] * len(texts) if frames.task_index is None else frames.task_index.tolist()
    assert [frames.tasks[number] for number in index] == texts


@pytest.mark.parametrize(
    ("choice", "match"),
    [
        *(([], "no episodes"), ([0, 1, 1], "once each"), ([0, 3, 1], "once each")),
        *(([0, 7], "no such episode"), ([-1, 0], "no such episode")),
    ],
)
def test_frames_of_no_such_episodes_are_refused(root: Path, choice: list[int], match: str) -> None:
    with pytest.raises(DataError, match=match):
        open_dataset(root).frames((STATE,), episodes=choice)


def test_one_picture_is_read_by_its_step(root: Path) -> None:
    dataset = open_dataset(root)
    for number, one in enumerate(RECORDED):
        for step in {0, len(one) - 1}:
            np.testing.assert_array_equal(dataset.image(TOP, number, step), one.observation[TOP][step])
        for step in (-1, len(one)):
            with pytest.raises(DataError, match="no such step") as refusal:
                dataset.image(TOP, number, step)
            assert (refusal.value.rest["got"], refusal.value.rest["expected"]) == (
                *(step, f"0 to {len(one) - 1}"),
            )
    for name in (STATE, "observation.images.front"):
        with pytest.raises(DataError, match="no such camera") as refusal:
            dataset.image(name, 0, 0)
        assert refusal.value.rest["available"] == [TOP]
    for number in (-1, 7):
        with pytest.raises(DataError, match="no such episode"):
            dataset.image(TOP, number, 0)


def test_short_names_stand_for_features_and_are_read_in_their_order(root: Path) -> None:
    dataset = open_dataset(root)
    found = dataset.episode(3, observation=("top", "state", STATE))
    assert list(found.observation) == [TOP, STATE]
    assert list(open_dataset(root, observation=("grid",)).observation) == ["observation.grid"]
    with pytest.raises(DataError, match="no such observation") as refusal:
        dataset.episode(3, observation=("state", "front"))
    assert (refusal.value.rest["got"], refusal.value.rest["available"]) == ("front", sorted(SPECS))


def test_a_data_set_is_a_sequence(root: Path) -> None:
    dataset = open_dataset(root)

    def seeds(episodes: list[Episode]) -> list[int]:
        return [one.provenance.seed for one in episodes]

    assert seeds([dataset[0], dataset[6], dataset[-1], dataset[-7]]) == [0, 6, 6, 0]
    assert seeds(dataset[1:6:2]) == [1, 3, 5]
    assert seeds(dataset.episodes([4, 2])) == [4, 2]
    assert seeds(list(dataset)) == seeds(dataset.episodes()) == list(range(7))
    for index in (7, -8):
        with pytest.raises(IndexError, match="there are 7"):
            dataset[index]
    assert (len(dataset), dataset.num_frames) == (7, sum(LENGTHS))


def test_a_copy_lies_in_files_that_others_open(root: Path, tmp_path: Path) -> None:
    copy = open_dataset(open_dataset(root).save(tmp_path / "copy"))
    assert (copy.num_episodes, copy.num_pending) == (7, 0)
    assert sorted(path.name for path in tmp_path.glob("copy/*")) == ["data", "meta"]
    for number, one in enumerate(RECORDED):
        assert_same(copy.episode(number), one)


def test_a_recording_is_not_renamed_and_what_is_no_data_set_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="keeps its names"):
        open_dataset(root, rename={"action": "x"})
    assert open_dataset(root, rename={}).num_episodes == 7
    (tmp_path / "a.txt").write_text("text")
    for opened in (open_dataset, lambda path: open_any(path, control_dt=0.1)):
        with pytest.raises(DataError, match="a folder or an npz file"):
            opened(tmp_path / "a.txt")
        with pytest.raises(DataError, match="no such folder"):
            opened(tmp_path / "absent")


def test_depth_and_columns_of_no_such_name_are_refused(foreign: Path, root: Path) -> None:
    for dataset in (open_dataset(foreign), open_dataset(root)):
        with pytest.raises(DataError, match="no such depth map"):
            dataset.depth_maps(TOP, 0)
        for name in ("observation.no", TOP):
            with pytest.raises(DataError, match="no such column of numbers"):
                dataset.column(name)
        expected = np.concatenate([dataset.episode(k).action for k in range(len(dataset.stored))])
        np.testing.assert_array_equal(dataset.column("action"), expected)


@pytest.mark.parametrize("named", [["b"], ["a", "b"], ["b", "b"], None])
def test_without_rows_that_say_it_the_metadata_list_the_tasks(
    tmp_path: Path, named: list[str] | None
) -> None:
    root = write_v21(
        tmp_path / "d", [rows(0, tasks=named), rows(1)], tasks=("a", "b"), absent=("task_index",)
    )
    dataset = open_dataset(root)
    text = {None: "a; b", 1: "b"}.get(named and len(set(named)), "a; b")
    assert dataset.task_of_step(0) == (text,) * 12
    assert (dataset.episode(0).task, dataset.episode(1).task) == (text, "a")
    assert dataset.tasks_of_episode == [tuple(named or [""]), ("a",)]


@pytest.mark.parametrize("dtype", [bool, np.float64, np.int64])
@pytest.mark.parametrize(("told", "success"), [([0, 0, 1], True), ([0, 1, 0], False), ([1], True)])
def test_the_last_row_says_whether_an_episode_succeeded(
    tmp_path: Path, dtype: type, told: list[int], success: bool
) -> None:
    scalar = {"dtype": np.dtype(dtype).name, "shape": [1], "names": None}
    both = {"dtype": "float32", "shape": [2], "names": None}
    columns = {"next.success": np.array(told, dtype), "next.reward": np.ones((len(told), 2), np.float32)}
    features = {**FEATURES, "next.success": scalar, "next.reward": both}
    dataset = open_dataset(write_v30(tmp_path / "d", [rows(0, len(told), **columns)], features))
    assert dataset.episode(0).success is success
    assert dataset.episode(0).reward.tolist() == [0.0] * len(told)  # two rewards are no reward


def test_a_store_that_says_the_same_may_be_told_its_classes(tmp_path: Path, root: Path) -> None:
    with pytest.raises(DataError, match="says itself"):
        open_dataset(root, classes=(0, 2))
    assert isinstance(open_any(root, control_dt=7.0), StoredDataset)
    assert open_any(root, control_dt=7.0).control_dt == 0.1


@pytest.mark.parametrize("name", ["journal.bin", "store.json"])
def test_what_was_compacted_is_read_without_its_journal_and_as_data_of_others(
    root: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(root, tmp_path / "d")
    (tmp_path / "d/meta/steadyhand" / name).unlink()
    dataset = open_dataset(tmp_path / "d")
    assert (dataset.lengths.tolist(), dataset.env_id) == (LENGTHS[:3], "car" if name == "journal.bin" else "")
    np.testing.assert_array_equal(dataset.episode(1).action, RECORDED[1].action)
