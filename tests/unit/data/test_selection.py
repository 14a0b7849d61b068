"""Some episodes, other names, some features: what is chosen is read, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from lerobot_folders import CAMERA, FEATURES, STATE, VECTOR, VIDEO, rows, v21_video, write_v21, write_v30
from lerobot_folders import write_video as video
from steadyhand.core.errors import DataError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.checks import check
from steadyhand.data.dataset import open_any, open_dataset
from steadyhand.data.episode import Branch
from steadyhand.data.info import summarise
from steadyhand.data.selection import chosen_episodes, names_from
from steadyhand.data.store import EpisodeStore
from toy_episodes import ACTION_SPEC, OBSERVATION, assert_same, episode


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", [3]),
        ("0-3", [0, 1, 2, 3]),
        ("7-", [7, 8, 9]),
        ("!4", [0, 1, 2, 3, 5, 6, 7, 8, 9]),
        ("0-9,!4", [0, 1, 2, 3, 5, 6, 7, 8, 9]),
        ("!4-8, !0", [1, 2, 3, 9]),
        ("5,1,1-2", [1, 2, 5]),
    ],
)
def test_texts_name_episodes(text: str, expected: list[int]) -> None:
    assert chosen_episodes(text, 10).tolist() == expected


def test_numbers_name_episodes() -> None:
    assert chosen_episodes([4, 0, 2], 10).tolist() == [0, 2, 4]
    assert chosen_episodes(np.array([9], dtype=np.int32), 10).tolist() == [9]


@pytest.mark.parametrize(
    "choice",
    ["", "a", "1..3", "-1", "3-1", "10", "0-10", "!10", "0,!0", [-1], [1, 1], [1, 1, 2], np.array([0.5]), []],
)
def test_what_names_no_episodes_is_refused(choice: object) -> None:
    with pytest.raises(DataError):
        chosen_episodes(choice, 10)


def test_chosen_episodes_are_read_and_no_others(tmp_path: Path) -> None:
    episodes = [rows(seed, length=5 + seed) for seed in range(5)]
    episodes[2]["action"][3] = np.nan
    for write, folder in ((write_v21, "v21"), (write_v30, "v30")):
        root = write(tmp_path / folder, episodes)
        with pytest.raises(DataError, match=r"step 3 of episode 2") as error:
            open_dataset(root).frames()
        assert "--episodes '!2'" in str(error.value)
        dataset = open_dataset(root, episodes="1-,!2")
        assert dataset.numbers.tolist() == [1, 3, 4]
        assert dataset.lengths.tolist() == [6, 8, 9]
        expected = np.concatenate([episodes[number]["action"] for number in (1, 3, 4)])
        np.testing.assert_array_equal(dataset.frames().action, expected)
        np.testing.assert_array_equal(dataset.episode(1).action, episodes[3]["action"])
        np.testing.assert_array_equal(dataset.column("action"), expected)
        assert summarise(dataset).num_episodes == 3
        assert check(root, episodes="!2").ok
        assert not check(root).ok


def test_what_is_wrong_is_told_under_the_number_in_the_files(tmp_path: Path) -> None:
    episodes = [rows(seed) for seed in range(5)]
    episodes[3]["frame_index"] = np.zeros(12, dtype=np.int64)
    report = check(write_v30(tmp_path / "d", episodes), episodes=[1, 3])
    assert [problem.where for problem in report.problems if problem.code == "frame-index"] == ["episode 3"]


def test_a_recording_can_be_chosen_from_across_files_and_journal(tmp_path: Path) -> None:
    recorded = [episode(0), episode(1), episode(2), episode(3, length=1, branch=Branch(parent=2, step=1))]
    with EpisodeStore.create(
        tmp_path / "d", observation=OBSERVATION, action=ACTION_SPEC, control_dt=0.1
    ) as store:
        for number, one in enumerate(recorded):
            store.append(one)
            if number == 1:
                store.compact()
    chosen = open_dataset(tmp_path / "d", episodes=[1, 2, 3])
    assert chosen.branch.tolist() == [[-1, -1], [-1, -1], [1, 1]]
    assert chosen.numbers.tolist() == [1, 2, 3]
    assert_same(chosen.episode(0), recorded[1])
    assert_same(chosen.episode(1), recorded[2])
    assert chosen.episode(2).branch == Branch(parent=1, step=1)
    assert chosen.frames().branch.tolist() == [[-1, -1], [-1, -1], [1, 1]]
    assert [one.seed for one in chosen.provenances] == [1, 2, 3]
    assert open_dataset(tmp_path / "d", episodes="0,2").num_pending == 1
    with pytest.raises(DataError, match="without its parent") as error:
        open_dataset(tmp_path / "d", episodes="!2")
    assert "episode 3" in str(error.value)


def test_features_are_read_under_other_names(tmp_path: Path) -> None:
    features = {"actions": VECTOR, "qpos": VECTOR, "cam": VIDEO, "action": {**VECTOR, "names": ["a", "b"]}}
    one = rows(0)
    columns = {**one, "actions": one[STATE] + 1, "qpos": one[STATE] + 2}
    root = write_v21(tmp_path / "d", [columns], features)
    video(v21_video(root, 0).parent.parent / "cam/episode_000000.mp4", [10 * k for k in range(12)])
    names = {
        "actions": "action",
        "action": "executed",
        "qpos": STATE,
        "cam": "observation.images.top",
    }
    dataset = open_dataset(root, rename=names)
    frames = dataset.frames()
    np.testing.assert_array_equal(frames.action, columns["actions"])
    np.testing.assert_array_equal(frames.observation[STATE], columns["qpos"])
    np.testing.assert_array_equal(dataset.column("executed"), columns["action"])
    levels = frames.observation[CAMERA].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(levels, [10 * k for k in range(12)], atol=2)
    assert check(root, rename=names).ok


@pytest.mark.parametrize(
    "names", [{"nothing": "action"}, {"action": STATE}, {STATE: "../x"}, {"timestamp": "time"}]
)
def test_names_that_cannot_be_are_refused(tmp_path: Path, names: dict[str, str]) -> None:
    root = write_v30(tmp_path / "d", [rows(0)])
    with pytest.raises(DataError):
        open_dataset(root, rename=names)


def test_a_missing_action_says_how_to_name_it(tmp_path: Path) -> None:
    one = rows(0)
    root = write_v30(tmp_path / "d", [{**one, "actions": one["action"]}], {"actions": VECTOR, STATE: VECTOR})
    with pytest.raises(DataError, match="--rename"):
        open_dataset(root)
    np.testing.assert_array_equal(
        open_dataset(root, rename=names_from(["actions=action"])).frames().action, one["action"]
    )


def test_only_the_named_features_are_there(tmp_path: Path) -> None:
    root = write_v30(tmp_path / "d", [rows(0)], {**FEATURES, CAMERA: VIDEO})
    dataset = open_dataset(root, observation=("state",))
    assert dataset.observation == {STATE: FeatureSpec(shape=(2,))}
    assert list(dataset.frames().observation) == list(dataset.episode(0).observation) == [STATE]
    assert list(open_dataset(root, observation=("top", "state")).observation) == [CAMERA, STATE]
    with pytest.raises(DataError, match="no such observation"):
        open_dataset(root, observation=("front",))


def test_arrays_are_chosen_from_and_renamed_too(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    values = np.arange(20, dtype=np.float32).reshape(10, 2)
    np.savez(path, qpos=values, actions=values + 1, episode_ends=np.array([2, 5, 10]))
    dataset = open_any(path, control_dt=0.1, rename={"qpos": STATE, "actions": "action"}, episodes="!1")
    np.testing.assert_array_equal(dataset.frames().action, (values + 1)[[0, 1, 5, 6, 7, 8, 9]])
    assert dataset.numbers.tolist() == [0, 2]
    with pytest.raises(DataError, match="no such array"):
        open_any(path, control_dt=0.1, rename={"acts": "action"})


def test_a_feature_is_renamed_by_two_names_and_once() -> None:
    assert names_from([" a = b ", "c=d=e"]) == {"a": "b", "c": "d=e"}
    for wrong in (["a"], ["a="], ["=b"], ["="], [""], ["a=b", "a=c"]):
        with pytest.raises(DataError, match="old=new"):
            names_from(wrong)
