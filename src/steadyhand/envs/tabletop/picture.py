"""The camera above the tables: small pictures of all rows at once, with smooth edges."""

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from steadyhand.envs.scene import PlaneMap, colour
from steadyhand.envs.tabletop.config import PIXELS
from steadyhand.envs.tabletop.layout import EDGE, HALF, RADIUS, ZONES

WOOD = colour(205, 182, 150)
OPEN, CLOSED = colour(250, 250, 250), colour(30, 30, 34)
"""Colour of a gripper."""
COVER = 0.45
"""How strongly the colour of a zone covers the wood."""
_PLAN = PlaneMap(low=(-HALF, -HALF), high=(HALF, HALF), width=PIXELS, height=PIXELS)
_BLOCK, _TIP = (np.float32(_PLAN.length(half)) for half in (EDGE / 2, 0.012))
"""Half the edge of a block and of a gripper, in pixels."""


def draw_ground(zone_tints: Float32[np.ndarray, "B 4 3"]) -> UInt8[np.ndarray, "B 64 64 3"]:
    """Return the tables with their zones, without what moves.

    Args:
        zone_tints: Colours of the zones, 0 to 1.
    """
    across = np.arange(PIXELS, dtype=np.float32)
    pictures = np.broadcast_to(WOOD, (len(zone_tints), PIXELS, PIXELS, 3)).copy()
    for number, zone in enumerate(_pixels(ZONES)):
        apart = np.hypot(across[None, :] - zone[0], across[:, None] - zone[1])
        cover = np.float32(COVER) * np.clip(_PLAN.length(RADIUS) + 0.5 - apart, 0.0, 1.0)[..., None]
        inside = cover[..., 0] > 0
        paint = 255.0 * zone_tints[:, None, number]
        pictures[:, inside] += cover[inside] * (paint - pictures[:, inside])
    return np.rint(pictures).astype(np.uint8)


def draw_blocks(
    pictures: UInt8[np.ndarray, "B 64 64 3"],
    blocks: Float32[np.ndarray, "B 4 2"],
    tints: Float32[np.ndarray, "B 4 3"],
    *,
    gripper: Float32[np.ndarray, "B 2"],
    is_closed: Bool[np.ndarray, " B"],
) -> UInt8[np.ndarray, "B 64 64 3"]:
    """Draw blocks and grippers on the tables, in place, and return them.

    Args:
        pictures: The tables; see `draw_ground`.
        blocks: Middles of the blocks [m].
        tints: Colours of the blocks, 0 to 1.
        gripper: Where the grippers are [m].
        is_closed: Whether they are closed: dark then, and bright where they are open.
    """
    places = _pixels(blocks)
    for number in range(blocks.shape[1]):
        _square(pictures, places[:, number], _BLOCK, 255.0 * tints[:, number])
    _square(pictures, _pixels(gripper), _TIP, np.where(is_closed[:, None], CLOSED, OPEN))
    return pictures


def _pixels(places: Float32[np.ndarray, "... 2"]) -> Float32[np.ndarray, "... 2"]:
    """Return (column, line) of places on the table."""
    return _PLAN.pixels(places).astype(np.float32)


def _square(
    pictures: UInt8[np.ndarray, "B 64 64 3"],
    places: Float32[np.ndarray, "B 2"],
    half: np.float32,
    paint: Float32[np.ndarray, "B 3"],
) -> None:
    """Lay a square on each picture; each pixel takes the share of it that is covered."""
    width = int(2 * half) + 3
    columns, across = _covered(places[:, 0], half, width)
    lines, down = _covered(places[:, 1], half, width)
    window = (np.arange(len(pictures))[:, None, None], lines[:, :, None], columns[:, None, :])
    before = pictures[window]
    cover = (down[:, :, None] * across[:, None, :])[..., None]
    pictures[window] = (before + cover * (paint[:, None, None] - before) + np.float32(0.5)).astype(np.uint8)


def _covered(
    middle: Float32[np.ndarray, " B"], half: np.float32, width: int
) -> tuple[Int64[np.ndarray, "B W"], Float32[np.ndarray, "B W"]]:
    """Return the pixels along one axis that a square may touch, and the share of each that it covers."""
    first = np.clip(np.ceil(middle - half - np.float32(0.5)).astype(np.int64), 0, PIXELS - width)
    pixels = first[:, None] + np.arange(width)
    apart = np.abs(pixels.astype(np.float32) - middle[:, None])
    return pixels, np.clip(half + np.float32(0.5) - apart, np.float32(0.0), np.float32(1.0))
