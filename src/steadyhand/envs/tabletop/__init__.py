"""A table with four coloured blocks and four zones, and a gripper that is told where they belong."""

from steadyhand.envs.tabletop.config import TabletopConfig
from steadyhand.envs.tabletop.env import Tabletop

__all__ = ["Tabletop", "TabletopConfig"]
