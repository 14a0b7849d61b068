"""Small quadratic programs with bounds, many at once: min x'Hx / 2 + g'x with low <= x <= high."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

SHRINK, ARMIJO = 0.6, 0.1
"""Factor from one step size to the next, and the share of the expected gain that a step must bring."""

MIN_GRADIENT = 1e-8


@dataclass(frozen=True, kw_only=True)
class BoxSolution:
    """The solutions of B programs.

    Attributes:
        x: (B, U) the minimisers.
        is_free: (B, U) whether a bound does not hold an entry.
        free_hessian: (B, U, U) H among free entries, the identity elsewhere.
    """

    x: Float64[np.ndarray, "B U"]
    is_free: Bool[np.ndarray, "B U"]
    free_hessian: Float64[np.ndarray, "B U U"]

    def feedback(self, mixed: Float64[np.ndarray, "B U S"]) -> Float64[np.ndarray, "B U S"]:
        """Return how x follows a change of g by `mixed` times a state; 0 where a bound holds."""
        return -np.linalg.solve(self.free_hessian, np.where(self.is_free[..., None], mixed, 0.0))


def solve_box_qp(
    hessian: Float64[np.ndarray, "B U U"],
    gradient: Float64[np.ndarray, "B U"],
    low: Float64[np.ndarray, "B U"],
    high: Float64[np.ndarray, "B U"],
    *,
    guess: Float64[np.ndarray, "B U"] | None = None,
    max_iterations: int = 20,
) -> BoxSolution:
    """Return the minimisers, by the projected Newton method of Tassa et al. (2014), algorithm 1.

    Args:
        hessian: (B, U, U) H, positive.
        gradient: (B, U) g.
        low: (B, U) lower bounds.
        high: (B, U) upper bounds.
        guess: (B, U) where to begin; 0 where it is left out.
        max_iterations: The most Newton steps; a few are enough, as the bounds that hold are soon found.
    """
    if hessian.shape[-1] == 1:
        return _single(hessian, gradient, low, high)
    x = np.clip(np.zeros_like(gradient) if guess is None else guess, low, high)
    for _ in range(max_iterations):
        slope = _times(hessian, x) + gradient
        is_free = _free(x, slope, low, high)
        among = _among(hessian, is_free)
        free_slope = np.where(is_free, slope, 0.0)
        if np.abs(free_slope).max(initial=0.0) < MIN_GRADIENT:
            break
        step = -np.linalg.solve(among, free_slope[..., None])[..., 0]
        x = _stepped(hessian, gradient, x, step, slope, bounds=(low, high))
    is_free = _free(x, _times(hessian, x) + gradient, low, high)
    return BoxSolution(x=x, is_free=is_free, free_hessian=_among(hessian, is_free))


def _single(hessian: np.ndarray, gradient: np.ndarray, low: np.ndarray, high: np.ndarray) -> BoxSolution:
    """Return the solutions for one input: the free minimum, clipped."""
    free = -gradient / hessian[..., 0]
    x = np.clip(free, low, high)
    return BoxSolution(x=x, is_free=x == free, free_hessian=hessian)


def _times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return (matrix @ vector[..., None])[..., 0]


def _free(x: np.ndarray, slope: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return ~(((x <= low) & (slope > 0.0)) | ((x >= high) & (slope < 0.0)))


def _among(hessian: np.ndarray, is_free: np.ndarray) -> np.ndarray:
    both = is_free[..., :, None] & is_free[..., None, :]
    return np.where(both, hessian, 0.0) + np.where(is_free, 0.0, 1.0)[..., None] * np.eye(hessian.shape[-1])


def _stepped(
    hessian: np.ndarray,
    gradient: np.ndarray,
    x: np.ndarray,
    step: np.ndarray,
    slope: np.ndarray,
    *,
    bounds: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Return `x` after the largest projected step that brings its share of the gain; `x` where none does."""
    sizes = SHRINK ** np.arange(20)[:, None, None]
    tried = np.clip(x + sizes * step, *bounds)
    gain = _value(hessian, gradient, x) - _value(hessian, gradient, tried)
    holds = gain >= ARMIJO * -(slope * (tried - x)).sum(-1)
    first = holds.argmax(axis=0)
    chosen = tried[first, np.arange(len(x))]
    return np.where(holds.any(axis=0)[:, None], chosen, x)


def _value(hessian: np.ndarray, gradient: np.ndarray, x: np.ndarray) -> np.ndarray:
    return (x * (0.5 * _times(hessian, x) + gradient)).sum(-1)
