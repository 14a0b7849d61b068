"""Two links in a vertical plane: an arm with two motors, and the acrobot, which has one at the elbow."""

from steadyhand.envs.two_link.config import AcrobotConfig, ArmConfig
from steadyhand.envs.two_link.env import TwoLink

__all__ = ["AcrobotConfig", "ArmConfig", "TwoLink"]
