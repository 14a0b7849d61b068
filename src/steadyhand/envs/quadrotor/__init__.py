"""Quadrotors: one in a plane that must hover, and one in space that hovers, circles or flies a gate."""

from steadyhand.envs.quadrotor.config import PlanarQuadrotorConfig, QuadrotorConfig
from steadyhand.envs.quadrotor.env import Quadrotor
from steadyhand.envs.quadrotor.planar import PlanarQuadrotor

__all__ = ["PlanarQuadrotor", "PlanarQuadrotorConfig", "Quadrotor", "QuadrotorConfig"]
