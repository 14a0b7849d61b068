"""Primitives: a score for each of a few fixed chunks; the reference head of EIL."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from steadyhand.core.settings import Positive, Range, Widths
from steadyhand.policies.choices import Activation
from steadyhand.policies.heads.config import ActionKind, HeadConfig, Judgement

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.primitives_head import PrimitivesHead


@dataclass(frozen=True, kw_only=True)
class Primitives(HeadConfig):
    """pi(s) = argmin_i Q(s, a_i) over a library of chunks (Spencer et al., 2020; see `judgement`).

    A linear Q (no `hidden`) makes all three losses convex in the weights. The library holds the k-means
    centres of the chunks in the training data, bad ones included, since they have to be told apart, too.
    Discrete actions are their own library, chosen for each step.

    Attributes:
        num_primitives: Size of the library, for continuous actions; the paper's is not known.
        margin: Margin m, which sets the scale of Q, whose bound B is 0.
        hidden: Width of each layer between context and scores; empty for linear scores.
        activation: Activation after each hidden layer.
    """

    judgement: ClassVar[Judgement] = "own"
    num_primitives: Annotated[int, Range(ge=2)] = 32
    margin: Positive = 1.0
    hidden: Widths = ()
    activation: Activation = "relu"

    @property
    def actions(self) -> tuple[ActionKind, ...]:
        """Numbers, or classes."""
        return ("continuous", "discrete")

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "PrimitivesHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.primitives_head import PrimitivesHead

        return PrimitivesHead(self, context, chunk)
