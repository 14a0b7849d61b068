"""Every encoder that ships, as one closed union; the class name is the "type" in a run.json."""

from collections.abc import Mapping

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec, image_spec
from steadyhand.data.pictures import Size, check_size
from steadyhand.policies.encoders.cameras import is_image
from steadyhand.policies.encoders.causal import CausalTransformer
from steadyhand.policies.encoders.image import FlatImage, SmallConv
from steadyhand.policies.encoders.pilotnet import PilotNet
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.encoders.state import StateMLP

EncoderConfig = StateMLP | FlatImage | SmallConv | PilotNet | ResNet18 | Recurrent | CausalTransformer


Pictured = FlatImage | SmallConv | PilotNet | ResNet18
"""Encoders that read pictures."""
_LARGE = (96, 96)
"""Size that SmallConv is made for at most."""


def picture_size(encoder: EncoderConfig | None) -> Size | None:
    """Return (height, width) that an encoder has its pictures scaled down to, or None."""
    if isinstance(encoder, Recurrent | CausalTransformer):
        encoder = encoder.images
    return encoder.resize if isinstance(encoder, Pictured) else None


def as_encoded(observation: Mapping[str, FeatureSpec], size: Size | None) -> dict[str, FeatureSpec]:
    """Return the features as the network gets them: pictures scaled down.

    Raises:
        DataError: A picture is smaller than that.
    """
    if size is None:
        return dict(observation)
    for spec in observation.values():
        if is_image(spec):
            check_size(size, (spec.shape[0], spec.shape[1]))
    return {
        name: image_spec(*size, spec.shape[2]) if is_image(spec) else spec
        for name, spec in observation.items()
    }


def default_encoder(observation: Mapping[str, FeatureSpec]) -> EncoderConfig:
    """Return an encoder that reads all of these: SmallConv if one is an image, StateMLP if none is.

    Pictures that are all larger than 96 x 96 are scaled down to that.
    """
    pictures = [spec.shape[:2] for spec in observation.values() if is_image(spec)]
    if not pictures:
        return StateMLP()
    is_large = all(height > _LARGE[0] and width > _LARGE[1] for height, width in pictures)
    return SmallConv(resize=_LARGE if is_large else None)


def require_trainable(encoder: EncoderConfig | None) -> None:
    """Raise ConfigError for an encoder that could not learn, before any data are read."""
    if isinstance(encoder, Recurrent | CausalTransformer):
        encoder = encoder.images or encoder
    if isinstance(encoder, ResNet18) and encoder.norm == "frozen_batch" and encoder.weights is None:
        raise ConfigError(
            "frozen_batch without weights is no normalisation: its statistics come with the weights.",
            got="ResNet18(norm='frozen_batch', weights=None)",
            expected="a safetensors file of torchvision's resnet18, or another norm",
            hint="give the file (on the command line --set policy.encoder.weights=resnet18.safetensors), or "
            "use group normalisation (--set policy.encoder.norm=group)",
        )
