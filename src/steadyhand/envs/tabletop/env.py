"""A batch of tables, each with blocks, zones and a gripper."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int64, Shaped, UInt8

from steadyhand.core.errors import SpecError
from steadyhand.core.seeding import generator
from steadyhand.envs.arrays import ArrayEnv, Trails
from steadyhand.envs.base import Family, Start
from steadyhand.envs.points import INTENT, NO_INTENT
from steadyhand.envs.tabletop.config import FEATURES, PIXELS, TABLE, TOKEN, TabletopConfig
from steadyhand.envs.tabletop.layout import (
    FARTHEST,
    HALF,
    NOTHING,
    NUM_BLOCKS,
    NUM_ZONES,
    ORDERS,
    RADIUS,
    TINTS,
    ZONES,
    drawn_scene,
    freed,
    in_zones,
)
from steadyhand.envs.tabletop.picture import draw_blocks, draw_ground
from steadyhand.envs.tabletop.render import render_table
from steadyhand.envs.tabletop.words import sentence

_ORDER_OF = {order[:-1]: number for number, order in enumerate(ORDERS)}
"""The first three colours tell the order."""
REACH = 0.02
"""A closing gripper takes the nearest block whose middle is this close in x and in y [m]."""
TRAIL_STEPS = 25
"""Steps of the trail behind a gripper in a picture."""


class Tabletop(ArrayEnv):
    """N tables; see `TabletopConfig` for what can be chosen.

    The action is the gripper's velocity, and whether it is closed (above 1/2). The gripper moves above the
    blocks; where it closes, it lowers and takes the nearest block in reach, which then moves along, over the
    others; where it opens, it lays the block down, at the nearest free place if it would lie
    on another.

    Sorting ends in success when every block lies in the zone of its colour, and the reward is the number of
    blocks that came to lie right in a step, less those that were taken away. An instruction ends when a block
    is laid into any zone: in success if both are the named ones, with a reward of 1. A mode, which sorting
    alone has, is the order in which the colours were brought, an index of `ORDERS`, -1 while it is open.

    Args:
        config: Settings of the env.
        num_rows: Number of tables.
    """

    OPTIONS = ("order",)

    def __init__(self, config: TabletopConfig | None = None, *, num_rows: int) -> None:
        self.config = config or TabletopConfig()
        super().__init__(self.config.spec(), num_rows=num_rows)
        blocks, zones = (num_rows, NUM_BLOCKS), (num_rows, NUM_ZONES)
        self._gripper = self._declare("gripper", np.zeros((num_rows, 2), dtype=np.float32))
        self._closed = self._declare("closed", np.zeros(num_rows, dtype=bool))
        self._held = self._declare("held", np.full(num_rows, NOTHING, dtype=np.int64))
        self._offset = self._declare("offset", np.zeros((num_rows, 2), dtype=np.float32))
        self._blocks = self._declare("blocks", np.zeros((*blocks, 2), dtype=np.float32))
        self._colours = self._declare("colours", np.zeros(blocks, dtype=np.int64))
        self._block_tints = self._declare("block_tints", np.zeros((*blocks, 3), dtype=np.float32))
        self._zone_tints = self._declare("zone_tints", np.zeros((*zones, 3), dtype=np.float32))
        self._goal = self._declare("goal", np.full(blocks, NOTHING, dtype=np.int64))
        self._words = self._declare("words", np.zeros((num_rows, 3), dtype=np.int64))
        self._brought = self._declare("brought", np.full(blocks, NOTHING, dtype=np.int64))
        self._intent = self._declare("intent", np.full((num_rows, 1), NO_INTENT, dtype=np.float32))
        self._trails = self._followed(Trails(self._gripper, length=TRAIL_STEPS))
        self._limit = np.float32(self.config.max_speed)
        self._ground = np.zeros((0, PIXELS, PIXELS, 3), dtype=np.uint8)
        if "camera" in self.config.observation:
            self._ground = np.zeros((num_rows, PIXELS, PIXELS, 3), dtype=np.uint8)

    def privileged(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return what is on the table, and what the start tells the demonstrator about the order."""
        self._check_rows(rows)
        held = np.arange(NUM_BLOCKS) == self._held[rows][:, None]
        said = [
            self._blocks[rows],
            *(array[:, :, None] for array in (self._goal[rows], held, self._colours[rows])),
        ]
        blocks = np.concatenate(said, axis=2).reshape(len(rows), -1)
        table = np.concatenate([self._see_gripper(rows), blocks], axis=1, dtype=np.float32)
        return {TABLE: table, INTENT: self._intent[rows]}

    def position(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        """Return where the grippers are [m]."""
        self._check_rows(rows)
        return self._gripper[rows]

    def error(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
        """Return how far the blocks are from where they belong, all together, 0 for one in its zone [m]."""
        self._check_rows(rows)
        goal = self._goal[rows]
        off = np.linalg.norm(self._blocks[rows] - ZONES[goal], axis=2)
        apart = np.where(goal == NOTHING, 0.0, np.maximum(off - np.float32(RADIUS), 0.0))
        return apart.sum(axis=1, dtype=np.float32)

    def tasks(self, rows: Int64[np.ndarray, " B"]) -> tuple[str, ...]:
        """Return the instruction of each row; see `BatchEnv.tasks`."""
        if self.config.task == "sort":
            return super().tasks(rows)
        self._check_rows(rows)
        blocks = self._goal[rows].argmax(axis=1)
        return tuple(
            sentence(tuple(self._words[row].tolist()), colour=int(self._colours[row, block]), zone=zone)
            for row, block, zone in zip(rows, blocks, self._goal[rows].max(axis=1).tolist(), strict=True)
        )

    @property
    def num_modes(self) -> int:
        """24 orders in which the colours can be brought; none where one block is asked for."""
        return len(ORDERS) if self.config.task == "sort" else super().num_modes

    def mode(self, rows: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        """Return the order of the colours, -1 while more than one is left; see `BatchEnv.mode`."""
        if self.config.task != "sort":
            return super().mode(rows)
        self._check_rows(rows)
        first = self._brought[rows, :-1].tolist()
        return np.array([_ORDER_OF.get(tuple(order), NOTHING) for order in first], dtype=np.int64)

    def outline(self, start: "Start | int") -> tuple[Float32[np.ndarray, "P 2"], ...]:
        """Return the edge of the table and the zones [m]."""
        del start
        angle = np.linspace(0.0, 2.0 * np.pi, 49)
        circle = np.float32(RADIUS) * np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        corners = [(-HALF, -HALF), (HALF, -HALF), (HALF, HALF), (-HALF, HALF), (-HALF, -HALF)]
        return (np.array(corners, dtype=np.float32), *(zone + circle for zone in ZONES))

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return the table from above, with the instruction's goal marked, and where the gripper has been."""
        goal = self._goal[row]
        return render_table(
            gripper=self._gripper[row],
            is_closed=bool(self._closed[row]),
            blocks=self._blocks[row],
            block_tints=self._block_tints[row],
            zone_tints=self._zone_tints[row],
            wanted=None if self.config.task == "sort" else (int(goal.argmax()), int(goal.max())),
            path=self._trails.of(row),
            size=(width, height),
        )

    def _options(self, family: Family, count: int, seed: int) -> Sequence[dict[str, float]]:
        """Return "order", 0 to 23, which only the demonstrator reads: every 24 starts name each once."""
        if self.config.task != "sort":
            return [{}] * count
        turns = range(-(-count // len(ORDERS)))
        drawn = [generator(seed, "tabletop", family, turn).permutation(len(ORDERS)) for turn in turns]
        return [{"order": float(order)} for orders in drawn for order in orders][:count]

    def _first(self, starts: Sequence[Start]) -> Mapping[str, np.ndarray]:
        for start in starts:
            order = start.options.get("order", NO_INTENT)
            if order != NO_INTENT and order not in range(len(ORDERS)):
                raise SpecError("There is no such order.", got=order, expected=f"0 to {len(ORDERS) - 1}")
        sorts = self.config.task == "sort"
        scenes = [
            drawn_scene(generator(start.seed, "table"), sorts=sorts, unheard=self.config.unheard)
            for start in starts
        ]
        state = {name: np.stack([getattr(scene, name) for scene in scenes]) for name in vars(scenes[0])}
        intents = [start.options.get("order", NO_INTENT) for start in starts]
        return {**state, "intent": np.array(intents, dtype=np.float32)[:, None]}

    def _advance(
        self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]
    ) -> tuple[Float32[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        action = actions.astype(np.float32, copy=False)
        before = self._in_zone(rows)
        velocity = np.clip(action[:, :2], -self._limit, self._limit)
        gripper = np.clip(self._gripper[rows] + np.float32(self.config.control_dt) * velocity, -HALF, HALF)
        self._gripper[rows] = gripper
        held, closes = self._held[rows], action[:, 2] > 0.5
        carrying = np.flatnonzero(held != NOTHING)
        self._blocks[rows[carrying], held[carrying]] = np.clip(
            gripper[carrying] + self._offset[rows[carrying]], -FARTHEST, FARTHEST
        )
        opening = carrying[~closes[carrying]]
        self._lay_down(rows[opening])
        closing = np.flatnonzero(closes & ~self._closed[rows])
        self._take(rows[closing])
        self._closed[rows] = closes
        after = self._in_zone(rows)
        if self.config.task == "sort":
            self._note_order(rows, gained=after & ~before, lost=before & ~after)
            done = ended = np.asarray(after.all(axis=1))
        else:
            laid = self._blocks[rows[opening], held[opening]]
            ended = np.isin(rows, rows[opening[in_zones(laid).any(axis=1)]])
            done = ended & after.any(axis=1)
        return (after.sum(axis=1) - before.sum(axis=1)).astype(np.float32), ended, done

    def _take(self, rows: Int64[np.ndarray, " R"]) -> None:
        """Close the grippers on what is in reach."""
        apart = np.abs(self._blocks[rows] - self._gripper[rows][:, None]).max(axis=2)
        nearest = apart.argmin(axis=1)
        taken = apart[np.arange(len(rows)), nearest] <= np.float32(REACH)
        rows, nearest = rows[taken], nearest[taken]
        self._held[rows] = nearest
        self._offset[rows] = self._blocks[rows, nearest] - self._gripper[rows]

    def _lay_down(self, rows: Int64[np.ndarray, " R"]) -> None:
        """Open the grippers; a block that would lie on another comes to lie beside it."""
        held = self._held[rows]
        self._held[rows] = NOTHING
        others = (held[:, None] + np.arange(1, NUM_BLOCKS)) % NUM_BLOCKS
        self._blocks[rows, held] = freed(self._blocks[rows, held], self._blocks[rows[:, None], others])

    def _in_zone(self, rows: Int64[np.ndarray, " B"]) -> Bool[np.ndarray, "B 4"]:
        """Whether each block lies in the zone that it belongs to."""
        goal = self._goal[rows]
        lies = np.arange(NUM_BLOCKS) != self._held[rows][:, None]
        in_own = np.take_along_axis(in_zones(self._blocks[rows]), goal[..., None], axis=2)[..., 0]
        return (goal != NOTHING) & lies & in_own

    def _note_order(
        self, rows: Int64[np.ndarray, " B"], *, gained: Bool[np.ndarray, "B 4"], lost: Bool[np.ndarray, "B 4"]
    ) -> None:
        """Write down the colours as they come to lie right; what is taken away has not been brought."""
        for place in np.flatnonzero((gained | lost).any(axis=1)):
            row = rows[place]
            colours = self._colours[row]
            kept = [
                one for one in self._brought[row].tolist() if one >= 0 and one not in colours[lost[place]]
            ]
            kept += colours[gained[place]].tolist()
            self._brought[row] = NOTHING
            self._brought[row, : len(kept)] = kept

    def _see(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        seen = {
            "state": self._see_gripper,
            "objects": self._see_objects,
            "camera": self._see_picture,
            "goal": self._see_goal,
        }
        senses = self.config.observation
        return {name: seen[sense](rows) for name, sense in FEATURES.items() if sense in senses}

    def _see_gripper(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 4"]:
        holds = self._held[rows] != NOTHING
        return np.column_stack([self._gripper[rows], self._closed[rows], holds]).astype(np.float32)

    def _see_objects(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 8 9"]:
        tokens = np.zeros((len(rows), NUM_BLOCKS + NUM_ZONES, len(TOKEN)), dtype=np.float32)
        tokens[:, :NUM_BLOCKS, 0] = 1.0
        tokens[:, :NUM_BLOCKS, 1:3] = self._blocks[rows]
        tokens[:, NUM_BLOCKS:, 1:3] = ZONES
        tokens[:, :, 3:5] = tokens[:, :, 1:3] - self._gripper[rows][:, None]
        tokens[:, :NUM_BLOCKS, 5:8] = self._block_tints[rows]
        tokens[:, NUM_BLOCKS:, 5:8] = self._zone_tints[rows]
        tokens[:, :NUM_BLOCKS, 8] = np.arange(NUM_BLOCKS) == self._held[rows][:, None]
        return tokens

    def _see_goal(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 5"]:
        """Return the pure colour that the instruction names, and the middle of its zone."""
        goal = self._goal[rows]
        colours = self._colours[rows, goal.argmax(axis=1)]
        return np.concatenate([TINTS[colours], ZONES[goal.max(axis=1)]], axis=1)

    def _see_picture(self, rows: Int64[np.ndarray, " B"]) -> UInt8[np.ndarray, "B 64 64 3"]:
        return draw_blocks(
            self._ground[rows],
            self._blocks[rows],
            self._block_tints[rows],
            gripper=self._gripper[rows],
            is_closed=self._closed[rows],
        )

    def _entered(self, rows: Int64[np.ndarray, " B"]) -> None:
        if len(self._ground):
            self._ground[rows] = draw_ground(self._zone_tints[rows])
