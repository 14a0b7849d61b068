"""An expert: straight to the middle."""

from dataclasses import dataclass

import numpy as np

from my_robot.env import ReachConfig
from steadyhand.core.protocol import Observation
from steadyhand.core.specs import STATE
from steadyhand.envs.base import BatchEnv
from steadyhand.experts.base import Expert
from steadyhand.experts.config import ExpertConfig, settings_of


@dataclass(frozen=True, kw_only=True)
class StraightExpert(ExpertConfig):
    """Moves straight to the middle.

    Attributes:
        gain: Share of the way that it takes in a step.
    """

    gain: float = 0.5

    def build(self, env: BatchEnv) -> "Straight":
        """Return the expert for the env reach."""
        settings_of(env, ReachConfig, "The straight expert")
        return Straight(self.gain)


class Straight(Expert):
    """See `StraightExpert`."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def action(self, observation: Observation, privileged: Observation) -> np.ndarray:
        """Return the way back, within the bounds of the action."""
        del privileged
        return np.clip(-self.gain * observation[STATE], -0.2, 0.2)
