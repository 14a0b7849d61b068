"""A picture of a finite MDP: its states as tiles, coloured by what they pay, and the way so far."""

import numpy as np
from jaxtyping import Float, UInt8

from steadyhand.envs.paint import polyline, rounded_box
from steadyhand.envs.scene import PAPER, Plan, colour, disc, finished, ring
from steadyhand.envs.tabular.mdp import FiniteMDP

FLOOR = colour(226, 222, 210)
WALL = colour(70, 74, 84)
GAIN = colour(92, 160, 88)
LOSS = colour(206, 82, 66)
PATH = colour(60, 104, 176)
AGENT = colour(244, 170, 52)


def render_tabular(
    mdp: FiniteMDP, path: Float[np.ndarray, "P 2"], *, width: int, height: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the picture.

    Args:
        mdp: The MDP.
        path: Places that were visited, oldest first, the last is where the row is [cells].
        width: In pixels.
        height: In pixels.
    """
    across = np.array(mdp.drift) * mdp.horizon
    places = np.concatenate([mdp.place, mdp.place + across])
    low, high = places.min(axis=0) - 0.8, places.max(axis=0) + 0.8
    plan = Plan(
        low=(float(low[0]), float(low[1])), high=(float(high[0]), float(high[1])), width=width, height=height
    )
    picture = np.empty((height, width, 3), dtype=np.float32)
    picture[:] = PAPER
    copies = range(mdp.horizon + 1) if any(mdp.drift) else range(1)
    size = 0.92 * plan.length(1.0)
    for state in range(mdp.num_states):
        for copy in copies:
            x, y = (float(value) for value in mdp.place[state] + copy * np.array(mdp.drift))
            rounded_box(
                picture,
                plan.pixel(x, y),
                angle=0.0,
                size=(size, size),
                radius=0.12 * size,
                colour=_paint(mdp, state),
            )
    if len(path) > 1:
        polyline(picture, plan.pixels(path), width=max(2.0, 0.1 * size), colour=PATH)
    x, y = (float(value) for value in path[-1])
    disc(picture, plan, x, y, 0.28, paint=AGENT)
    ring(picture, plan.pixel(x, y), radius=plan.length(0.28), width=max(1.0, 0.04 * size), paint=WALL)
    return finished(picture)


def _paint(mdp: FiniteMDP, state: int) -> np.ndarray:
    """Green where every action pays, red where some or all cost, dark where nothing leads away or pays."""
    best, worst = mdp.reward[state].max(), mdp.reward[state].min()
    if best > 0.0:
        return GAIN
    if best < 0.0:
        return LOSS
    stuck = (mdp.transition[:, state, state] == 1.0).all() and worst == 0.0 and not mdp.terminal[state]
    return WALL if stuck else FLOOR
