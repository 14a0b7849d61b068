"""Demonstrators with more than one right way: they choose a way for each episode, and keep to it.

They know the task's geometry and answer for any state, not only for those on their way: a policy that has
strayed is led back to the demonstrator's path, or along another way once it clearly is on that one.
"""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.core.protocol import Actor, Controller, Decision, Observation, PerRow
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE
from steadyhand.envs.avoiding.config import AvoidingConfig
from steadyhand.envs.avoiding.layout import (
    NUM_GAPS,
    NUM_ROUTES,
    ROW_Y,
    gap_at,
    gaps_of,
    middle_of,
    route_line,
)
from steadyhand.envs.forks.config import ForksConfig
from steadyhand.envs.forks.route import AMPLITUDE, bump, bump_slope
from steadyhand.envs.points import INTENT


class Demonstrator(Controller):
    """Remembers for each row which way it chose, and how it walks it.

    The choice is what the start says (`privileged.intent`), else a draw from the row's own stream.

    Args:
        num_ways: Whole numbers that describe a way.
        num_style: Numbers that make one episode differ from the next on the same way.

    `num_queries` counts the steps it was asked about.
    """

    memory = ("num_queries",)
    READS: ClassVar[str] = STATE
    """The feature that tells it where it is, observed or for experts only."""

    def __init__(self, *, num_ways: int, num_style: int) -> None:
        self.num_queries = 0
        self._way = PerRow(np.zeros(num_ways, dtype=np.int64))
        self._style = PerRow(np.zeros(num_style, dtype=np.float32))
        self._open = PerRow(fresh=True)

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Return the demonstrator's action, labelled with itself.

        Raises:
            CapabilityError: The env shows no intent to experts, so it is another env.
        """
        seen = {**observation, **privileged}
        if not {INTENT, self.READS} <= seen.keys():
            raise CapabilityError(
                f"{type(self).__name__} does not know this env.",
                got=sorted(seen),
                expected=f"{self.READS} and {INTENT}",
            )
        fresh = self._open[rows]
        if fresh.any():
            draws = generator.fork("demonstrator").uniform(1 + self._style[rows].shape[1])
            self._choose(rows[fresh], privileged[INTENT][fresh, 0], draws[fresh])
            self._open[rows] = False
        action, self._way[rows] = self._answer(seen[self.READS], self._way[rows], self._style[rows])
        self.num_queries += len(rows)
        return Decision.by(Actor.EXPERT, action, label=action)

    @abstractmethod
    def _ways(
        self, intent: Float32[np.ndarray, " B"], chance: Float64[np.ndarray, " B"]
    ) -> Int64[np.ndarray, "B W"]:
        """Return the ways chosen by an intent, or by a chance in [0, 1) where the intent is negative."""

    @abstractmethod
    def _answer(
        self,
        state: Float32[np.ndarray, "B S"],
        way: Int64[np.ndarray, "B W"],
        style: Float32[np.ndarray, "B K"],
    ) -> tuple[Float32[np.ndarray, "B A"], Int64[np.ndarray, "B W"]]:
        """Return the actions, and the ways as they are from now on; `style` is in [-1, 1)."""

    def _choose(
        self,
        rows: Int64[np.ndarray, " B"],
        intent: Float32[np.ndarray, " B"],
        draws: Float64[np.ndarray, "B D"],
    ) -> None:
        self._way[rows] = self._ways(intent, draws[:, 0])
        self._style[rows] = 2.0 * draws[:, 1:] - 1.0


class ForksDemonstrator(Demonstrator):
    """Walks round the disc of `Forks`, left or right, at constant speed along x.

    Its path of an episode is +-a * bump(x) with `a` uniform within `spread` of 0.45 m. Off the path it turns
    sideways, and slows down along x in proportion, down to a halt 0.3 m off it: so it never walks into the
    disc. Where |y| > 0.1 m the side is the one it is on.

    Args:
        config: The fork.
        left_share: Probability of the left side.
        spread: Half width of the variation in amplitude between episodes [m].
        speed: Along x [m/s].
    """

    GAIN = 3.0
    HALT = 0.3
    CLEARLY = 0.1

    def __init__(
        self,
        config: ForksConfig | None = None,
        *,
        left_share: float = 0.5,
        spread: float = 0.06,
        speed: float = 0.64,
    ) -> None:
        if not 0.0 <= left_share <= 1.0 or not 0.0 <= spread <= 0.1:
            raise SpecError(
                "The demonstrator's share or spread is out of range.",
                got=(left_share, spread),
                expected="left_share in [0, 1], spread in [0, 0.1] m",
            )
        super().__init__(num_ways=1, num_style=1)
        self.config = config or ForksConfig()
        self.left_share = left_share
        self.spread = spread
        self.speed = speed

    def _ways(
        self, intent: Float32[np.ndarray, " B"], chance: Float64[np.ndarray, " B"]
    ) -> Int64[np.ndarray, "B W"]:
        choice = np.where(intent >= 0, intent, chance)
        return np.where(choice < self.left_share, 1, -1)[:, None]

    def _answer(
        self,
        state: Float32[np.ndarray, "B S"],
        way: Int64[np.ndarray, "B W"],
        style: Float32[np.ndarray, "B K"],
    ) -> tuple[Float32[np.ndarray, "B A"], Int64[np.ndarray, "B W"]]:
        x, y = state[:, 0] - np.float32(self.config.fork_x), state[:, 1]
        way = np.where(np.abs(y) > np.float32(self.CLEARLY), np.where(y > 0, 1, -1), way[:, 0])
        amplitude = way * (np.float32(AMPLITUDE) + np.float32(self.spread) * style[:, 0])
        off = amplitude * bump(x) - y
        ahead = np.float32(self.speed) * np.clip(1.0 - np.abs(off) / np.float32(self.HALT), 0.0, 1.0)
        sideways = amplitude * bump_slope(x) * ahead + np.float32(self.GAIN) * off
        limit = np.float32(self.config.max_speed)
        action = np.stack([ahead, np.clip(sideways, -limit, limit)], axis=1).astype(np.float32)
        return action, way[:, None]


class AvoidingDemonstrator(Demonstrator):
    """Threads the desired position of `Avoiding` through one gap in each row, at constant speed.

    Its line of an episode passes each gap within `spread` of the gap's middle. Off the line it turns
    sideways, and climbs slower in proportion, not at all 5 cm off it. Beside a row of cylinders the gap is
    the one that it is in.

    Args:
        config: The task.
        spread: Half width of the variation in each gap between episodes [m].
        speed: Along the line [m/step].
    """

    GAIN = 0.35
    HALT = 0.05
    BESIDE = 0.045

    def __init__(
        self, config: AvoidingConfig | None = None, *, spread: float = 0.012, speed: float = 0.011
    ) -> None:
        if not 0.0 <= spread <= 0.015:
            raise SpecError(
                "The demonstrator would come too near a cylinder.", got=spread, expected="spread <= 0.015 m"
            )
        super().__init__(num_ways=3, num_style=3)
        self.config = config or AvoidingConfig()
        self.spread = spread
        self.speed = speed

    def _ways(
        self, intent: Float32[np.ndarray, " B"], chance: Float64[np.ndarray, " B"]
    ) -> Int64[np.ndarray, "B W"]:
        return gaps_of(np.where(intent >= 0, intent, chance * NUM_ROUTES).astype(np.int64))

    def _answer(
        self,
        state: Float32[np.ndarray, "B S"],
        way: Int64[np.ndarray, "B W"],
        style: Float32[np.ndarray, "B K"],
    ) -> tuple[Float32[np.ndarray, "B A"], Int64[np.ndarray, "B W"]]:
        x, y = state[:, 0], state[:, 1]
        gaps = way.copy()
        for row in range(len(NUM_GAPS)):
            beside: Bool[np.ndarray, " B"] = np.abs(y - np.float32(ROW_Y[row])) < np.float32(self.BESIDE)
            gaps[:, row] = np.where(beside, gap_at(x, row), way[:, row])
        line, slope = route_line(y, middle_of(gaps) + np.float32(self.spread) * style)
        off = line - x
        pace = np.float32(self.speed) * np.clip(1.0 - np.abs(off) / np.float32(self.HALT), 0.0, 1.0)
        up = pace / np.sqrt(1.0 + slope * slope)
        sideways = slope * up + np.float32(self.GAIN) * off
        limit = np.float32(self.config.max_delta)
        action = np.stack([np.clip(sideways, -limit, limit), up], axis=1).astype(np.float32)
        return action, gaps
