"""Depth maps come out in metres as LeRobot quantised them, to the last bit; never as 8 bits."""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from lerobot_folders import FEATURES, STATE, VIDEO, rows, v21_video, v30_video, write_v21, write_v30
from steadyhand.core.errors import DataError
from steadyhand.data.checks import check
from steadyhand.data.dataset import open_dataset
from steadyhand.data.formats.depth import DepthScale
from steadyhand.data.formats.images import decode_samples
from steadyhand.data.info import summarise

DEPTH = "observation.images.top"
HEIGHT, WIDTH, LENGTH = 16, 24, 12
LOG = {"video.depth_min": 0.01, "video.depth_max": 10.0, "video.shift": 3.5, "video.use_log": True}
STORED = np.random.default_rng(0).integers(0, 4096, (LENGTH, HEIGHT, WIDTH)).astype(np.uint16)
IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def feature(dtype: str = "video", **info: Any) -> dict[str, Any]:
    shape = [HEIGHT, WIDTH, 1]
    return {"dtype": dtype, "shape": shape, "names": ["height", "width", "channels"], "info": info}


def grey_video(path: Path, frames: np.ndarray, *, codec: str, pixels: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"x265-params": "lossless=1:log-level=none"} if codec == "libx265" else {}
    with av.open(str(path), "w", format="matroska" if codec == "ffv1" else "mp4") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format=pixels)
            picture.pts, picture.time_base = number, Fraction(1, 10)
            for packet in stream.encode(picture):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def in_parquet(images: list[bytes]) -> pa.Array:
    return pa.array([{"bytes": data, "path": None} for data in images], type=IMAGE_TYPE)


def file_of(array: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.skipif("libx265" not in av.codecs_available, reason="PyAV was built without x265")
@pytest.mark.parametrize("use_log", [True, False])
def test_lerobots_codes_are_metres(tmp_path: Path, use_log: bool) -> None:
    info = {"is_depth_map": True, **LOG, "video.use_log": use_log, "depth_unit": "mm"}
    root = write_v30(tmp_path / "d", [rows(0)], {**FEATURES, DEPTH: feature(**info)})
    grey_video(v30_video(root), STORED, codec="libx265", pixels="gray12le")
    dataset = open_dataset(root)
    share = STORED / 4095
    if use_log:  # equal steps of log(depth + shift) between the ends
        expected = np.exp(np.log(3.51) + share * (np.log(13.5) - np.log(3.51))) - 3.5
    else:
        expected = 0.01 + share * 9.99
    found = dataset.depth_maps(DEPTH, 0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.clip(0.01, 10.0), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(dataset.depth_maps(DEPTH, 0, [7, 3]), found[[7, 3]])
    assert dataset.depth_maps(DEPTH, 0, []).shape == (0, HEIGHT, WIDTH)
    assert dataset.depth == {DEPTH: (HEIGHT, WIDTH)}
    assert check(root).ok


def test_both_ends_and_the_order_of_the_codes_are_kept() -> None:
    scale = DepthScale(codes=(0.01, 10.0, 3.5), is_log=True)
    metres = scale.metres(np.arange(4096, dtype=np.uint16), name="it")
    np.testing.assert_allclose(metres[[0, -1]], [0.01, 10.0], rtol=1e-6)
    assert (np.diff(metres) > 0).all()


@pytest.mark.parametrize(("unit", "metres"), [("mm", 1e-3), ("m", 1.0)])
def test_sixteen_bits_of_a_video_have_their_unit(tmp_path: Path, unit: str, metres: float) -> None:
    info = {"video.pix_fmt": "gray16le", "video.is_depth_map": True, "depth_unit": unit}
    root = write_v21(tmp_path / "d", [rows(0)], {**FEATURES, DEPTH: feature(**info)})
    frames = STORED * 16 + 1
    grey_video(v21_video(root, 0), frames, codec="ffv1", pixels="gray16le")
    found = open_dataset(root).depth_maps(DEPTH, 0)
    np.testing.assert_array_equal(found, (frames * metres).astype(np.float32))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "compressed TIFF", "float TIFF"])
def test_depth_in_image_files_keeps_every_number(tmp_path: Path, kind: str) -> None:
    unit, numbers = ("mm", STORED * 16 + 3) if kind != "float TIFF" else ("m", STORED.astype(np.float32) / 7)
    options = {"compression": "tiff_lzw"} if kind == "compressed TIFF" else {}
    images = [file_of(frame, kind.rsplit(maxsplit=1)[-1], **options) for frame in numbers]
    described = feature("image", is_depth_map=True, depth_unit=unit)
    root = write_v30(tmp_path / "d", [rows(0, **{DEPTH: in_parquet(images)})], {**FEATURES, DEPTH: described})
    expected = (numbers * (1e-3 if unit == "mm" else 1.0)).astype(np.float32)
    dataset = open_dataset(root)
    np.testing.assert_array_equal(dataset.depth_maps(DEPTH, 0), expected)
    np.testing.assert_array_equal(dataset.depth_maps(DEPTH, 0, [7, 3]), expected[[7, 3]])
    assert dataset.depth_maps(DEPTH, 0, []).shape == (0, HEIGHT, WIDTH)
    for wrong in ([0, LENGTH], [-1]):
        with pytest.raises(DataError, match="no such step"):
            dataset.depth_maps(DEPTH, 0, wrong)


@pytest.mark.parametrize(
    "info",
    [
        {"is_depth_map": True},
        {"video.pix_fmt": "gray12le"},
        {"is_depth_map": True, "depth_unit": "inch"},
        {"is_depth_map": True, **LOG, "video.shift": None},
        {"is_depth_map": True, **LOG, "video.depth_max": 0.0},
        {"is_depth_map": True, **LOG, "video.shift": -1.0},
    ],
)
def test_a_scale_that_nobody_tells_is_refused(tmp_path: Path, info: dict[str, Any]) -> None:
    root = write_v21(tmp_path / "d", [rows(0)], {**FEATURES, DEPTH: feature(**info)})
    grey_video(v21_video(root, 0), STORED, codec="ffv1", pixels="gray12le")
    dataset = open_dataset(root)
    with pytest.raises(DataError, match=r"meta/info\.json"):
        dataset.depth_maps(DEPTH, 0)
    assert len(dataset.frames()) == LENGTH  # the rest of the data set is not its fault


def test_codes_beyond_the_quantisation_are_refused(tmp_path: Path) -> None:
    info = {"is_depth_map": True, **LOG}
    root = write_v21(tmp_path / "d", [rows(0)], {**FEATURES, DEPTH: feature(**info)})
    grey_video(v21_video(root, 0), STORED * 16, codec="ffv1", pixels="gray16le")
    with pytest.raises(DataError, match="no codes of 12 bits"):
        open_dataset(root).depth_maps(DEPTH, 0)


def test_depth_in_eight_bits_of_colour_is_refused(tmp_path: Path) -> None:
    info = {"is_depth_map": True, "depth_unit": "mm"}
    root = write_v21(tmp_path / "d", [rows(0)], {**FEATURES, DEPTH: feature(**info)})
    colours = np.zeros((LENGTH, HEIGHT * 3 // 2, WIDTH), dtype=np.uint8)
    grey_video(v21_video(root, 0), colours, codec="libx264", pixels="yuv420p")
    with pytest.raises(DataError, match="stored in colours"):
        open_dataset(root).depth_maps(DEPTH, 0)


def test_a_depth_map_that_is_called_a_picture_is_never_cut_to_eight_bits(tmp_path: Path) -> None:
    root = write_v21(tmp_path / "video", [rows(0)], {**FEATURES, DEPTH: {**VIDEO, "shape": [16, 24, 3]}})
    grey_video(v21_video(root, 0), STORED, codec="ffv1", pixels="gray16le")
    images = in_parquet([file_of(frame, "PNG") for frame in STORED])
    features = {**FEATURES, DEPTH: feature("image")}
    other = write_v30(tmp_path / "images", [rows(0, **{DEPTH: images})], features)
    for folder in (root, other):
        with pytest.raises(DataError, match="is_depth_map"):
            open_dataset(folder).frames()
        assert not check(folder).ok
        assert len(open_dataset(folder).frames((STATE,))) == LENGTH


def test_policies_do_not_see_depth(tmp_path: Path) -> None:
    info = {"is_depth_map": True, "depth_unit": "mm"}
    root = write_v21(tmp_path / "d", [rows(0)], {**FEATURES, DEPTH: feature(**info)})
    dataset = open_dataset(root)
    assert list(dataset.observation) == [STATE]
    with pytest.raises(DataError, match="No policy here reads depth maps"):
        dataset.frames(("top",))
    assert summarise(dataset).depth == {DEPTH: (HEIGHT, WIDTH)}


def test_a_float_picture_of_another_size_is_refused() -> None:
    data = file_of(STORED[0].astype(np.float32), "TIFF")
    assert decode_samples(data, height=HEIGHT, width=WIDTH, name="x").shape == (HEIGHT, WIDTH)
    for height, width in ((HEIGHT + 1, WIDTH), (HEIGHT, WIDTH - 1), (WIDTH, HEIGHT)):
        with pytest.raises(DataError, match="x"):
            decode_samples(data, height=height, width=width, name="x")


def test_compressed_floats_and_colours_of_a_tiff_are_refused() -> None:
    frame = STORED[0].astype(np.float32) / 7
    plain = file_of(frame, "TIFF")
    np.testing.assert_array_equal(decode_samples(plain, height=HEIGHT, width=WIDTH, name="it"), frame)
    with pytest.raises(DataError, match="TIFF of float32 that cannot be read") as refusal:
        decode_samples(file_of(frame, "TIFF", compression="tiff_lzw"), height=HEIGHT, width=WIDTH, name="it")
    assert "compression (5,)" in refusal.value.rest["got"]
    with pytest.raises(DataError, match="it is a damaged TIFF"):
        decode_samples(plain[:200], height=HEIGHT, width=WIDTH, name="it")
