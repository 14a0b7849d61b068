"""The pictures of one camera: blocks of a bounded size, steps in any order, sizes and ranges that decide."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lerobot_folders import CAMERA, FEATURES, VIDEO, rows, v30_video, write_v21, write_v30, write_video
from steadyhand.core.errors import DataError
from steadyhand.data.camera import StoredCamera
from steadyhand.data.dataset import open_dataset
from steadyhand.data.formats.png import encode_png

IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
PICTURES = np.random.default_rng(0).integers(0, 256, (2, 7, 20, 24, 3), dtype=np.uint8)
"""(episode, step, height, width, channel)"""


def described(dtype: str, shape: list[int]) -> dict[str, Any]:
    return {**FEATURES, CAMERA: {"dtype": dtype, "shape": shape, "names": ["height", "width", "channels"]}}


def in_parquet(pictures: np.ndarray) -> pa.Array:
    return pa.array([{"bytes": encode_png(one), "path": None} for one in pictures], type=IMAGE_TYPE)


def two_episodes(root: Path, kind: str) -> tuple[Path, np.ndarray]:
    """Write two episodes into one file; return what each pixel of each step is."""
    if kind == "video":
        levels = np.arange(14) * 15
        write_v30(root, [rows(k, 7) for k in range(2)], {**FEATURES, CAMERA: VIDEO})
        write_video(v30_video(root), levels.tolist())
        shape = (2, 7, 32, 32, 3)
        return root, np.broadcast_to(levels.reshape(2, 7, 1, 1, 1), shape)
    columns = [in_parquet(part) if kind == "image" else part for part in PICTURES]
    dtype = "image" if kind == "image" else "uint8"
    episodes = [rows(k, 7, **{CAMERA: column}) for k, column in enumerate(columns)]
    return write_v30(root, episodes, described(dtype, [20, 24, 3])), PICTURES


@pytest.mark.parametrize("kind", ["image", "numbers", "video"])
def test_steps_come_in_the_order_in_which_they_are_asked_for(tmp_path: Path, kind: str) -> None:
    root, expected = two_episodes(tmp_path / "d", kind)
    stored = open_dataset(root).stored
    for number in range(2):
        for steps in ([5, 1, 3], [6], [2, 2, 4]):
            found = stored.images(CAMERA, number, np.array(steps)).astype(int)
            assert np.abs(found - expected[number, steps]).max() <= (2 if kind == "video" else 0)


@pytest.mark.parametrize(("bytes_at_once", "count"), [(2, 1), (3 * 7, 3), (3 * 7 - 1, 2), (100 * 7, 7)])
@pytest.mark.parametrize("kind", ["image", "video"])
def test_no_more_pictures_are_held_at_once_than_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, bytes_at_once: int, count: int
) -> None:
    root, expected = two_episodes(tmp_path / "d", kind)
    layout = open_dataset(root).layout
    size = int(np.prod(expected.shape[2:]))
    monkeypatch.setattr("steadyhand.data.camera._BLOCK_BYTES", bytes_at_once * size // 7)
    blocks = list(StoredCamera(layout, CAMERA).read_all(layout.episodes))
    lengths = [*[count] * (7 // count), *[7 % count] * (7 % count > 0)]
    assert [len(block) for block in blocks] == lengths * 2
    gap = np.concatenate(blocks).astype(int) - expected.reshape(14, *expected.shape[2:])
    assert np.abs(gap).max() <= (2 if kind == "video" else 0)


@pytest.mark.parametrize(
    ("side", "declared", "is_read"),
    [
        *((32, size, True) for size in ((32, 32), (31, 32), (32, 31), (31, 31))),
        *((28, size, True) for size in ((27, 28), (28, 27))),
        *(
            (32, size, False)
            for size in ((30, 32), (32, 30), (29, 32), (32, 29), (33, 32), (32, 33), (34, 31))
        ),
        (33, (33, 33), True),
        *((33, size, False) for size in ((32, 33), (33, 32), (34, 33), (33, 35))),
    ],
)
def test_a_video_has_the_declared_size_or_a_line_more_where_that_is_odd(
    tmp_path: Path, side: int, declared: tuple[int, int], is_read: bool
) -> None:
    root = write_v30(tmp_path / "d", [rows(0, 3)], described("video", [*declared, 3]))
    write_video(v30_video(root), [10, 20, 30], size=side)
    dataset = open_dataset(root)
    if is_read:
        assert dataset.episode(0).observation[CAMERA].shape == (3, *declared, 3)
        return
    with pytest.raises(DataError, match="another size than info") as refusal:
        dataset.episode(0)
    assert (refusal.value.rest["got"], refusal.value.rest["expected"]) == ((side, side), declared)


def test_the_whole_column_says_what_its_floats_are_whatever_was_chosen(tmp_path: Path) -> None:
    dark, bright = np.ones((3, 20, 24), np.float32), np.full((3, 20, 24), 200.0, np.float32)
    bright[1, 4, 5] = 0.0
    for name, middle in (("bytes", bright), ("unit", dark / 2), ("no pictures", bright - 50.0)):
        episodes = [rows(k, 3, **{CAMERA: part}) for k, part in enumerate((dark, middle, dark))]
        root = write_v21(tmp_path / name, episodes, described("float32", [20, 24]))
        chosen = open_dataset(root, episodes="2")
        if name == "no pictures":  # -50 to 150
            with pytest.raises(DataError, match="cannot be read as pictures"):
                chosen.frames()
        else:
            (level,) = np.unique(chosen.frames().observation[CAMERA])
            assert level == {"bytes": 1, "unit": 255}[name]


@pytest.mark.parametrize("cells", ["null", "only a path", "text"])
def test_a_cell_without_bytes_is_named(tmp_path: Path, cells: str) -> None:
    column = in_parquet(PICTURES[0])
    if cells == "text":
        column = pa.array(["a.png"] * 7)
    else:
        values = column.to_pylist()
        values[4] = None if cells == "null" else {"bytes": None, "path": "a.png"}
        column = pa.array(values, type=IMAGE_TYPE)
    root = write_v30(tmp_path / "d", [rows(0, 7, **{CAMERA: column})], described("image", [20, 24, 3]))
    with pytest.raises(DataError, match="holds no image bytes") as refusal:
        open_dataset(root).episode(0)
    assert refusal.value.rest["got"] == f"step {0 if cells == 'text' else 4} of episode 0"


@pytest.mark.parametrize("channels", [2, 5])
def test_a_camera_of_other_channels_is_refused_before_it_is_opened(tmp_path: Path, channels: int) -> None:
    root = write_v30(tmp_path / "d", [rows(0, 3)], described("video", [32, 32, channels]))
    with pytest.raises(DataError, match=f"has {channels} channels"):
        open_dataset(root).frames()


def test_the_episodes_that_have_pictures_are_named(tmp_path: Path) -> None:
    features = {**FEATURES, CAMERA: VIDEO}
    root = write_v21(tmp_path / "d", [rows(k, 3) for k in range(3)], features)
    place = root / f"videos/chunk-000/{CAMERA}"
    write_video(place / "episode_000001.mp4", [10, 20, 30])
    with pytest.raises(DataError, match="no images for 2 of 3 episodes") as refusal:
        open_dataset(root).frames()
    assert refusal.value.rest["available"] == ["episode 1"]
    assert refusal.value.rest["got"] == f"no {place / 'episode_000000.mp4'} and others"
