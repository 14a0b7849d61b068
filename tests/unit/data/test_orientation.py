"""Pictures are read as they are to be looked at, however the camera was held; Pillow says what that is."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from steadyhand.core.errors import DataError
from steadyhand.data.formats.images import decode_image, decode_samples
from steadyhand.data.formats.orientation import orientation_of
from steadyhand.data.formats.video import VideoReader, write_mp4

PICTURE = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
EXACT = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}


def file_of(kind: str, orientation: int, pixels: np.ndarray = PICTURE, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera with a long name"
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, exif=exif, **options)
    return out.getvalue()


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", EXACT)
def test_a_picture_is_turned_upright(kind: str, orientation: int) -> None:
    data = file_of(kind, orientation, **EXACT[kind])
    expected = pillow(data)
    assert expected.shape == ((24, 16, 3) if orientation >= 5 else (16, 24, 3))
    assert orientation_of(data) == orientation
    np.testing.assert_array_equal(decode_image(data, shape=expected.shape, name="x"), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_turned_upright(orientation: int) -> None:
    data = file_of(
        "JPEG", orientation, np.kron(PICTURE[:2, :3], np.ones((8, 8, 1), np.uint8)), quality=95, subsampling=0
    )
    expected = pillow(data)
    found = decode_image(data, shape=expected.shape, name="x").astype(int)
    assert np.abs(found - expected).max() <= 4
    with pytest.raises(DataError, match="another size"):
        decode_image(data, shape=(99, 24, 3), name="x")


def test_the_declared_size_is_that_of_the_upright_picture() -> None:
    data = file_of("PNG", 6)
    with pytest.raises(DataError, match="another size"):
        decode_image(data, shape=(16, 24, 3), name="x")


def test_depth_is_turned_upright_too() -> None:
    depth = np.arange(16 * 24, dtype=np.uint16).reshape(16, 24) * 100
    for orientation in (1, 3, 6):
        data = file_of("PNG", orientation, depth)
        expected = pillow(data)
        height, width = expected.shape
        np.testing.assert_array_equal(decode_samples(data, height=height, width=width, name="x"), expected)


def test_damaged_exif_does_not_keep_a_picture_from_being_read() -> None:
    data = file_of("PNG", 6)
    start = data.index(b"eXIf") + 4
    for cut in (data[:start] + b"\xff" * 30 + data[start + 30 :], b"\xff\xd8\xff", b"RIFF", data[:20]):
        assert orientation_of(cut) == 1
    plain = io.BytesIO()
    Image.fromarray(PICTURE).save(plain, "PNG")
    assert orientation_of(plain.getvalue()) == 1


def test_a_video_that_is_to_be_turned_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_mp4(path, [PICTURE] * 3, fps=10)
    with VideoReader(path) as video:
        assert len(video.frames(np.arange(3))) == 3
    data = bytearray(path.read_bytes())
    place = data.find(b"tkhd") + 44  # of the matrix of ISO/IEC 14496-12, in version 0 of its box
    assert struct.unpack_from(">9i", data, place) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, place, 0, 65536, 0, -65536, 0, 0, 16 << 16, 0, 1 << 30)
    path.write_bytes(data)
    for indices in ([0], [2], [0, 1, 2]):
        with VideoReader(path) as video, pytest.raises(DataError, match="to be turned when it is shown"):
            video.frames(np.array(indices))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_an_orientation_that_stands_alone_is_read_to_its_last_byte(kind: str) -> None:
    exif, out = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(PICTURE).save(out, kind, exif=exif)
    assert orientation_of(out.getvalue()) == 6
