"""Where in a feature map something is, rather than how much of it there is."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SpatialSoftmax(nn.Module):
    """Expected image coordinates of K learnt features (Levine et al., 2016, section 5.2).

    A 1x1 convolution makes K maps; the softmax of each over its cells is a distribution, whose mean (x, y)
    is returned, from -1 (left, top) to 1 (right, bottom). A side of one cell has the coordinate 0.

    Args:
        channels: Channels of the map.
        num_keypoints: Number K of features.
        height: Height of the map [cells].
        width: Width of the map [cells].
    """

    coordinates: Tensor

    def __init__(self, channels: int, *, num_keypoints: int, height: int, width: int) -> None:
        super().__init__()
        self.keypoints = nn.Conv2d(channels, num_keypoints, kernel_size=1)
        grid = torch.cartesian_prod(_axis(height), _axis(width)).flip(1)
        self.register_buffer("coordinates", grid, persistent=False)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B K2"]:
        """Return x and y of each keypoint in turn."""
        share = self.keypoints(x).flatten(2).softmax(-1)
        return (share @ self.coordinates).flatten(1)


def _axis(size: int) -> Tensor:
    return torch.linspace(-1.0, 1.0, size) if size > 1 else torch.zeros(1)
