"""ResNet18 for manipulation: Diffusion Policy's form by default, ACT's by its options."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from steadyhand.core.errors import ConfigError
from steadyhand.core.settings import Count
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.choices import Norm, Stem
from steadyhand.policies.encoders.config import PictureEncoder

if TYPE_CHECKING:
    from steadyhand.policies.encoders.resnet_encoder import ResNet18Encoder


Pool = Literal["spatial_softmax", "average", "map"]


@dataclass(frozen=True, kw_only=True)
class ResNet18(PictureEncoder):
    """The 18-layer residual network without its last layer (He et al., 2016).

    Defaults: Diffusion Policy (Chi et al., 2023), whose pictures of 96 x 96 also have crop=(84, 84).
    ACT (Zhao et al., 2023): norm="frozen_batch", pool="map", width=512, share=True, image_range="imagenet",
    weights=Path("resnet18.safetensors").

    Deviation: a crop lies at the same place in all steps of a window, so that it hides no motion; in
    Diffusion Policy every picture is cut for itself.

    Attributes:
        channels: Number of channels of the first stage; 64 in the paper.
        stem: "imagenet" (sides divided by 32 in all) or "small" (by 8), for pictures under about 64 pixels.
        norm: "group", or "frozen_batch", which only makes sense with `weights`.
        pool: "spatial_softmax": expected coordinates of `num_keypoints` features. "average": mean of the
            map. "map": every cell of the current pictures' last maps is a token.
        num_keypoints: Number of features whose coordinates "spatial_softmax" takes.
        width: Width of what the linear layer after the pooling makes of each picture, or of each token of a
            map.
        join: How pooled pictures become tokens. "steps": one token for each step, pictures and raw vector
            features side by side. "tokens": one token for each camera and step, and one for the vector
            features and step.
        share: Whether all cameras share one network instead of having one each.
        crop: (height, width) that is cut out, at random in training and in the centre otherwise.
        image_range: Pixels as [0, 1] ("unit"), [-1, 1] ("signed") or standardised ("imagenet").
        weights: safetensors file with torchvision's names for resnet18, read when a new policy is built.
        resize: (height, width) that pictures are scaled down to first, each pixel the mean of the area that
            it covers; None takes them as they come. A policy does that to the camera's pictures itself.
    """

    channels: Count = 64
    stem: Stem = "imagenet"
    norm: Norm = "group"
    pool: Pool = "spatial_softmax"
    num_keypoints: Count = 32
    width: Count = 64
    join: Literal["steps", "tokens"] = "steps"
    share: bool = False
    crop: tuple[Count, Count] | None = None
    image_range: Literal["unit", "signed", "imagenet"] = "signed"
    weights: Path | None = None
    resize: tuple[Count, Count] | None = None

    def require_trainable(self) -> None:
        """Raise ConfigError for statistics that are frozen before there are any."""
        if self.norm == "frozen_batch" and self.weights is None:
            raise ConfigError(
                "frozen_batch without weights is no normalisation: its statistics come with the weights.",
                got="ResNet18(norm='frozen_batch', weights=None)",
                expected="a safetensors file of torchvision's resnet18, or another norm",
                hint="give the file (on the command line --set policy.encoder.weights=resnet18.safetensors), "
                "or use group normalisation (--set policy.encoder.norm=group)",
            )

    def require_every_step(self, *, reader: str) -> None:
        """Raise ConfigError for a map, whose tokens are the cells of the current pictures."""
        if self.pool == "map":
            raise ConfigError(
                f"{reader} needs features of every picture, not a map of the current one.",
                got='ResNet18(pool="map")',
                expected='pool="spatial_softmax" or "average"',
            )

    @classmethod
    def toys(cls) -> tuple["ResNet18", ...]:
        """Return small forms; see `Part`."""
        return (
            cls(channels=2, stem="small", num_keypoints=4, width=8, crop=(10, 12)),
            cls(channels=2, stem="small", pool="map", width=8),
        )

    def build(self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> "ResNet18Encoder":
        """Return the encoder for these features."""
        from steadyhand.policies.encoders.resnet_encoder import ResNet18Encoder

        return ResNet18Encoder(self, observation, n_obs_steps=n_obs_steps)
