"""The encoder behind `ResNet18`."""

from collections.abc import Mapping
from typing import assert_never

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.contract import VECTORS, Context, ContextSpec, Observation
from steadyhand.policies.encoders.cameras import CameraEncoder
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.nets.conv import pixels
from steadyhand.policies.nets.crop import Augmentation
from steadyhand.policies.nets.pretrained import load_pretrained
from steadyhand.policies.nets.resnet import ResNet, map_side
from steadyhand.policies.nets.spatial import SpatialSoftmax
from steadyhand.policies.noise import Noise

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue over ImageNet, pixels in [0, 1]: what pretrained weights expect."""


class ResNet18Encoder(CameraEncoder):
    """Encoder that `ResNet18` builds.

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
