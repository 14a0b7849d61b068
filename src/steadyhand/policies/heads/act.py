"""Action chunking with transformers: a conditional VAE over chunks."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from steadyhand.core.settings import Count, NotNegative, Range, Rate
from steadyhand.policies.heads.config import HeadConfig

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.act_head import ActHead


@dataclass(frozen=True, kw_only=True)
class Act(HeadConfig):
    """ACT (Zhao et al., 2023): L1 plus KL, an encoder of its own for the chunk, a transformer for the answer.

    Deviation: the output is that of the last decoder layer. The published code reads the first of seven, so
    that six are never trained; `num_decoder_layers=1` is what it computes, and LeRobot's default.
    Deviation: no is_pad output, which has no loss in the published code.

    Attributes:
        latent_dim: Size Z of the latent z.
        width: Width of a token.
        num_heads: Number of heads of each attention.
        feedforward: Width of the hidden layer of each feed-forward net.
        num_posterior_layers: Number of layers of the encoder of the chunk, which only training uses.
        num_encoder_layers: Number of layers over z and the context.
        num_decoder_layers: Number of layers from the queries to the chunk.
        kl_weight: Weight of the KL, summed over the latent, against the L1 error, a mean over dimensions and
            steps.
        latent: What z is when the policy drives: "zero", the mean of the prior, as published; or "sample".
        dropout: Dropout rate, 0 to 1.
    """

    latent_dim: Count = 32
    width: Annotated[Count, Range(multiple_of=4), Range(multiple_of="num_heads")] = 512
    num_heads: Count = 8
    feedforward: Count = 3200
    num_posterior_layers: Count = 4
    num_encoder_layers: Count = 4
    num_decoder_layers: Count = 7
    kl_weight: NotNegative = 10.0
    latent: Literal["zero", "sample"] = "zero"
    dropout: Rate = 0.1

    @classmethod
    def toys(cls) -> tuple["Act", ...]:
        """Return small forms; see `Part`."""
        return (
            cls(
                width=16,
                num_heads=2,
                feedforward=32,
                latent_dim=4,
                num_posterior_layers=1,
                num_encoder_layers=1,
                num_decoder_layers=1,
                dropout=0.0,
            ),
        )

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "ActHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.act_head import ActHead

        return ActHead(self, context, chunk)
