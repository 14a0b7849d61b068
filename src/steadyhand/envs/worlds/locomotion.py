"""Gymnasium's MuJoCo envs, with pictures for policies and snapshots that go on bit for bit."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from steadyhand.core.specs import FeatureSpec
from steadyhand.core.success import UNKNOWN, SuccessRule
from steadyhand.envs.base import Start
from steadyhand.envs.worlds.config import Quality, WorldConfig
from steadyhand.envs.worlds.physics import Physics
from steadyhand.envs.worlds.world import Facts, Turn, World

LocomotionTask = Literal[
    "HalfCheetah-v5",
    "Hopper-v5",
    "Walker2d-v5",
    "Ant-v5",
    "Humanoid-v5",
    "Swimmer-v5",
    "InvertedPendulum-v5",
    "InvertedDoublePendulum-v5",
]

OBSERVED = "privileged.observed"
"""The observation of the env, whatever it shows."""

_LASTS: tuple[LocomotionTask, ...] = ("InvertedPendulum-v5", "InvertedDoublePendulum-v5")
_SENTENCES: dict[str, str] = dict.fromkeys(_LASTS, "Keep the pole upright.")


@dataclass(frozen=True, kw_only=True)
class LocomotionConfig(WorldConfig):
    """A runner of Gymnasium's, such as HalfCheetah or Hopper, seen by numbers or by a camera.

    Attributes:
        task: Which one, by its id.
    """

    expert: ClassVar[str] = "TrainedExpert"
    package: ClassVar[str] = "mujoco"
    step_limit: ClassVar[int] = 1000

    task: LocomotionTask = "HalfCheetah-v5"

    def world(self) -> "LocomotionWorld":
        """Return one copy."""
        return LocomotionWorld(self.task, quality=self.quality)


class LocomotionWorld(World):
    """One copy of a runner, which is what `gymnasium.make` returns without its time limit.

    Args:
        task: Which one.
        quality: How pictures are drawn.
    """

    def __init__(self, task: LocomotionTask, *, quality: Quality) -> None:
        self._env: Any = import_module("gymnasium").make(task).unwrapped
        self._physics = Physics(self._env.model, self._env.data, quality=quality)
        self._seen = np.zeros(self._env.observation_space.shape)
        action = self._env.action_space
        model = self._env.model
        self.facts = Facts(
            env_id="locomotion",
            senses={"state": FeatureSpec(shape=self._seen.shape)},
            privileged={OBSERVED: FeatureSpec(shape=self._seen.shape)},
            cameras=tuple(model.camera(place).name for place in range(model.ncam)),
            action=FeatureSpec(
                shape=action.shape, low=tuple(map(float, action.low)), high=tuple(map(float, action.high))
            ),
            control_dt=float(self._env.dt),
            success=SuccessRule(said="the pole stands until the time limit") if task in _LASTS else UNKNOWN,
            task=_SENTENCES.get(task, "Run forwards, as fast as you can."),
        )
        self._lasts = task in _LASTS

    def reset(self, start: Start) -> None:
        """Begin anew, near the pose that the model stands in."""
        self._seen, _ = self._env.reset(seed=start.seed)

    def step(self, action: Float32[np.ndarray, " A"]) -> Turn:
        """Advance by one step."""
        self._seen, reward, terminated, _, _ = self._env.step(action)
        return Turn(reward=float(reward), terminated=bool(terminated), success=self._lasts and not terminated)

    def fault(self) -> str:
        """Return whether the simulation diverged."""
        return self._physics.fault()

    def numbers(self) -> Mapping[str, np.ndarray]:
        """Return the observation, which experts see whatever the env shows."""
        return {"state": self._seen, OBSERVED: self._seen}

    def draw(self, camera: str, *, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return a camera's picture."""
        return self._physics.draw(camera, height=height, width=width)

    def snapshot(self) -> Mapping[str, np.ndarray]:
        """Return the state of the physics, and the observation."""
        return {**self._physics.snapshot(), "seen": self._seen.copy()}

    def put_back(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a snapshot."""
        self._physics.put_back(snapshot)
        self._seen = snapshot["seen"].copy()

    def close(self) -> None:
        """Free the simulator."""
        self._env.close()
