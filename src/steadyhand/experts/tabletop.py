"""The scripted expert of the tabletop: it brings one block after the other to where it belongs."""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from steadyhand.core.errors import SpecError
from steadyhand.envs.tabletop.config import BLOCK_FACTS, TABLE, TabletopConfig
from steadyhand.envs.tabletop.layout import NUM_BLOCKS, NUM_ZONES, ORDERS, RADIUS, ZONES, in_zones
from steadyhand.experts.scripted import Demonstrator

_ZONE, _HELD, _COLOUR = (BLOCK_FACTS.index(word) for word in ("zone", "held", "colour"))


class TabletopDemonstrator(Demonstrator):
    """Knows where every block belongs, and answers wherever the gripper is and whatever it holds.

    An empty gripper goes to the next misplaced block in the episode's order, or to one that it is above, and
    closes on it; a full one goes to its spot in the zone, and opens. A block that belongs nowhere is put down
    between the zones. Velocities lead straight to the aim, at the episode's own pace.

    Args:
        config: The table.
        spread: Half width of the variation of the spots [m].
        slowest: Least pace of an episode, as a share of the highest speed.
    """

    READS = TABLE
    NEAR = 0.008
    """This close to the aim the gripper closes or opens [m]."""

    def __init__(
        self, config: TabletopConfig | None = None, *, spread: float = 0.025, slowest: float = 0.8
    ) -> None:
        if not 0.0 <= spread <= RADIUS / 2:
            raise SpecError(
                "Blocks would be laid beside their zones.", got=spread, expected="spread <= 0.035 m"
            )
        super().__init__(num_ways=NUM_BLOCKS, num_style=2 * NUM_ZONES + 1)
        self.config = config or TabletopConfig()
        self.spread = spread
        self.slowest = slowest

    def _ways(
        self, intent: Float32[np.ndarray, " B"], chance: Float64[np.ndarray, " B"]
    ) -> Int64[np.ndarray, "B W"]:
        order = np.where(intent >= 0, intent, chance * len(ORDERS)).astype(np.int64)
        return np.array(ORDERS, dtype=np.int64)[order]

    def _answer(
        self,
        state: Float32[np.ndarray, "B S"],
        way: Int64[np.ndarray, "B W"],
        style: Float32[np.ndarray, "B K"],
    ) -> tuple[Float32[np.ndarray, "B A"], Int64[np.ndarray, "B W"]]:
        each = np.arange(len(state))
        gripper, holds = state[:, :2], state[:, 3] > 0.5
        blocks = state[:, 4:].reshape(-1, NUM_BLOCKS, len(BLOCK_FACTS))
        zone = blocks[:, :, _ZONE].astype(np.int64)
        spots = ZONES + np.float32(self.spread) * style[:, 1:].reshape(-1, NUM_ZONES, 2)
        chosen = np.where(holds, blocks[:, :, _HELD].argmax(axis=1), self._next(gripper, blocks, way))
        place, aim = blocks[each, chosen, :2], spots[each, zone[each, chosen]]
        aim = np.where((zone[each, chosen] >= 0)[:, None], aim, _aside(place))
        off = np.where(holds[:, None], aim - place, place - gripper)
        is_there = np.abs(off).max(axis=1) <= np.float32(self.NEAR)
        idle = ~holds & ~_misplaced(blocks).any(axis=1)
        closes = np.where(holds, ~is_there, is_there & (state[:, 2] < 0.5)) & ~idle
        pace = self.slowest + (1.0 - self.slowest) * 0.5 * (1.0 + style[:, 0])
        limit = (np.float32(self.config.max_speed) * pace).astype(np.float32)
        velocity = off / np.float32(self.config.control_dt)
        largest = np.abs(velocity).max(axis=1)
        velocity *= (np.minimum(largest, limit) / np.maximum(largest, np.float32(1e-9)))[:, None]
        velocity[idle] = 0.0
        return np.column_stack([velocity, closes]).astype(np.float32), way

    def _next(
        self,
        gripper: Float32[np.ndarray, "B 2"],
        blocks: Float32[np.ndarray, "B 4 5"],
        way: Int64[np.ndarray, "B W"],
    ) -> Int64[np.ndarray, " B"]:
        """Return the misplaced block that comes first in the order, or the one under the gripper."""
        colour = blocks[:, :, _COLOUR].astype(np.int64)
        turn = (way[:, None, :] == colour[:, :, None]).argmax(axis=2).astype(np.float32)
        apart = np.abs(blocks[:, :, :2] - gripper[:, None]).max(axis=2)
        turn = np.where(apart <= np.float32(self.NEAR), -1.0, turn)
        return np.where(_misplaced(blocks), turn, np.inf).argmin(axis=1)


def _misplaced(blocks: Float32[np.ndarray, "B 4 5"]) -> Bool[np.ndarray, "B 4"]:
    zone = blocks[:, :, _ZONE].astype(np.int64)
    in_own = np.take_along_axis(in_zones(blocks[:, :, :2]), zone[..., None], axis=2)[..., 0]
    return (zone >= 0) & ~in_own


def _aside(place: Float32[np.ndarray, "B 2"]) -> Float32[np.ndarray, "B 2"]:
    """Return where a block is put that belongs nowhere: here, or the middle of the table near a zone."""
    return np.where(in_zones(place, 1.5 * RADIUS).any(axis=1, keepdims=True), np.float32(0.0), place)
