"""Finite MDPs: exact evaluation, occupancy, dynamic programming, and a batched env around them."""

from steadyhand.envs.tabular.config import TabularConfig
from steadyhand.envs.tabular.env import TabularEnv
from steadyhand.envs.tabular.mdp import FiniteMDP

__all__ = ["FiniteMDP", "TabularConfig", "TabularEnv"]
