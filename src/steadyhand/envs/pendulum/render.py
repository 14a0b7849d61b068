"""A picture of the pendulum: rod, bob and its trail, the top it must reach, and the torque as an arc."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8

from steadyhand.envs.paint import capsule
from steadyhand.envs.pendulum.config import FLIP_ANGLES, PendulumConfig
from steadyhand.envs.scene import PAPER, Canvas, PlaneMap, colour, mottled

WALL = colour(58, 66, 82)
RING = colour(86, 96, 114)
GOAL = colour(126, 206, 138)
ROD = colour(214, 218, 224)
BOB = colour(236, 92, 52)
TRAIL = colour(255, 196, 64)
LEFT_TORQUE = colour(96, 176, 255)
FLIP = colour(226, 84, 110)

BOB_RADIUS = 0.11
"""As a share of the rod."""


def plan_of(config: PendulumConfig, width: int, height: int) -> PlaneMap:
    """Return the part of the plane that a picture shows."""
    reach = 1.3 * config.length
    return PlaneMap(low=(-reach, -reach), high=(reach, reach), width=width, height=height)


def place(theta: Float[np.ndarray, "..."], radius: float) -> Float[np.ndarray, "... 2"]:
    """Return where an angle from hanging lies on a circle round the hinge."""
    return radius * np.stack([np.sin(theta), -np.cos(theta)], axis=-1)


@lru_cache(maxsize=8)
def _wall(config: PendulumConfig, width: int, height: int) -> Canvas:
    """Return all that does not move."""
    plan, length = plan_of(config, width, height), config.length
    canvas = mottled(plan, WALL, depth=3.0, patch=max(8, round(plan.length(0.4 * length))))
    canvas.ring(0.0, 0.0, length, width=0.008, paint=RING)
    around = np.pi + np.linspace(-config.upright, config.upright, 25)
    canvas.line(place(around, length), width=0.03 * length, paint=GOAL)
    if config.discontinuous:
        for angle in FLIP_ANGLES:
            ends = np.stack([place(np.array(angle), share * length) for share in (0.9, 1.1)])
            canvas.line(ends, width=0.025, paint=FLIP)
    return canvas.kept()


def render_pendulum(
    config: PendulumConfig, angles: Float[np.ndarray, " P"], *, torque: float, width: int, height: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the picture.

    Args:
        config: The pendulum.
        angles: Where it has been, oldest first; the last one is where it is [rad from hanging].
        torque: The last one applied, counter-clockwise [N m].
        width: Width of the picture, in pixels.
        height: Height of the picture, in pixels.
    """
    canvas, length = _wall(config, width, height).copy(), config.length
    if len(angles) > 1:
        trail = place(angles.astype(np.float64), length)
        canvas.line(trail, width=0.02 * length, paint=TRAIL, alpha=(0.0, 0.9))
    x, y = place(np.array(float(angles[-1])), length).tolist()
    canvas.shadow(x, y, 1.2 * BOB_RADIUS * length, alpha=0.35)
    canvas.line(np.array(((0.0, 0.0), (x, y))), width=0.045 * length, paint=ROD)
    canvas.disc(x, y, BOB_RADIUS * length, paint=BOB)
    canvas.disc(x - 0.03 * length, y + 0.03 * length, 0.035 * length, paint=PAPER)
    _torque(canvas, config, torque)
    canvas.square(0.0, 0.0, 0.13 * length, corner=0.3, paint=RING)
    canvas.disc(0.0, 0.0, 0.03 * length, paint=PAPER)
    return canvas.image()


def _torque(canvas: Canvas, config: PendulumConfig, torque: float) -> None:
    """Draw an arc round the hinge, from the top, as long as the torque is strong."""
    share = torque / config.max_torque
    if abs(share) < 0.02:
        return
    angles = np.pi + np.linspace(0.0, 0.75 * np.pi * share, 25)
    points, width = place(angles, 0.2 * config.length), 0.03 * config.length
    canvas.line(points, width=width, paint=LEFT_TORQUE)
    end = canvas.plan.pixels(points)[-1]
    capsule(canvas.picture, end, end, width=2.2 * max(2.0, canvas.plan.length(width)), colour=LEFT_TORQUE)
