"""What LeRobot opens is opened, with the right values; what is bad is named, and the rest works."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lerobot_folders import (
    CAMERA,
    FEATURES,
    INDICES,
    VECTOR,
    VIDEO,
    rows,
    v21_video,
    v30_video,
    write_v21,
    write_v30,
    write_video,
)
from steadyhand.core.errors import DataError
from steadyhand.core.specs import image_spec
from steadyhand.data.checks import check
from steadyhand.data.dataset import open_dataset
from steadyhand.data.formats.images import decode_image
from toy_episodes import smooth_image

FLOATS = dict.fromkeys(INDICES, np.float64)
IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def rewrite(path: Path, change: Any) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def floats(table: pa.Table) -> pa.Table:
    """Turn integer columns into floats, as a trip through pandas does."""
    for place, field in enumerate(table.schema):
        if pa.types.is_integer(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(pa.float64()))
    return table


@pytest.mark.parametrize("write", [write_v21, write_v30])
def test_indices_that_pandas_made_floats_are_integers(tmp_path: Path, write: Any) -> None:
    episodes = [rows(seed) for seed in range(3)]
    root = write(tmp_path / "d", episodes, {**FEATURES, CAMERA: VIDEO})
    for path in [*root.glob("data/*/*.parquet"), *root.glob("meta/**/*.parquet")]:
        rewrite(path, floats)
    lines = root / "meta/episodes.jsonl"
    if lines.exists():
        lines.write_text(lines.read_text().replace('"length": 12', '"length": 12.0'))
    for number in range(3):
        write_video(v21_video(root, number), range(40))
    write_video(v30_video(root), range(40))
    dataset = open_dataset(root)
    frames = dataset.frames()
    np.testing.assert_array_equal(frames.action, np.concatenate([one["action"] for one in episodes]))
    assert dataset.lengths.dtype == np.int64
    assert dataset.task_of_step(2) == ("lift",) * 12
    assert check(root).ok


@pytest.mark.parametrize("wrong", [0.5, np.nan])
def test_an_index_that_is_no_integer_is_refused(tmp_path: Path, wrong: float) -> None:
    root = write_v30(tmp_path / "d", [rows(0)], {**FEATURES, CAMERA: VIDEO})
    path = root / "meta/episodes/chunk-000/file-000.parquet"

    def change(table: pa.Table) -> pa.Table:
        place = table.column_names.index("length")
        return table.set_column(place, "length", pa.array([12 + wrong]))

    rewrite(path, change)
    with pytest.raises(DataError, match="length"):
        open_dataset(root)


@pytest.mark.parametrize("fps", [29.97, 96.73, 0.5])
def test_fractional_rates_are_kept(tmp_path: Path, fps: float) -> None:
    root = write_v21(tmp_path / "d", [rows(0)], {**FEATURES, CAMERA: VIDEO}, fps=fps)
    write_video(v21_video(root, 0), [10 * k for k in range(20)], fps=fps)
    dataset = open_dataset(root)
    assert dataset.control_dt == 1 / fps
    levels = dataset.frames().observation[CAMERA].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(levels, [10 * k for k in range(12)], atol=2)


@pytest.mark.parametrize("fps", [0, -1, "10", None, True, float("inf"), 10**400])
def test_a_rate_that_cannot_be_is_refused(tmp_path: Path, fps: Any) -> None:
    root = write_v21(tmp_path / "d", [rows(0)])
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps({**info, "fps": fps}))
    with pytest.raises(DataError):
        open_dataset(root)


def test_the_clock_may_be_declared_as_float64_or_not_at_all(tmp_path: Path) -> None:
    clock = np.arange(12) / 10 + 1
    for declared in ({"dtype": "float64", "shape": [1], "names": None}, None):
        root = write_v30(
            tmp_path / str(declared is None), [rows(0, timestamp=clock)], {**FEATURES, CAMERA: VIDEO}
        )
        write_video(v30_video(root), [5 * k for k in range(30)])
        info = json.loads((root / "meta/info.json").read_text())
        if declared is None:
            del info["features"]["timestamp"]
        else:
            info["features"]["timestamp"] = declared
        (root / "meta/info.json").write_text(json.dumps(info))
        levels = open_dataset(root).frames().observation[CAMERA].mean(axis=(1, 2, 3))
        np.testing.assert_allclose(levels, [5 * k for k in range(10, 22)], atol=2)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_camera_may_be_declared_channels_first(tmp_path: Path, channels: int) -> None:
    camera = {"dtype": "image", "shape": [channels, 30, 44], "names": ["channels", "height", "width"]}
    dataset = open_dataset(write_v30(tmp_path / "d", [rows(0)], {**FEATURES, CAMERA: camera}))
    assert dataset.observation[CAMERA] == image_spec(30, 44, min(channels, 3))


@pytest.mark.parametrize(
    "template",
    [
        "data/chunk-{chunk_index:03d}/episode_{episode_index:06d}.parquet",
        "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "data/{episode_chunk}/{episode_index}.parquet",
    ],
)
def test_templates_of_v21_may_use_the_names_of_v30(tmp_path: Path, template: str) -> None:
    episodes = [rows(0), rows(1)]
    root = write_v21(tmp_path / "d", episodes, data_path=template)
    for number in range(2):
        place = {"chunk_index": 0, "episode_chunk": 0, "file_index": number, "episode_index": number}
        path = root / template.format(**place)
        path.parent.mkdir(exist_ok=True)
        (root / f"data/chunk-000/episode_{number:06d}.parquet").rename(path)
    np.testing.assert_array_equal(open_dataset(root).episode(1).action, episodes[1]["action"])


@pytest.mark.parametrize("write", [write_v21, write_v30])
@pytest.mark.parametrize("task", ["pick\u2028and place", "a\u2029b", "a\x85b\x0bc\x0cd\x1ce", "\ufeffodd"])
def test_a_task_keeps_its_characters(tmp_path: Path, write: Any, task: str) -> None:
    root = write(tmp_path / "d", [rows(0, tasks=[task])], tasks=(task,))
    dataset = open_dataset(root)
    assert dataset.tasks == (task,)
    assert dataset.episode(0).task == task


def test_a_byte_order_mark_before_the_metadata_is_not_part_of_them(tmp_path: Path) -> None:
    root = write_v21(tmp_path / "d", [rows(0)])
    for name in ("info.json", "tasks.jsonl", "episodes.jsonl"):
        path = root / "meta" / name
        path.write_text(path.read_text().replace("\n", "\r\n"), encoding="utf-8-sig")
    assert open_dataset(root).tasks == ("lift",)


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("TIFF", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95}, 2),
        ("JPEG", {"quality": 95, "progressive": True}, 2),
        ("WEBP", {"quality": 95}, 3),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_pictures_in_parquet_may_be_of_any_usual_kind(
    tmp_path: Path, kind: str, options: dict[str, Any], tolerance: int, mode: str
) -> None:
    if (kind, mode) == ("JPEG", "RGBA"):
        pytest.skip("JPEG has no transparency")
    channels = len(mode)
    pictures = [smooth_image(30, 44, 1 if mode == "L" else 3, step / 3) for step in range(12)]
    cells = []
    for picture in pictures:
        buffer = io.BytesIO()
        image = Image.fromarray(picture[..., 0] if mode == "L" else picture)
        if mode == "RGBA":
            image.putalpha(90)
        image.save(buffer, kind, **(options | ({"exact": True} if kind == "WEBP" else {})))
        cells.append({"bytes": buffer.getvalue(), "path": None})
    camera = {"dtype": "image", "shape": [30, 44, channels], "names": ["height", "width", "channels"]}
    column = pa.array(cells, type=IMAGE_TYPE)
    root = write_v30(tmp_path / "d", [rows(0, **{CAMERA: column})], {**FEATURES, CAMERA: camera})
    dataset = open_dataset(root)
    assert dataset.observation[CAMERA] == image_spec(30, 44, min(channels, 3))
    found = dataset.episode(0).observation[CAMERA].astype(int)
    gap = np.abs(found - np.stack(pictures).astype(int))
    assert gap.mean() <= tolerance
    assert gap.max() <= 12 * tolerance


def test_a_bad_reward_a_bad_camera_and_a_bad_column_leave_the_rest_alone(tmp_path: Path) -> None:
    scalar = {"dtype": "float32", "shape": [1], "names": None}
    features = {**FEATURES, "next.reward": scalar, "observation.force": scalar, CAMERA: VIDEO}
    nan = np.where(np.arange(12) == 4, np.nan, 0.0).astype(np.float32)
    one = rows(0, **{"next.reward": nan, "observation.force": nan})
    root = write_v30(tmp_path / "d", [one], features)
    dataset = open_dataset(root)
    np.testing.assert_array_equal(dataset.frames(("state",)).action, one["action"])
    for names, where in ((("force",), "step 4 of episode 0"), (("top",), "--observation")):
        with pytest.raises(DataError, match=where) as error:
            dataset.frames(names)
        assert "do this" in str(error.value)


def test_numbers_are_converted_only_where_none_changes(tmp_path: Path) -> None:
    for values, is_right in ((np.arange(24).reshape(12, 2), True), (np.full((12, 2), 2**24 + 1), False)):
        one = rows(0, action=values.astype(np.int64))
        dataset = open_dataset(write_v30(tmp_path / str(is_right), [one]))
        if is_right:
            np.testing.assert_array_equal(dataset.frames().action, values)
        else:
            with pytest.raises(DataError, match="another dtype"):
                dataset.frames()


@pytest.mark.parametrize(
    ("stored", "declared"),
    [(np.int64(300), "int8"), (np.int64(-1), "uint64"), (np.int64(2**53 + 1), "float64")],
)
def test_whole_numbers_that_do_not_fit_are_refused(tmp_path: Path, stored: np.int64, declared: str) -> None:
    features = {**FEATURES, "observation.state": {**VECTOR, "dtype": declared}}
    one = rows(0, **{"observation.state": np.full((12, 2), stored)})
    with pytest.raises(DataError, match="another dtype"):
        open_dataset(write_v30(tmp_path / "d", [one], features)).frames()


def test_a_jpeg_that_was_cut_is_refused() -> None:
    file = io.BytesIO()
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(picture).save(file, "JPEG")
    data = file.getvalue()
    assert decode_image(data + bytes(40), shape=(32, 32, 3), name="x").shape == (32, 32, 3), (
        "padding is harmless"
    )
    for cut in (2, len(data) // 4):
        with pytest.raises(DataError, match="damaged"):
            decode_image(data[:-cut], shape=(32, 32, 3), name="x")


def test_v20_is_read_as_v21(tmp_path: Path) -> None:
    root = write_v21(tmp_path / "d", [rows(0)], codebase_version="v2.0")
    assert open_dataset(root).layout.version == "v2.0"
    assert len(open_dataset(root).frames()) == 12


def test_columns_that_a_file_names_but_lacks_do_not_stop_the_others(tmp_path: Path) -> None:
    features = {**FEATURES, "observation.extra": VECTOR}
    dataset = open_dataset(write_v30(tmp_path / "d", [rows(0)], features))
    assert len(dataset.frames(("state",))) == 12
    with pytest.raises(DataError, match="lacks columns") as error:
        dataset.frames()
    assert "--observation" in str(error.value)


@pytest.mark.parametrize("layout", ["hwc", "chw", "hw"])
@pytest.mark.parametrize("kind", ["uint8", "0 to 1", "0 to 255"])
def test_pictures_in_columns_of_numbers_are_pictures(tmp_path: Path, layout: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (12, 20, 24, 1 if layout == "hw" else 3), dtype=np.uint8)
    stored = {"hwc": pictures, "chw": np.moveaxis(pictures, -1, 1), "hw": pictures[..., 0]}[layout]
    if kind != "uint8":
        stored = (stored / (255 if kind == "0 to 1" else 1)).astype(np.float32)
    described = {"dtype": stored.dtype.name, "shape": list(stored.shape[1:]), "names": None}
    # The second episode is dark: which range its numbers have is seen in the first.
    episodes = [rows(0, **{CAMERA: stored}), rows(1, **{CAMERA: stored[:1].repeat(12, axis=0) * 0})]
    root = write_v30(tmp_path / "d", episodes, {**FEATURES, CAMERA: described})
    dataset = open_dataset(root)
    assert dataset.observation[CAMERA] == image_spec(*pictures.shape[1:])
    np.testing.assert_array_equal(dataset.frames().observation[CAMERA][:12], pictures)
    np.testing.assert_array_equal(dataset.image(CAMERA, 0, 7), pictures[7])
    assert not dataset.episode(1).observation[CAMERA].any()
    alone = open_dataset(root, episodes="1")  # its range is that of the file, whatever was chosen
    assert alone.observation[CAMERA] == dataset.observation[CAMERA]
    assert not alone.frames().observation[CAMERA].any()
    assert [problem for problem in check(root).problems if problem.severity == "error"] == []


@pytest.mark.parametrize(("shape", "dtype"), [([4, 84, 84], "uint8"), ([20, 24], "uint16")])
def test_what_only_looks_like_pictures_is_refused_and_the_rest_works(
    tmp_path: Path, shape: list[int], dtype: str
) -> None:
    described = {"dtype": dtype, "shape": shape, "names": None}
    values = np.ones((12, *shape), dtype=dtype)
    root = write_v30(tmp_path / "d", [rows(0, **{CAMERA: values})], {**FEATURES, CAMERA: described})
    dataset = open_dataset(root)
    assert len(dataset.frames(("state",))) == 12
    with pytest.raises(DataError, match="cannot be read as pictures"):
        dataset.frames()
