"""A small stack of strided convolutions, and what an image needs before it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import assert_never

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from steadyhand.policies.choices import Activation, ImageRange
from steadyhand.policies.nets.mlp import activation_layer


def pixels(image: UInt8[Tensor, "... h w c"], *, scale: ImageRange) -> Float[Tensor, "... h w c"]:
    """Return an image as float32 in [0, 1] ("unit") or [-1, 1] ("signed"): constants, not statistics."""
    match scale:
        case "unit":
            return image.float() / 255.0
        case "signed":
            return image.float() / 127.5 - 1.0
        case _:
            assert_never(scale)


def conv_size(size: int, *, num_layers: int) -> int:
    """Return the side of the map that `ConvStack` makes from an image side of `size`."""
    for _ in range(num_layers):
        size = (size + 1) // 2
    return size


class ConvStack(nn.Module):
    """Strided 3x3 convolutions that halve both sides each time, rounding up.

    Args:
        in_channels: Channels of the image.
        channels: Channels after each layer; its length is the number of layers.
        activation: Non-linearity after each layer.
    """

    def __init__(self, in_channels: int, *, channels: Sequence[int], activation: Activation) -> None:
        super().__init__()
        layer = activation_layer(activation)
        layers: list[nn.Module] = []
        for before, after in pairwise([in_channels, *channels]):
            layers += [nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1), layer()]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Float[Tensor, "B h w c"]) -> Float[Tensor, "B D"]:
        """Return the flattened last map of channels-last images."""
        return self.layers(image.permute(0, 3, 1, 2)).flatten(1)
