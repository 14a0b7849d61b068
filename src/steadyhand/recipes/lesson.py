"""An env as reinforcement learning takes it: one copy, with choices as Gymnasium's `Discrete`."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from steadyhand.core.errors import CapabilityError
from steadyhand.core.specs import FeatureSpec
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.config import EnvConfig
from steadyhand.envs.gym import OneGym


def require_lesson(env: BatchEnv) -> None:
    """Raise CapabilityError if what an env shows cannot be learnt from here."""
    for name, feature in env.spec.observation.items():
        if feature.kind == "image":
            raise CapabilityError(
                "Experts are trained on numbers, not on pictures.",
                got=f"{name} of {env.spec.env_id}",
                hint="show what an expert may know: --observation state, where the env has the choice",
            )
        if feature.num_classes is not None and feature.start:
            raise CapabilityError(
                "Stable-Baselines3 reads choices that count from 0 only.",
                got=f"{name} of {env.spec.env_id}: {feature.describe()}",
            )


class Lesson(gymnasium.Env[Any, Any]):
    """One copy of an env, whose starts are those of the family "train".

    Args:
        config: Which env.
    """

    def __init__(self, config: EnvConfig) -> None:
        self._one = OneGym(config)
        spec = self._one.batch.spec
        self._action = spec.action
        seen = {name: _space(feature) for name, feature in spec.observation.items()}
        self._choices = {name for name, space in seen.items() if isinstance(space, spaces.Discrete)}
        self._is_lone = len(seen) == 1
        self.observation_space = next(iter(seen.values())) if self._is_lone else spaces.Dict(seen)
        self.action_space = _space(spec.action)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start anew."""
        super().reset(seed=seed)
        seen, info = self._one.reset(seed=seed, options=options)
        return self._read(seen), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advance by one control step."""
        if self._action.num_classes is not None:
            action = np.array([int(action) + self._action.start])
        seen, reward, terminated, truncated, info = self._one.step(action)
        return self._read(seen), reward, terminated, truncated, info

    def _read(self, seen: Any) -> Any:
        if not self._choices:
            return seen
        if self._is_lone:
            return int(seen[0])
        named: Mapping[str, Any] = seen
        return {name: int(part[0]) if name in self._choices else part for name, part in named.items()}


def _space(feature: FeatureSpec) -> spaces.Space[Any]:
    """Return the space of a feature; a choice counts from 0."""
    from steadyhand.envs.spaces import feature_space

    return feature_space(feature) if feature.num_classes is None else spaces.Discrete(feature.num_classes)
