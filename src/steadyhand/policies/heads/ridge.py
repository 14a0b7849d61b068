"""Ridge regression in closed form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from steadyhand.core.settings import NotNegative, Positive
from steadyhand.policies.heads.config import HeadConfig, Judgement

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.ridge_head import RidgeHead


@dataclass(frozen=True, kw_only=True)
class Ridge(HeadConfig):
    """Ridge regression from the context to the chunk, solved exactly, with its Gaussian of residuals.

    Least squares is maximum likelihood of a Gaussian whose mean is linear in the features. On
    `StateMLP(hidden=())` the features are the observation itself; any other encoder gives random ones, since
    it is not trained.

    Attributes:
        alpha: Weight of |W|^2 against the weighted sum of squared errors; the intercept is free.
        min_std: Added to the residuals' standard deviation, in normalised units, so that a perfect fit
            keeps a finite likelihood.
    """

    judgement: ClassVar[Judgement] = "none"
    no_meaning: ClassVar[Mapping[str, str]] = {
        "noise-bc": (
            "the mean over the noise has a closed form, E sum (y - W(x + n))^2 = sum (y - Wx)^2 + N s^2 W^2 "
            "for N labels: ridge regression. `Ridge(alpha=N * s * s)` is that policy exactly, without a draw"
        ),
        "eil": "the least sum of hinges of its loss solves no linear equations",
    }
    alpha: NotNegative = 1e-6
    min_std: Positive = 0.01

    def why_silent(self) -> str:
        """Return why its loss of its own answer says nothing of the state."""
        return "its covariance is the same in every state, and so is -log p of its mean"

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "RidgeHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.ridge_head import RidgeHead

        return RidgeHead(self, context, chunk)
