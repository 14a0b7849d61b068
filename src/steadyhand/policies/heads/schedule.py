"""Noise levels between noise and data, and one step from a level to the next: shared by diffusion and flow.

A noisy chunk is x = signal * a + noise * eps. Diffusion keeps signal^2 + noise^2 = 1, flow signal + noise
= 1. Written with estimates of a and eps, a step of DDIM and an Euler step of a flow are the same line.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from steadyhand.policies.choices import Order
from steadyhand.policies.noise import Noise

_MAX_BETA = 0.999
Guess = Callable[[Float[Tensor, "B H A"], int], Float[Tensor, "B H A"]]
"""(noisy chunk, index of its level) -> the clean chunk that it is expected to be."""
Edit = Callable[[Float[Tensor, "B H A"], int], Float[Tensor, "B H A"]]
"""(noisy chunk, index of its level) -> the noisy chunk to go on with."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """A noise level.

    Attributes:
        time: What the net is told, 0 to 100.
        signal: Factor of the data.
        noise: Factor of the noise.
    """

    time: float
    signal: float
    noise: float

    @property
    def angle(self) -> float:
        """atan(noise / signal), from pi / 2 to 0: what the squared-cosine schedule walks down evenly."""
        return math.atan2(self.noise, self.signal)

    @property
    def guidance(self) -> float:
        """Weight of PiGDM's correction, (1 - t) / (t r^2) with r^2 = (1 - t)^2 / (t^2 + (1 - t)^2).

        t is the time of the flow with the same ratio of signal to noise, t / (1 - t) = signal / noise.
        """
        if self.signal == 0.0 or self.noise == 0.0:
            return math.inf
        return (self.signal**2 + self.noise**2) / (self.signal * self.noise)


def squared_cosine(num_steps: int) -> Float[Tensor, " K"]:
    """Return alpha-bar of the squared-cosine schedule (Nichol and Dhariwal, 2021), float64, falling.

    beta_k = min(1 - f(k + 1) / f(k), 0.999) with f(k) = cos^2(pi / 2 (k / K + .008) / 1.008).
    """
    # On the CPU whatever the default device is: its values are read when a net is built.
    grid = torch.arange(num_steps + 1, dtype=torch.float64, device="cpu") / num_steps
    cosine = torch.cos((grid + 0.008) / 1.008 * math.pi / 2).square()
    beta = (1.0 - cosine[1:] / cosine[:-1]).clamp(max=_MAX_BETA)
    return torch.cumprod(1.0 - beta, 0)


def diffusion_levels(steps: Sequence[int], num_train_steps: int) -> tuple[Level, ...]:
    """Return the levels of the given diffusion steps, noisiest first, and the clean one after them."""
    alpha_bar = squared_cosine(num_train_steps).tolist()
    levels = [
        Level(
            time=step * 100.0 / num_train_steps,
            signal=math.sqrt(alpha_bar[step]),
            noise=math.sqrt(1.0 - alpha_bar[step]),
        )
        for step in steps
    ]
    return (*levels, Level(time=0.0, signal=1.0, noise=0.0))


def flow_levels(num_steps: int) -> tuple[Level, ...]:
    """Return evenly spaced levels from noise (t = 0) to data (t = 1)."""
    return tuple(
        Level(time=100.0 * k / num_steps, signal=k / num_steps, noise=1.0 - k / num_steps)
        for k in range(num_steps + 1)
    )


def step(
    x: Float[Tensor, "B H A"],
    data: Float[Tensor, "B H A"],
    before: Level,
    after: Level,
    *,
    sigma: float = 0.0,
) -> Float[Tensor, "B H A"]:
    """Return x at the next level, given the expected data and before noise of size `sigma` is added.

    signal' a + sqrt(noise'^2 - sigma^2) eps, with eps = (x - signal a) / noise (Song et al., 2021, eq. 12).
    """
    kept = math.sqrt(max(0.0, after.noise**2 - sigma**2)) / before.noise
    return torch.add((after.signal - kept * before.signal) * data, x, alpha=kept)


@dataclass(frozen=True, kw_only=True)
class DenoisingSampler:
    """A walk from noise to data.

    Order 1 holds the expected data over a step as it was at its start (DDIM, Euler). Order 2 takes it from
    the middle of the step, on the line through this guess and the one before it, along the angle: as many
    evaluations, and of a Gaussian's spread a tenth of the error. Where noise is added the order is 1.

    Attributes:
        levels: Noisiest first; the last is clean.
        order: Order of the solver, 1 or 2, as described above.
        eta: Noise at each step: 0 none, 1 with all levels is DDPM's posterior with its smaller variance.
        bounds: (A,) least and greatest data; what is expected is held there. None holds nothing.
    """

    levels: tuple[Level, ...]
    order: Order = 1
    eta: float = 0.0
    bounds: tuple[Float[Tensor, " A"], Float[Tensor, " A"]] | None = None

    def times(self, *, device: torch.device) -> Float[Tensor, " K"]:
        """Return the times that a net is asked at: those of all levels but the clean one."""
        return torch.tensor([level.time for level in self.levels[:-1]], device=device)

    def sigma(self, before: Level, after: Level) -> float:
        """Return the size of the noise that a step adds (Song et al., 2021, eq. 16)."""
        grown = math.sqrt(max(0.0, 1.0 - (before.signal / after.signal) ** 2))
        return self.eta * after.noise / before.noise * grown

    def walk(
        self,
        x: Float[Tensor, "N H A"],
        guess: Guess,
        noise: Noise,
        *,
        rows: int,
        edit: Edit | None = None,
    ) -> Float[Tensor, "N H A"]:
        """Go through all levels.

        Args:
            x: Noise to start from: N / rows chunks for each row, those of a row together.
            guess: What the net expects.
            noise: Source of further draws.
            rows: Rows that `noise` draws for.
            edit: Changes the noisy chunk before each guess.
        """
        last: Tensor | None = None
        for index, (before, after) in enumerate(pairwise(self.levels)):
            if edit is not None:
                x = edit(x, index)
            data = expected = guess(x, index)
            if self.order == 2 and self.eta == 0.0 and last is not None:
                passed = self.levels[index - 1].angle - before.angle
                weight = 0.5 * (before.angle - after.angle) / passed
                expected = torch.lerp(last, data, 1.0 + weight)
            if self.bounds is not None:
                expected = expected.clamp(*self.bounds)
            last, sigma = data, self.sigma(before, after)
            x = step(x, expected, before, after, sigma=sigma)
            if sigma > 0.0:
                fresh = noise.normal(rows, len(x) // rows, *x.shape[1:]).flatten(0, 1)
                x = torch.add(x, fresh, alpha=sigma)
        return x
