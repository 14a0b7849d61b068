"""A cart with a pole that must be swung up and balanced by a force on the cart."""

from steadyhand.envs.cartpole.config import CartPoleConfig
from steadyhand.envs.cartpole.env import CartPole

__all__ = ["CartPole", "CartPoleConfig"]
