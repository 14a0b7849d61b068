"""The gates that come with steadyhand."""

from typing import Any

from steadyhand.core.modules import listing
from steadyhand.core.parts import attribute
from steadyhand.correction.gate import GateConfig
from steadyhand.correction.gates.config import (
    EnsembleGate,
    LazyGate,
    LossGate,
    NearestGate,
    SafeGate,
    ThriftyGate,
)
from steadyhand.correction.human import HumanGate

__all__ = [
    "EnsembleGate",
    "GateConfig",
    "HumanGate",
    "LazyGate",
    "LossGate",
    "NearestGate",
    "SafeGate",
    "ThriftyGate",
]


def __getattr__(name: str) -> Any:
    return attribute(GateConfig, name, module=__name__)


def __dir__() -> list[str]:
    return listing(GateConfig, globals())
