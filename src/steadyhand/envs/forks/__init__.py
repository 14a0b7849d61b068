"""A point that must pass a tree, on the left or on the right."""

from steadyhand.envs.forks.config import ForksConfig
from steadyhand.envs.forks.env import Forks

__all__ = ["Forks", "ForksConfig"]
