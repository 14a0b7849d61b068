"""Is our U-Net cheaper than the same net out of nn.Conv1d modules?

The plain one is what other libraries run: channels first, a FiLM layer in each block that reads [time,
context], the time's embedding at each evaluation. One evaluation of a sampler, and one training step (forward
and backward), for 4.5 M and 16.4 M parameters at horizon 16, batch 1 and 64, one thread. Pairs are
interleaved; CPU time. Prints JSON lines; `ratio` is the median over pairs of ours / plain.

    python benchmarks/unet_forward.py --pairs 9
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from lines import report
from torch import Tensor, nn

from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec
from steadyhand.policies.nets.denoiser import sinusoid
from steadyhand.policies.nets.unet1d import UNet
from steadyhand.policies.noise import GeneratorNoise, scoped
from steadyhand.policies.threads import use_threads

HORIZON, ACTED, OBSERVED, TIME = 16, 2, 10, 128
SIZES = {"4.5 M": (64, 128, 256), "16.4 M": (128, 256, 512)}


def unit(width_in: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(width_in, width_out, 5, padding=2), nn.GroupNorm(8, width_out), nn.Mish())


class PlainBlock(nn.Module):
    """Two units on a residual path, the first one's channels scaled and shifted."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.one, self.two = unit(width_in, width_out), unit(width_out, width_out)
        self.film = nn.Sequential(nn.Mish(), nn.Linear(TIME + OBSERVED, 2 * width_out))
        self.skip = nn.Identity() if width_in == width_out else nn.Conv1d(width_in, width_out, 1)

    def forward(self, y: Tensor, condition: Tensor) -> Tensor:
        """Transform (B, C, H)."""
        scale, shift = self.film(condition)[..., None].chunk(2, dim=1)
        return self.two(scale * self.one(y) + shift) + self.skip(y)


class PlainUNet(nn.Module):
    """The net as it is usually written."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        levels, last = list(pairwise((ACTED, *channels))), channels[-1]
        self.time = nn.Sequential(nn.Linear(TIME, 4 * TIME), nn.Mish(), nn.Linear(4 * TIME, TIME))
        down = [(low, high) for low, high in levels]
        up = [(2 * high, low) for low, high in reversed(levels[1:])]
        pairs = [*down, (last, last), *up]
        self.blocks = nn.ModuleList(
            block for low, high in pairs for block in (PlainBlock(low, high), PlainBlock(high, high))
        )
        self.shrink = nn.ModuleList(nn.Conv1d(high, high, 3, 2, 1) for _, high in levels[:-1])
        self.grow = nn.ModuleList(nn.ConvTranspose1d(low, low, 4, 2, 1) for _, low in up)
        self.last = nn.Sequential(unit(channels[0], channels[0]), nn.Conv1d(channels[0], ACTED, 1))

    def forward(self, x: Tensor, moment: Tensor, context: Tensor) -> Tensor:
        """Evaluate on (B, H, A)."""
        condition = torch.cat([self.time(sinusoid(moment, TIME)), context], dim=-1)
        blocks = iter(self.blocks)
        y, kept = x.transpose(1, 2), []
        for level in range(len(self.shrink) + 1):
            y = two(y, blocks, condition)
            kept.append(y)
            y = self.shrink[level](y) if level < len(self.shrink) else y
        y = two(y, blocks, condition)
        for grow in self.grow:
            y = grow(two(torch.cat([y, kept.pop()], dim=1), blocks, condition))
        return self.last(y).transpose(1, 2)


def two(y: Tensor, blocks: Iterator[nn.Module], condition: Tensor) -> Tensor:
    for _ in range(2):
        y = next(blocks)(y, condition)
    return y


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        work()
    return 1e3 * (time.process_time() - start) / repeats


def works(channels: tuple[int, ...], rows: int, *, train: bool) -> tuple[Callable[[], object], ...]:
    with scoped(0):
        plain = PlainUNet(channels)
        ours = UNet(channels=channels, time_width=TIME).build(
            ContextSpec(num_tokens=1, width=OBSERVED), ChunkSpec(horizon=HORIZON, action_dim=ACTED)
        )
    noise = GeneratorNoise.seeded(0)
    x, context = noise.normal(rows, HORIZON, ACTED), noise.normal(rows, OBSERVED)
    moment = torch.full((rows,), 50.0)
    if train:

        def train_ours() -> None:
            ours.zero_grad()
            condition = ours.condition(Context.single(context))
            ours(x, ours.moments(moment), condition).square().mean().backward()

        def train_plain() -> None:
            plain.zero_grad()
            plain(x, moment, context).square().mean().backward()

        return train_ours, train_plain
    with torch.no_grad():
        condition, shared = ours.condition(Context.single(context)), ours.moments(moment[:1])

    @torch.no_grad()
    def evaluate_ours() -> None:
        ours(x, shared, condition)

    @torch.no_grad()
    def evaluate_plain() -> None:
        plain(x, moment, context)

    return evaluate_ours, evaluate_plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    pairs = parser.parse_args().pairs
    for size, channels in SIZES.items():
        for rows in (1, 64):
            for train in (False, True):
                ours, plain = works(channels, rows, train=train)
                repeats = 1 if rows == 64 else 10
                for work in (ours, plain):
                    milliseconds(work, repeats)
                figures = [(milliseconds(ours, repeats), milliseconds(plain, repeats)) for _ in range(pairs)]
                report(
                    f"unet {size} {'training step' if train else 'evaluation'}, batch {rows}",
                    value=statistics.median(one for one, _ in figures),
                    unit="ms",
                    floor=statistics.median(other for _, other in figures),
                    floor_is="the same net out of nn.Conv1d modules",
                    ratio=statistics.median(one / other for one, other in figures),
                    target="ratio <= 1.0",
                )


if __name__ == "__main__":
    with use_threads(1):
        main()
