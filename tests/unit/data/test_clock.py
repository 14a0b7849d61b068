"""Pictures follow the clock of the rows: step t shows the frame at from_timestamp + timestamp[t]."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lerobot_folders import (
    CAMERA,
    FEATURES,
    STATE,
    VIDEO,
    rows,
    v21_video,
    v30_video,
    write_v21,
    write_v30,
    write_video,
)
from steadyhand.core.errors import DataError
from steadyhand.data.dataset import open_dataset

SEEING = {**FEATURES, CAMERA: VIDEO}
LEVELS = [5 * k for k in range(45)]
TRIMMED = np.arange(10, 22) / 10  # the first second was cut from the rows, not from the video
DROPPED = np.array([0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16]) / 10
JITTER = np.arange(12) / 10 + np.tile([0.02, -0.02, 0.0], 4)


def shown(images: np.ndarray) -> list[int]:
    """Return which frame of the video each image is."""
    return np.round(images[:, 16, 16].mean(axis=-1) / 5).astype(int).tolist()


def v21(root: Path, clocks: list[Any], **changes: Any) -> Path:
    write_v21(root, [rows(k, timestamp=clock) for k, clock in enumerate(clocks)], SEEING, **changes)
    for number in range(len(clocks)):
        write_video(v21_video(root, number), LEVELS)
    return root


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        (TRIMMED, list(range(10, 22))),
        (DROPPED, [0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16]),
        (JITTER, list(range(12))),
    ],
)
def test_rows_of_v21_show_the_frame_of_their_time(tmp_path: Path, clock: Any, expected: list[int]) -> None:
    dataset = open_dataset(v21(tmp_path / "d", [np.arange(12) / 10, clock]))
    images = dataset.frames((CAMERA,)).observation[CAMERA]
    assert shown(images) == [*range(12), *expected]
    assert shown(dataset.episode(1).observation[CAMERA]) == expected
    assert shown(dataset.image(CAMERA, 1, 7)[None]) == [expected[7]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_v30_show_the_frame_of_their_time_after_the_start_of_their_episode(
    tmp_path: Path, dtype: type
) -> None:
    clocks = [TRIMMED.astype(dtype), DROPPED.astype(dtype)]
    episodes = [rows(k, timestamp=clock) for k, clock in enumerate(clocks)]
    root = write_v30(tmp_path / "d", episodes, SEEING, starts=[0.5, 2.2])
    write_video(v30_video(root), LEVELS)
    images = open_dataset(root).frames((CAMERA,)).observation[CAMERA]
    assert shown(images) == [*range(15, 27), *(22 + np.round(DROPPED * 10).astype(int))]


@pytest.mark.parametrize(
    ("clock", "where"),
    [
        (np.arange(12) / 10 + np.eye(12)[7] * 0.04, "step 7 of episode 1"),  # between two frames
        (np.arange(12) / 10 + 1e9, "step 0 of episode 1"),  # a clock that counts from 1970
        (np.arange(12) / 10 + 4.0, "step 5 of episode 1"),  # behind the last frame, at 4.4 s
        (np.where(np.arange(12) == 3, np.nan, np.arange(12) / 10), "step 3 of episode 1"),
    ],
)
def test_a_time_without_a_frame_is_refused_by_name(tmp_path: Path, clock: Any, where: str) -> None:
    root = v21(tmp_path / "d", [np.arange(12) / 10, np.asarray(clock, dtype=np.float64)])
    dataset = open_dataset(root)
    with pytest.raises(DataError, match=where) as error:
        dataset.frames((CAMERA,))
    assert "!1" in str(error.value)
    with pytest.raises(DataError, match=where):
        dataset.episode(1)
    assert len(dataset.frames((STATE,))) == 24  # what does not need the clock works without it
    assert shown(dataset.episode(0).observation[CAMERA]) == list(range(12))


@pytest.mark.parametrize("start", [float("nan"), None])
def test_an_episode_without_a_start_in_its_video_is_refused(tmp_path: Path, start: float | None) -> None:
    root = write_v30(tmp_path / "d", [rows(0), rows(1)], SEEING, starts=[0.0, start])
    write_video(v30_video(root), LEVELS)
    dataset = open_dataset(root)
    assert shown(dataset.episode(0).observation[CAMERA]) == list(range(12))
    with pytest.raises(DataError, match=r"Episode 1 has no start in its video"):
        dataset.frames((CAMERA,))
    assert len(dataset.frames((STATE,))) == 24


def test_an_episode_without_a_video_in_the_metadata_is_named(tmp_path: Path) -> None:
    root = write_v30(tmp_path / "d", [rows(0), rows(1)], SEEING)
    write_video(v30_video(root), LEVELS)
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    name = f"videos/{CAMERA}/chunk_index"
    place = table.column_names.index(name)
    pq.write_table(table.set_column(place, name, pa.array([0, None])), path)
    dataset = open_dataset(root)
    assert shown(dataset.episode(0).observation[CAMERA]) == list(range(12))
    with pytest.raises(DataError, match="no images for 1 of 2 episodes"):
        dataset.frames((CAMERA,))
    pq.write_table(table.drop_columns([name]), path)
    with pytest.raises(DataError, match="no images for 2 of 2 episodes"):
        open_dataset(root).frames((CAMERA,))
    assert len(open_dataset(root).frames((STATE,))) == 24


def test_without_a_clock_the_frame_numbers_count(tmp_path: Path) -> None:
    late = np.arange(12) + 3
    episodes = [rows(0, frame_index=late), rows(1)]
    root = write_v21(tmp_path / "d", episodes, SEEING, absent=("timestamp",))
    for number in range(2):
        write_video(v21_video(root, number), LEVELS)
    assert shown(open_dataset(root).frames((CAMERA,)).observation[CAMERA]) == [*late, *range(12)]


def test_a_cache_follows_the_clock(tmp_path: Path) -> None:
    root = v21(tmp_path / "d", [np.arange(12) / 10] * 2)
    assert shown(open_dataset(root).frames((CAMERA,)).observation[CAMERA])[12:] == list(range(12))
    for path in root.glob("data/*/*.parquet"):
        path.unlink()
    other = v21(tmp_path / "other", [np.arange(12) / 10, TRIMMED])
    for path in other.glob("data/*/*.parquet"):
        path.replace(root / path.relative_to(other))
    assert shown(open_dataset(root).frames((CAMERA,)).observation[CAMERA])[12:] == list(range(10, 22))
