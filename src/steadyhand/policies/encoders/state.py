"""An MLP over the vector features of the observation window."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool
from torch import Tensor

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.contract import Context, ContextSpec, Encoder, Observation
from steadyhand.policies.encoders.cameras import source_grid
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.encoders.vectors import Vectors, is_vector
from steadyhand.policies.nets.mlp import Activation, mlp
from steadyhand.policies.noise import Noise


@dataclass(frozen=True, kw_only=True)
class StateMLP(EncoderConfig):
    """Sends the vector features, side by side, through an MLP.

    Attributes:
        hidden: Width of each layer; the last is the width of a token. Empty passes the features on as they
            are, which with a linear head is linear regression.
        activation: After every layer.
        join: "window": one token for all observed steps. "steps": one for each, from that step alone, for
            heads that attend to tokens.
    """

    hidden: tuple[int, ...] = (256, 256)
    activation: Activation = "relu"
    join: Literal["window", "steps"] = "window"

    def readable(self, observation: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
        """Return the features that this encoder can read: all but images."""
        return tuple(name for name, spec in observation.items() if is_vector(spec))

    def build(self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> "StateMLPEncoder":
        """Return the encoder for these features."""
        return StateMLPEncoder(self, observation, n_obs_steps=n_obs_steps)


class StateMLPEncoder(Encoder):
    """See `StateMLP`."""

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
