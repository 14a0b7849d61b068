"""ALVINN's output: a row of units for each number, taught a Gaussian hill around the true value."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from steadyhand.core.settings import Positive, Range, Widths
from steadyhand.policies.choices import Activation
from steadyhand.policies.heads.config import HeadConfig

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.hill_head import GaussianHillHead


HillError = Literal["mse", "cross_entropy"]


@dataclass(frozen=True, kw_only=True)
class GaussianHill(HeadConfig):
    """A hill over 30 units instead of one number (Pomerleau, 1991): y_i = exp(-(i - d)^2 / 10).

    Deviation: every dimension and step of a chunk has its own row of units, ALVINN had one for steering.

    Attributes:
        num_units: Units over the range of an action; the first and the last stand at its ends.
        spread: What the squared distance is divided by [units^2].
        error: "mse": squared error of sigmoid units, as published. "cross_entropy": softmax units against
            the hill scaled to sum 1.
        hidden: Width of each layer between context and units; empty for one linear layer.
        activation: Activation after each hidden layer.
    """

    num_units: Annotated[int, Range(ge=3)] = 30
    spread: Positive = 10.0
    error: HillError = "mse"
    hidden: Widths = ()
    activation: Activation = "relu"

    @classmethod
    def toys(cls) -> tuple["GaussianHill", ...]:
        """Return small forms; see `Part`."""
        return cls(), cls(error="cross_entropy", hidden=(16,))

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "GaussianHillHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.hill_head import GaussianHillHead

        return GaussianHillHead(self, context, chunk)
