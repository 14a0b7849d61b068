"""The encoder behind `CausalTransformer`."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.contract import Context, ContextSpec, Encoder, Observation
from steadyhand.policies.encoders.cameras import source_grid
from steadyhand.policies.encoders.causal import CausalTransformer
from steadyhand.policies.encoders.steps import StepFeatures
from steadyhand.policies.nets.attention import LOOKS, TransformerLayer, causal_mask, init_gpt
from steadyhand.policies.nets.dropout import dropout
from steadyhand.policies.nets.recurrent import turned, turns
from steadyhand.policies.noise import Noise


class CausalTransformerEncoder(Encoder):
    """Encoder that `CausalTransformer` builds."""

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
        mask = None if n_obs_steps == 1 else causal_mask(n_obs_steps)
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("position", source_grid(1, n_obs_steps), persistent=False)
        self.spec = ContextSpec(
            num_tokens=n_obs_steps,
            width=config.width,
            num_steps=n_obs_steps,
            state_width=self.features.vectors.width,
        )
        if n_obs_steps == 1:
            self.without_gradient = dict.fromkeys(LOOKS, "one step looks at itself, whatever it asks")

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
