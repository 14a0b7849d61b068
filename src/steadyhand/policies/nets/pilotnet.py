"""PilotNet's layers and its colour space (Bojarski et al., 2016)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.policies.choices import Activation, Convolution
from steadyhand.policies.nets.mlp import activation_layer, mlp

_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114
"""Luma weights of ITU-R BT.601; they sum to 1."""


def yuv(image: UInt8[Tensor, "... h w c"]) -> Float[Tensor, "... h w c"]:
    """Return brightness Y and the colour differences U (blue - Y) and V (red - Y), each within [-1, 1].

    The scale is a constant, as in the paper: (0, 0, 0) for mid grey. Pictures that do not have three
    channels are only scaled to [-1, 1].
    """
    scaled = image.float() / 127.5 - 1.0
    return scaled @ _matrix(image.device) if image.shape[-1] == 3 else scaled


def _matrix(device: torch.device) -> Float[Tensor, "3 3"]:
    """Return (R, G, B) -> (Y, U, V) for channels in [-1, 1], where a difference needs half a scale more."""
    luma = torch.tensor([_RED, _GREEN, _BLUE])
    blue = (torch.tensor([0.0, 0.0, 1.0]) - luma) / (2.0 * (1.0 - _BLUE))
    red = (torch.tensor([1.0, 0.0, 0.0]) - luma) / (2.0 * (1.0 - _RED))
    return torch.stack([luma, blue, red], dim=1).to(device)


class PilotConvolutions(nn.Module):
    """Convolutions without padding, and fully connected layers, each with its activation.

    Args:
        height: Height of the image [pixels].
        width: Width of the image [pixels].
        in_channels: Channels of the image.
        convolutions: One entry for each layer.
        hidden: Width of each fully connected layer.
        activation: Activation after every layer.

    Raises:
        ConfigError: The image is too small for the convolutions.
    """

    def __init__(
        self,
        height: int,
        width: int,
        in_channels: int,
        *,
        convolutions: Sequence[Convolution],
        hidden: Sequence[int],
        activation: Activation,
    ) -> None:
        super().__init__()
        rows, columns = last_side(height, convolutions), last_side(width, convolutions)
        if min(rows, columns) < 1:
            side = smallest_side(convolutions)
            raise ConfigError(
                "The image is too small for PilotNet's convolutions.",
                got=f"{height} x {width}",
                expected=f"at least {side} x {side}",
                hint="use SmallConv, or give PilotNet fewer convolutions",
            )
        channels = [in_channels, *(layer[0] for layer in convolutions)]
        layers: list[nn.Module] = []
        for (before, after), (_, kernel, stride) in zip(pairwise(channels), convolutions, strict=True):
            layers += [nn.Conv2d(before, after, kernel, stride=stride), activation_layer(activation)()]
        self.convolutions = nn.Sequential(*layers)
        self.connected = mlp(
            (channels[-1] * rows * columns, *hidden), activation=activation, activate_last=True
        )

    def forward(self, image: Float[Tensor, "B h w c"]) -> Float[Tensor, "B D"]:
        """Return the last layer, for channels-last images."""
        return self.connected(self.convolutions(image.permute(0, 3, 1, 2)).flatten(1))


def last_side(side: int, convolutions: Sequence[Convolution]) -> int:
    """Return the side of the last map [cells], 0 or less where nothing is left."""
    for _, kernel, stride in convolutions:
        side = (side - kernel) // stride + 1
    return side


def smallest_side(convolutions: Sequence[Convolution]) -> int:
    """Return the smallest side of an image that leaves one cell [pixels]."""
    side = 1
    for _, kernel, stride in reversed(convolutions):
        side = (side - 1) * stride + kernel
    return side
