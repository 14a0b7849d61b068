"""The net behind `UNet`."""

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec
from steadyhand.policies.nets.denoiser import Condition, Denoiser, FilmMap, TimeMLP
from steadyhand.policies.nets.mish import mish
from steadyhand.policies.nets.unet1d import UNet
from steadyhand.policies.noise import Noise

Film = Float[Tensor, "R 1 F"]


class UNetDenoiser(Denoiser):
    """Net that `UNet` builds."""

    def __init__(self, config: UNet, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        factor = 2 ** (len(config.channels) - 1)
        if chunk.horizon % factor:
            raise ConfigError(
                "The horizon must be divisible by 2^(levels - 1): each level of a UNet halves the chunk.",
                got=f"horizon {chunk.horizon}, {len(config.channels)} levels",
                expected=f"a multiple of {factor}",
                hint="change the horizon, or give UNet fewer channels",
            )
        self.time = TimeMLP(config.time_width)
        taps, groups = config.kernel_size, config.num_groups

        def block(width_in: int, width_out: int) -> "_Block":
            return _Block(width_in, width_out, taps=taps, num_groups=groups)

        levels = list(pairwise((chunk.action_dim, *config.channels)))
        last = config.channels[-1]
        self.down = nn.ModuleList(
            nn.ModuleList([block(low, high), block(high, high)]) for low, high in levels
        )
        self.shrink = nn.ModuleList(_Shrink(high, high, taps=3) for _, high in levels[:-1])
        self.middle = nn.ModuleList([block(last, last), block(last, last)])
        self.up = nn.ModuleList(
            nn.ModuleList([block(2 * high, low), block(low, low)]) for low, high in reversed(levels[1:])
        )
        self.grow = nn.ModuleList(_Grow(low) for low, _ in reversed(levels[1:]))
        first = config.channels[0]
        self.last = _Unit(first, first, taps=taps, num_groups=groups)
        self.out = _Conv(first, chunk.action_dim, taps=1)
        self._widths = [2 * part.width for part in self.modules() if isinstance(part, _Block)]
        self.film = FilmMap(config.time_width, context.num_tokens * context.width, sum(self._widths))

    def condition(self, context: Context, noise: Noise | None = None) -> Condition:
        """Return the context's share of every block's scale and shift, (B, F)."""
        del noise
        return (self.film(mish(context.flat()), is_time=False),)

    def embed_times(self, time: Float[Tensor, " N"]) -> Float[Tensor, "N F"]:
        """Return the time's share of every block's scale and shift."""
        return self.film(mish(self.time(time)), is_time=True)

    def forward(
        self,
        x: Float[Tensor, "B H A"],
        embedding: Float[Tensor, "R F"],
        condition: Condition,
        noise: Noise | None = None,
    ) -> Float[Tensor, "B H A"]:
        """Evaluate."""
        del noise
        films = iter((condition[0] + embedding)[:, None].split(self._widths, dim=-1))
        y = x
        kept: list[Tensor] = []
        for index, blocks in enumerate(self.down):
            y = _through(blocks, y, films)
            kept.append(y)
            if index < len(self.shrink):
                y = self.shrink[index](y)
        y = _through(self.middle, y, films)
        for blocks, grow in zip(self.up, self.grow, strict=True):
            y = grow(_through(blocks, torch.cat([y, kept.pop()], dim=-1), films))
        return self.out(self.last(y))


def _through(blocks: nn.Module, y: Tensor, films: Iterator[Tensor]) -> Tensor:
    for block in blocks.children():
        y = block(y, next(films))
    return y


def _image(y: Float[Tensor, "B H C"]) -> Float[Tensor, "1 C B H"]:
    # In this order: strides of an axis of length 1 count too when torch looks for channels last.
    return y[None].permute(0, 3, 1, 2)


def _lines(image: Float[Tensor, "1 C B H"]) -> Float[Tensor, "B H C"]:
    return image.permute(0, 2, 3, 1)[0]


class _Conv(nn.Module):
    """Convolution over time; the kernel is kept (out, tap, in), which is channels last."""

    stride = 1

    def __init__(self, width_in: int, width_out: int, *, taps: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(taps * width_in)
        self.weight = nn.Parameter(torch.empty(width_out, 1, taps, width_in).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(width_out).uniform_(-bound, bound))
        self._padding = (0, taps // 2)

    def forward(self, y: Float[Tensor, "B H C"]) -> Float[Tensor, "B K D"]:
        """Convolve."""
        weight = self.weight.permute(0, 3, 1, 2)
        stride = (1, self.stride)
        return _lines(F.conv2d(_image(y), weight, self.bias, stride=stride, padding=self._padding))


class _Shrink(_Conv):
    """Halves the length."""

    stride = 2


class _Grow(nn.Module):
    """Doubles the length: a transposed convolution of 4 taps and stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(4 * width)
        self.weight = nn.Parameter(torch.empty(width, 1, 4, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))

    def forward(self, y: Float[Tensor, "B H C"]) -> Float[Tensor, "B 2*H C"]:
        """Convolve."""
        weight = self.weight.permute(0, 3, 1, 2)
        return _lines(F.conv_transpose2d(_image(y), weight, self.bias, stride=(1, 2), padding=(0, 1)))


class _Unit(nn.Module):
    """Convolution, GroupNorm, Mish."""

    def __init__(self, width_in: int, width_out: int, *, taps: int, num_groups: int) -> None:
        super().__init__()
        self.conv = _Conv(width_in, width_out, taps=taps)
        self.norm = nn.GroupNorm(num_groups, width_out)

    def forward(self, y: Float[Tensor, "B H C"]) -> Float[Tensor, "B H D"]:
        """Transform."""
        # GroupNorm needs one image for each row; its kernel keeps channels last.
        images = self.norm(self.conv(y)[:, None].permute(0, 3, 1, 2))
        return mish(images.permute(0, 2, 3, 1)[:, 0])


class _Block(nn.Module):
    """Two units on a residual path; the first one's channels are scaled and shifted (FiLM)."""

    def __init__(self, width_in: int, width_out: int, *, taps: int, num_groups: int) -> None:
        super().__init__()
        self.width = width_out
        self.first = _Unit(width_in, width_out, taps=taps, num_groups=num_groups)
        self.second = _Unit(width_out, width_out, taps=taps, num_groups=num_groups)
        self.skip = nn.Identity() if width_in == width_out else _Conv(width_in, width_out, taps=1)

    def forward(self, y: Float[Tensor, "B H C"], film: Film) -> Float[Tensor, "B H D"]:
        """Transform."""
        scale, shift = film.chunk(2, dim=-1)
        return self.second(torch.addcmul(shift, self.first(y), scale)) + self.skip(y)
