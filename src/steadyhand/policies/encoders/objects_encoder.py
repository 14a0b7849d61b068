"""The encoder behind `ObjectTransformer`."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.contract import Context, ContextSpec, Encoder, Observation
from steadyhand.policies.encoders.objects import ObjectTransformer, things_of
from steadyhand.policies.encoders.vectors import Vectors
from steadyhand.policies.nets.attention import TransformerLayer
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.noise import Noise


class ObjectTransformerEncoder(Encoder):
    """Encoder that `ObjectTransformer` builds."""

    def __init__(
        self, config: ObjectTransformer, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int
    ) -> None:
        super().__init__()
        things = things_of(observation)
        if not things:
            raise ConfigError(
                "ObjectTransformer needs a feature that lists things, of shape (things, numbers of each).",
                got=", ".join(observation) or "no features",
                hint="use the StateMLP encoder",
            )
        beside = {name: spec for name, spec in observation.items() if name not in things}
        self._names = tuple(things)
        self._beside = Vectors(beside)
        self._everything = Vectors(observation)
        width, context = config.width, n_obs_steps * self._beside.width
        self.things = nn.ModuleList(
            mlp((n_obs_steps * spec.shape[1] + context, width, width), activation="relu")
            for spec in things.values()
        )
        self.asks = nn.Linear(context, width) if context else None
        self.query = None if context else nn.Parameter(torch.randn(width) / width**0.5)
        self.layers = nn.ModuleList(
            TransformerLayer(width, num_heads=config.num_heads, feedforward=2 * width)
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self._is_one = config.join == "one"
        count = 1 if self._is_one else 1 + sum(spec.shape[0] for spec in things.values())
        self.spec = ContextSpec(num_tokens=count, width=width, state_width=self._everything.width)

    def forward(self, observation: Observation, is_pad: Bool[Tensor, "B O"], noise: Noise | None) -> Context:
        """Encode; steps before the episode's start repeat its first, which is what the MLPs see."""
        del is_pad, noise
        beside = self._beside(observation).flatten(1) if self._beside.width else None
        tokens = [self._ask(beside, len(observation[self._names[0]]))]
        for name, net in zip(self._names, self.things, strict=True):
            lines = observation[name].transpose(1, 2).flatten(2)
            if beside is not None:
                lines = torch.cat([lines, beside[:, None].expand(-1, lines.shape[1], -1)], dim=2)
            tokens.append(net(lines))
        mixed = torch.cat(tokens, dim=1)
        for layer in self.layers:
            mixed = layer(mixed)
        state = self._everything(observation)[:, -1]
        if self._is_one:
            return Context.single(self.norm(mixed[:, 0]), state=state)
        return Context(tokens=self.norm(mixed), state=state)

    def _ask(self, beside: Float[Tensor, "B V"] | None, rows: int) -> Float[Tensor, "B 1 C"]:
        if beside is not None:
            assert self.asks is not None
            return self.asks(beside)[:, None]
        assert self.query is not None
        return self.query.expand(rows, 1, -1)
