"""A finger that must find its way between six cylinders: 24 routes."""

from steadyhand.envs.avoiding.config import AvoidingConfig
from steadyhand.envs.avoiding.env import Avoiding

__all__ = ["Avoiding", "AvoidingConfig"]
