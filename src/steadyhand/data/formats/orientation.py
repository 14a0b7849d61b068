"""How a camera was held, as EXIF in an image file says it: pictures are turned upright by it.

So does LeRobot, which reads pictures by the `datasets` of Hugging Face (2.19 and later). Orientation that is
told by XMP alone is not looked at.
"""

import struct
from collections.abc import Iterator

import numpy as np
from jaxtyping import Shaped

from steadyhand.data.formats.tiff import tiff_tags

_ORIENTATION = 274
_EXIF = b"Exif\0\0"
SIDEWAYS = (5, 6, 7, 8)
"""Orientations in which height and width change places."""


def orientation_of(data: bytes) -> int:
    """Return the EXIF orientation of a PNG, JPEG, WebP or TIFF file: 1 to 8; 1, upright, if it tells none."""
    try:
        for block in (part.removeprefix(_EXIF) for part in _blocks(data)):
            if block[:4] not in (b"II*\0", b"MM\0*"):
                continue
            numbers = tiff_tags(block).get(_ORIENTATION)
            return numbers[0] if numbers and 2 <= numbers[0] <= 8 else 1
    except (struct.error, IndexError):  # the end of the file: what decodes without it counts
        pass
    return 1


def upright(pixels: Shaped[np.ndarray, "h w *c"], orientation: int) -> np.ndarray:
    """Return the pixels of a file of this orientation as they are to be looked at."""
    if orientation in SIDEWAYS:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _blocks(data: bytes) -> Iterator[bytes]:
    """Yield the parts of a file that may be EXIF, which is itself laid out as a TIFF."""
    if data[:4] in (b"II*\0", b"MM\0*"):
        yield data
    elif data[:2] == b"\xff\xd8":
        at = 2
        while data[at] == 0xFF and data[at + 1] != 0xDA:  # the pixels begin at FF DA
            (size,) = struct.unpack_from(">H", data, at + 2)
            if data[at + 1] == 0xE1:
                yield data[at + 4 : at + 2 + size]
            at += 2 + size
    elif data[:4] == b"\x89PNG":
        at = 8
        while True:  # up to the end of the file
            (size,) = struct.unpack_from(">I", data, at)
            if data[at + 4 : at + 8] == b"eXIf":
                yield data[at + 8 : at + 8 + size]
            at += 12 + size
    elif data[:4] == b"RIFF":
        at = 12
        while True:
            (size,) = struct.unpack_from("<I", data, at + 4)
            if data[at : at + 4] == b"EXIF":
                yield data[at + 8 : at + 8 + size]
            at += 8 + size + size % 2
