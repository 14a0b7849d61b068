"""The encoder behind `StateMLP`."""

from collections.abc import Mapping

from jaxtyping import Bool
from torch import Tensor

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.contract import Context, ContextSpec, Encoder, Observation
from steadyhand.policies.encoders.cameras import source_grid
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.encoders.vectors import Vectors
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.noise import Noise


class StateMLPEncoder(Encoder):
    """Encoder that `StateMLP` builds."""

    position: Tensor

    def __init__(self, config: StateMLP, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> None:
        super().__init__()
        self.vectors = Vectors(observation)
        if self.vectors.width == 0:
            raise ConfigError(
                "StateMLP needs a feature that is not an image.",
                got=", ".join(observation) or "no features",
                hint="use the FlatImage or SmallConv encoder",
            )
        self._by_step = config.join == "steps"
        num_tokens = n_obs_steps if self._by_step else 1
        sizes = (n_obs_steps // num_tokens * self.vectors.width, *config.hidden)
        self.trunk = mlp(sizes, activation=config.activation, activate_last=True)
        self.register_buffer("position", source_grid(1, num_tokens), persistent=False)
        self.spec = ContextSpec(
            num_tokens=num_tokens,
            width=sizes[-1],
            num_steps=n_obs_steps if self._by_step else None,
            state_width=self.vectors.width,
        )

    def forward(self, observation: Observation, is_pad: Bool[Tensor, "B O"], noise: Noise | None) -> Context:
        """Encode; steps before the episode's start repeat its first, which is what the MLP sees."""
        del is_pad, noise
        vectors = self.vectors(observation)
        if self._by_step:
            return Context(tokens=self.trunk(vectors), position=self.position, state=vectors[:, -1])
        window = vectors.flatten(1)
        return Context.single(self.trunk(window), state=window if vectors.shape[1] == 1 else vectors[:, -1])
