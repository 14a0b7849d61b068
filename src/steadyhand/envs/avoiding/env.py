"""A batch of fingers that must pass three rows of cylinders."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from steadyhand.core.errors import SpecError
from steadyhand.core.seeding import generator
from steadyhand.envs.avoiding.config import AvoidingConfig
from steadyhand.envs.avoiding.layout import (
    CENTRES,
    GAP_X,
    GOAL_Y,
    NUM_GAPS,
    NUM_ROUTES,
    RADII,
    ROW_Y,
    START,
    gap_at,
    route_line,
    route_of,
)
from steadyhand.envs.avoiding.render import render_avoiding
from steadyhand.envs.base import Family, Start
from steadyhand.envs.points import PointEnv, touches

BAND = 0.03
"""This close to the middle of rows 1 and 2 the gap is taken down [m]."""


class Avoiding(PointEnv):
    """N fingers; see `AvoidingConfig` for what can be chosen.

    The action moves the *desired* position, which "observation.state" shows beside the actual one; the
    finger follows with a first-order lag: one step covers the share 1 - exp(-control_dt / lag) of the
    distance. An episode ends in failure when the finger touches a cylinder, anywhere on its way, and in
    success above y = 0.35 m. The reward is the progress in y [m].

    A mode is a route: 12 a + 4 b + c for the gaps a, b, c that were taken in the three rows, counted from the
    left, -1 until all three are known. The gap of rows 1 and 2 is the one last seen within 3 cm of the
    row's middle; that of row 3 where it first comes above the row's middle.

    Deviation from D3IL: no robot and no physics; the finger is a point, its lag is ours, and actions are
    bounded.

    Args:
        config: Settings of the env.
        num_rows: Number of fingers.
    """

    OPTIONS = ("route",)
    INTENT_OPTION = "route"

    def __init__(self, config: AvoidingConfig | None = None, *, num_rows: int) -> None:
        self.config = config or AvoidingConfig()
        super().__init__(self.config.spec(), num_rows=num_rows, num_memory=3)

    def dynamics(self, x: Any, u: Any, *, params: Mapping[str, Any], xp: Any) -> Any:
        """Return the next state (desired x, desired y, x, y), (..., 4).

        `params` may override "control_dt", "lag" and "max_delta".
        """
        limit = params.get("max_delta", self.config.max_delta)
        lag = params.get("lag", self.config.lag)
        share = 1.0 - math.exp(-params.get("control_dt", self.config.control_dt) / lag)
        move = xp.clip(u, -limit, limit)
        desired_x, desired_y = x[..., 0] + move[..., 0], x[..., 1] + move[..., 1]
        east = x[..., 2] + share * (desired_x - x[..., 2])
        north = x[..., 3] + share * (desired_y - x[..., 3])
        return xp.stack([desired_x, desired_y, east, north], -1)

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return the table from above: cylinders, finish, start, the path so far and the desired position."""
        return render_avoiding(
            self.path(row),
            desired=self._values[row, :2],
            touched=bool(self._touched[row]),
            width=width,
            height=height,
        )

    def error(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
        """Return the distance in x from the nearest of the 24 routes' middle lines [m]."""
        place = self.position(rows)
        nearest = np.full(len(rows), np.inf, dtype=np.float32)
        for a in range(NUM_GAPS[0]):
            for b in range(NUM_GAPS[1]):
                for c in range(NUM_GAPS[2]):
                    gap_x = np.array((GAP_X[0][a], GAP_X[1][b], GAP_X[2][c]), dtype=np.float32)
                    line, _ = route_line(place[:, 1], np.broadcast_to(gap_x, (len(rows), 3)))
                    nearest = np.minimum(nearest, np.abs(place[:, 0] - line))
        return nearest

    @property
    def num_modes(self) -> int:
        """24: two gaps, then three, then four."""
        return NUM_ROUTES

    def mode(self, rows: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        """Return the route that was taken, -1 while it is open; see `BatchEnv.mode`."""
        self._check_rows(rows)
        return route_of(self._memory[rows])

    def _options(self, family: Family, count: int, seed: int) -> Sequence[dict[str, float]]:
        """Return "route", 0 to 23, which only the demonstrator reads; all begin at the same place.

        Every 24 starts name every route once, in an order of their own.
        """
        turns = range(-(-count // NUM_ROUTES))
        orders = [generator(seed, "avoiding", family, turn).permutation(NUM_ROUTES) for turn in turns]
        return [{"route": float(route)} for order in orders for route in order][:count]

    def _begin(self, start: Start) -> Sequence[float]:
        route = start.options.get("route", 0.0)
        if not 0 <= route < NUM_ROUTES or route != int(route):
            raise SpecError("There is no such route.", got=route, expected=f"0 to {NUM_ROUTES - 1}")
        return *START, *START

    def _place(self, values: Float32[np.ndarray, "B S"]) -> Float32[np.ndarray, "B 2"]:
        return values[:, 2:]

    def _judge(
        self,
        here: Float32[np.ndarray, "B 2"],
        there: Float32[np.ndarray, "B 2"],
        memory: Int64[np.ndarray, "B M"],
    ) -> tuple[
        Bool[np.ndarray, " B"], Bool[np.ndarray, " B"], Int64[np.ndarray, "B M"], Float32[np.ndarray, " B"]
    ]:
        touched = np.any(touches(here, there, CENTRES, RADII), axis=1)
        arrived = there[:, 1] > np.float32(GOAL_Y)
        x, y = there[:, 0], there[:, 1]
        seen = memory.copy()
        for row in range(2):
            beside = np.abs(y - np.float32(ROW_Y[row])) <= np.float32(BAND)
            seen[:, row] = np.where(beside, gap_at(x, row), memory[:, row])
        above = y >= np.float32(ROW_Y[2])
        kept = np.where(memory[:, 2] >= 0, memory[:, 2], gap_at(x, 2))
        seen[:, 2] = np.where(above, kept, -1)
        return touched, arrived, seen, y - here[:, 1]
