"""Encoders: observation window -> context.

The settings of each are found here by name, such as `encoders.SmallConv()`, and imported when asked for.
"""

from typing import Any

from steadyhand.core.modules import listing
from steadyhand.core.parts import attribute
from steadyhand.policies.encoders.config import EncoderConfig


def __getattr__(name: str) -> Any:
    return attribute(EncoderConfig, name, module=__name__)


def __dir__() -> list[str]:
    return listing(EncoderConfig, globals())
