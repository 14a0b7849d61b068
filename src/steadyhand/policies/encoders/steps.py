"""One vector for each observed step: what recurrent and causal encoders read."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.contract import Observation
from steadyhand.policies.encoders.config import PictureEncoder, is_image
from steadyhand.policies.encoders.vectors import Vectors
from steadyhand.policies.noise import Noise


class StepFeatures(nn.Module):
    """Vector features of a step, and what an image encoder says of its pictures, side by side.

    Args:
        observation: Feature name -> spec.
        images: Encoder of the pictures; None where there are none.
        n_obs_steps: Number O of observed steps.
        reader: Name of the encoder, for errors.
    """

    def __init__(
        self,
        observation: Mapping[str, FeatureSpec],
        *,
        images: PictureEncoder | None,
        n_obs_steps: int,
        reader: str,
    ) -> None:
        super().__init__()
        cameras = {name: spec for name, spec in observation.items() if is_image(spec)}
        self.vectors = Vectors(observation)
        self.images = None if images is None else images.build(cameras, n_obs_steps=n_obs_steps)
        self.width = self.vectors.width
        if self.images is not None:
            self.width += self.images.spec.num_tokens * self.images.spec.width // n_obs_steps
        if self.width == 0:
            raise ConfigError(
                f"{reader} needs a feature that is not an image.",
                got=", ".join(observation) or "no features",
                hint=f"give it an encoder of images: {reader}(images=SmallConv())",
            )

    def forward(
        self, observation: Observation, is_pad: Bool[Tensor, "B O"], noise: Noise | None
    ) -> tuple[Float[Tensor, "B O D"], Float[Tensor, "B V"] | None]:
        """Return the features of each step, and the vectors of the current one."""
        vectors = self.vectors(observation) if self.vectors.width else None
        parts = [] if vectors is None else [vectors]
        if self.images is not None:
            tokens = self.images(observation, is_pad, noise).tokens
            parts.append(tokens.unflatten(1, (-1, is_pad.shape[1])).transpose(1, 2).flatten(2))
        return torch.cat(parts, dim=-1), None if vectors is None else vectors[:, -1]
