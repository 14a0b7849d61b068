"""ResNet18 for manipulation: Diffusion Policy's form by default, ACT's by its options."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.contract import VECTORS, Context, ContextSpec, Observation
from steadyhand.policies.encoders.cameras import CameraEncoder
from steadyhand.policies.encoders.config import PictureEncoder
from steadyhand.policies.nets.conv import pixels
from steadyhand.policies.nets.crop import Augmentation
from steadyhand.policies.nets.pretrained import load_pretrained
from steadyhand.policies.nets.resnet import Norm, ResNet, Stem, map_side
from steadyhand.policies.nets.spatial import SpatialSoftmax
from steadyhand.policies.noise import Noise

Pool = Literal["spatial_softmax", "average", "map"]
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue over ImageNet, pixels in [0, 1]: what pretrained weights expect."""


@dataclass(frozen=True, kw_only=True)
class ResNet18(PictureEncoder):
    """The 18-layer residual network without its last layer (He et al., 2016).

    Defaults: Diffusion Policy (Chi et al., 2023), whose pictures of 96 x 96 also have crop=(84, 84).
    ACT (Zhao et al., 2023): norm="frozen_batch", pool="map", width=512, share=True, image_range="imagenet",
    weights=Path("resnet18.safetensors").

    Deviation: a crop lies at the same place in all steps of a window, so that it hides no motion; in
    Diffusion Policy every picture is cut for itself.

    Attributes:
        channels: Channels of the first stage; 64 in the paper.
        stem: "imagenet" (sides divided by 32 in all) or "small" (by 8), for pictures under about 64 pixels.
        norm: "group", or "frozen_batch", which only makes sense with `weights`.
        pool: "spatial_softmax": expected coordinates of `num_keypoints` features. "average": mean of the
            map. "map": every cell of the current pictures' last maps is a token.
        num_keypoints: For spatial_softmax.
        width: Of what the linear layer after the pooling makes of each picture; of each token of a map.
        join: For pooled pictures. "steps": one token for each step, pictures and raw vector features side
            by side. "tokens": one token for each camera and step, and one for the vector features and step.
        share: One network for all cameras instead of one each.
        crop: (height, width) that is cut out, at random in training and in the centre otherwise.
        image_range: Pixels as [0, 1] ("unit"), [-1, 1] ("signed") or standardised ("imagenet").
        weights: safetensors file with torchvision's names for resnet18, read when a new policy is built.
        resize: (height, width) that pictures are scaled down to first, each pixel the mean of the area that
            it covers; None takes them as they come. A policy does that to the camera's pictures itself.
    """

    channels: int = 64
    stem: Stem = "imagenet"
    norm: Norm = "group"
    pool: Pool = "spatial_softmax"
    num_keypoints: int = 32
    width: int = 64
    join: Literal["steps", "tokens"] = "steps"
    share: bool = False
    crop: tuple[int, int] | None = None
    image_range: Literal["unit", "signed", "imagenet"] = "signed"
    weights: Path | None = None
    resize: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        sizes = {"channels": self.channels, "num_keypoints": self.num_keypoints, "width": self.width}
        for name, size in sizes.items():
            if size < 1:
                raise ConfigError(f"ResNet18: {name} must be positive.", got=size, expected=">= 1")

    def readable(self, observation: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
        """Return the features that this encoder can read: all of them, if one is an image."""
        return tuple(observation)

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

    def build(self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> "ResNet18Encoder":
        """Return the encoder for these features."""
        return ResNet18Encoder(self, observation, n_obs_steps=n_obs_steps)


class ResNet18Encoder(CameraEncoder):
    """See `ResNet18`.

    The tokens of a map lie camera by camera, row by row, with (row, column) as their position [cells]; the
    vector features of all steps follow as one token at (0, 0), in the group "vectors".
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ResNet18, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> None:
        augmentation = Augmentation(crop=config.crop)
        super().__init__(
            observation,
            n_obs_steps=n_obs_steps,
            reader="ResNet18",
            width=config.width,
            augmentation=augmentation,
        )
        self._config = config
        shapes = [
            (*augmentation.size(*observation[name].shape[:2]), observation[name].shape[2])
            for name in self._cameras
        ]
        _check_shapes(config, shapes)
        self.register_buffer("mean", torch.tensor(_MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(_STD), persistent=False)
        self._set_towers(_tower(config, *shape) for shape in shapes[: 1 if config.share else None])
        # Pictures come with channels last; filters in the same order save a conversion at every call.
        for parameter in self.towers.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        if config.pool == "map":
            self._lay_out_maps(shapes, n_obs_steps)
        elif config.join == "steps":
            self._lay_out_steps(n_obs_steps)
        elif self.vectors.width:
            self.state = nn.Linear(self.vectors.width, config.width)

    def forward(self, observation: Observation, is_pad: Bool[Tensor, "B O"], noise: Noise | None) -> Context:
        """Encode; in training (`noise` given) each window is cut at its own random place."""
        if self._config.pool != "map" and self._config.join == "tokens":
            return super().forward(observation, is_pad, noise)
        vectors = self.vectors(observation) if self.vectors.width else None
        if self._config.pool == "map":
            now = {name: observation[name][:, -1:] for name in self._cameras}
            parts = [tokens[:, 0] for tokens in self._seen(now, noise)]
            if vectors is not None:
                parts.append(self.state(vectors.flatten(1))[:, None])
            tokens = torch.cat(parts, dim=1)
        else:
            parts = self._seen(observation, noise)
            tokens = torch.cat(parts if vectors is None else [*parts, vectors], dim=-1)
        return self._placed(tokens, None if vectors is None else vectors[:, -1])

    def _scaled(self, image: UInt8[Tensor, "N h w c"]) -> Float[Tensor, "N h w c"]:
        match self._config.image_range:
            case "imagenet":
                return (image.float() - 255.0 * self.mean) / (255.0 * self.std)
            case "unit" | "signed" as scale:
                return pixels(image, scale=scale)
            case _:
                assert_never(self._config.image_range)

    def _lay_out_steps(self, n_obs_steps: int) -> None:
        self.groups = (("steps", 0, n_obs_steps),)
        self.position = self.position[:n_obs_steps].clone()
        self.spec = ContextSpec(
            num_tokens=n_obs_steps,
            width=len(self._cameras) * self._config.width + self.vectors.width,
            num_steps=n_obs_steps,
            state_width=self.vectors.width,
        )

    def _lay_out_maps(self, shapes: list[tuple[int, int, int]], n_obs_steps: int) -> None:
        groups: list[tuple[str, int, int]] = []
        grids: list[Tensor] = []
        end = 0
        for name, shape in zip(self._cameras, shapes, strict=True):
            rows, columns = (map_side(side, stem=self._config.stem) for side in shape[:2])
            grids.append(torch.cartesian_prod(torch.arange(rows), torch.arange(columns)))
            groups.append((name, end, end + rows * columns))
            end += rows * columns
        if self.vectors.width:
            self.state = nn.Linear(n_obs_steps * self.vectors.width, self._config.width)
            grids.append(torch.zeros(1, 2))
            groups.append((VECTORS, end, end + 1))
        self.groups = tuple(groups)
        self.position = torch.cat(grids).float()
        self.spec = ContextSpec(
            num_tokens=len(self.position), width=self._config.width, state_width=self.vectors.width
        )


class _Tokens(nn.Module):
    """The cells of a map as tokens, row by row.

    Args:
        channels: Channels of the map.
        width: Width of a token.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, width, kernel_size=1)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B S W"]:
        """Return one token for each cell."""
        return self.project(x).flatten(2).transpose(1, 2)


def _tower(config: ResNet18, height: int, width: int, channels: int) -> nn.Sequential:
    """Return the network from one camera's pictures to features (N, width), or tokens (N, cells, width)."""
    trunk = ResNet(channels, channels=config.channels, norm=config.norm, stem=config.stem)
    if config.weights is not None:
        load_pretrained(
            trunk,
            config.weights,
            unused=("fc.",),
            hint='torchvision\'s resnet18 fits channels=64, stem="imagenet", norm="frozen_batch" and RGB',
        )
    rows, columns = (map_side(side, stem=config.stem) for side in (height, width))
    last = 8 * config.channels
    match config.pool:
        case "map":
            return nn.Sequential(trunk, _Tokens(last, config.width))
        case "average":
            pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            return nn.Sequential(trunk, pool, nn.Linear(last, config.width))
        case "spatial_softmax":
            if rows * columns == 1:
                raise ConfigError(
                    "The image is too small: its last map is one cell, which is everywhere the same place.",
                    got=f"{height} x {width}",
                    expected=f"a side of more than {32 if config.stem == 'imagenet' else 8} pixels",
                    hint='use stem="small" or pool="average"',
                )
            pool = SpatialSoftmax(last, num_keypoints=config.num_keypoints, height=rows, width=columns)
            return nn.Sequential(trunk, pool, nn.Linear(2 * config.num_keypoints, config.width))
        case _:
            assert_never(config.pool)


def _check_shapes(config: ResNet18, shapes: list[tuple[int, int, int]]) -> None:
    if config.share and len(set(shapes)) > 1:
        raise ConfigError(
            "Cameras can only share a network if their images have the same shape.",
            got=", ".join(map(str, shapes)),
            hint="use share=False, or a crop",
        )
    if config.image_range == "imagenet" and any(shape[2] != 3 for shape in shapes):
        raise ConfigError(
            'image_range="imagenet" needs images of 3 channels.',
            got=", ".join(map(str, shapes)),
            hint='use image_range="signed"',
        )
