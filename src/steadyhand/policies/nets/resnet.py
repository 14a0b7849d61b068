"""The 18-layer residual network (He et al., 2016) without its last layer."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from steadyhand.policies.choices import Norm, Stem

_GROUP = 16
"""Channels that are normalised together, as in Diffusion Policy."""


class ResNet(nn.Module):
    """Four stages of two blocks; the tensors have the names that torchvision gives them.

    Args:
        in_channels: Channels of the image.
        channels: Channels of the first stage, 64 in the paper; each further stage has twice as many.
        norm: "group" (Wu and He, 2018), or "frozen_batch": batch normalisation with fixed statistics and
            scales, which come with pretrained weights. No statistics of a batch are ever used: they would
            make rows depend on each other, and do not go with averaged weights (Chi et al., 2023).
        stem: "imagenet" divides both sides by 32 in all; "small" by 8, through a 3x3 first layer of stride 1
            and no pooling, for small pictures.
    """

    def __init__(self, in_channels: int, *, channels: int, norm: Norm, stem: Stem) -> None:
        super().__init__()
        kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.conv1 = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.bn1 = _norm(norm, channels)
        self._has_pool = stem == "imagenet"
        self.layer1 = _stage(channels, channels, stride=1, norm=norm)
        self.layer2 = _stage(channels, 2 * channels, stride=2, norm=norm)
        self.layer3 = _stage(2 * channels, 4 * channels, stride=2, norm=norm)
        self.layer4 = _stage(4 * channels, 8 * channels, stride=2, norm=norm)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Float[Tensor, "B h w c"]) -> Float[Tensor, "B C H W"]:
        """Return the last map of channels-last images."""
        x = F.relu(self.bn1(self.conv1(image.permute(0, 3, 1, 2))), inplace=True)
        if self._has_pool:
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def map_side(side: int, *, stem: Stem) -> int:
    """Return the side of `ResNet`'s last map [cells], for a picture's side [pixels]."""
    for _ in range(5 if stem == "imagenet" else 3):
        side = (side + 1) // 2
    return side


class FrozenBatchNorm(nn.Module):
    """Batch normalisation with statistics and scales that never change.

    Args:
        channels: Channels of the map.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        stats = nn.BatchNorm2d(channels)
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, getattr(stats, name).detach().clone())

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Normalise."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the channels change."""

    def __init__(self, channels_in: int, channels: int, *, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = _norm(norm, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = _norm(norm, channels)
        self.downsample = None
        if channels_in != channels:
            shortcut = nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, _norm(norm, channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return F.relu(y, inplace=True)


def _stage(channels_in: int, channels: int, *, stride: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(
        _Block(channels_in, channels, stride=stride, norm=norm),
        _Block(channels, channels, stride=1, norm=norm),
    )


def _norm(kind: Norm, channels: int) -> nn.Module:
    if kind == "group":
        return nn.GroupNorm(max(1, channels // _GROUP), channels)
    return FrozenBatchNorm(channels)
