"""A pendulum that must be swung up with too weak a motor, smooth or with two angles that throw it back."""

from steadyhand.envs.pendulum.config import PendulumConfig
from steadyhand.envs.pendulum.env import Pendulum

__all__ = ["Pendulum", "PendulumConfig"]
