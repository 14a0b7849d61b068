"""A ground-plane camera: each pixel looks at a fixed point of the ground, seen from the car."""

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from steadyhand.envs.car.atlas import FlatRasters
from steadyhand.envs.car.config import Camera
from steadyhand.envs.car.surface import TEXTURE_CELL
from steadyhand.envs.car.views import Pose

CHUNK = 32
SKY = (176, 196, 214)
GREY_SKY = 192


def ground_points(camera: Camera) -> tuple[Float32[np.ndarray, "P 2"], Bool[np.ndarray, " P"]]:
    """Return where the pixels look, row by row from the top left.

    Returns:
        (P, 2) points of the ground ahead of and to the left of the rear axle [m]; zeros where there is none.
        (P,) whether the pixel sees ground within the view range.
    """
    focal = 0.5 * camera.width / np.tan(0.5 * camera.field_of_view)
    right = (np.arange(camera.width) + 0.5 - 0.5 * camera.width) / focal
    down = (np.arange(camera.height) + 0.5 - 0.5 * camera.height) / focal
    down, right = (grid.ravel() for grid in np.meshgrid(down, right, indexing="ij"))
    cos, sin = np.cos(camera.pitch), np.sin(camera.pitch)
    forward, fall = cos - sin * down, sin + cos * down
    # Rays that do not fall meet the ground nowhere; 1e-9 keeps the division quiet for them.
    reach = camera.mount_height / np.maximum(fall, 1e-9)
    ahead, left = reach * forward, -reach * right
    seen = np.hypot(ahead, left) <= camera.view_range
    points = np.where(seen[:, None], np.stack([camera.mount_forward + ahead, left], axis=1), 0.0)
    return points.astype(np.float32), seen


class Retina:
    """Draws the camera pictures of many cars at once.

    Args:
        camera: The camera.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.points, self.seen = ground_points(camera)
        rows = self.seen.reshape(camera.height, camera.width).any(axis=1)
        # Rows of sky on top are filled once; below them single pixels of sky are overwritten.
        self._top = int(np.argmax(rows)) * camera.width if rows.any() else len(self.points)
        self._hidden = np.flatnonzero(~self.seen[self._top :])
        in_cells = self.points[self._top :] * np.float32(1.0 / TEXTURE_CELL)
        self._ahead, self._left = np.ascontiguousarray(in_cells.T)

    def draw(
        self, pose: Pose, slots: Int64[np.ndarray, " B"], textures: FlatRasters
    ) -> UInt8[np.ndarray, "B h w c"]:
        """Return the pictures.

        Args:
            pose: Poses of the cars.
            slots: (B,) track of each car in `textures`.
            textures: The painted ground.
        """
        camera = self.camera
        per_cell = np.float32(1.0 / textures.cell)
        origin = textures.origin.take(slots, axis=0)
        # With half a cell added, so that truncation rounds to the nearest cell.
        east = ((pose.x - origin[:, 0]) * per_cell + np.float32(0.5))[:, None]
        north = ((pose.y - origin[:, 1]) * per_cell + np.float32(0.5))[:, None]
        cos, sin = np.cos(pose.heading)[:, None], np.sin(pose.heading)[:, None]
        offset, width = textures.offset.take(slots)[:, None], textures.width.take(slots)[:, None]
        sky = GREY_SKY if camera.channels == 1 else SKY[0] | SKY[1] << 8 | SKY[2] << 16 | 0xFF << 24
        picture = np.empty((len(slots), len(self.points)), dtype=textures.cells.dtype)
        picture[:, : self._top] = sky
        size = (min(CHUNK, len(slots)), len(self._ahead))
        px, py = np.empty(size, dtype=np.float32), np.empty(size, dtype=np.float32)
        product = np.empty(size, dtype=np.float32)
        ix, iy = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.int32)
        for first in range(0, len(slots), CHUNK):
            part = slice(first, min(first + CHUNK, len(slots)))
            n = part.stop - first
            a, b, c, i, j = px[:n], py[:n], product[:n], ix[:n], iy[:n]
            np.multiply(cos[part], self._ahead, out=a)
            np.multiply(sin[part], self._left, out=c)
            np.subtract(a, c, out=a)
            np.add(a, east[part], out=a)
            np.multiply(sin[part], self._ahead, out=b)
            np.multiply(cos[part], self._left, out=c)
            np.add(b, c, out=b)
            np.add(b, north[part], out=b)
            np.copyto(i, a, casting="unsafe")
            np.copyto(j, b, casting="unsafe")
            np.multiply(j, width[part], out=j)
            np.add(i, j, out=i)
            np.add(i, offset[part], out=i)
            np.take(textures.cells, i, out=picture[part, self._top :], mode="clip")
        if len(self._hidden):
            picture[:, self._top + self._hidden] = sky
        if camera.channels == 1:
            return picture.reshape(-1, camera.height, camera.width, 1)
        return picture.view(np.uint8).reshape(-1, camera.height, camera.width, 4)[..., :3]
