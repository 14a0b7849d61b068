"""What lies on the table, and where. Metres; x to the right, y away from whoever stands before it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from steadyhand.envs.tabletop.words import (
    COLOURS,
    HEARD_COLOURS,
    PLACES,
    Wording,
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
NUM_BLOCKS, NUM_ZONES = 4, len(PLACES)

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
        kinds: (4,) number of each block's colour.
        block_tints: (4, 3) colour of each block.
        zone_tints: (4, 3) colour of each zone; pale where an instruction names it by its place.
        goal: (4,) zone that each block belongs to, -1 for a block that is to stay where it is.
        words: (3,) numbers of verb, colour word and place word; see `words.sentence`.
    """

    gripper: Float32[np.ndarray, " 2"]
    blocks: Float32[np.ndarray, "4 2"]
    kinds: Int64[np.ndarray, " 4"]
    block_tints: Float32[np.ndarray, "4 3"]
    zone_tints: Float32[np.ndarray, "4 3"]
    goal: Int64[np.ndarray, " 4"]
    words: Int64[np.ndarray, " 3"]


def drawn_scene(random: np.random.Generator, *, sorts: bool, wording: Wording) -> Scene:
    """Return a table that is laid at random.

    Args:
        random: Where it is drawn from.
        sorts: Whether every block belongs to the zone of its colour; else one block belongs to one zone.
        wording: What of the instruction is unheard, and so which pairs and blocks there are.
    """
    kinds = random.permutation(HEARD_COLOURS)
    if wording == "blocks":
        kinds[random.integers(NUM_BLOCKS)] = random.integers(HEARD_COLOURS, len(COLOURS))
    coloured = random.permutation(kinds)  # which colour each zone has
    cells = random.permutation(9)[:NUM_BLOCKS]
    grid = _CELL * (np.stack([cells % 3, cells // 3], axis=1) - 1.0)
    zone_of = {int(kind): zone for zone, kind in enumerate(coloured)}
    goal = np.array([zone_of[int(kind)] for kind in kinds], dtype=np.int64)
    if not sorts:
        goal = _one_goal(random, kinds, wording)
    return Scene(
        gripper=random.uniform(-HALF + EDGE, HALF - EDGE, 2).astype(np.float32),
        blocks=(grid + random.uniform(-_JITTER, _JITTER, grid.shape)).astype(np.float32),
        kinds=kinds.astype(np.int64),
        block_tints=_shaded(random, TINTS[kinds]),
        zone_tints=_shaded(random, TINTS[coloured] if sorts else _PALE),
        goal=goal,
        words=np.array(drawn_words(wording, random), dtype=np.int64),
    )


def _one_goal(random: np.random.Generator, kinds: np.ndarray, wording: Wording) -> Int64[np.ndarray, " 4"]:
    """Return the goal of an instruction: one block that belongs to one zone."""
    pairs = [(block, kind, zone) for block, kind in enumerate(kinds.tolist()) for zone in range(NUM_ZONES)]
    if wording == "blocks":
        fitting = [(block, zone) for block, kind, zone in pairs if kind >= HEARD_COLOURS]
    else:
        is_heard = wording != "pairs"
        fitting = [(block, zone) for block, kind, zone in pairs if is_heard_pair(kind, zone) == is_heard]
    block, zone = fitting[random.integers(len(fitting))]
    goal = np.full(NUM_BLOCKS, -1, dtype=np.int64)
    goal[block] = zone
    return goal


def _shaded(random: np.random.Generator, tints: np.ndarray) -> Float32[np.ndarray, "4 3"]:
    return np.clip(tints + random.uniform(-_SHADE, _SHADE, tints.shape), 0.0, 1.0).astype(np.float32)
