"""Bytes of a PNG, JPEG, WebP or TIFF file -> pixels, without an imaging library."""

import struct

import av
import numpy as np
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from jaxtyping import Shaped, UInt8

from steadyhand.core.errors import DataError
from steadyhand.data.formats.orientation import SIDEWAYS, orientation_of, upright
from steadyhand.data.formats.tiff import read_float_tiff

_CODECS = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "mjpeg",
    b"RIFF": "webp",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
}
_END = b"IEND\xaeB`\x82"


def decode_image(data: bytes, *, shape: tuple[int, int, int], name: str) -> UInt8[np.ndarray, "h w c"]:
    """Return the picture of the bytes of an image file, upright by its EXIF; transparency is left out.

    Args:
        data: PNG, JPEG, WebP or TIFF.
        shape: Declared (height, width, channels) of the upright picture; channels 1 or 3.
        name: What the image is, for errors.

    Raises:
        DataError: No such file, damaged, of another size, or of more than 8 bits a value.
    """
    height, width, channels = shape
    frame, orientation = _frame(data, height=height, width=width, name=name)
    bits = _bits(frame)
    if bits > 8:
        raise deep_pixels(name, frame.format.name)
    pixels = frame.to_ndarray(format="gray" if channels == 1 else "rgb24")
    return upright(pixels, orientation).reshape(shape)


def decode_samples(data: bytes, *, height: int, width: int, name: str) -> Shaped[np.ndarray, "h w"]:
    """Return the numbers of a grey image file as they are, upright: 8 or 16 bits, or float32 (TIFF).

    Raises:
        DataError: No such file, damaged, of another size, or in colour.
    """
    if data[:4] in (b"II*\0", b"MM\0*"):
        samples = read_float_tiff(data, name=name)
        if samples is not None:
            samples = upright(samples, orientation_of(data))
            _check_size(samples.shape, height, width, name)
            return samples
    frame, orientation = _frame(data, height=height, width=width, name=name)
    return upright(grey_samples(frame, name=name), orientation)


def grey_samples(frame: VideoFrame, *, name: str) -> Shaped[np.ndarray, "h w"]:
    """Return the numbers of the only plane of a grey frame, or of the luma plane of one of more than 8 bits.

    Raises:
        DataError: The frame is in colour, of 8 bits a value: that is a picture of a depth map.
    """
    bits, is_grey = _bits(frame), len(frame.format.components) == 1
    if not is_grey and not (bits > 8 and frame.format.name.startswith("yuv")):
        raise DataError(
            f"{name} is a depth map that is stored in colours.",
            got=f"pixel format {frame.format.name}",
            expected="one number a pixel: gray12le, gray16le, a PNG or TIFF of 16 bits, a TIFF of float32",
            hint="store it anew without colours, or leave this depth map out",
        )
    order = ">" if frame.format.name.endswith("be") else "<"
    dtype = np.dtype(np.uint8 if bits <= 8 else f"{order}u2")
    plane = frame.planes[0]
    rows = np.frombuffer(bytes(plane), dtype=np.uint8).reshape(frame.height, plane.line_size)
    rows = np.ascontiguousarray(rows[:, : frame.width * dtype.itemsize])
    return rows.view(dtype).astype(dtype.newbyteorder("="))


def deep_pixels(name: str, pixels: str) -> DataError:
    """Return the error for a picture of more than 8 bits a value that nobody called a depth map."""
    return DataError(
        f"{name} has more than 8 bits a value, so it is no picture.",
        got=f"pixel format {pixels}",
        expected="8 bits, or a depth map that says so",
        hint='if it is a depth map, add "is_depth_map": true and "depth_unit": "mm" (or "m") to its info in '
        "meta/info.json; otherwise convert it to 8 bits, or leave this camera out",
    )


def _bits(frame: VideoFrame) -> int:
    return frame.format.components[0].bits


def _frame(data: bytes, *, height: int, width: int, name: str) -> tuple[VideoFrame, int]:
    """Return what is coded, and the orientation by which it becomes (height, width)."""
    codec = next((codec for start, codec in _CODECS.items() if data.startswith(start)), None)
    if codec is None or len(data) < 24:
        raise DataError(
            f"{name} is not an image.", got=data[:8], expected="the bytes of a PNG, JPEG, WebP or TIFF file"
        )
    orientation = orientation_of(data)
    if orientation in SIDEWAYS:
        height, width = width, height
    if codec == "png":
        _check_size(struct.unpack(">II", data[16:24])[::-1], height, width, name)
    # A fresh context for each image: the decoder does not clear the row above the first one between images.
    context = VideoCodecContext.create(codec, "r")
    assert isinstance(context, VideoCodecContext), "the codecs above are video codecs"
    context.thread_count = 1
    context.options = {"max_pixels": str(4 * height * width + 4096)}
    try:
        frames = context.decode(av.Packet(data))
        frames = frames or context.decode(None)
    except FFmpegError as error:
        raise DataError(f"{name} is a damaged image.", got=error) from error
    if not frames or not _has_end(data, codec):
        raise DataError(f"{name} is a damaged image.", got=f"{len(data)} bytes without an end")
    _check_size((frames[0].height, frames[0].width), height, width, name)
    return frames[0], orientation


def _has_end(data: bytes, codec: str) -> bool:
    """Whether a file was not cut; the decoders of PNG and JPEG fill in what is missing."""
    if codec == "png":
        return _END in data
    # Within the coded pixels, which follow the last FF DA, FF D9 cannot occur.
    return codec != "mjpeg" or data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")


def _check_size(found: tuple[int, ...], height: int, width: int, name: str) -> None:
    if tuple(found) != (height, width):
        raise DataError(f"{name} has another size than declared.", got=tuple(found), expected=(height, width))
