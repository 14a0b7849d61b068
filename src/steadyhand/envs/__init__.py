"""Batched envs that step many copies at once, and the adapter for Gymnasium's. No torch here."""

from steadyhand.envs.catalogue import BUILT_IN, env_config, make
from steadyhand.envs.config import EnvConfig

__all__ = ["BUILT_IN", "EnvConfig", "env_config", "make"]
