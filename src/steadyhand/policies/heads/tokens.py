"""The Behavior Transformer's head: a k-means centre, chosen by classification, plus a learnt offset."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from steadyhand.core.settings import Count, NotNegative, Widths
from steadyhand.policies.choices import Activation
from steadyhand.policies.heads.config import HeadConfig

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.tokens_head import TokensHead


@dataclass(frozen=True, kw_only=True)
class Tokens(HeadConfig):
    """BeT (Shafiullah et al., 2022): focal loss on the centre, squared error on its offset.

    Published: one centre for each step (`joint=False`) behind a causal transformer, 24 centres and
    `offset_scale` 1e5 (BlockPush), 64 and 1000 (kitchen).

    Deviation: by default the centres are whole chunks, so that a chunk stays in one mode.

    Attributes:
        num_centres: Number K of centres.
        joint: Whether the centres are whole chunks, or single steps.
        gamma: Exponent of the focal loss; 0 is cross-entropy.
        offset_scale: Weight of the squared error, which is tiny beside the focal loss.
        calibrated: Draw centres by what the focal loss says of their true shares, see `true_shares`; False,
            as published, draws by the softmax, which leans towards equal shares.
        num_iterations: Number of iterations of k-means.
        hidden: Width of each layer between context and output; empty for one linear layer.
        activation: Activation after each hidden layer.
    """

    memorises_in: ClassVar[int] = 800

    num_centres: Count = 16
    joint: bool = True
    gamma: NotNegative = 2.0
    offset_scale: NotNegative = 1000.0
    calibrated: bool = False
    num_iterations: Count = 50
    hidden: Widths = ()
    activation: Activation = "relu"

    @property
    def exempt(self) -> Mapping[str, str]:
        """Laws that it need not hold to."""
        unsure = "the focal loss leaves the softmax unsure of what is certain; the true shares are sure"
        return {} if self.calibrated else {"memorises": unsure}

    @classmethod
    def toys(cls) -> tuple["Tokens", ...]:
        """Return small forms; see `Part`."""
        return (
            cls(num_centres=4, calibrated=True),
            cls(num_centres=4, joint=False, hidden=(16,), calibrated=True),
        )

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "TokensHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.tokens_head import TokensHead

        return TokensHead(self, context, chunk)
