"""What an encoder's settings are: the base class of all of them, ours and yours."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from steadyhand.core.parts import Part

if TYPE_CHECKING:
    from steadyhand.core.specs import FeatureSpec
    from steadyhand.data.pictures import Size
    from steadyhand.policies.choices import Mode
    from steadyhand.policies.contract import Encoder

_LARGE = 96
"""Largest side that SmallConv is made for [pixels]."""
_HERE = "steadyhand.policies.encoders"


class EncoderConfig(Part, ABC):
    """Settings of an encoder: a frozen dataclass that says what it can read, and builds the network.

    @dataclass(frozen=True, kw_only=True)
    class Fourier(EncoderConfig):
        width: int = 64

        def readable(self, observation): ...
        def build(self, observation, *, n_obs_steps): ...

    Attributes:
        memorises_in: Gradient steps in which the battery has it learn eight windows by heart.
    """

    kind: ClassVar[str] = "encoder"
    ours: ClassVar[Mapping[str, str]] = {
        "StateMLP": f"{_HERE}.state:StateMLP",
        "FlatImage": f"{_HERE}.image:FlatImage",
        "SmallConv": f"{_HERE}.image:SmallConv",
        "PilotNet": f"{_HERE}.pilotnet:PilotNet",
        "ResNet18": f"{_HERE}.resnet:ResNet18",
        "Recurrent": f"{_HERE}.recurrent:Recurrent",
        "CausalTransformer": f"{_HERE}.causal:CausalTransformer",
        "ObjectTransformer": f"{_HERE}.objects:ObjectTransformer",
    }
    memorises_in: ClassVar[int] = 400

    @abstractmethod
    def readable(self, observation: Mapping[str, "FeatureSpec"]) -> tuple[str, ...]:
        """Return the names of the features that this encoder can read."""

    @abstractmethod
    def build(self, observation: Mapping[str, "FeatureSpec"], *, n_obs_steps: int) -> "Encoder":
        """Return the encoder for these features, pictures of the size that it has them scaled to."""

    def modes(self, observation: Mapping[str, "FeatureSpec"]) -> "dict[str, Mode]":
        """Return how features are normalised, where that is not z_score; a policy's settings go before."""
        del observation
        return {}

    @property
    def picture_size(self) -> "Size | None":
        """(height, width) that pictures are scaled down to first; None takes them as they come."""
        return None

    def require_trainable(self) -> None:
        """Raise ConfigError if it could not learn, before any data are read."""


class PictureEncoder(EncoderConfig, ABC):
    """Settings of an encoder that gives each camera and step its own token; others may build on it."""

    resize: tuple[int, int] | None

    def readable(self, observation: Mapping[str, "FeatureSpec"]) -> tuple[str, ...]:
        """Return the features that this encoder can read: all of them, if one is an image."""
        return tuple(observation) if any(map(is_image, observation.values())) else ()

    @property
    def picture_size(self) -> "Size | None":
        """(height, width) that pictures are scaled down to."""
        return self.resize

    def require_every_step(self, *, reader: str) -> None:
        """Raise ConfigError if it reads the current pictures only, which is no use to `reader`."""


class SequenceEncoder(EncoderConfig, ABC):
    """Settings of an encoder that reads step after step, and the pictures of each by another encoder."""

    images: PictureEncoder | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.images is not None:
            self.images.require_every_step(reader=type(self).__name__)

    def readable(self, observation: Mapping[str, "FeatureSpec"]) -> tuple[str, ...]:
        """Return the features that this encoder can read: images only if it has an encoder for them."""
        return tuple(name for name, spec in observation.items() if self.images is not None or is_vector(spec))

    @property
    def picture_size(self) -> "Size | None":
        """(height, width) that the encoder of its pictures has them scaled down to."""
        return None if self.images is None else self.images.picture_size

    def require_trainable(self) -> None:
        """Raise ConfigError if the encoder of its pictures could not learn."""
        if self.images is not None:
            self.images.require_trainable()


def picture_size(encoder: EncoderConfig | None) -> "Size | None":
    """Return (height, width) that an encoder has its pictures scaled down to, or None."""
    return None if encoder is None else encoder.picture_size


def as_encoded(observation: Mapping[str, "FeatureSpec"], size: "Size | None") -> dict[str, "FeatureSpec"]:
    """Return the features as the network gets them: pictures scaled down.

    Raises:
        DataError: A picture is smaller than that.
    """
    from steadyhand.core.specs import image_spec
    from steadyhand.data.pictures import check_size

    if size is None:
        return dict(observation)
    for spec in observation.values():
        if is_image(spec):
            check_size(size, (spec.shape[0], spec.shape[1]))
    return {
        name: image_spec(*size, spec.shape[2]) if is_image(spec) else spec
        for name, spec in observation.items()
    }


def default_encoder(observation: Mapping[str, "FeatureSpec"]) -> EncoderConfig:
    """Return an encoder that reads all of these: SmallConv if one is an image, StateMLP if none is.

    Pictures that are all larger than 96 x 96 are scaled down to that.
    """
    from steadyhand.policies.encoders.image import SmallConv
    from steadyhand.policies.encoders.state import StateMLP

    pictures = [spec.shape[:2] for spec in observation.values() if is_image(spec)]
    if not pictures:
        return StateMLP()
    is_large = all(min(size) > _LARGE for size in pictures)
    return SmallConv(resize=(_LARGE, _LARGE) if is_large else None)


def is_image(spec: "FeatureSpec") -> bool:
    """Return whether a feature is an image."""
    return spec.kind == "image"


def is_vector(spec: "FeatureSpec") -> bool:
    """Return whether a feature is anything but an image."""
    return spec.kind != "image"
