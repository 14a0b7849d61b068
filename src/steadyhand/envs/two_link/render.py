"""A picture of two links: where they are and the tip has been, the height to reach, and the torques."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float64, UInt8

from steadyhand.envs.scene import PAPER, Canvas, PlaneMap, colour, mottled

WALL = colour(46, 58, 68)
RING = colour(78, 94, 106)
GOAL = colour(126, 206, 138)
UPPER = colour(232, 178, 74)
LOWER = colour(238, 112, 62)
TRAIL = colour(255, 214, 150)
TORQUE = colour(96, 176, 255)


@lru_cache(maxsize=8)
def _wall(reach: float, width: int, height: int) -> Canvas:
    """Return all that does not move."""
    edge = 1.2 * reach
    plan = PlaneMap(low=(-edge, -edge), high=(edge, edge), width=width, height=height)
    canvas = mottled(plan, WALL, depth=3.0, patch=max(8, round(plan.length(0.4))))
    canvas.ring(0.0, 0.0, reach, width=0.008 * reach, paint=RING)
    around = np.pi + np.linspace(-0.2, 0.2, 25)
    canvas.line(reach * np.stack([np.sin(around), -np.cos(around)], 1), width=0.02 * reach, paint=GOAL)
    return canvas.kept()


def render_links(
    joints: Float64[np.ndarray, "P 3 2"], *, torques: Sequence[float] | np.ndarray, width: int, height: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the picture.

    Args:
        joints: Hinge, elbow and tip, oldest posture first; the last one is where they are [m].
        torques: Torques at hinge and elbow, counter-clockwise, as shares of what the motors have.
        width: In pixels.
        height: In pixels.
    """
    now = joints[-1]
    reach = float(np.linalg.norm(np.diff(now, axis=0), axis=1).sum())
    canvas = _wall(round(reach, 6), width, height).copy()
    if len(joints) > 1:
        canvas.line(joints[:, 2], width=0.012 * reach, paint=TRAIL, alpha=(0.0, 0.8))
    canvas.shadow(float(now[2][0]), float(now[2][1]), 0.06 * reach, alpha=0.3)
    for ends, paint in ((now[1:], LOWER), (now[:2], UPPER)):
        canvas.line(ends, width=0.06 * reach, paint=paint)
    for place, torque in zip(now[:2], torques, strict=True):
        canvas.disc(float(place[0]), float(place[1]), 0.045 * reach, paint=RING)
        canvas.disc(float(place[0]), float(place[1]), 0.018 * reach, paint=PAPER)
        _arc(canvas, place, float(torque), 0.11 * reach)
    canvas.disc(float(now[2][0]), float(now[2][1]), 0.035 * reach, paint=PAPER)
    return canvas.image()


def _arc(canvas: Canvas, place: np.ndarray, share: float, radius: float) -> None:
    """Draw an arc round a joint, from the top, as long as its torque is strong."""
    if abs(share) < 0.02:
        return
    angles = np.pi + np.linspace(0.0, 0.75 * np.pi * share, 25)
    arc = place + radius * np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    canvas.line(arc, width=0.15 * radius, paint=TORQUE)
    canvas.disc(float(arc[-1][0]), float(arc[-1][1]), 0.16 * radius, paint=TORQUE)
