"""An env: a point that is to reach the origin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from steadyhand.core.seeding import generator
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec
from steadyhand.core.success import SuccessRule
from steadyhand.envs.arrays import ArrayEnv
from steadyhand.envs.base import Family, Start
from steadyhand.envs.config import EnvConfig


@dataclass(frozen=True, kw_only=True)
class ReachConfig(EnvConfig):
    """A point on a table that is to come to the middle.

    Attributes:
        near: Distance at which it is there [m].
        max_episode_steps: Steps after which an episode ends.
    """

    expert: ClassVar[str] = "my_robot.expert:StraightExpert"

    near: float = 0.1
    max_episode_steps: int = 20

    def build(self, num_rows: int) -> "Reach":
        """Return the env with `num_rows` copies."""
        return Reach(self, num_rows=num_rows)


class Reach(ArrayEnv):
    """See `ReachConfig`."""

    OPTIONS = ("x", "y")

    def __init__(self, config: ReachConfig, *, num_rows: int) -> None:
        self.config = config
        names, units = ("x", "y"), ("m", "m")
        spec = EnvSpec(
            env_id="reach",
            observation={STATE: FeatureSpec(shape=(2,), names=names, units=units)},
            privileged={},
            action=FeatureSpec(shape=(2,), names=names, units=units, low=(-0.2,) * 2, high=(0.2,) * 2),
            control_dt=0.1,
            max_episode_steps=config.max_episode_steps,
            task="Come to the middle.",
            success=SuccessRule(said="near the middle"),
        )
        super().__init__(spec, num_rows=num_rows)
        self._place = self._declare("place", np.zeros((num_rows, 2), dtype=np.float32))

    def error(self, rows: np.ndarray) -> np.ndarray:
        """Return the distance from the middle."""
        return np.linalg.norm(self._place[rows], axis=1)

    def _options(self, family: Family, count: int, seed: int) -> Sequence[dict[str, float]]:
        drawn = (generator(seed, "reach", family, index).uniform(-1.0, 1.0, 2) for index in range(count))
        return [{"x": float(x), "y": float(y)} for x, y in drawn]

    def _first(self, starts: Sequence[Start]) -> Mapping[str, np.ndarray]:
        first = [[start.options.get(name, 0.0) for name in self.OPTIONS] for start in starts]
        return {"place": np.array(first, dtype=np.float32)}

    def _advance(self, actions: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self._place[rows] += self.spec.action.clipped(actions.astype(np.float32))
        distance = self.error(rows)
        there = distance < self.config.near
        return -distance, there, there

    def _see(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {STATE: self._place[rows].copy()}
