"""A linear system that falls over without feedback, and its twin that does not."""

from steadyhand.envs.linear.config import LinearConfig
from steadyhand.envs.linear.env import LinearSystem

__all__ = ["LinearConfig", "LinearSystem"]
