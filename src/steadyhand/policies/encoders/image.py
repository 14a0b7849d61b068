"""Encoders of small images: one flat layer as in ALVINN, and a small convolutional net."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steadyhand.core.settings import Count, Whole, Widths
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.pictures import Size
from steadyhand.policies.choices import Activation, ImageRange
from steadyhand.policies.encoders.config import EncoderConfig, PictureEncoder, is_image

if TYPE_CHECKING:
    from steadyhand.policies.encoders.image_encoder import FlatImageEncoder, SmallConvEncoder


@dataclass(frozen=True, kw_only=True)
class FlatImage(EncoderConfig):
    """A grey image, flattened, through fully connected tanh layers: one token (Pomerleau, 1989).

    ALVINN's first net read two, a camera's and a range finder's, side by side into one layer.

    Deviation: that net also read its own estimate of the road's intensity, made at the frame before.

    Attributes:
        hidden: Width of each layer; the last is the width of the token.
        activation: Activation after every layer.
        image_range: Pixels as [0, 1] ("unit") or [-1, 1] ("signed").
        num_images: Number of images that it reads, of any sizes.
        resize: (height, width) that pictures are scaled down to first, each pixel the mean of the area that
            it covers; None takes them as they come. A policy does that to the camera's pictures itself.
    """

    hidden: Widths = (64,)
    activation: Activation = "tanh"
    image_range: ImageRange = "signed"
    num_images: Count = 1
    resize: tuple[Count, Count] | None = None

    def readable(self, observation: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
        """Return the features that this encoder can read: images."""
        return tuple(name for name, spec in observation.items() if is_image(spec))

    @property
    def picture_size(self) -> Size | None:
        """(height, width) that pictures are scaled down to."""
        return self.resize

    @classmethod
    def toys(cls) -> tuple["FlatImage", ...]:
        """Return small forms; see `Part`."""
        return (cls(hidden=(16,)),)

    def build(self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> "FlatImageEncoder":
        """Return the encoder for the images among these features."""
        from steadyhand.policies.encoders.image_encoder import FlatImageEncoder

        return FlatImageEncoder(self, observation, n_obs_steps=n_obs_steps)


@dataclass(frozen=True, kw_only=True)
class SmallConv(PictureEncoder):
    """A small convolutional net per camera, and the vector features beside it: one token each and step.

    Made for images of 30 x 32 to 96 x 96; each layer halves both sides.

    Attributes:
        channels: Number of channels of each convolution.
        width: Width of a token.
        activation: Activation after every layer.
        image_range: Pixels as [0, 1] ("unit") or [-1, 1] ("signed").
        shift: Largest random shift of an image in training [pixels], edges repeated; 0 switches it off
            (Yarats et al., 2021).
        crop: (height, width) that is cut out, at random in training and in the centre otherwise.
        resize: (height, width) that pictures are scaled down to first, each pixel the mean of the area that
            it covers; None takes them as they come. A policy does that to the camera's pictures itself.
    """

    channels: Widths = (16, 32, 64)
    width: Count = 128
    activation: Activation = "relu"
    image_range: ImageRange = "signed"
    shift: Whole = 0
    crop: tuple[Count, Count] | None = None
    resize: tuple[Count, Count] | None = None

    @classmethod
    def toys(cls) -> tuple["SmallConv", ...]:
        """Return small forms; see `Part`."""
        return (cls(channels=(4, 8), width=16, shift=1),)

    def build(self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> "SmallConvEncoder":
        """Return the encoder for these features."""
        from steadyhand.policies.encoders.image_encoder import SmallConvEncoder

        return SmallConvEncoder(self, observation, n_obs_steps=n_obs_steps)
