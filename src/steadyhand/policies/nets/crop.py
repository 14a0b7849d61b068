"""Random shifts and crops of image windows: integer moves of uint8 pixels, drawn from the noise of a step."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from steadyhand.core.errors import ConfigError
from steadyhand.policies.noise import Noise


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is done to the pictures of a window before a network sees them.

    A window moves as a whole: all of its steps by the same amount, so that motion stays what it was.

    Attributes:
        shift: Largest random shift in training [pixels], edges repeated (Yarats et al., 2021).
        crop: (height, width) that is cut out, at random in training and in the centre otherwise.
    """

    shift: int = 0
    crop: tuple[int, int] | None = None

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of a picture afterwards.

        Raises:
            ConfigError: The crop is larger than the picture.
        """
        if self.crop is None:
            return height, width
        if not (0 < self.crop[0] <= height and 0 < self.crop[1] <= width):
            raise ConfigError(
                "The crop does not fit into the image.",
                got=f"{self.crop[0]} x {self.crop[1]}",
                expected=f"at most {height} x {width}",
            )
        return self.crop

    def __call__(self, image: UInt8[Tensor, "B O h w c"], noise: Noise | None) -> UInt8[Tensor, "B O H W c"]:
        """Return the pictures moved and cut; nothing is moved without noise."""
        if noise is not None and not noise.augments:
            noise = None
        if self.shift and noise is not None:
            drawn = (noise.uniform(len(image), 2) * (2 * self.shift + 1)).long() - self.shift
            image = shifted(image, drawn, self.shift)
        if self.crop is None:
            return image
        room = image.shape[2] - self.crop[0], image.shape[3] - self.crop[1]
        if noise is None:
            top, left = room[0] // 2, room[1] // 2
            return image[:, :, top : top + self.crop[0], left : left + self.crop[1]]
        space = torch.tensor([room[0] + 1, room[1] + 1], device=image.device)
        return cropped(image, (noise.uniform(len(image), 2) * space).long(), self.crop)


def shifted(
    image: UInt8[Tensor, "B O h w c"], offset: Int64[Tensor, "B 2"], limit: int
) -> UInt8[Tensor, "B O h w c"]:
    """Return pixel (i + offset) of each window at i, for offsets up to `limit`; edges are repeated."""
    height, width = image.shape[2:4]
    row = torch.arange(-limit, height + limit, device=image.device).clamp(0, height - 1)
    column = torch.arange(-limit, width + limit, device=image.device).clamp(0, width - 1)
    framed = image.index_select(2, row).index_select(3, column)
    return cropped(framed, offset + limit, (height, width))


def cropped(
    image: UInt8[Tensor, "B O h w c"], corner: Int64[Tensor, "B 2"], size: tuple[int, int]
) -> UInt8[Tensor, "B O H W c"]:
    """Return the rectangle of `size` whose upper left pixel is `corner`, for each window."""
    num_rows, num_steps, height, width, channels = image.shape
    view = image.contiguous().as_strided(
        (num_rows, height - size[0] + 1, width - size[1] + 1, num_steps, *size, channels),
        # Every possible rectangle, without a copy: one more step down or right begins one row or pixel later.
        (
            num_steps * height * width * channels,
            width * channels,
            channels,
            height * width * channels,
            width * channels,
            channels,
            1,
        ),
    )
    return view[torch.arange(num_rows, device=image.device), corner[:, 0], corner[:, 1]]
