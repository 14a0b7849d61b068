"""The gates that come with steadyhand."""

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
