"""Plain networks: no knowledge of policies, observations or losses."""

from typing import Any

from steadyhand.core.modules import listing
from steadyhand.core.parts import attribute


def __getattr__(name: str) -> Any:
    from steadyhand.policies.nets.denoisers import DenoiserConfig

    return attribute(DenoiserConfig, name, module=__name__)


def __dir__() -> list[str]:
    from steadyhand.policies.nets.denoisers import DenoiserConfig

    return listing(DenoiserConfig, globals())
