"""The expert of finite MDPs: dynamic programming."""

import numpy as np
from jaxtyping import Shaped

from steadyhand.core.protocol import Observation
from steadyhand.core.specs import STATE
from steadyhand.envs.tabular.config import STEP
from steadyhand.envs.tabular.exact import backward_induction
from steadyhand.envs.tabular.mdp import FiniteMDP
from steadyhand.experts.base import Expert


class DynamicProgramming(Expert):
    """Plays the best action for the state and the steps that are left; contexts mean nothing to it.

    Args:
        mdp: The MDP, known exactly.
        discount: Weight of a reward one step later. Below 1 it prefers near rewards, as the lecture's four
            agents on the grid do.
    """

    def __init__(self, mdp: FiniteMDP, *, discount: float = 1.0) -> None:
        super().__init__()
        self.plan = backward_induction(mdp, discount=discount)

    def action(self, observation: Observation, privileged: Observation) -> Shaped[np.ndarray, "B A"]:
        """Return (B, 1) int64 actions."""
        return self.plan.action[privileged[STEP][:, 0], observation[STATE][:, 0]][:, None]
