"""Image files whose bytes are written here by hand: TIFF, EXIF in every container, frames of every depth."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame
from PIL import Image

from steadyhand.core.errors import DataError
from steadyhand.data.formats.images import decode_image, grey_samples
from steadyhand.data.formats.orientation import orientation_of, upright
from steadyhand.data.formats.png import encode_png
from steadyhand.data.formats.tiff import read_float_tiff

ORIENTATION = 274
SHORT, LONG, ASCII = 3, 4, 2

Entry = tuple[int, int, Sequence[int]]
"""Tag, type and values of an entry of a TIFF directory."""


def tiff(order: str, entries: Sequence[Entry], pixels: Sequence[bytes] = (), *, start: int = 8) -> bytes:
    """Return a TIFF 6.0 file with the strips of `pixels`; values of up to 4 bytes stand in their entry."""
    sizes = {SHORT: "H", LONG: "I", ASCII: "B"}
    offsets: list[int] = []
    blob = bytearray()
    after = start + 2 + 12 * (len(entries) + 2 * bool(pixels)) + 4
    for strip in pixels:
        offsets.append(after + len(blob))
        blob += strip
    every = list(entries)
    if pixels:
        every += [(273, LONG, offsets), (279, LONG, [len(strip) for strip in pixels])]
    directory = struct.pack(f"{order}H", len(every))
    for tag, kind, values in every:
        packed = struct.pack(f"{order}{len(values)}{sizes[kind]}", *values)
        if len(packed) > 4:
            place = after + len(blob)
            blob += packed
            packed = struct.pack(f"{order}I", place)
        directory += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    return head.ljust(start, b"\0") + directory + bytes(4) + bytes(blob)


DEPTH = np.arange(20, dtype=np.float32).reshape(4, 5) / 7
FLOATS: list[Entry] = [(256, SHORT, [5]), (257, LONG, [4]), (258, SHORT, [32]), (339, SHORT, [3])]


def strips(order: str, rows: Sequence[np.ndarray]) -> list[bytes]:
    return [part.astype(f"{order}f4").tobytes() for part in rows]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("cuts", [[], [1], [1, 3]])
@pytest.mark.parametrize(
    "more", [[], [(259, SHORT, [1]), (277, SHORT, [1]), (278, SHORT, [2]), (306, ASCII, [65] * 20)]]
)
def test_a_tiff_of_floats_is_read_whatever_its_order_and_strips(
    order: str, cuts: list[int], more: list[Entry]
) -> None:
    data = tiff(order, [*more, *FLOATS], strips(order, np.split(DEPTH, cuts)), start=10)
    found = read_float_tiff(data, name="it")
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, DEPTH)


@pytest.mark.parametrize(
    "other",
    [
        [(256, SHORT, [5]), (257, LONG, [4]), (258, SHORT, [32])],  # numbers without a sign, as none says
        [*FLOATS[:3], (339, SHORT, [1])],
        [*FLOATS[:2], (258, SHORT, [16]), FLOATS[3]],
        [*FLOATS[:2], (258, SHORT, [64]), FLOATS[3]],
        [*FLOATS[:2], (258, SHORT, [32] * 3), (339, SHORT, [3] * 3)],
    ],
)
def test_a_tiff_of_anything_else_is_none(other: list[Entry]) -> None:
    assert read_float_tiff(tiff("<", other, [bytes(240)]), name="it") is None


@pytest.mark.parametrize(
    ("entries", "pixels", "what"),
    [
        ([*FLOATS, (259, SHORT, [5])], [DEPTH.tobytes()], "cannot be read"),
        ([*FLOATS, (277, SHORT, [3])], [DEPTH.tobytes()], "cannot be read"),
        (FLOATS, [DEPTH.tobytes()[:-4]], "damaged TIFF"),
        (FLOATS, [], "damaged TIFF"),
        (FLOATS[1:], [DEPTH.tobytes()], "damaged TIFF"),
        ([*FLOATS, (306, LONG, [1] * 9)], [DEPTH.tobytes()], ""),
    ],
)
def test_a_tiff_of_floats_that_is_not_whole_is_refused(
    entries: list[Entry], pixels: list[bytes], what: str
) -> None:
    data = tiff("<", entries, pixels)
    if not what:
        assert read_float_tiff(data, name="it") is not None
        data, what = data[:-1], "damaged TIFF"
    with pytest.raises(DataError, match=what):
        read_float_tiff(data, name="it")


def exif(orientation: int, order: str = ">", *, length: int | None = None) -> bytes:
    """Return EXIF whose last two bytes are the orientation, with nothing after it; or its first bytes."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 1)
    return (head + struct.pack(f"{order}HHIH", ORIENTATION, SHORT, 1, orientation))[:length]


def jpeg(*segments: tuple[int, bytes], after: bytes = b"\xff\xda" + bytes(9)) -> bytes:
    parts = [struct.pack(">BBH", 0xFF, marker, 2 + len(data)) + data for marker, data in segments]
    return b"\xff\xd8" + b"".join(parts) + after


def png(*chunks: tuple[bytes, bytes], crc: bytes = bytes(4)) -> bytes:
    parts = [struct.pack(">I", len(data)) + kind + data + crc for kind, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks]
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


TOLD = b"Exif\0\0" + exif(6)
APP1, QUANTISATION, COMMENT = 0xE1, 0xDB, 0xFE


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (exif(6), 6),
        (exif(8, "<"), 8),
        (jpeg((APP1, TOLD)), 6),
        (
            jpeg((0xE0, b"JFIF"), (QUANTISATION, bytes(65)), (COMMENT, b"ab"), (APP1, b"http"), (APP1, TOLD)),
            6,
        ),
        (jpeg((0xE2, TOLD)), 1),  # another segment
        (jpeg((COMMENT, b"ab")), 1),
        (jpeg(after=b"\xff\xda\0\2" + jpeg((APP1, TOLD))[2:]), 1),  # within the pixels
        (jpeg((COMMENT, b"ab"), after=b"\0\1\0\2" + jpeg((APP1, TOLD))[2:]), 1),  # after what is no segment
        (jpeg((APP1, TOLD[:-1])), 1),  # cut in the number
        (png((b"IHDR", bytes(13)), (b"eXIf", exif(6)), (b"IEND", b"")), 6),
        (png((b"IHDR", bytes(13)), (b"IDAT", bytes(20)), (b"eXIf", exif(3, "<")), (b"IEND", b"")), 3),
        (png((b"IHDR", bytes(13)), (b"tEXt", exif(6)), (b"IEND", b"")), 1),
        (png((b"eXIf", exif(6)[:-1]), crc=b"\6\0\0\0"), 1),  # cut: what follows is another thing
        (webp((b"VP8X", bytes(10)), (b"VP8 ", bytes(5)), (b"ICCP", bytes(4)), (b"EXIF", exif(6))), 6),
        (webp((b"VP8 ", bytes(7)), (b"EXIF", b"Exif\0\0" + exif(8, "<"))), 8),
        (webp((b"XMP ", exif(6))), 1),
        (webp((b"EXIF", exif(6, "<")[:-1])), 1),  # cut: the next byte only fills up
        (b"GIF8" + exif(6), 1),
        (b"\xff\xd8", 1),
        (b"RIFF", 1),
        (b"", 1),
        (exif(0), 1),
        (exif(9), 1),
        (tiff("<", [(256, SHORT, [5])]), 1),
        (tiff(">", [(271, ASCII, [65] * 9), (ORIENTATION, SHORT, [5]), (256, LONG, [3])], start=12), 5),
    ],
)
def test_where_the_orientation_of_a_picture_is_told(data: bytes, expected: int) -> None:
    assert orientation_of(data) == expected


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, ["abc", "def"]),
        (2, ["cba", "fed"]),
        (3, ["fed", "cba"]),
        (4, ["def", "abc"]),
        (5, ["ad", "be", "cf"]),
        (6, ["da", "eb", "fc"]),
        (7, ["fc", "eb", "da"]),
        (8, ["cf", "be", "ad"]),
    ],
)
def test_the_eight_orientations(orientation: int, expected: list[str]) -> None:
    letters = np.array([list("abc"), list("def")])
    found = upright(letters, orientation)
    assert ["".join(row) for row in found] == expected
    assert found.flags.c_contiguous
    colours = upright(np.stack([letters, letters], axis=-1), orientation)
    np.testing.assert_array_equal(colours, np.stack([found, found], axis=-1))


def frame_of(pixels: str, values: np.ndarray, *, width: int = 5, height: int = 3) -> VideoFrame:
    """Return a frame whose first plane holds these rows, padded as FFmpeg likes."""
    frame = VideoFrame(width, height, pixels)
    for number, plane in enumerate(frame.planes):
        rows = np.full((plane.buffer_size // plane.line_size, plane.line_size), 0xAB, dtype=np.uint8)
        if number == 0:
            raw = np.ascontiguousarray(values).view(np.uint8).reshape(height, -1)
            rows[:height, : raw.shape[1]] = raw
        plane.update(rows.tobytes())
    return frame


@pytest.mark.parametrize(
    ("pixels", "dtype"),
    [
        ("gray", "u1"),
        ("gray9le", "<u2"),
        ("gray12le", "<u2"),
        ("gray16le", "<u2"),
        ("gray16be", ">u2"),
        ("yuv420p9le", "<u2"),
        ("yuv420p10le", "<u2"),
        ("yuv444p12be", ">u2"),
    ],
)
def test_grey_numbers_are_kept_whatever_their_bits(pixels: str, dtype: str) -> None:
    values = np.arange(15).reshape(3, 5) * 17
    found = grey_samples(frame_of(pixels, values.astype(dtype)), name="it")
    np.testing.assert_array_equal(found, values)
    assert found.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize("pixels", ["yuv420p", "rgb24", "rgb48le", "ya8"])
def test_colours_are_no_numbers(pixels: str) -> None:
    with pytest.raises(DataError, match="stored in colours"):
        grey_samples(VideoFrame(6, 4, pixels), name="it")


def test_sixteen_bits_are_no_picture() -> None:
    deep = io.BytesIO()
    Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4)).save(deep, "PNG")
    with pytest.raises(DataError, match="more than 8 bits"):
        decode_image(deep.getvalue(), shape=(3, 4, 1), name="it")


def file_of(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_a_large_picture_is_read_and_one_that_claims_to_be_larger_is_not(kind: str) -> None:
    pixels = np.full((150, 50, 3), 90, dtype=np.uint8)
    data = file_of(pixels, kind)
    found = decode_image(data, shape=(150, 50, 3), name="it")
    assert np.abs(found.astype(int) - pixels).max() <= 2
    for shape in ((50, 150, 3), (10, 10, 3), (150, 49, 3)):
        with pytest.raises(DataError, match="another size" if kind == "PNG" else "it"):
            decode_image(data, shape=shape, name="it")


def test_the_size_of_a_png_is_told_by_its_first_bytes() -> None:
    data = encode_png(np.zeros((4, 7, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="another size"):
        decode_image(data[:24], shape=(4, 8, 3), name="it")
    with pytest.raises(DataError, match="damaged"):
        decode_image(data[:24], shape=(4, 7, 3), name="it")
    with pytest.raises(DataError, match="is not an image"):
        decode_image(data[:23], shape=(4, 7, 3), name="it")


def test_what_follows_the_end_of_a_picture_is_harmless() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        decode_image(encode_png(pixels) + bytes(40), shape=(4, 7, 3), name="it"), pixels
    )


@pytest.mark.parametrize(("channels", "colour"), [(1, 0), (3, 2)])
def test_a_png_is_written_by_the_letter_of_the_standard(channels: int, colour: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 7, channels), dtype=np.uint8)
    data = encode_png(image)
    # Width, height, 8 bits, colour type; compression, filter and interlace method 0.
    header = b"IHDR" + struct.pack(">IIBBBBB", 7, 4, 8, colour, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(header))
    assert data[:33] == b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + crc
    assert data[-12:] == struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    rows = np.frombuffer(zlib.decompress(data[41:-16]), dtype=np.uint8).reshape(4, -1)
    assert rows[:, 0].tolist() == [2] * 4  # filter "Up": the difference to the row above, that of 0 first
    above = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)
    np.testing.assert_array_equal(above.reshape(image.shape), image)


def test_one_bad_entry_costs_the_others_nothing() -> None:
    turned = tiff("<", [(900, LONG, [7]), (ORIENTATION, SHORT, [6])])
    at = turned.index(struct.pack("<HHI", 900, LONG, 1))
    bad = turned[: at + 4] + struct.pack("<I", 1 << 30) + turned[at + 8 :]
    assert orientation_of(bad) == orientation_of(turned) == 6
    floats = tiff("<", [*FLOATS, (900, LONG, [7])], [DEPTH.tobytes()])
    at = floats.index(struct.pack("<HHI", 900, LONG, 1))
    found = read_float_tiff(floats[: at + 4] + struct.pack("<I", 1 << 30) + floats[at + 8 :], name="it")
    assert found is not None
    np.testing.assert_array_equal(found, DEPTH)
    assert orientation_of(tiff("<", [(ORIENTATION, SHORT, [])])) == 1
