"""Range pictures: how near the first thing is in each direction, as a laser on the roof sees it."""

import numpy as np
from jaxtyping import Int64, UInt8

from steadyhand.envs.car.atlas import Atlas
from steadyhand.envs.car.config import Lidar, RangeFinder
from steadyhand.envs.car.lidar import LidarScanner
from steadyhand.envs.car.views import Pose


class RangePictures:
    """Draws the range pictures of many cars at once; bright is near.

    Walls stand upright on the road's edges, higher than the scanner, so that a planar scan is enough: a beam
    that looks down by e meets a wall at horizontal distance r after r / cos e, and the ground after
    h / sin e, whichever comes first.

    Args:
        finder: The range finder.
        atlas: Geometry of the roads.
        road_width: Edge to edge [m].
    """

    def __init__(self, finder: RangeFinder, atlas: Atlas, *, road_width: float) -> None:
        self._atlas = atlas
        half = 0.5 * finder.field_of_view * (1.0 - 1.0 / finder.width)  # to the middle of the outer columns
        beams = Lidar(
            num_beams=finder.width,
            field_of_view=2.0 * half,
            mount_forward=finder.mount_forward,
            max_range=finder.max_range,
        )
        self._scanner = LidarScanner(beams, road_width=road_width)
        down = (np.arange(finder.height) + 0.5) * (finder.depth_of_view / finder.height)
        self._per_range = (1.0 / np.cos(down)).astype(np.float32)[:, None]
        self._ground = (finder.mount_height / np.sin(down)).astype(np.float32)[:, None]
        self._max_range = np.float32(finder.max_range)

    def draw(self, pose: Pose, slots: Int64[np.ndarray, " B"]) -> UInt8[np.ndarray, "B h w 1"]:
        """Return the pictures, left to right and from the horizon down.

        Args:
            pose: Poses of the cars.
            slots: (B,) track of each car in the atlas.
        """
        walls = self._scanner.scan(pose, slots, self._atlas.fields())[:, None, ::-1]
        near = np.minimum(np.minimum(walls * self._per_range, self._ground), self._max_range)
        return np.rint(255.0 * (1.0 - near / self._max_range)).astype(np.uint8)[..., None]
