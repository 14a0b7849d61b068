"""Causal transformer over the observed steps: the trunk of Behavior Transformer (Shafiullah et al., 2022)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.pictures import Size
from steadyhand.policies.encoders.config import EncoderConfig, PictureEncoder, step_readable

if TYPE_CHECKING:
    from steadyhand.policies.encoders.causal_encoder import CausalTransformerEncoder


@dataclass(frozen=True, kw_only=True)
class CausalTransformer(EncoderConfig):
    """A small GPT over the observed steps: one token for each, which looks at that step and those before.

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
        embedding_dropout: On tokens, after their positions are added.
        attention_dropout: On attention weights.
        dropout: On the residual branches.
        images: Reads the pictures; its features go into the first layer beside the vectors.
    """

    width: int = 120
    num_layers: int = 6
    num_heads: int = 6
    embedding_dropout: float = 0.1
    attention_dropout: float = 0.1
    dropout: float = 0.1
    images: PictureEncoder | None = None

    def __post_init__(self) -> None:
        for name, rate in (
            ("embedding_dropout", self.embedding_dropout),
            ("attention_dropout", self.attention_dropout),
            ("dropout", self.dropout),
        ):
            if not 0.0 <= rate < 1.0:
                raise ConfigError(f"CausalTransformer: {name} is a probability.", got=rate, expected="[0, 1)")
        if self.num_layers < 1:
            raise ConfigError("CausalTransformer needs a layer.", got=self.num_layers, expected=">= 1")
        if self.num_heads < 1 or self.width < 1 or self.width % self.num_heads:
            raise ConfigError(
                "The width of a transformer must be a multiple of its heads.",
                got=f"width {self.width}, {self.num_heads} heads",
            )
        if self.images is not None:
            self.images.require_every_step(reader="CausalTransformer")

    def readable(self, observation: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
        """Return the features that this encoder can read: images only if it has an encoder for them."""
        return step_readable(observation, self.images)

    @property
    def picture_size(self) -> Size | None:
        """(height, width) that the encoder of its pictures has them scaled down to."""
        return None if self.images is None else self.images.picture_size

    def require_trainable(self) -> None:
        """Raise ConfigError if the encoder of its pictures could not learn."""
        if self.images is not None:
            self.images.require_trainable()

    def build(
        self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int
    ) -> "CausalTransformerEncoder":
        """Return the encoder for these features."""
        from steadyhand.policies.encoders.causal_encoder import CausalTransformerEncoder

        return CausalTransformerEncoder(self, observation, n_obs_steps=n_obs_steps)
