"""A gate: the expert drives while the point is far away."""

from dataclasses import dataclass

import numpy as np

from steadyhand.core.specs import STATE
from steadyhand.correction.contract import Stage
from steadyhand.correction.gate import Gate, GateConfig, GateInput


@dataclass(frozen=True, kw_only=True)
class FarGate(GateConfig):
    """The expert drives while the point is far from the middle.

    Attributes:
        distance: What is far [m].
    """

    distance: float = 0.6

    def build(self, stage: Stage) -> "Far":
        """Return the gate for a round."""
        del stage
        return Far(self.distance)


class Far(Gate):
    """See `FarGate`."""

    def __init__(self, distance: float) -> None:
        self._distance = distance

    def takes_over(self, inputs: GateInput) -> np.ndarray:
        """Return which rows are far away."""
        return np.linalg.norm(inputs.observation[STATE], axis=1) > self._distance
