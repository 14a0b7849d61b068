"""Heads: context -> distribution over chunks of actions.

The settings of each are found here by name, such as `heads.Flow()`, and imported when asked for.
"""

from typing import Any

from steadyhand.core.modules import listing
from steadyhand.core.parts import attribute
from steadyhand.policies.heads.config import HeadConfig


def __getattr__(name: str) -> Any:
    return attribute(HeadConfig, name, module=__name__)


def __dir__() -> list[str]:
    return listing(HeadConfig, globals())
