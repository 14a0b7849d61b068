"""Pictures made smaller, by one function wherever that is done: in a cache, and live in front of a policy."""

from typing import Any

import numpy as np
from jaxtyping import UInt8

from steadyhand.core.errors import DataError

Size = tuple[int, int]
"""(height, width) [pixels]."""


def resized(images: UInt8[np.ndarray, "... h w c"], size: Size) -> UInt8[np.ndarray, "... H W c"]:
    """Return pictures in which each pixel is the mean of the area that it covers, rounded.

    The arithmetic is that of integers: a picture gives the same bits alone, among others, and on any machine.

    Args:
        images: (..., h, w, c).
        size: (H, W), at most (h, w).

    Raises:
        DataError: The size is no size, or larger than the pictures.
    """
    height, width, channels = images.shape[-3:]
    check_size(size, (height, width))
    if size == (height, width):
        return images
    flat = images.reshape(-1, height, width, channels)
    out = np.empty((len(flat), *size, channels), dtype=np.uint8)
    area = height * width
    dtype = np.int32 if 256 * area < 2**31 else np.int64
    for image, small in zip(flat, out, strict=True):
        rows = _cell_sums(image, size[0], dtype)
        cells = _cell_sums(rows.transpose(1, 0, 2), size[1], dtype).transpose(1, 0, 2)
        small[:] = (cells + area // 2) // area
    return out.reshape(*images.shape[:-3], *size, channels)


def check_size(size: Size, picture: Size) -> None:
    """Raise DataError unless pictures of (height, width) can be made as small as `size`."""
    if not all(1 <= small <= large for small, large in zip(size, picture, strict=True)):
        raise DataError(
            "Pictures can only be made smaller.",
            got=f"{size[0]} x {size[1]}",
            expected=f"at most {picture[0]} x {picture[1]}, the camera's",
            hint="set resize to a smaller size, or to none",
        )


def _cell_sums(values: np.ndarray, count: int, dtype: Any) -> np.ndarray:
    """Cut the first axis into `count` equal cells and return `count` times the sum over each.

    A cell's edge at i * n / count lies inside a pixel as a rule, of which each side takes its share.
    """
    edges = np.arange(count + 1) * len(values)
    whole, share = edges // count, (edges % count).astype(dtype)
    running = np.zeros((len(values) + 1, *values.shape[1:]), dtype=dtype)
    np.cumsum(values, axis=0, dtype=dtype, out=running[1:])
    up_to_edge = running[whole] * dtype(count)
    up_to_edge += share[:, None, None] * values.take(whole, axis=0, mode="clip")
    return np.diff(up_to_edge, axis=0)
