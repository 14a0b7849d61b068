"""A picture of a finite MDP: its states as tiles, coloured by what they pay, and the way so far."""

import numpy as np
from jaxtyping import Float, UInt8

from steadyhand.envs.scene import PAPER, Canvas, PlaneMap, colour
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
        width: Width of the picture, in pixels.
        height: Height of the picture, in pixels.
    """
    across = np.array(mdp.drift) * mdp.horizon
    places = np.concatenate([mdp.place, mdp.place + across])
    low, high = places.min(axis=0) - 0.8, places.max(axis=0) + 0.8
    corners = {"low": (float(low[0]), float(low[1])), "high": (float(high[0]), float(high[1]))}
    canvas = Canvas.of(PlaneMap(**corners, width=width, height=height), PAPER)
    copies = range(mdp.horizon + 1) if any(mdp.drift) else range(1)
    for state in range(mdp.num_states):
        for copy in copies:
            x, y = (float(value) for value in mdp.place[state] + copy * np.array(mdp.drift))
            canvas.square(x, y, 0.92, corner=0.12, paint=_paint(mdp, state))
    if len(path) > 1:
        canvas.line(path, width=0.092, paint=PATH)
    x, y = (float(value) for value in path[-1])
    canvas.disc(x, y, 0.28, paint=AGENT)
    canvas.ring(x, y, 0.28, width=0.0368, paint=WALL)
    return canvas.image()


def _paint(mdp: FiniteMDP, state: int) -> np.ndarray:
    """Green where every action pays, red where some or all cost, dark where nothing leads away or pays."""
    best, worst = mdp.reward[state].max(), mdp.reward[state].min()
    if best > 0.0:
        return GAIN
    if best < 0.0:
        return LOSS
    stuck = (mdp.transition[:, state, state] == 1.0).all() and worst == 0.0 and not mdp.terminal[state]
    return WALL if stuck else FLOOR
