"""A picture of the pendulum: rod, bob and its trail, the top it must reach, and the torque as an arc."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8

from steadyhand.envs.paint import Picture, capsule, polyline, rounded_box
from steadyhand.envs.pendulum.config import FLIP_ANGLES, PendulumConfig
from steadyhand.envs.scene import PAPER, Plan, colour, disc, finished, mottled, ring, shadow

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


def plan_of(config: PendulumConfig, width: int, height: int) -> Plan:
    """Return the part of the plane that a picture shows."""
    reach = 1.3 * config.length
    return Plan(low=(-reach, -reach), high=(reach, reach), width=width, height=height)


def place(theta: Float[np.ndarray, "..."], radius: float) -> Float[np.ndarray, "... 2"]:
    """Return where an angle from hanging lies on a circle round the hinge."""
    return radius * np.stack([np.sin(theta), -np.cos(theta)], axis=-1)


@lru_cache(maxsize=8)
def _wall(config: PendulumConfig, width: int, height: int) -> Picture:
    """Return all that does not move. Not to be painted on."""
    plan = plan_of(config, width, height)
    picture = mottled(plan, WALL, depth=3.0, patch=max(8, round(plan.length(0.4 * config.length))))
    hinge = plan.pixel(0.0, 0.0)
    ring(picture, hinge, radius=plan.length(config.length), width=max(1.0, plan.length(0.008)), paint=RING)
    around = np.pi + np.linspace(-config.upright, config.upright, 25)
    goal = plan.pixels(place(around, config.length))
    polyline(picture, goal, width=max(2.0, plan.length(0.03 * config.length)), colour=GOAL)
    if config.discontinuous:
        for angle in FLIP_ANGLES:
            ends = plan.pixels(np.stack([place(np.array(angle), r * config.length) for r in (0.9, 1.1)]))
            capsule(picture, ends[0], ends[1], width=max(2.0, plan.length(0.025)), colour=FLIP)
    picture.setflags(write=False)
    return picture


def render_pendulum(
    config: PendulumConfig, angles: Float[np.ndarray, " P"], *, torque: float, width: int, height: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the picture.

    Args:
        config: The pendulum.
        angles: Where it has been, oldest first; the last one is where it is [rad from hanging].
        torque: The last one applied, counter-clockwise [N m].
        width: In pixels.
        height: In pixels.
    """
    plan = plan_of(config, width, height)
    picture = _wall(config, width, height).copy()
    length, hinge = config.length, plan.pixel(0.0, 0.0)
    if len(angles) > 1:
        trail = plan.pixels(place(angles.astype(np.float64), length))
        polyline(picture, trail, width=max(2.0, plan.length(0.02 * length)), colour=TRAIL, alpha=(0.0, 0.9))
    x, y = place(np.array(float(angles[-1])), length).tolist()
    tip = plan.pixel(x, y)
    shadow(picture, plan, x, y, 1.2 * BOB_RADIUS * length, alpha=0.35)
    capsule(picture, hinge, tip, width=max(2.0, plan.length(0.045 * length)), colour=ROD)
    disc(picture, plan, x, y, BOB_RADIUS * length, paint=BOB)
    disc(picture, plan, x - 0.03 * length, y + 0.03 * length, 0.035 * length, paint=PAPER)
    _torque(picture, plan, config, torque)
    size = plan.length(0.13 * length)
    rounded_box(picture, hinge, angle=0.0, size=(size, size), radius=0.3 * size, colour=RING)
    disc(picture, plan, 0.0, 0.0, 0.03 * length, paint=PAPER)
    return finished(picture)


def _torque(picture: Picture, plan: Plan, config: PendulumConfig, torque: float) -> None:
    """Draw an arc round the hinge, from the top, as long as the torque is strong."""
    share = torque / config.max_torque
    if abs(share) < 0.02:
        return
    angles = np.pi + np.linspace(0.0, 0.75 * np.pi * share, 25)
    points = plan.pixels(place(angles, 0.2 * config.length))
    width = max(2.0, plan.length(0.03 * config.length))
    polyline(picture, points, width=width, colour=LEFT_TORQUE)
    capsule(picture, points[-1], points[-1], width=2.2 * width, colour=LEFT_TORQUE)
