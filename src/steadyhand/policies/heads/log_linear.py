"""The softmax policy over joint features of context and action."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from steadyhand.core.settings import Range
from steadyhand.policies.heads.config import ActionKind, HeadConfig

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.log_linear_head import LogLinearHead


@dataclass(frozen=True, kw_only=True)
class LogLinear(HeadConfig):
    """pi(a | s) proportional to exp(theta . phi(s, a)), the maximum-entropy model of its features.

    Discrete actions: phi(s, a) = [s, 1] (x) onehot(a), multinomial logistic regression. Continuous ones, each
    step and dimension on its own: phi(s, a) = [s, 1] (x) bumps(a) on a grid of bins, so that neighbouring
    actions share strength. The loss is convex in theta; it is a convex problem as a whole where the encoder
    has no parameters, as `StateMLP(hidden=())`.

    Attributes:
        num_bins: Number of bins of the grid, for continuous actions only.
        num_bumps: Number of Gaussian bumps over the grid, evenly spaced, each as wide as their distance.
    """

    num_bins: Annotated[int, Range(ge=2)] = 64
    num_bumps: Annotated[int, Range(ge=2, le="num_bins")] = 12

    @property
    def actions(self) -> tuple[ActionKind, ...]:
        """Numbers, or classes."""
        return ("continuous", "discrete")

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "LogLinearHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.log_linear_head import LogLinearHead

        return LogLinearHead(self, context, chunk)
