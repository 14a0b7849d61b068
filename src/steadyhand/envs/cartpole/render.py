"""A picture of the cart-pole: rail, cart, pole and where its tip has been, and the force as an arrow."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float64, UInt8

from steadyhand.envs.cartpole.config import CartPoleConfig
from steadyhand.envs.scene import PAPER, Canvas, PlaneMap, colour, mottled

WALL = colour(50, 60, 78)
RAIL = colour(104, 116, 134)
STOP = colour(214, 84, 84)
GOAL = colour(126, 206, 138)
CART = colour(84, 132, 186)
POLE = colour(240, 190, 92)
TRAIL = colour(255, 222, 168)
FORCE = colour(250, 120, 90)
CART_SIZE = 0.34


@lru_cache(maxsize=8)
def _wall(config: CartPoleConfig, width: int, height: int) -> Canvas:
    """Return all that does not move."""
    edge = config.rail + 0.3
    low, high = (-edge, -2.4 * config.half_length), (edge, 2.8 * config.half_length)
    plan = PlaneMap(low=low, high=high, width=width, height=height)
    canvas = mottled(plan, WALL, depth=3.0, patch=max(8, round(plan.length(0.5))))
    canvas.line(np.array([[-config.rail, 0.0], [config.rail, 0.0]]), width=0.04, paint=RAIL)
    for side in (-config.rail, config.rail):
        canvas.line(np.array([[side, -0.12], [side, 0.12]]), width=0.06, paint=STOP)
    top = 2.0 * config.half_length
    canvas.line(np.array([[-0.2, top], [0.2, top]]), width=0.025, paint=GOAL)
    return canvas.kept()


def render_cartpole(
    config: CartPoleConfig,
    carts: Float64[np.ndarray, " P"],
    tips: Float64[np.ndarray, "P 2"],
    *,
    force: float,
    width: int,
    height: int,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the picture.

    Args:
        config: The cart-pole.
        carts: Where the cart has been, oldest first; the last one is where it is [m].
        tips: Where the pole's tip has been [m].
        force: The last one, to the right, as a share of the greatest.
        width: In pixels.
        height: In pixels.
    """
    canvas, x = _wall(config, width, height).copy(), float(carts[-1])
    if len(tips) > 1:
        canvas.line(tips, width=0.02, paint=TRAIL, alpha=(0.0, 0.8))
    canvas.shadow(x, -0.04, 0.8 * CART_SIZE, alpha=0.35)
    canvas.square(x, 0.0, CART_SIZE, corner=0.25, paint=CART)
    if abs(force) > 0.02:
        side = np.sign(force) * 0.5 * CART_SIZE
        start, end = x + side, x + side + 0.6 * force
        canvas.line(np.array([[start, 0.0], [end, 0.0]]), width=0.05, paint=FORCE)
        canvas.disc(end, 0.0, 0.05, paint=FORCE)
    canvas.line(np.stack([np.array([x, 0.0]), tips[-1]]), width=0.07, paint=POLE)
    canvas.disc(x, 0.0, 0.05, paint=PAPER)
    return canvas.image()
