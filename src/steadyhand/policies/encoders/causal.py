"""Causal transformer over the observed steps: the trunk of Behavior Transformer (Shafiullah et al., 2022)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from steadyhand.core.settings import Count, Range, Rate
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.encoders.config import PictureEncoder, SequenceEncoder

if TYPE_CHECKING:
    from steadyhand.policies.encoders.causal_encoder import CausalTransformerEncoder


@dataclass(frozen=True, kw_only=True)
class CausalTransformer(SequenceEncoder):
    """A small GPT over the observed steps: one token for each, which sees that step and those before.

    Linear layer, learnt positions, pre-norm layers with GELU and a feed-forward net of four times the width,
    LayerNorm. With a linear head without bias of K + K A outputs it has Behavior Transformer's published
    sizes: 259,488 parameters for BlockPush (16 observed values, A = 2, K = 24, 5 steps; width=72,
    num_layers=4, num_heads=4), 1,131,720 for kitchen (60, A = 9, K = 64, 10 steps; the defaults).

    Positions count from the first step that is not padding, so that a window that has just begun looks like
    the short window that it is.

    Deviation: dropout also acts inside the feed-forward net, after its activation.

    Attributes:
        width: Width of a token.
        num_layers: Number of transformer layers.
        num_heads: Heads of each attention.
        embedding_dropout: Dropout rate of the tokens, after their positions are added.
        attention_dropout: Dropout rate of the attention weights.
        dropout: Dropout rate of the residual branches.
        images: Encoder of the pictures; its features go into the first layer beside the vectors.
    """

    width: Annotated[Count, Range(multiple_of="num_heads")] = 120
    num_layers: Count = 6
    num_heads: Count = 6
    embedding_dropout: Rate = 0.1
    attention_dropout: Rate = 0.1
    dropout: Rate = 0.1
    images: PictureEncoder | None = None

    @classmethod
    def toys(cls) -> tuple["CausalTransformer", ...]:
        """Return small forms; see `Part`."""
        return (cls(width=16, num_layers=1, num_heads=2),)

    def build(
        self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int
    ) -> "CausalTransformerEncoder":
        """Return the encoder for these features."""
        from steadyhand.policies.encoders.causal_encoder import CausalTransformerEncoder

        return CausalTransformerEncoder(self, observation, n_obs_steps=n_obs_steps)
