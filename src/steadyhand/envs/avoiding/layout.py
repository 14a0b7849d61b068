"""Where the cylinders stand, which gaps they leave, and the 24 routes through the gaps.

The places and radii are those of the task Avoiding of D3IL (Jia et al., "Towards Diverse Behaviors: A
Benchmark for Imitation Learning with Human Demonstrations", ICLR 2024).
"""

import numpy as np
from jaxtyping import Float32, Int64

CENTRES = np.array(
    [(0.5, -0.1), (0.425, 0.08), (0.575, 0.08), (0.35, 0.26), (0.5, 0.26), (0.65, 0.26)], dtype=np.float32
)
"""(6, 2) middles of the cylinders [m]."""

RADII = np.array([0.03, 0.025, 0.025, 0.025, 0.025, 0.025], dtype=np.float32)
"""(6,) their radii [m]."""

START = (0.525, -0.28)
"""Where the finger starts [m]."""

GOAL_Y = 0.35
"""It must come above this line [m]."""

ROW_Y = (-0.1, 0.08, 0.26)
"""y of the three rows of cylinders [m]."""

ROW_CENTRES = tuple(CENTRES[CENTRES[:, 1] == np.float32(y), 0] for y in ROW_Y)
"""x of the cylinders of each row, from left to right [m]."""

NUM_GAPS = (2, 3, 4)
"""Ways past each row: left of its first cylinder is 0."""

NUM_ROUTES = 24

OUTSIDE = 0.085
"""How far beside the outermost cylinder of a row a route leads [m]."""

FLAT = 0.02
"""A route goes straight up this far before and behind the middle of a row [m]."""


def gaps_of(route: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, "B 3"]:
    """Return the gap that each route takes in each row; the route is 12 a + 4 b + c."""
    return np.stack([route // 12, route // 4 % 3, route % 4], axis=1)


def route_of(gaps: Int64[np.ndarray, "B 3"]) -> Int64[np.ndarray, " B"]:
    """Return the route of gaps, -1 where one of them is open (-1)."""
    number = gaps[:, 0] * 12 + gaps[:, 1] * 4 + gaps[:, 2]
    return np.where((gaps >= 0).all(axis=1), number, -1)


def gap_at(x: Float32[np.ndarray, " B"], row: int) -> Int64[np.ndarray, " B"]:
    """Return the gap of a row of cylinders in which `x` lies."""
    return (x[:, None] > ROW_CENTRES[row]).sum(axis=1)


def _gap_middles(row: int) -> Float32[np.ndarray, " G"]:
    centres = ROW_CENTRES[row]
    between = 0.5 * (centres[1:] + centres[:-1])
    return np.array([centres[0] - OUTSIDE, *between, centres[-1] + OUTSIDE], dtype=np.float32)


GAP_X = tuple(_gap_middles(row) for row in range(3))
"""x at which a route passes each gap [m]."""

# Between knots (from, to) in y a route crosses over from one x to the next.
_FROM = np.array((START[1], ROW_Y[0] + FLAT, ROW_Y[1] + FLAT), dtype=np.float32)
_OVER = np.array([y - FLAT for y in ROW_Y], dtype=np.float32) - _FROM


def route_line(
    y: Float32[np.ndarray, " B"], gap_x: Float32[np.ndarray, "B 3"]
) -> tuple[Float32[np.ndarray, " B"], Float32[np.ndarray, " B"]]:
    """Return x and dx/dy at height `y` of the smooth line from the start through three gaps.

    Args:
        y: (B,) [m].
        gap_x: (B, 3) where it passes the rows [m].
    """
    x = np.full_like(y, START[0])
    slope = np.zeros_like(y)
    before = np.full_like(y, START[0])
    for row in range(3):
        t = np.clip((y - _FROM[row]) / _OVER[row], 0.0, 1.0)
        move = gap_x[:, row] - before
        x = x + move * t * t * (3.0 - 2.0 * t)
        slope = slope + move * (6.0 / _OVER[row]) * t * (1.0 - t)
        before = gap_x[:, row]
    return x, slope


def middle_of(gaps: Int64[np.ndarray, "B 3"]) -> Float32[np.ndarray, "B 3"]:
    """Return the x at which each row's gap is passed in the middle [m]."""
    return np.stack([GAP_X[row][gaps[:, row]] for row in range(3)], axis=1)
