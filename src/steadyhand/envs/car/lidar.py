"""A planar lidar that sees the road's edges as walls, by ray marching with second-order safe steps.

Sphere tracing (Hart, The Visual Computer 12, 1996) advances a ray by the distance to the nearest wall, and
creeps where it meets one at a grazing angle, as on any road. Here the map also tells the wall's direction and
bounds its bend K. Along a ray the gap to a wall then closes no faster than

    gap(t) >= gap - r t - K t^2 / 2,    r = closing rate now,

so that the root of the right-hand side is a step that cannot pass the wall, and near the wall it is a Newton
step. Two steps settle three quarters of a scan's beams, 24 settle all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from steadyhand.envs.car.atlas import FlatRasters
from steadyhand.envs.car.config import Lidar
from steadyhand.envs.car.surface import BEND_LEFT, BEND_RIGHT, NORMAL_X, NORMAL_Y, OFFSET
from steadyhand.envs.car.views import Pose

CHUNK = 256
LONGEST_STEP = 1.0
"""So that the bound on the bend holds along the whole step [m]."""

SETTLED = 5e-3
"""A ray whose step is shorter has met its wall [m]."""


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays in units of a cell of the field; what all rays of a car share may have one entry a car, (B, 1).

    Attributes:
        x: Origin in its raster, with half a cell added so that truncation finds the nearest cell.
        y: Line of the origin in its raster, with half a cell added.
        offset: Where the ray's raster begins.
        width: Cells in a line of it.
        step_x: Unit direction, (B, beams), or (R,) after `only`.
        step_y: Component of the unit direction along the lines, shaped like `step_x`.
        t: How far the ray has come, likewise.
    """

    x: Float32[np.ndarray, "..."]
    y: Float32[np.ndarray, "..."]
    offset: Int32[np.ndarray, "..."]
    width: Int32[np.ndarray, "..."]
    step_x: Float32[np.ndarray, "..."]
    step_y: Float32[np.ndarray, "..."]
    t: Float32[np.ndarray, "..."]

    def only(self, index: Int64[np.ndarray, " R"]) -> "Rays":
        """Return the rays at flat positions `index`, now (R,) each."""
        shared = index // (self.t.size // self.x.size)
        return Rays(
            x=self.x.ravel().take(shared),
            y=self.y.ravel().take(shared),
            offset=self.offset.ravel().take(shared),
            width=self.width.ravel().take(shared),
            step_x=self.step_x.ravel().take(index),
            step_y=self.step_y.ravel().take(index),
            t=self.t.ravel().take(index),
        )

    @classmethod
    def joined(cls, parts: Sequence["Rays"]) -> "Rays":
        """Return the rays of all parts in order."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class LidarScanner:
    """Scans for many cars at once.

    Args:
        lidar: The scanner's parameters.
        road_width: Edge to edge [m].
    """

    def __init__(self, lidar: Lidar, *, road_width: float) -> None:
        self.lidar = lidar
        self._half_road = 0.5 * road_width
        half = 0.5 * lidar.field_of_view
        angles = np.linspace(-half, half, lidar.num_beams) if lidar.num_beams > 1 else np.zeros(1)
        self.angles = angles.astype(np.float32)
        self._cos, self._sin = np.cos(self.angles), np.sin(self.angles)

    def scan(
        self, pose: Pose, slots: Int64[np.ndarray, " B"], field: FlatRasters
    ) -> Float32[np.ndarray, "B beams"]:
        """Return ranges [m], right to left; 0 where the scanner is off the road.

        Args:
            pose: Poses of the cars.
            slots: (B,) track of each car in `field`.
            field: Geometry of the roads; see `surface.road_field`.
        """
        beams = len(self.angles)
        ranges = np.empty((len(slots), beams), dtype=np.float32)
        flat = ranges.reshape(-1)
        open_rays: list[Rays] = []
        open_index: list[np.ndarray] = []
        for first in range(0, len(slots), CHUNK):
            part = slice(first, first + CHUNK)
            rays = self._rays(pose.x[part], pose.y[part], pose.heading[part], slots[part], field)
            self._march(rays, field, at_origin=True)
            chosen = np.flatnonzero(self._march(rays, field))
            ranges[part] = rays.t
            open_rays.append(rays.only(chosen))
            open_index.append(chosen + first * beams)
        rays, index = Rays.joined(open_rays), np.concatenate(open_index)
        for _ in range(self.lidar.iterations - 2):
            if len(index) == 0:
                break
            going = np.flatnonzero(self._march(rays, field))
            flat[index] = rays.t
            rays, index = rays.only(going), index.take(going)
        ranges *= np.float32(field.cell)
        return np.minimum(ranges, np.float32(self.lidar.max_range), out=ranges)

    def _rays(
        self, x: np.ndarray, y: np.ndarray, heading: np.ndarray, slots: np.ndarray, field: FlatRasters
    ) -> Rays:
        cos, sin = np.cos(heading)[:, None], np.sin(heading)[:, None]
        mount, per_cell = np.float32(self.lidar.mount_forward), np.float32(1.0 / field.cell)
        origin = field.origin.take(slots, axis=0)
        return Rays(
            x=(x[:, None] + mount * cos - origin[:, :1]) * per_cell + np.float32(0.5),
            y=(y[:, None] + mount * sin - origin[:, 1:]) * per_cell + np.float32(0.5),
            offset=field.offset.take(slots)[:, None],
            width=field.width.take(slots)[:, None],
            step_x=cos * self._cos - sin * self._sin,
            step_y=sin * self._cos + cos * self._sin,
            t=np.zeros((len(x), len(self.angles)), dtype=np.float32),
        )

    def _march(self, rays: Rays, field: FlatRasters, *, at_origin: bool = False) -> Bool[np.ndarray, "..."]:
        """Advance all rays by one safe step, in place, and return which of them are still going.

        Args:
            rays: The rays.
            field: Geometry of the roads.
            at_origin: No ray has moved yet, so that all rays of a car are still in the same cell.
        """
        if at_origin:
            x, y = rays.x.copy(), rays.y.copy()
        else:
            x = rays.step_x * rays.t
            x += rays.x
            y = rays.step_y * rays.t
            y += rays.y
        column, line = x.astype(np.int32), y.astype(np.int32)
        index = line * rays.width
        index += column
        index += rays.offset
        cell = field.cells.take(index, axis=0, mode="clip")
        normal_x, normal_y = cell[..., NORMAL_X], cell[..., NORMAL_Y]
        x -= column
        x -= np.float32(0.5)
        y -= line
        y -= np.float32(0.5)
        x *= normal_x
        y *= normal_y
        lateral = cell[..., OFFSET] + x
        lateral += y
        rate = normal_x * rays.step_x
        rate += normal_y * rays.step_y
        half = np.float32(self._half_road / field.cell)
        step = _safe_step(half - lateral, rate, cell[..., BEND_LEFT])
        np.negative(rate, out=rate)
        np.minimum(step, _safe_step(half + lateral, rate, cell[..., BEND_RIGHT]), out=step)
        going = step > np.float32(SETTLED / field.cell)
        np.minimum(step, np.float32(LONGEST_STEP / field.cell), out=step)
        np.add(rays.t, step, out=rays.t)
        going &= rays.t < np.float32(self.lidar.max_range / field.cell)
        return going


def _safe_step(gap: np.ndarray, rate: np.ndarray, double_bend: np.ndarray) -> np.ndarray:
    """Return the positive root t of gap - rate t - bend t^2 / 2, in the form that never subtracts equals."""
    gap = np.maximum(gap, np.float32(0.0))
    root = rate * rate
    root += gap * double_bend
    np.sqrt(root, out=root)
    root += rate
    root += np.float32(1e-9)
    return np.divide(gap + gap, root, out=root)
