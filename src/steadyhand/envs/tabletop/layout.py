"""What lies on the table, and where. Metres; x to the right, y away from whoever stands before it."""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from jaxtyping import Bool, Float32, Int64

from steadyhand.envs.tabletop.words import (
    COLOURS,
    HEARD_COLOURS,
    PLACES,
    Unheard,
    drawn_words,
    is_heard_pair,
)

HALF = 0.3
"""Half the edge of the table."""
EDGE = 0.04
"""Edge of a block."""
ZONES = np.array([(0.0, 0.22), (0.0, -0.22), (-0.22, 0.0), (0.22, 0.0)], dtype=np.float32)
"""Middles of the zones: far, near, left, right."""
RADIUS = 0.07
"""Radius of a zone."""
FARTHEST = np.float32(HALF - EDGE / 2)
"""How far from the middle of the table a block can lie, along either side."""
NUM_BLOCKS, NUM_ZONES = 4, len(PLACES)
NOTHING = -1
"""Stands for no block and for no zone."""
ORDERS = tuple(permutations(range(NUM_BLOCKS)))
"""The orders in which four blocks can be brought, by the numbers of their colours."""

_CELL = 0.075
_JITTER = 0.015
_SHADE = 0.08
_PALE = np.full((NUM_ZONES, 3), 0.72, dtype=np.float32)

TINTS = np.array(
    [
        (0.84, 0.18, 0.16),
        (0.20, 0.62, 0.28),
        (0.16, 0.36, 0.80),
        (0.93, 0.78, 0.18),
        (0.56, 0.26, 0.66),
        (0.94, 0.50, 0.14),
    ],
    dtype=np.float32,
)
"""Red, green and blue of each colour of `words.COLOURS`, 0 to 1; what is on a table differs a little."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What lies on one table at the start.

    Attributes:
        gripper: (2,) where the gripper is [m].
        blocks: (4, 2) middles of the blocks [m]; blocks are in no order, so that their number tells nothing.
        colours: (4,) number of each block's colour.
        block_tints: (4, 3) colour of each block.
        zone_tints: (4, 3) colour of each zone; pale where an instruction names it by its place.
        goal: (4,) zone that each block belongs to, -1 for a block that is to stay where it is.
        words: (3,) numbers of verb, colour word and place word; see `words.sentence`.
    """

    gripper: Float32[np.ndarray, " 2"]
    blocks: Float32[np.ndarray, "4 2"]
    colours: Int64[np.ndarray, " 4"]
    block_tints: Float32[np.ndarray, "4 3"]
    zone_tints: Float32[np.ndarray, "4 3"]
    goal: Int64[np.ndarray, " 4"]
    words: Int64[np.ndarray, " 3"]


def in_zones(places: Float32[np.ndarray, "*B 2"], radius: float = RADIUS) -> Bool[np.ndarray, "*B 4"]:
    """Return whether each place lies in each zone, or in a circle of another radius around its middle."""
    off = places[..., None, :] - ZONES
    return (off * off).sum(-1) <= np.float32(radius**2)


def drawn_scene(random: np.random.Generator, *, sorts: bool, unheard: Unheard) -> Scene:
    """Return a table that is laid at random.

    Args:
        random: Where it is drawn from.
        sorts: Whether every block belongs to the zone of its colour; else one block belongs to one zone.
        unheard: What of the instruction training never says, and so which pairs and blocks there are.
    """
    colours = random.permutation(HEARD_COLOURS)
    if unheard == "blocks":  # both strange colours: a single one would tell which block is meant
        colours[random.permutation(NUM_BLOCKS)[:2]] = range(HEARD_COLOURS, len(COLOURS))
    coloured = random.permutation(colours)  # which colour each zone has
    cells = random.permutation(9)[:NUM_BLOCKS]
    grid = _CELL * (np.stack([cells % 3, cells // 3], axis=1) - 1.0)
    goal = (coloured == colours[:, None]).argmax(axis=1) if sorts else _one_goal(random, colours, unheard)
    return Scene(
        gripper=random.uniform(-HALF + EDGE, HALF - EDGE, 2).astype(np.float32),
        blocks=(grid + random.uniform(-_JITTER, _JITTER, grid.shape)).astype(np.float32),
        colours=colours,
        block_tints=_shaded(random, TINTS[colours]),
        zone_tints=_shaded(random, TINTS[coloured] if sorts else _PALE),
        goal=goal,
        words=np.array(drawn_words(unheard, random), dtype=np.int64),
    )


def _one_goal(
    random: np.random.Generator, colours: Int64[np.ndarray, " 4"], unheard: Unheard
) -> Int64[np.ndarray, " 4"]:
    """Return the goal of an instruction: one block that belongs to one zone."""
    pairs = [(block, zone) for block in range(NUM_BLOCKS) for zone in range(NUM_ZONES)]
    if unheard == "blocks":
        fitting = [(block, zone) for block, zone in pairs if colours[block] >= HEARD_COLOURS]
    else:
        said = unheard != "pairs"
        fitting = [(block, zone) for block, zone in pairs if is_heard_pair(int(colours[block]), zone) == said]
    block, zone = fitting[random.integers(len(fitting))]
    goal = np.full(NUM_BLOCKS, NOTHING, dtype=np.int64)
    goal[block] = zone
    return goal


def freed(
    places: Float32[np.ndarray, "B 2"], others: Float32[np.ndarray, "B O 2"]
) -> Float32[np.ndarray, "B 2"]:
    """Return the nearest place to each at which a block lies on the table and on no other block.

    That is the place itself, or one at which it touches others: beside one, or in a corner between two.
    """
    sides = [others - np.float32(EDGE), others + np.float32(EDGE)]
    along = np.concatenate([places[:, None], *sides], axis=1)  # (B, 1 + 2 O, 2): what x and y may be
    x, y = np.broadcast_arrays(along[:, :, None, 0], along[:, None, :, 1])
    tried = np.stack([x, y], axis=-1).reshape(len(places), along.shape[1] ** 2, 2)
    apart = np.abs(tried[:, :, None] - others[:, None]).max(axis=3).min(axis=2)
    is_free = (apart >= np.float32(EDGE - 1e-6)) & (np.abs(tried).max(axis=2) <= FARTHEST)
    far = np.where(is_free, np.linalg.norm(tried - places[:, None], axis=2), np.inf)
    return tried[np.arange(len(places)), far.argmin(axis=1)]


def _shaded(random: np.random.Generator, tints: np.ndarray) -> Float32[np.ndarray, "4 3"]:
    return np.clip(tints + random.uniform(-_SHADE, _SHADE, tints.shape), 0.0, 1.0).astype(np.float32)
