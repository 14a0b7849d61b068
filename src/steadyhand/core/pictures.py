"""Which arrays are pictures, and how they become pictures of (height, width, channels) uint8.

One rule for arrays on disk and for what an env shows live, so that a policy sees in an env what it was
trained on. Understood are (height, width, 1 or 3), (1 or 3, height, width), (height, width) and opaque RGBA,
as uint8, as numbers from 0 to 255, as floats from 0 to 1, and as bool masks (0 and 255). What looks like a
picture and is none of these is refused: it would otherwise be read as thousands of unrelated numbers.
"""

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Shaped, UInt8

from steadyhand.core.errors import SpecError
from steadyhand.core.specs import FeatureSpec, image_spec

Order = Literal["hwc", "chw", "hw"]
Values = Literal["bytes", "unit", "mask"]

_LEAST_SIDE = 16
"""Arrays with a shorter side are pictures only if they are uint8 with three axes, or are declared as such."""
_TOLERANCE = 1e-3
"""How far floats may leave their range, as a share of it: resampling overshoots a little."""
_BLOCK_BYTES = 1 << 24
_EXPECTED = (
    "(height, width, 1 or 3), (1 or 3, height, width) or (height, width), as uint8, as bool, "
    "or as floats from 0 to 1 or from 0 to 255"
)
_NO_STACKS = (
    "instead of stacking frames show one picture a step, and let the policy look back with n_obs_steps"
)
_OTHER_WORDS = ("depth", "map", "grid", "lidar", "scan", "history", "matrix")
"""A name with one of these words says that numbers, other than uint8, uint16 and bool, are no picture."""
_logger = logging.getLogger("steadyhand")


@dataclass(frozen=True, kw_only=True)
class PictureFormat:
    """How one picture lies in an array.

    Attributes:
        shape: Shape in which the picture is stored.
        order: Which axis is which.
        values: "bytes" run from 0 to 255, "unit" from 0 to 1, a "mask" is False or True.
    """

    shape: tuple[int, ...]
    order: Order
    values: Values

    @property
    def spec(self) -> FeatureSpec:
        """Spec of the pictures that `read` returns."""
        if self.order == "hw":
            (height, width), channels = self.shape, 1
        elif self.order == "hwc":
            height, width, channels = self.shape
        else:
            channels, height, width = self.shape
        return image_spec(height, width, min(channels, 3))

    def read(self, value: Shaped[np.ndarray, "..."], *, name: str) -> UInt8[np.ndarray, "... h w c"]:
        """Return pictures, any number of leading axes, as (..., height, width, channels) uint8.

        Floats are rounded to the nearest of 256 levels. An array that needs no change is returned itself.

        Raises:
            SpecError: Values out of range, NaN, or an alpha channel that is not opaque.
        """
        if value.dtype == np.uint8:
            return self._arranged(value, name)
        rows = value.reshape(-1, *self.shape)
        out = np.empty((len(rows), *self.spec.shape), dtype=np.uint8)
        block = max(1, _BLOCK_BYTES // (math.prod(self.shape) * value.itemsize))
        for first in range(0, len(rows), block):
            part = slice(first, first + block)
            out[part] = self._arranged(self._as_bytes(rows[part], name), name)
        return out.reshape(*value.shape[: value.ndim - len(self.shape)], *self.spec.shape)

    def _as_bytes(self, value: np.ndarray, name: str) -> np.ndarray:
        if value.dtype == np.bool_:
            return value.astype(np.uint8) * np.uint8(255)
        top = 1.0 if self.values == "unit" else 255.0
        low, high = float(value.min()), float(value.max())
        if not (low >= -_TOLERANCE * top and high <= (1.0 + _TOLERANCE) * top):  # also where one is NaN
            raise SpecError(
                f"{name} holds a picture whose values leave their range.",
                got=f"{low:g} to {high:g}",
                expected=f"0 to {top:g}",
                hint="one range for all pictures; uint8 leaves no doubt",
            )
        return np.rint(value * (255.0 / top)).astype(np.uint8)  # the tolerance is below half a level

    def _arranged(self, value: np.ndarray, name: str) -> np.ndarray:
        if self.order == "hw":
            return value[..., None]
        if self.order == "chw":
            return np.ascontiguousarray(np.moveaxis(value, -3, -1))
        if self.shape[2] != 4:
            return value
        if (value[..., 3] != 255).any():
            raise SpecError(
                f"{name} has four channels whose last is not 255 everywhere.",
                got="transparent RGBA, or four stacked frames",
                expected="opaque RGBA, RGB or grey",
                hint=f"drop the alpha channel; {_NO_STACKS}",
            )
        return np.ascontiguousarray(value[..., :3])


def picture_format(
    shape: tuple[int, ...],
    dtype: np.dtype,
    *,
    name: str,
    limits: Callable[[], tuple[float, float]],
    is_declared: bool = False,
    rename: str = "--rename {name}=observation.history, or in Python rename={{'{name}': ...}}",
) -> PictureFormat | None:
    """Return how the pictures of a feature lie in its array; None if these are no pictures but numbers.

    Pictures are: what is declared as such; uint8 with three axes or more; and anything with two axes of 16 or
    more, unless it is numbers whose name says what else they are (depth, map, grid, lidar, scan, history,
    matrix).

    Args:
        shape: Shape of one step of the feature.
        dtype: NumPy type of the array.
        name: Name of the feature.
        limits: Returns the lowest and the highest value that it holds, or that its space allows; only asked
            where they decide.
        is_declared: Whether the feature is called a picture by whoever made it.
        rename: How whoever reads the error gives the feature another name.

    Raises:
        SpecError: They look like pictures, but have a layout or values that cannot be read.
    """
    if not (is_declared or _looks_like_picture(shape, dtype, name)):
        return None
    advice = _advice(dtype, rename.format(name=name))
    order = _order(shape, dtype, name, advice)
    picture = PictureFormat(shape=shape, order=order, values=_values(shape, dtype, name, limits, advice))
    if order == "hw" and dtype.kind == "f" and not is_declared:
        _tell(name, f"{dtype} of shape {shape}", advice)
    return picture


def _looks_like_picture(shape: tuple[int, ...], dtype: np.dtype, name: str) -> bool:
    if dtype == np.uint8 and len(shape) >= 3:
        return True
    if _may_be_called_otherwise(dtype) and set(re.split("[^a-z]+", name.lower())).intersection(_OTHER_WORDS):
        return False
    return sum(side >= _LEAST_SIDE for side in shape) >= 2


@cache
def _tell(name: str, what: str, advice: str) -> None:
    """Say once that numbers become pictures, since nobody called them so."""
    _logger.warning("%s, %s, is read as grey pictures of 256 levels; %s", name, what, advice)


def _may_be_called_otherwise(dtype: np.dtype) -> bool:
    return dtype not in (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.bool_))


def _advice(dtype: np.dtype, rename: str) -> str:
    """Return what to do where these are no pictures but numbers."""
    first = "" if _may_be_called_otherwise(dtype) else "store them as float32, and "
    return (
        f"if these are numbers and no picture: {first}give them a name with one of the words "
        f"{', '.join(_OTHER_WORDS)} ({rename}), or flatten them to one axis"
    )


def _order(shape: tuple[int, ...], dtype: np.dtype, name: str, advice: str) -> Order:
    if len(shape) == 2:
        return "hw"
    if len(shape) == 3 and shape[2] in (1, 3):
        return "hwc"
    if len(shape) == 3 and shape[0] in (1, 3):
        return "chw"
    if len(shape) == 3 and shape[2] == 4:
        return "hwc"
    raise SpecError(
        f"{name} cannot be read as pictures.",
        got=f"{dtype} of shape {shape}",
        expected=_EXPECTED,
        hint=f"{_NO_STACKS}; {advice}",
    )


def _values(
    shape: tuple[int, ...],
    dtype: np.dtype,
    name: str,
    limits: Callable[[], tuple[float, float]],
    advice: str,
) -> Values:
    if dtype == np.bool_:
        return "mask"
    if dtype == np.uint8:
        return "bytes"
    if dtype == np.uint16 or dtype.kind not in "fiu":
        raise SpecError(
            f"{name} cannot be read as pictures: {dtype} has more levels than the 256 of a picture.",
            got=f"{dtype} of shape {shape}",
            expected=_EXPECTED,
            hint="give depth as float32 metres under a name that says no picture, such as observation.depth; "
            "scale other pictures to uint8",
        )
    low, high = limits()
    if dtype.kind == "f" and low >= -_TOLERANCE and high <= 1.0 + _TOLERANCE:
        return "unit"
    if low >= -_TOLERANCE * 255.0 and high <= (1.0 + _TOLERANCE) * 255.0:
        return "bytes"
    raise SpecError(
        f"{name} cannot be read as pictures: its range of values is no picture's.",
        got=f"{dtype} of shape {shape}, {low:g} to {high:g}",
        expected=_EXPECTED,
        hint=f"convert it to uint8, or declare its range; {advice}",
    )
