"""Every gate that ships, as one closed union; the class name is the "type" in a run.json."""

from steadyhand.correction.gates.config import (
    EnsembleGate,
    LazyGate,
    LossGate,
    NearestGate,
    SafeGate,
    ThriftyGate,
)
from steadyhand.correction.human import HumanGate

GateConfig = HumanGate | SafeGate | EnsembleGate | LazyGate | ThriftyGate | LossGate | NearestGate

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
