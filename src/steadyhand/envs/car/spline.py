"""Closed cubic splines through given points: twice continuously differentiable, also where they close."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True, eq=False)
class PeriodicSpline:
    """Cubic interpolation of closed data.

    Attributes:
        knots: (K + 1,) rising parameters; the last closes the curve.
        values: (K + 1, D) values at the knots; the last equals the first.
        second: (K + 1, D) second derivatives at the knots.
    """

    knots: Float64[np.ndarray, " K1"]
    values: Float64[np.ndarray, "K1 D"]
    second: Float64[np.ndarray, "K1 D"]

    @classmethod
    def through(cls, points: Float64[np.ndarray, "K D"]) -> "PeriodicSpline":
        """Return the spline through `points`, parametrised by chord length."""
        values = np.concatenate([points, points[:1]])
        gap = np.linalg.norm(np.diff(values, axis=0), axis=1)
        count = len(points)
        here = np.arange(count)
        before, after = gap[here - 1], gap
        system = np.zeros((count, count))
        # Continuity of the first derivative at each knot; += so that three knots work too.
        system[here, here - 1] += before / 6.0
        system[here, here] += (before + after) / 3.0
        system[here, (here + 1) % count] += after / 6.0
        slope = np.diff(values, axis=0) / gap[:, None]
        second = np.linalg.solve(system, slope - slope[here - 1])
        return cls(
            knots=np.concatenate([[0.0], np.cumsum(gap)]),
            values=values,
            second=np.concatenate([second, second[:1]]),
        )

    def __call__(self, parameter: Float64[np.ndarray, " P"], order: int = 0) -> Float64[np.ndarray, "P D"]:
        """Return the curve (order 0) or its first or second derivative at (P,) parameters; any lap counts."""
        u = np.mod(parameter, self.knots[-1])
        cell = np.clip(np.searchsorted(self.knots, u, side="right") - 1, 0, len(self.knots) - 2)
        gap = (self.knots[cell + 1] - self.knots[cell])[:, None]
        b = ((u - self.knots[cell])[:, None]) / gap
        a = 1.0 - b
        y0, y1 = self.values[cell], self.values[cell + 1]
        m0, m1 = self.second[cell], self.second[cell + 1]
        if order == 0:
            return a * y0 + b * y1 + ((a**3 - a) * m0 + (b**3 - b) * m1) * gap**2 / 6.0
        if order == 1:
            return (y1 - y0) / gap + ((1 - 3 * a**2) * m0 + (3 * b**2 - 1) * m1) * gap / 6.0
        return a * m0 + b * m1
