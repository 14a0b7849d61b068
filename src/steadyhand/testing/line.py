"""A point on a line with three actions: the cheapest env of discrete actions whose states are numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from steadyhand.core.protocol import Observation
from steadyhand.core.seeding import derive, generator
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec, discrete_spec
from steadyhand.envs.base import BatchEnv, Family, Start, StepResult
from steadyhand.experts.base import Expert

_STRIDE = 0.2
"""How far an action moves the point."""


class Line(BatchEnv):
    """x' = x + 0.2 a for a = -1, 0, 1; |x| > 2 fails, and being near 0 at the end succeeds.

    Args:
        num_rows: Number of copies.
        max_episode_steps: Length of an episode.
    """

    def __init__(self, num_rows: int, *, max_episode_steps: int = 16) -> None:
        self.num_rows = num_rows
        self.spec = EnvSpec(
            env_id="line",
            observation={STATE: FeatureSpec(shape=(2,), names=("x", "x^2"), units=("1", "1"))},
            action=discrete_spec(3, start=-1),
            control_dt=0.1,
            max_episode_steps=max_episode_steps,
            task="Come to the middle.",
        )
        self._x = np.zeros(num_rows)
        self._steps = np.zeros(num_rows, dtype=np.int64)

    def starts(self, family: Family, count: int, *, seed: int = 0) -> tuple[Start, ...]:
        """Return `count` starts with the option "x", evenly drawn from (-1, 1)."""
        return tuple(
            Start(
                family=family,
                seed=derive(seed, "line", family, index),
                options={"x": float(generator(seed, "line", family, index).uniform(-1.0, 1.0))},
            )
            for index in range(count)
        )

    def reset(self, starts: Sequence[Start], rows: Int64[np.ndarray, " B"]) -> None:
        """Put each of `rows` at its start."""
        self._x[rows] = [start.options["x"] for start in starts]
        self._steps[rows] = 0

    def step(self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]) -> StepResult:
        """Move."""
        self._x[rows] += _STRIDE * actions[:, 0]
        self._steps[rows] += 1
        away = np.abs(self._x[rows])
        terminated = away > 2.0
        truncated = ~terminated & (self._steps[rows] >= self.spec.max_episode_steps)
        return StepResult(
            reward=-away.astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            success=truncated & (away < _STRIDE),
        )

    def observe(
        self,
        rows: Int64[np.ndarray, " B"],
        *,
        view_offset: Mapping[str, Float32[np.ndarray, " B"]] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return x and x^2 of `rows`; see `BatchEnv.observe`."""
        if view_offset is not None:
            raise self._lacks("displaced sensors (view_offset)")
        return {STATE: np.stack([self._x[rows], self._x[rows] ** 2], axis=1).astype(np.float32)}

    def position(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        """Return (x, 0)."""
        return np.stack([self._x[rows], np.zeros(len(rows))], axis=1).astype(np.float32)


class Homing(Expert):
    """Goes to the middle of the line."""

    sees_privileged = False

    def action(self, observation: Observation, privileged: Observation) -> Shaped[np.ndarray, "B A"]:
        """Return (B, 1) int64 actions."""
        del privileged
        x = observation[STATE][:, :1]
        return (x < -_STRIDE / 2).astype(np.int64) - (x > _STRIDE / 2)
