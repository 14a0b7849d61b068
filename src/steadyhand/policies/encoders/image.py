"""Encoders of small images: one flat layer as in ALVINN, and a small convolutional net."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.pictures import Size
from steadyhand.policies.contract import Context, ContextSpec, Encoder, Observation
from steadyhand.policies.encoders.cameras import CameraEncoder
from steadyhand.policies.encoders.config import EncoderConfig, PictureEncoder, is_image
from steadyhand.policies.nets.conv import ConvStack, ImageRange, conv_size, pixels
from steadyhand.policies.nets.crop import Augmentation
from steadyhand.policies.nets.mlp import Activation, activation_layer, mlp
from steadyhand.policies.noise import Noise

_LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey value (ITU-R BT.601)."""


@dataclass(frozen=True, kw_only=True)
class FlatImage(EncoderConfig):
    """A grey image, flattened, through fully connected tanh layers: one token (Pomerleau, 1989).

    ALVINN's first net read two, a camera's and a range finder's, side by side into one layer.

    Deviation: that net also read its own estimate of the road's intensity, made at the frame before.

    Attributes:
        hidden: Width of each layer; the last is the width of the token.
        activation: After every layer.
        image_range: Pixels as [0, 1] ("unit") or [-1, 1] ("signed").
        num_images: How many images it reads; of any sizes.
        resize: (height, width) that pictures are scaled down to first, each pixel the mean of the area that
            it covers; None takes them as they come. A policy does that to the camera's pictures itself.
    """

    hidden: tuple[int, ...] = (64,)
    activation: Activation = "tanh"
    image_range: ImageRange = "signed"
    num_images: int = 1
    resize: tuple[int, int] | None = None

    def readable(self, observation: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
        """Return the features that this encoder can read: images."""
        return tuple(name for name, spec in observation.items() if is_image(spec))

    @property
    def picture_size(self) -> Size | None:
        """(height, width) that pictures are scaled down to."""
        return self.resize

    def build(self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> "FlatImageEncoder":
        """Return the encoder for the images among these features."""
        return FlatImageEncoder(self, observation, n_obs_steps=n_obs_steps)


class FlatImageEncoder(Encoder):
    """See `FlatImage`."""

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


@dataclass(frozen=True, kw_only=True)
class SmallConv(PictureEncoder):
    """A small convolutional net per camera, and the vector features beside it: one token each and step.

    Made for images of 30 x 32 to 96 x 96; each layer halves both sides.

    Attributes:
        channels: Channels of each convolution.
        width: Width of a token.
        activation: After every layer.
        image_range: Pixels as [0, 1] ("unit") or [-1, 1] ("signed").
        shift: Largest random shift of an image in training [pixels], edges repeated; 0 switches it off
            (Yarats et al., 2021).
        crop: (height, width) that is cut out, at random in training and in the centre otherwise.
        resize: (height, width) that pictures are scaled down to first, each pixel the mean of the area that
            it covers; None takes them as they come. A policy does that to the camera's pictures itself.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    width: int = 128
    activation: Activation = "relu"
    image_range: ImageRange = "signed"
    shift: int = 0
    crop: tuple[int, int] | None = None
    resize: tuple[int, int] | None = None

    def readable(self, observation: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
        """Return the features that this encoder can read: all of them, if one is an image."""
        return tuple(observation)

    def build(self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> "SmallConvEncoder":
        """Return the encoder for these features."""
        return SmallConvEncoder(self, observation, n_obs_steps=n_obs_steps)


class SmallConvEncoder(CameraEncoder):
    """See `SmallConv`."""

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
