"""Batched envs that step many copies at once, and the adapter for Gymnasium's. No torch here."""

from typing import Any

from steadyhand.core.modules import listing
from steadyhand.core.parts import attribute
from steadyhand.envs.catalogue import BUILT_IN, WORLDS, env_config, make
from steadyhand.envs.config import EnvConfig

__all__ = ["BUILT_IN", "WORLDS", "EnvConfig", "env_config", "make"]


def __getattr__(name: str) -> Any:
    return attribute(EnvConfig, name, module=__name__)


def __dir__() -> list[str]:
    return listing(EnvConfig, globals())
