"""The summary of a data set: each number against a recording that is known."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from lerobot_folders import CAMERA, FEATURES, STATE, VIDEO, rows, v21_video, write_v21, write_video
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.dataset import open_any, open_dataset
from steadyhand.data.episode import Branch
from steadyhand.data.formats.arrays import episodes_from_arrays
from steadyhand.data.info import CameraInfo, summarise
from steadyhand.data.store import EpisodeStore
from toy_episodes import ACTION_SPEC, OBSERVATION, episode


def test_a_recording_with_branches_and_a_journal(tmp_path: Path) -> None:
    root = tmp_path / "d"
    with EpisodeStore.create(
        root, observation=OBSERVATION, action=ACTION_SPEC, control_dt=0.1, env_id="toy", robot_type="arm"
    ) as store:
        for seed, length in ((0, 4), (1, 9), (2, 5)):
            store.append(episode(seed, length=length))
        store.append(episode(3, length=1, branch=Branch(parent=0, step=2)))
        store.compact()
        store.append(episode(4, length=1, branch=Branch(parent=1, step=0)))
    (root / ".cache").mkdir()
    (root / ".cache/frames.bin").write_bytes(bytes(1000))
    found = summarise(open_dataset(root))
    assert found.root == str(root)
    assert (found.version, found.env_id, found.robot_type, found.control_dt) == (
        "LeRobot v3.0",
        "toy",
        "arm",
        0.1,
    )
    assert (found.num_episodes, found.num_frames, found.num_pending, found.num_branches) == (5, 20, 1, 2)
    assert found.duration_s == pytest.approx(2.0)
    assert found.length == (1, 4.0, 9)
    assert (found.observation, found.action) == (OBSERVATION, ACTION_SPEC)
    assert (found.tasks, found.sources) == ({"reach": 3, "push the block": 2}, {"rollout": 5})
    assert found.outcomes == {"time": 5}
    assert (found.num_damaged, found.cameras, found.depth) == (0, (), {})
    shutil.rmtree(root / ".cache")
    assert found.size_bytes == sum(file.stat().st_size for file in root.rglob("*") if file.is_file())


def test_a_recording_of_nothing(tmp_path: Path) -> None:
    EpisodeStore.create(tmp_path / "d", observation=OBSERVATION, action=ACTION_SPEC, control_dt=0.1).close()
    found = summarise(open_dataset(tmp_path / "d"))
    assert (found.num_episodes, found.num_frames, found.length) == (0, 0, (0, 0.0, 0))


def test_arrays_and_files_of_arrays(tmp_path: Path) -> None:
    state, action, ends = np.zeros((7, 2), np.float32), np.ones((7, 1), np.float32), np.array([3, 7])
    pictures = np.arange(7, dtype=np.uint8)[:, None, None, None] + np.zeros((7, 9, 8, 3), np.uint8)
    data = episodes_from_arrays({STATE: state, CAMERA: pictures}, action, ends, control_dt=0.5)
    found = summarise(data)
    assert (found.root, found.version, found.size_bytes, found.robot_type) == ("arrays", "npz", 0, None)
    assert (found.num_pending, found.num_damaged, found.num_branches) == (0, 0, 0)
    assert (found.length, found.duration_s) == ((3, 3.5, 4), 3.5)
    assert found.observation[STATE] == FeatureSpec(shape=(2,))
    assert found.cameras == (CameraInfo(name=CAMERA, stored_as="array", available=2),)
    path = tmp_path / "a.npz"
    np.savez(path, observation=state, action=action, episode_ends=ends)
    found = summarise(open_any(path, control_dt=0.5), path=path)
    assert (found.root, found.size_bytes) == (str(path), path.stat().st_size)


def test_videos_that_are_there(tmp_path: Path) -> None:
    root = write_v21(tmp_path / "d", [rows(0), rows(1), rows(2)], {**FEATURES, CAMERA: VIDEO})
    for number in (0, 2):
        write_video(v21_video(root, number), range(40, 52))
    (camera,) = summarise(open_dataset(root)).cameras
    assert camera == CameraInfo(name=CAMERA, stored_as="video", available=2)
