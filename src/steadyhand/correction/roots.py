"""Newton's method for many small systems at once, damped so that kinks and jumps do not throw it off."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

_HALVINGS = 10
_SINGULAR = 1e-10
"""Singular values below this share of the largest are left out where the Jacobian has no inverse."""

Rise = Callable[[Float64[np.ndarray, "K S"], Int64[np.ndarray, " K"]], Float64[np.ndarray, "K S"]]
"""(x, rows) -> what has to become zero; `rows` says which of the N systems each x belongs to."""
Slope = Callable[[Float64[np.ndarray, "K S"], Int64[np.ndarray, " K"]], Float64[np.ndarray, "K S S"]]
"""(x, rows) -> its Jacobian."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Roots:
    """What came of it.

    Attributes:
        x: (N, S) the roots, or where the search stopped.
        error: (N,) length of what should be zero, in units of `scale`.
        converged: (N,) whether that is within the tolerance.
    """

    x: Float64[np.ndarray, "N S"]
    error: Float64[np.ndarray, " N"]
    converged: Bool[np.ndarray, " N"]


def solve(
    rise: Rise,
    slope: Slope,
    guess: Float64[np.ndarray, "N S"],
    *,
    scale: Float64[np.ndarray, " S"],
    tolerance: float = 1e-4,
    max_iterations: int = 50,
) -> Roots:
    """Find x with rise(x) = 0 for each row.

    A step is halved until it brings the row closer; a row that no step of its direction brings closer stops.

    Args:
        rise: The functions, K of the N rows at once.
        slope: Their Jacobians.
        guess: (N, S) where to start.
        scale: (S,) units in which errors are measured.
        tolerance: Largest error of a root, in those units.
        max_iterations: Newton steps for each row.
    """
    x = guess.astype(np.float64)
    values = rise(x, np.arange(len(x)))
    error = _length(values, scale)
    active = np.flatnonzero(error > tolerance)
    for _ in range(max_iterations):
        if len(active) == 0:
            break
        step = _newton(slope(x[active], active), values[active])
        open_rows = np.arange(len(active))
        for halving in range(_HALVINGS):
            rows = active[open_rows]
            trial = x[rows] - step[open_rows] * 0.5**halving
            reached = rise(trial, rows)
            length = _length(reached, scale)
            closer = length < error[rows]
            done = rows[closer]
            x[done], values[done], error[done] = trial[closer], reached[closer], length[closer]
            open_rows = open_rows[~closer]
            if len(open_rows) == 0:
                break
        moved = np.ones(len(active), dtype=bool)
        moved[open_rows] = False
        active = active[moved & (error[active] > tolerance)]
    return Roots(x=x, error=error, converged=error <= tolerance)


def _length(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(values / scale, axis=1)
    return np.where(np.isfinite(length), length, np.inf)


def _newton(slopes: np.ndarray, values: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.solve(slopes, values[..., None])[..., 0]
    except np.linalg.LinAlgError:
        return (np.linalg.pinv(slopes, rcond=_SINGULAR) @ values[..., None])[..., 0]
