"""Controllers that know the task: scripted, trained, or any callable."""

from typing import Any

from steadyhand.core.modules import listing
from steadyhand.core.parts import attribute


def __getattr__(name: str) -> Any:
    from steadyhand.experts.config import ExpertConfig

    return attribute(ExpertConfig, name, module=__name__)


def __dir__() -> list[str]:
    from steadyhand.experts.config import ExpertConfig

    return listing(ExpertConfig, globals())
