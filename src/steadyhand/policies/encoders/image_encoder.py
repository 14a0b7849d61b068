"""The encoders behind `FlatImage`, `SmallConv`."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.choices import ImageRange
from steadyhand.policies.contract import Context, ContextSpec, Encoder, Observation
from steadyhand.policies.encoders.cameras import CameraEncoder
from steadyhand.policies.encoders.config import is_image
from steadyhand.policies.encoders.image import FlatImage, SmallConv
from steadyhand.policies.nets.conv import ConvStack, conv_size, pixels
from steadyhand.policies.nets.crop import Augmentation
from steadyhand.policies.nets.mlp import activation_layer, mlp
from steadyhand.policies.noise import Noise

_LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey value (ITU-R BT.601)."""


class FlatImageEncoder(Encoder):
    """Encoder that `FlatImage` builds."""

    def __init__(
        self, config: FlatImage, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int
    ) -> None:
        super().__init__()
        images = [name for name, spec in observation.items() if is_image(spec)]
        if len(images) != config.num_images:
            number = "one image" if config.num_images == 1 else f"{config.num_images} images"
            raise ConfigError(
                f"FlatImage reads exactly {number}.",
                got=", ".join(images) or "none",
                expected=number,
                available=observation,
                hint="name the image in PolicyConfig.observation, or use SmallConv",
            )
        self._names = images
        self._range: ImageRange = config.image_range
        pixel_count = 0
        for index, name in enumerate(images):
            height, width, channels = observation[name].shape
            weights = _LUMINANCE if channels == 3 else (1.0 / channels,) * channels
            self.register_buffer(f"luminance_{index}", torch.tensor(weights), persistent=False)
            pixel_count += height * width
        sizes = (n_obs_steps * pixel_count, *config.hidden)
        self.trunk = mlp(sizes, activation=config.activation, activate_last=True)
        self.spec = ContextSpec(num_tokens=1, width=sizes[-1])

    def forward(self, observation: Observation, is_pad: Bool[Tensor, "B O"], noise: Noise | None) -> Context:
        """Encode; steps before the episode's start repeat its first image."""
        del is_pad, noise
        grey = [self._grey(index, observation[name]) for index, name in enumerate(self._names)]
        return Context.single(self.trunk(grey[0] if len(grey) == 1 else torch.cat(grey, dim=1)))

    def _grey(self, index: int, image: UInt8[Tensor, "B O h w c"]) -> Float[Tensor, "B n"]:
        scaled = pixels(image, scale=self._range)
        grey = scaled[..., 0] if scaled.shape[-1] == 1 else scaled @ self.get_buffer(f"luminance_{index}")
        return grey.flatten(1)


class SmallConvEncoder(CameraEncoder):
    """Encoder that `SmallConv` builds."""

    def __init__(
        self, config: SmallConv, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int
    ) -> None:
        augmentation = Augmentation(shift=config.shift, crop=config.crop)
        super().__init__(
            observation,
            n_obs_steps=n_obs_steps,
            reader="SmallConv",
            width=config.width,
            augmentation=augmentation,
        )
        self._range: ImageRange = config.image_range
        self._set_towers(self._tower(config, observation[name], augmentation) for name in self._cameras)
        if self.vectors.width:
            sizes = (self.vectors.width, config.width)
            self.state = mlp(sizes, activation=config.activation, activate_last=True)

    @staticmethod
    def _tower(config: SmallConv, spec: FeatureSpec, augmentation: Augmentation) -> nn.Sequential:
        channels, num_layers = spec.shape[2], len(config.channels)
        height, width = augmentation.size(*spec.shape[:2])
        area = conv_size(height, num_layers=num_layers) * conv_size(width, num_layers=num_layers)
        return nn.Sequential(
            ConvStack(channels, channels=config.channels, activation=config.activation),
            nn.Linear((config.channels[-1] if config.channels else channels) * area, config.width),
            activation_layer(config.activation)(),
        )

    def _scaled(self, image: UInt8[Tensor, "N h w c"]) -> Float[Tensor, "N h w c"]:
        return pixels(image, scale=self._range)
