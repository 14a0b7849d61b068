"""A picture of the table for people: wood, zones, blocks, and a gripper with its trail."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32, UInt8

from steadyhand.envs.scene import PAPER, Canvas, PlaneMap, colour, mottled
from steadyhand.envs.tabletop.layout import EDGE, HALF, RADIUS, ZONES
from steadyhand.envs.tabletop.picture import COVER, WOOD

FLOOR = colour(88, 92, 98)
TRAIL = colour(255, 252, 240)
STEEL = colour(58, 62, 70)
SIDES = 0.72
"""How dark the rim of a block is beside its top."""


@lru_cache(maxsize=8)
def _table(width: int, height: int) -> Canvas:
    """Return all that is the same on every table."""
    margin = HALF + 0.04
    plan = PlaneMap(low=(-margin, -margin), high=(margin, margin), width=width, height=height)
    canvas = mottled(plan, FLOOR, depth=4.0, patch=max(8, round(plan.length(0.1))))
    canvas.shadow(0.0, 0.0, HALF + 0.02, alpha=0.3)
    canvas.square(0.0, 0.0, 2 * HALF + 0.012, corner=0.03, paint=0.8 * WOOD)
    canvas.square(0.0, 0.0, 2 * HALF, corner=0.03, paint=WOOD)
    return canvas.kept()


def render_table(
    *,
    gripper: Float32[np.ndarray, " 2"],
    is_closed: bool,
    blocks: Float32[np.ndarray, "4 2"],
    block_tints: Float32[np.ndarray, "4 3"],
    zone_tints: Float32[np.ndarray, "4 3"],
    wanted: tuple[int, int] | None,
    path: Float[np.ndarray, "P 2"],
    size: tuple[int, int],
) -> UInt8[np.ndarray, "h w 3"]:
    """Return a table from above.

    Args:
        gripper: Where the gripper is [m].
        is_closed: Whether it is closed.
        blocks: Middles of the blocks [m].
        block_tints: Colours of the blocks, 0 to 1.
        zone_tints: Colours of the zones, 0 to 1.
        wanted: The block and the zone of an instruction, which get a ring; None where there is none.
        path: Where the gripper has been [m].
        size: Width and height in pixels.
    """
    canvas = _table(*size).copy()
    for number, ((x, y), tint) in enumerate(zip(ZONES.tolist(), 255.0 * zone_tints, strict=True)):
        canvas.disc(x, y, RADIUS, paint=COVER * tint + (1.0 - COVER) * WOOD)
        is_wanted = wanted is not None and number == wanted[1]
        canvas.ring(x, y, RADIUS, width=0.006, paint=PAPER if is_wanted else 0.85 * tint)
    for (x, y), tint in zip(blocks.tolist(), 255.0 * block_tints, strict=True):
        canvas.square(x + 0.004, y - 0.005, EDGE, corner=0.15, paint=0.6 * WOOD)
        canvas.square(x, y, EDGE, corner=0.15, paint=SIDES * tint)
        canvas.square(x - 0.001, y + 0.001, 0.8 * EDGE, corner=0.15, paint=tint)
    if wanted is not None:
        x, y = blocks[wanted[0]].tolist()
        canvas.ring(x, y, 0.8 * EDGE, width=0.004, paint=PAPER)
    if len(path) > 1:
        canvas.line(path, width=0.004, paint=TRAIL, alpha=(0.0, 0.8))
    x, y = gripper.tolist()
    spread = 0.008 if is_closed else 0.024
    for side in (-1.0, 1.0):
        finger = np.array([(x + side * spread, y - 0.012), (x + side * spread, y + 0.012)])
        canvas.line(finger, width=0.009, paint=STEEL)
    canvas.line(np.array([(x - spread, y), (x + spread, y)]), width=0.004, paint=STEEL)
    return canvas.image()
