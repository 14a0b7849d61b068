"""A picture of Avoiding: a table from above, six cylinders, the finish, and the finger with its path."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8

from steadyhand.envs.avoiding.layout import CENTRES, GOAL_Y, RADII, START
from steadyhand.envs.paint import Picture
from steadyhand.envs.scene import PAPER, Canvas, PlaneMap, colour

TABLE = colour(222, 205, 178)
GRAIN = colour(206, 186, 156)
FINISH = colour(112, 168, 116)
SIDES = colour(150, 44, 46)
TOPS = colour(206, 72, 66)
GLEAM = colour(232, 124, 112)
PATH = colour(40, 108, 168)
FINGER = colour(30, 58, 92)


def plan_of(width: int, height: int) -> PlaneMap:
    """Return the part of the table that a picture shows."""
    return PlaneMap(low=(0.15, -0.34), high=(0.85, 0.42), width=width, height=height)


@lru_cache(maxsize=8)
def _table(width: int, height: int) -> Canvas:
    """Return all that does not move."""
    canvas = Canvas.of(plan_of(width, height), TABLE)
    picture, plan = canvas.picture, canvas.plan
    _grain(picture, plan)
    line = float(plan.pixel(0.0, GOAL_Y)[1])
    lines = np.arange(height, dtype=np.float32)[:, None, None]
    picture += 0.75 * np.clip(line - lines + 0.5, 0.0, 1.0) * (FINISH - picture)
    edge = np.clip(0.5 - (np.abs(lines - line) - 0.5 * max(1.5, plan.length(0.004))), 0.0, 1.0)
    picture += edge * (PAPER - picture)
    canvas.ring(*START, 0.016, width=0.004, paint=PAPER, at_least=0.0)
    for (x, y), radius in zip(CENTRES.tolist(), RADII.tolist(), strict=True):
        canvas.shadow(x + 0.004, y - 0.004, 1.15 * radius, alpha=0.4)
        canvas.disc(x, y, radius, paint=SIDES)
        canvas.disc(x, y, 0.86 * radius, paint=TOPS)
        canvas.disc(x - 0.25 * radius, y + 0.25 * radius, 0.4 * radius, paint=GLEAM)
    return canvas.kept()


def _grain(picture: Picture, plan: PlaneMap) -> None:
    """Wavy lines along x, as of wood."""
    lines = np.arange(plan.height, dtype=np.float32)[:, None] * np.float32(plan.scale)
    columns = np.arange(plan.width, dtype=np.float32)[None, :] * np.float32(plan.scale)
    bend = 0.02 * np.sin(5.0 * columns) + 0.008 * np.sin(13.0 * columns + 9.0 * lines)
    wave = np.sin(90.0 * (lines + bend)) + 0.6 * np.sin(231.0 * (lines + 0.7 * bend) + 1.0)
    share = np.clip(0.2 + 0.18 * wave, 0.0, 0.6)[..., None]
    picture += share * (GRAIN - picture)


def render_avoiding(
    path: Float[np.ndarray, "P 2"],
    *,
    desired: Float[np.ndarray, " 2"],
    touched: bool,
    width: int,
    height: int,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the picture.

    Args:
        path: Where the finger has been, oldest first; the last one is where it is [m].
        desired: Where it is told to be, drawn as a thin ring [m].
        touched: Whether it has touched a cylinder, which is marked.
        width: Width of the picture, in pixels.
        height: Height of the picture, in pixels.
    """
    canvas = _table(width, height).copy()
    if len(path) > 1:
        canvas.line(path, width=0.006, paint=PATH)
    x, y = (float(value) for value in path[-1])
    canvas.ring(float(desired[0]), float(desired[1]), 0.011, width=0.0025, paint=FINGER, at_least=1.2)
    canvas.shadow(x + 0.003, y - 0.003, 0.011, alpha=0.35)
    canvas.disc(x, y, 0.0085, paint=PAPER)
    canvas.disc(x, y, 0.0065, paint=FINGER)
    if touched:
        canvas.cross(x, y, 0.025, width=0.007)
    return canvas.image()
