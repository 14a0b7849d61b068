"""An encoder: sines and cosines of what is observed."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.contract import Context, ContextSpec, Encoder, Observation
from steadyhand.policies.encoders.config import EncoderConfig, is_vector
from steadyhand.policies.encoders.vectors import Vectors
from steadyhand.policies.noise import Noise


@dataclass(frozen=True, kw_only=True)
class Fourier(EncoderConfig):
    """Sines and cosines of learnt directions in what is observed.

    Attributes:
        width: Number of directions.
    """

    width: int = 32

    def readable(self, observation: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
        """Return the vectors."""
        return tuple(name for name, spec in observation.items() if is_vector(spec))

    def build(self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> "FourierEncoder":
        """Return the encoder for these features."""
        return FourierEncoder(self, observation, n_obs_steps=n_obs_steps)


class FourierEncoder(Encoder):
    """See `Fourier`."""

    def __init__(self, config: Fourier, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> None:
        super().__init__()
        self.vectors = Vectors(observation)
        self.directions = nn.Linear(n_obs_steps * self.vectors.width, config.width)
        self.spec = ContextSpec(num_tokens=1, width=2 * config.width, state_width=self.vectors.width)

    def forward(self, observation: Observation, is_pad: Bool[Tensor, "B O"], noise: Noise | None) -> Context:
        """Encode."""
        del is_pad, noise
        vectors = self.vectors(observation)
        angle = self.directions(vectors.flatten(1))
        return Context.single(torch.cat([angle.sin(), angle.cos()], dim=-1), state=vectors[:, -1])
