"""Closed random tracks: a smooth centre line as a table over arc length."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Float64

from steadyhand.core.errors import SpecError
from steadyhand.core.seeding import generator
from steadyhand.envs.base import Family
from steadyhand.envs.car.config import MAX_ROAD_WIDTH, TIGHTEST_BEND
from steadyhand.envs.car.spline import PeriodicSpline

FAMILY_BLOCK = 1_000_000
FAMILY_FIRST: dict[Family, int] = {"train": 0, "validation": 1_000_000, "test": 2_500_000}
"""First track of each family; the test family was replaced once, see docs/decisions/0003-demo.md."""

SPACING = 0.02
SEPARATION = MAX_ROAD_WIDTH + 0.3
LENGTHS = (16.0, 34.0)
BOTH_WAYS = 0.4
"""Every track has a bend of at least this curvature to either side [1/m]."""

X, Y, HEADING, CURVATURE, COS, SIN = range(6)
COLUMNS = 8


@dataclass(frozen=True, eq=False)
class Track:
    """One closed centre line.

    Attributes:
        number: Number of the track; the block of FAMILY_BLOCK numbers says to which family it belongs.
        length: Length of a lap [m].
        table: (M, 8) float32, evenly spaced in arc length, one row a sample: x [m], y [m], heading [rad],
            curvature [1/m], cos and sin of the heading, two zeros (32 bytes never straddle a cache line).
    """

    number: int
    length: float
    table: Float32[np.ndarray, "M 8"]

    @property
    def spacing(self) -> float:
        """Arc length between two samples [m]."""
        return self.length / len(self.table)

    def at(self, s: Float64[np.ndarray, " P"], lateral: float = 0.0) -> Float64[np.ndarray, "P 2"]:
        """Return points at arc length `s` [m], `lateral` metres to the left of the centre line."""
        position = np.mod(s, self.length) / self.spacing
        low = np.floor(position).astype(np.int64) % len(self.table)
        t = (position - np.floor(position))[:, None]
        here = self.table[low].astype(np.float64)
        there = self.table[(low + 1) % len(self.table)].astype(np.float64)
        out, back = here[:, [COS, SIN]] * self.spacing, there[:, [COS, SIN]] * self.spacing
        # Cubic Hermite between samples: a chord would kink the normal, which shows far from the middle.
        gap = there[:, :2] - here[:, :2]
        curve = (1.0 - t) * (out - gap) - t * (back - gap)
        point = here[:, :2] + t * gap + t * (1.0 - t) * curve
        slope = gap + (1.0 - 2.0 * t) * curve - t * (1.0 - t) * (out + back - 2.0 * gap)
        normal = np.stack([-slope[:, 1], slope[:, 0]], axis=1) / np.hypot(*slope.T)[:, None]
        return point + lateral * normal


def track_number(family: Family, index: int) -> int:
    """Return the number of the `index`-th track of a family."""
    if family not in FAMILY_FIRST:
        raise SpecError("There is no such family.", got=family, available=FAMILY_FIRST)
    return FAMILY_FIRST[family] + index


def family_of(number: int) -> Family:
    """Return the family of a track number."""
    reached: list[Family] = [family for family, first in FAMILY_FIRST.items() if first <= number]
    return max(reached, key=FAMILY_FIRST.__getitem__)


@lru_cache(maxsize=256)
def load_track(number: int) -> Track:
    """Return track `number`, the same in every process.

    Random control points around the origin are joined by a periodic spline, which is scaled until its
    tightest bend is TIGHTEST_BEND, so that no track is harder than another; shapes that come close to
    themselves, bend to one side only, or whose lap is too short or too long, are drawn again.
    """
    for attempt in range(1000):
        track = _attempt(number, attempt)
        if track is not None:
            return track
    raise SpecError(f"Track {number} could not be made.", hint="take another track number")


def _attempt(number: int, attempt: int) -> Track | None:
    random = generator(number, "car", "track", attempt)
    count = int(random.integers(8, 13))
    angle = (np.arange(count) + random.uniform(-0.3, 0.3, count)) * (2.0 * np.pi / count)
    radius = random.uniform(0.45, 1.0, count)
    points = np.stack([1.3 * radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    if random.random() < 0.5:
        points = points[::-1]
    curve = PeriodicSpline.through(np.ascontiguousarray(points))
    dense = np.linspace(0.0, curve.knots[-1], 4001)
    first, second = curve(dense, 1), curve(dense, 2)
    speed = np.hypot(first[:, 0], first[:, 1])
    curvature = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / speed**3
    scale = float(np.abs(curvature).max()) / TIGHTEST_BEND
    arc = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * np.diff(dense))])
    length = float(arc[-1]) * scale
    mildest = min(float(curvature.max()), -float(curvature.min())) / scale
    if not LENGTHS[0] <= length <= LENGTHS[1] or mildest < BOTH_WAYS:
        return None
    samples = round(length / SPACING)
    parameter = np.interp(np.arange(samples) * (arc[-1] / samples), arc, dense)
    table = _tabulate(curve, parameter, scale)
    if _touches_itself(table[:, :2], length):
        return None
    return Track(number=number, length=length, table=table)


def _tabulate(curve: PeriodicSpline, parameter: np.ndarray, scale: float) -> np.ndarray:
    point, first, second = (curve(parameter, order) for order in range(3))
    speed = np.hypot(first[:, 0], first[:, 1])
    table = np.zeros((len(parameter), COLUMNS), dtype=np.float32)
    table[:, [X, Y]] = point * scale
    table[:, HEADING] = np.arctan2(first[:, 1], first[:, 0])
    table[:, CURVATURE] = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / speed**3 / scale
    table[:, COS] = first[:, 0] / speed
    table[:, SIN] = first[:, 1] / speed
    return table


def _touches_itself(points: np.ndarray, length: float) -> bool:
    """Whether parts that are far apart along the road come closer than SEPARATION."""
    coarse = points[::5].astype(np.float64)
    spacing = length / len(coarse)
    gap = np.abs(np.arange(len(coarse))[:, None] - np.arange(len(coarse)))
    along = np.minimum(gap, len(coarse) - gap) * spacing
    distance = np.hypot(*(coarse[:, None] - coarse).transpose(2, 0, 1))
    # Half a circle of the tightest bend lies pi / (2 SEPARATION) times farther along than across.
    return bool((distance[along > 0.5 * np.pi * SEPARATION * 1.2] < SEPARATION).any())
