"""A picture of the fork: a meadow from above, a tree, the finish line, and a small drone with its path."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8

from steadyhand.envs.forks.config import ForksConfig
from steadyhand.envs.paint import Picture, capsule
from steadyhand.envs.scene import PAPER, Canvas, PlaneMap, colour, mottled

GRASS = colour(126, 168, 96)
LEAVES = (colour(44, 92, 52), colour(56, 112, 60), colour(74, 134, 70), colour(98, 158, 84))
PATH = colour(255, 196, 64)
DRONE = colour(236, 92, 52)
ROTOR = colour(58, 62, 70)
CHECK = (colour(40, 42, 46), PAPER)

SQUARE = 0.05
"""Edge of the finish line's squares [m]."""


def plan_of(config: ForksConfig, width: int, height: int) -> PlaneMap:
    """Return the part of the plane that a picture shows."""
    return PlaneMap(low=(-0.25, -0.95), high=(config.goal_x + 0.3, 0.95), width=width, height=height)


@lru_cache(maxsize=8)
def _ground(config: ForksConfig, width: int, height: int) -> Canvas:
    """Return all that does not move."""
    plan = plan_of(config, width, height)
    canvas = mottled(plan, GRASS, depth=7.0, patch=max(8, round(plan.length(0.18))))
    _finish(canvas.picture, plan, config.goal_x)
    canvas.ring(0.0, 0.0, 0.055, width=0.012, paint=PAPER, at_least=1.5)
    _tree(canvas, config.disc_x, config.radius)
    return canvas.kept()


def _finish(picture: Picture, plan: PlaneMap, x: float) -> None:
    """Two columns of squares from edge to edge, the first one's left side at the goal."""
    column, _ = plan.pixel(x, 0.0)
    size = plan.length(SQUARE)
    columns = np.arange(plan.width, dtype=np.float64)[None, :]
    lines = np.arange(plan.height, dtype=np.float64)[:, None]
    across = np.floor((columns - column) / size)
    down = np.floor((lines - 0.5 * plan.height) / size)
    inside = (across >= 0) & (across < 2) & (down > -1e9)
    dark = (across + down) % 2 == 0
    picture[inside & dark] = CHECK[0]
    picture[inside & ~dark] = CHECK[1]


def _tree(canvas: Canvas, x: float, radius: float) -> None:
    """A round crown; its outline is the disc that must not be touched."""
    canvas.shadow(x, 0.0, 1.08 * radius, alpha=0.45)
    canvas.disc(x, 0.0, radius, paint=LEAVES[0])
    random = np.random.default_rng(7)
    # Tufts in lighter greens, smaller towards the light, always inside the crown.
    for shade, count, size, lean in ((1, 26, 0.26, 0.05), (2, 22, 0.2, 0.16), (3, 14, 0.13, 0.3)):
        angle = random.uniform(0.0, 2.0 * np.pi, count)
        away = radius * (0.98 - size - lean) * np.sqrt(random.uniform(0.0, 1.0, count))
        for turn, far in zip(angle.tolist(), away.tolist(), strict=True):
            east = x - 0.6 * lean * radius + far * np.cos(turn)
            north = 0.6 * lean * radius + far * np.sin(turn)
            canvas.disc(float(east), float(north), size * radius, paint=LEAVES[shade])


def _drone(canvas: Canvas, x: float, y: float, heading: float) -> None:
    picture, size, spot = canvas.picture, canvas.plan.length(0.05), canvas.plan.pixel(x, y)
    canvas.shadow(x + 0.01, y - 0.02, 0.075, alpha=0.35)
    for turn in (0.25, 0.75, 1.25, 1.75):
        angle = heading + turn * np.pi
        tip = spot + 1.15 * size * np.array((np.cos(angle), -np.sin(angle)))
        capsule(picture, spot, tip, width=0.3 * size, colour=ROTOR)
        capsule(picture, tip, tip, width=1.05 * size, colour=ROTOR, alpha=0.55)
        capsule(picture, tip, tip, width=0.35 * size, colour=ROTOR)
    nose = spot + 0.35 * size * np.array((np.cos(heading), -np.sin(heading)))
    capsule(picture, spot, nose, width=1.0 * size, colour=DRONE)
    capsule(picture, nose, nose, width=0.4 * size, colour=PAPER)


def render_forks(
    config: ForksConfig, path: Float[np.ndarray, "P 2"], *, touched: bool, width: int, height: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the picture.

    Args:
        config: The fork.
        path: Where the point has been, oldest first; the last one is where it is [m].
        touched: Whether it has hit the tree, which is marked.
        width: Width of the picture, in pixels.
        height: Height of the picture, in pixels.
    """
    canvas = _ground(config, width, height).copy()
    if len(path) > 1:
        canvas.line(path, width=0.022, paint=PATH)
    x, y = (float(value) for value in path[-1])
    move = path[-1] - path[-2] if len(path) > 1 else np.array((1.0, 0.0))
    heading = float(np.arctan2(move[1], move[0])) if np.any(move) else 0.0
    _drone(canvas, x, y, heading)
    if touched:
        canvas.cross(x, y, 0.09, width=0.025)
    return canvas.image()
