"""The two ways round the disc, as the demonstrator walks them."""

import numpy as np
from jaxtyping import Float32

AMPLITUDE = 0.45
"""Offset at the middle of the disc of the path halfway between the demonstrator's [m]."""

LENGTH = 2.0
"""From where the ways part to where they meet again [m]."""


def bump(x: Float32[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
    """Return the offset at `x` metres behind the fork for amplitude 1: 16 t^2 (1 - t)^2, t = x / LENGTH.

    It rises from 0 to 1 and falls back to 0, flat at both ends; outside it is 0.
    """
    t = np.clip(x * np.float32(1.0 / LENGTH), 0.0, 1.0)
    rest = t * (1.0 - t)
    return 16.0 * rest * rest


def bump_slope(x: Float32[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
    """Return the derivative of `bump` by x [1/m]."""
    t = np.clip(x * np.float32(1.0 / LENGTH), 0.0, 1.0)
    return np.float32(32.0 / LENGTH) * t * (1.0 - t) * (1.0 - 2.0 * t)
