"""The Behavior Transformer's head: a k-means centre, chosen by classification, plus a learnt offset."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
        joint: Centres are whole chunks, or single steps.
        gamma: Exponent of the focal loss; 0 is cross-entropy.
        offset_scale: Weight of the squared error, which is tiny beside the focal loss.
        calibrated: Draw centres by what the focal loss says of their true shares, see `true_shares`; False,
            as published, draws by the softmax, which leans towards equal shares.
        num_iterations: Iterations of k-means.
        hidden: Layers between context and output; empty for one linear layer.
        activation: After each of them.
    """

    num_centres: Count = 16
    joint: bool = True
    gamma: NotNegative = 2.0
    offset_scale: NotNegative = 1000.0
    calibrated: bool = False
    num_iterations: Count = 50
    hidden: Widths = ()
    activation: Activation = "relu"

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "TokensHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.tokens_head import TokensHead

        return TokensHead(self, context, chunk)
