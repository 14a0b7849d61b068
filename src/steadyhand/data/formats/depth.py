"""Depth maps: stored numbers -> metres, by the scale that the metadata give."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Shaped

from steadyhand.core.errors import DataError

_METRES = {"m": 1.0, "mm": 1e-3}
_LAST_CODE = 4095  # LeRobot quantises to 12 bits
_PARAMETERS = ("depth_min", "depth_max", "shift", "use_log")


@dataclass(frozen=True, kw_only=True)
class DepthScale:
    """How stored numbers stand for metres.

    Without `codes` a number n means n * unit. With them, as LeRobot 0.6.1 quantises (its depth_utils), the
    codes 0 to 4095 divide [low, high] evenly, or, if `is_log`, [log(low + shift), log(high + shift)].

    Attributes:
        unit: Metres of one unit of the stored numbers.
        codes: (low, high, shift) of the quantisation [m], if the numbers are codes.
        is_log: Whether the codes divide the logarithm.
    """

    unit: float = 1.0
    codes: tuple[float, float, float] | None = None
    is_log: bool = False

    def metres(self, stored: Shaped[np.ndarray, "*shape"], *, name: str) -> Float32[np.ndarray, "*shape"]:
        """Return the depth [m] of stored numbers.

        Args:
            stored: Integers or floats, as decoded.
            name: What they are, for errors.

        Raises:
            DataError: Codes that the quantisation does not have.
        """
        if self.codes is None:
            return (stored * np.float64(self.unit)).astype(np.float32)
        if stored.dtype.kind not in "iu" or (stored > _LAST_CODE).any():
            raise DataError(
                f"{name} holds numbers that are no codes of 12 bits.",
                got=f"{stored.dtype}, up to {stored.max(initial=0)}",
                expected=f"0 to {_LAST_CODE}, as video.depth_min and video.depth_max in info.json say",
                hint="correct them in info.json: without them, depth_unit is the unit of the stored numbers",
            )
        low, high, shift = self.codes
        share = stored.astype(np.float64) / _LAST_CODE
        if not self.is_log:
            return np.clip(low + share * (high - low), low, high).astype(np.float32)
        first, last = math.log(low + shift), math.log(high + shift)
        return np.clip(np.exp(first + share * (last - first)) - shift, low, high).astype(np.float32)


def is_depth(info: Mapping[str, object]) -> bool:
    """Whether the `info` of a camera says that it is a depth map: in words, or by its pixel format."""
    pixels = str(info.get("video.pix_fmt", ""))
    said = info.get("is_depth_map") is True or info.get("video.is_depth_map") is True
    return said or (pixels.startswith("gray") and pixels not in ("gray", "gray8"))


def depth_scale(info: Mapping[str, object], *, name: str) -> DepthScale:
    """Return the scale of a depth map.

    Args:
        info: The `info` of the feature in info.json.
        name: Name of the feature, for errors.

    Raises:
        DataError: The scale is not said, or cannot be.
    """
    values = {key: info.get(f"video.{key}") for key in _PARAMETERS}
    if any(value is not None for value in values.values()):
        numbers = [_number(values[key]) for key in _PARAMETERS[:3]]
        low, high, shift = numbers
        is_log = values["use_log"]
        fits = all(math.isfinite(number) for number in numbers) and low < high and isinstance(is_log, bool)
        if not fits or (is_log and low + shift <= 0):
            raise DataError(
                f"The depth map {name!r} has a quantisation that cannot be.",
                got={f"video.{key}": value for key, value in values.items()},
                expected="depth_min < depth_max and shift [m], use_log true or false, depth_min + shift > 0",
                hint=_advice(name),
            )
        return DepthScale(codes=(low, high, shift), is_log=is_log is True)
    unit = info.get("depth_unit")
    if unit not in _METRES:
        raise DataError(
            f"The depth map {name!r} does not say what its numbers mean.",
            got=f"depth_unit = {unit!r}",
            expected='depth_unit "m" or "mm", or video.depth_min, depth_max, shift and use_log',
            hint=_advice(name),
        )
    return DepthScale(unit=_METRES[str(unit)])


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _advice(name: str) -> str:
    return f"add them to the info of {name} in meta/info.json, or leave this depth map out"
