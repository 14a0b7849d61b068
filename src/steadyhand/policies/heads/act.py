"""Action chunking with transformers: a conditional VAE over chunks."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from steadyhand.core.errors import ConfigError
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
        latent_dim: Z, the size of z.
        width: Width of a token.
        num_heads: Heads of each attention.
        feedforward: Width of the hidden layers of the feed-forward nets.
        num_posterior_layers: Layers of the encoder of the chunk, which only training uses.
        num_encoder_layers: Layers over z and the context.
        num_decoder_layers: Layers from the queries to the chunk.
        kl_weight: Weight of the KL, summed over the latent, against the L1 error, a mean over dimensions and
            steps.
        latent: What z is when the policy drives: "zero", the mean of the prior, as published; or "sample".
        dropout: Dropout rate, 0 to 1.
    """

    latent_dim: int = 32
    width: int = 512
    num_heads: int = 8
    feedforward: int = 3200
    num_posterior_layers: int = 4
    num_encoder_layers: int = 4
    num_decoder_layers: int = 7
    kl_weight: float = 10.0
    latent: Literal["zero", "sample"] = "zero"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in (
            "latent_dim",
            "feedforward",
            "num_posterior_layers",
            "num_encoder_layers",
            "num_decoder_layers",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be positive.", got=getattr(self, name), expected=">= 1")
        if self.width < 4 or self.width % 4:
            raise ConfigError(
                "Sines of two coordinates need a width of fours.", got=self.width, expected="4, 8, ..."
            )
        if not (self.kl_weight >= 0.0 and 0.0 <= self.dropout < 1.0):
            raise ConfigError(
                "Act needs kl_weight >= 0 and 0 <= dropout < 1.",
                got=f"kl_weight={self.kl_weight}, dropout={self.dropout}",
            )

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "ActHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.act_head import ActHead

        return ActHead(self, context, chunk)
