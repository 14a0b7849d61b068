"""Regression: one answer, the mean (squared error) or the median (absolute error) of the demonstrations."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from steadyhand.core.settings import Widths
from steadyhand.policies.choices import Activation
from steadyhand.policies.heads.config import HeadConfig

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.regression_head import RegressionHead


Error = Literal["mse", "l1"]


@dataclass(frozen=True, kw_only=True)
class Regression(HeadConfig):
    """Behaviour cloning as regression (Pomerleau, 1989).

    Attributes:
        error: "mse" (mean of the demonstrations) or "l1" (median).
        hidden: Width of each layer between context and chunk; empty for one linear layer.
        activation: Activation after each hidden layer.
    """

    error: Error = "mse"
    hidden: Widths = ()
    activation: Activation = "relu"

    def why_silent(self) -> str:
        """Return why its loss of its own answer says nothing of the state."""
        return "its loss is the distance from its own answer, and 0 there"

    @classmethod
    def toys(cls) -> tuple["Regression", ...]:
        """Return small forms; see `Part`."""
        return cls(), cls(error="l1", hidden=(16,))

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "RegressionHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.regression_head import RegressionHead

        return RegressionHead(self, context, chunk)
