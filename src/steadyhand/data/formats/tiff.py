"""TIFF files of one float32 a pixel, as LeRobot stores depth maps in metres; FFmpeg reads the other kinds."""

import struct

import numpy as np
from jaxtyping import Float32

from steadyhand.core.errors import DataError

# Tags of TIFF 6.0, section 8 and 19.
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _OFFSETS, _SAMPLES, _COUNTS, _KIND = (
    *(256, 257, 258, 259, 273, 277, 279),
    339,
)
_FORMATS = {3: "H", 4: "I"}  # SHORT, LONG
_FLOAT = 3


def read_float_tiff(data: bytes, *, name: str) -> Float32[np.ndarray, "h w"] | None:
    """Return the numbers of a TIFF of float32, or None if it holds something else.

    Args:
        data: The file.
        name: What the image is, for errors.

    Raises:
        DataError: Damaged, compressed, or of several numbers a pixel.
    """
    order = _order(data)
    try:
        tags = tiff_tags(data)
        if tags.get(_KIND) != (_FLOAT,) or tags[_BITS] != (32,):
            return None
        (height,), (width,) = tags[_HEIGHT], tags[_WIDTH]
        if tags.get(_COMPRESSION, (1,)) != (1,) or tags.get(_SAMPLES, (1,)) != (1,):
            raise DataError(
                f"{name} is a TIFF of float32 that cannot be read.",
                got=f"compression {tags.get(_COMPRESSION)}, {tags.get(_SAMPLES)} numbers a pixel",
                expected="no compression, one number a pixel",
                hint="store it without compression, or leave this depth map out",
            )
        strips = zip(tags[_OFFSETS], tags[_COUNTS], strict=True)
        raw = b"".join(data[offset : offset + count] for offset, count in strips)
        return np.frombuffer(raw, dtype=f"{order}f4").reshape(height, width).astype(np.float32)
    except (struct.error, KeyError, ValueError) as error:
        raise DataError(f"{name} is a damaged TIFF.", got=error) from error


def _order(data: bytes) -> str:
    return "<" if data[:2] == b"II" else ">"


def tiff_tags(data: bytes) -> dict[int, tuple[int, ...]]:
    """Return the numbers of the first directory; entries of other types are left out.

    Raises:
        struct.error: It is cut.
    """
    order = _order(data)
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    tags: dict[int, tuple[int, ...]] = {}
    for entry in range(count):
        at = start + 2 + 12 * entry
        tag, kind, length = struct.unpack_from(f"{order}HHI", data, at)
        if kind not in _FORMATS or length > len(data):  # one bad entry costs the others nothing
            continue
        layout = f"{order}{length}{_FORMATS[kind]}"
        if struct.calcsize(layout) > 4:
            (at,) = struct.unpack_from(f"{order}I", data, at + 8)
        else:
            at += 8
        tags[tag] = struct.unpack_from(layout, data, at)
    return tags
