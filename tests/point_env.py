"""A point on a line: small enough that every outcome can be computed by hand."""

from collections.abc import Mapping, Sequence

import numpy as np

from steadyhand.core.protocol import Observation
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec
from steadyhand.envs.base import BatchEnv, Family, Start, StepResult
from steadyhand.experts.base import Expert

FAMILY_SEEDS: dict[Family, int] = {"train": 0, "validation": 1000, "test": 2000}


class PointEnv(BatchEnv):
    """x_{t+1} = x_t + a_t + drift; leaving |x| <= 1 fails, staying for `max_episode_steps` succeeds."""

    def __init__(self, num_rows: int, *, max_episode_steps: int = 20, drift: float = 0.0) -> None:
        self.num_rows = num_rows
        self.drift = drift
        self.spec = EnvSpec(
            env_id="point",
            observation={STATE: FeatureSpec(shape=(1,))},
            privileged={"privileged.lateral": FeatureSpec(shape=(1,))},
            action=FeatureSpec(shape=(1,), low=(-0.5,), high=(0.5,)),
            control_dt=0.1,
            max_episode_steps=max_episode_steps,
            task="stay",
        )
        self.x = np.zeros(num_rows, dtype=np.float32)
        self.time = np.zeros(num_rows, dtype=np.int64)

    def starts(self, family: Family, count: int, *, seed: int = 0) -> tuple[Start, ...]:
        return tuple(
            Start(family=family, seed=FAMILY_SEEDS[family] + i, options={"x": ((i * 7 + seed) % 11 - 5) / 10})
            for i in range(count)
        )

    def reset(self, starts: Sequence[Start], rows: np.ndarray) -> None:
        self.x[rows] = [start.options["x"] for start in starts]
        self.time[rows] = 0

    def step(self, actions: np.ndarray, rows: np.ndarray) -> StepResult:
        self.x[rows] += np.clip(actions[:, 0], -0.5, 0.5) + np.float32(self.drift)
        self.time[rows] += 1
        terminated = np.abs(self.x[rows]) > 1
        truncated = ~terminated & (self.time[rows] >= self.spec.max_episode_steps)
        return StepResult(
            reward=-np.abs(self.x[rows]), terminated=terminated, truncated=truncated, success=truncated.copy()
        )

    def observe(
        self, rows: np.ndarray, *, view_offset: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        if view_offset is not None:
            raise self._lacks("displaced views")
        return {STATE: self.x[rows, None].copy()}

    def privileged(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"privileged.lateral": self.x[rows, None].copy()}

    def position(self, rows: np.ndarray) -> np.ndarray:
        return np.stack([self.x[rows], np.zeros(len(rows), dtype=np.float32)], axis=1)

    def error(self, rows: np.ndarray) -> np.ndarray:
        return np.abs(self.x[rows])


class Halving(Expert):
    """Moves half way to the centre."""

    def action(self, observation: Observation, privileged: Observation) -> np.ndarray:
        return -0.5 * observation[STATE]
