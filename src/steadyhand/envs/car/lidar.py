"""A planar lidar by sphere tracing (Hart, The Visual Computer 12, 1996) in the distance field of the road."""

import numpy as np
from jaxtyping import Float32, Int64

from steadyhand.envs.car.atlas import FlatRasters
from steadyhand.envs.car.config import Lidar

CHUNK = 64


class LidarScanner:
    """Scans for many cars at once.

    Args:
        lidar: The scanner's parameters.

    Every step advances a ray by the distance to the nearest edge, read at the nearest cell. The walls of a
    road are met at a grazing angle, where this creeps; two secant steps on bilinear distances end the search.
    """

    def __init__(self, lidar: Lidar) -> None:
        self.lidar = lidar
        half = 0.5 * lidar.field_of_view
        angle = np.linspace(-half, half, lidar.num_beams) if lidar.num_beams > 1 else np.zeros(1)
        self.angles = angle.astype(np.float32)
        self._cos, self._sin = np.cos(self.angles), np.sin(self.angles)

    def scan(
        self,
        x: Float32[np.ndarray, " B"],
        y: Float32[np.ndarray, " B"],
        heading: Float32[np.ndarray, " B"],
        slots: Int64[np.ndarray, " B"],
        field: FlatRasters,
    ) -> Float32[np.ndarray, "B beams"]:
        """Return ranges [m], right to left; 0 where the scanner is off the road.

        Args:
            x: (B,) rear axle [m].
            y: (B,) [m].
            heading: (B,) [rad].
            slots: (B,) track of each car in `field`.
            field: Distances to the road's edge, in cells.
        """
        ranges = np.empty((len(x), len(self.angles)), dtype=np.float32)
        cos, sin = np.cos(heading), np.sin(heading)
        per_cell = np.float32(1.0 / field.cell)
        mount = np.float32(self.lidar.mount_forward)
        origin = field.origin.take(slots, axis=0)
        # In cells, with half a cell added, so that truncation rounds to the nearest one.
        east = ((x + mount * cos - origin[:, 0]) * per_cell + np.float32(0.5))[:, None]
        north = ((y + mount * sin - origin[:, 1]) * per_cell + np.float32(0.5))[:, None]
        cos, sin = cos[:, None], sin[:, None]
        step_x = cos * self._cos - sin * self._sin
        step_y = sin * self._cos + cos * self._sin
        offset, width = field.offset.take(slots)[:, None], field.width.take(slots)[:, None]
        for first in range(0, len(x), CHUNK):
            part = slice(first, first + CHUNK)
            self._trace(
                east[part], north[part], step_x[part], step_y[part], offset[part], width[part], field.cells,
                ranges[part],
            )
        ranges *= np.float32(field.cell)
        return np.minimum(ranges, np.float32(self.lidar.max_range), out=ranges)

    def _trace(self, east, north, step_x, step_y, offset, width, cells, t) -> None:
        shape = t.shape
        px, py, d = (np.empty(shape, dtype=np.float32) for _ in range(3))
        ix, iy = (np.empty(shape, dtype=np.int32) for _ in range(2))
        t[:] = 0.0
        for _ in range(self.lidar.iterations):
            np.multiply(step_x, t, out=px)
            np.add(px, east, out=px)
            np.multiply(step_y, t, out=py)
            np.add(py, north, out=py)
            np.copyto(ix, px, casting="unsafe")
            np.copyto(iy, py, casting="unsafe")
            np.multiply(iy, width, out=iy)
            np.add(iy, ix, out=iy)
            np.add(iy, offset, out=iy)
            np.take(cells, iy, out=d, mode="clip")
            np.add(t, d, out=t)
        np.maximum(t, 0.0, out=t)
