"""Causal transformer over the observed steps: the trunk of Behavior Transformer (Shafiullah et al., 2022)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.pictures import Size
from steadyhand.policies.contract import Context, ContextSpec, Encoder, Observation
from steadyhand.policies.encoders.cameras import source_grid
from steadyhand.policies.encoders.config import EncoderConfig, PictureEncoder
from steadyhand.policies.encoders.steps import StepFeatures, step_readable
from steadyhand.policies.nets.attention import TransformerLayer, causal_mask, init_gpt
from steadyhand.policies.nets.dropout import dropout
from steadyhand.policies.nets.recurrent import turned, turns
from steadyhand.policies.noise import Noise


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
        width: Of a token.
        num_layers: Layers.
        num_heads: Attention heads.
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
        return CausalTransformerEncoder(self, observation, n_obs_steps=n_obs_steps)


class CausalTransformerEncoder(Encoder):
    """See `CausalTransformer`."""

    position: Tensor

    def __init__(
        self, config: CausalTransformer, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int
    ) -> None:
        super().__init__()
        self._rate = config.embedding_dropout
        self.features = StepFeatures(
            observation, images=config.images, n_obs_steps=n_obs_steps, reader="CausalTransformer"
        )
        self.embed = nn.Linear(self.features.width, config.width)
        self.step = nn.Parameter(torch.empty(n_obs_steps, config.width))
        self.layers = nn.ModuleList(
            TransformerLayer(
                config.width,
                num_heads=config.num_heads,
                feedforward=4 * config.width,
                rate=config.dropout,
                attention_rate=config.attention_dropout,
            )
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        init_gpt(self.embed)
        init_gpt(self.layers)
        nn.init.normal_(self.step, std=0.02)
        mask = causal_mask(n_obs_steps) if n_obs_steps > 1 else None
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("position", source_grid(1, n_obs_steps), persistent=False)
        self.spec = ContextSpec(
            num_tokens=n_obs_steps,
            width=config.width,
            num_steps=n_obs_steps,
            state_width=self.features.vectors.width,
        )

    def forward(self, observation: Observation, is_pad: Bool[Tensor, "B O"], noise: Noise | None) -> Context:
        """Encode; tokens of padded steps are absent."""
        features, state = self.features(observation, is_pad, noise)
        # Padding is turned to the back, where the causal mask hides it.
        forth, back = turns(is_pad)
        x = dropout(self.embed(turned(features, forth)) + self.step, self._rate, noise)
        for layer in self.layers:
            x = layer(x, mask=self.mask, noise=noise)
        tokens = turned(self.norm(x), back).masked_fill(is_pad[..., None], 0.0)
        return Context(tokens=tokens, is_pad=is_pad, position=self.position, state=state)
