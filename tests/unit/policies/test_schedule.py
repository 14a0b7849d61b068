"""Noise levels and the walk from noise to data, by hand."""

import math

import pytest
import torch
from torch import Tensor

from steadyhand.policies.heads.schedule import (
    DenoisingSampler,
    Level,
    diffusion_levels,
    flow_levels,
    squared_cosine,
    step,
)
from steadyhand.policies.noise import GeneratorNoise, Noise

LEVELS = (
    Level(time=80.0, signal=0.3, noise=0.9),
    Level(time=50.0, signal=0.6, noise=0.8),
    Level(time=20.0, signal=0.8, noise=0.5),
    Level(time=10.0, signal=0.9, noise=0.2),
    Level(time=0.0, signal=1.0, noise=0.0),
)
"""Uneven, and on no circle or line."""


class Silent(Noise):
    """Nobody may draw from it."""

    def normal(self, *shape: int) -> Tensor:
        raise AssertionError(shape)

    uniform = normal


def guess(x: Tensor, index: int) -> Tensor:
    """Return what is expected of a noisy chunk; any function will do."""
    return 0.5 * x.square() - 0.25 * index


def start() -> Tensor:
    return torch.linspace(-1.0, 1.0, 24).view(4, 3, 2)


def test_levels_of_a_flow_are_even() -> None:
    assert [(level.time, level.signal, level.noise) for level in flow_levels(4)] == [
        (0.0, 0.0, 1.0),
        (25.0, 0.25, 0.75),
        (50.0, 0.5, 0.5),
        (75.0, 0.75, 0.25),
        (100.0, 1.0, 0.0),
    ]


def test_levels_of_a_diffusion_are_those_of_its_steps_and_a_clean_one() -> None:
    bar = squared_cosine(8).tolist()
    levels = diffusion_levels((7, 4, 0), 8)
    wanted = [(87.5, bar[7]), (50.0, bar[4]), (0.0, bar[0])]
    for level, (time, kept) in zip(levels[:-1], wanted, strict=True):
        assert level.time == time
        assert (level.signal, level.noise) == pytest.approx((math.sqrt(kept), math.sqrt(1.0 - kept)))
    assert levels[-1] == Level(time=0.0, signal=1.0, noise=0.0)
    times = DenoisingSampler(levels=levels).times(device=torch.device("cpu"))
    assert times.tolist() == [87.5, 50.0, 0.0]


def test_guidance_knows_no_bound_where_one_of_the_two_is_missing() -> None:
    assert Level(time=0.0, signal=0.0, noise=1.0).guidance == math.inf
    assert Level(time=0.0, signal=1.0, noise=0.0).guidance == math.inf
    t = 0.6 / 1.4  # of the flow with this ratio of signal to noise
    r2 = (1 - t) ** 2 / (t**2 + (1 - t) ** 2)
    assert LEVELS[1].guidance == pytest.approx((1 - t) / (t * r2))
    assert LEVELS[1].angle == pytest.approx(math.atan(0.8 / 0.6))


def test_a_step_is_that_of_ddim_with_its_noise() -> None:
    x, data = start(), start().flip(0) * 0.7
    for sigma in (0.0, 0.3):
        eps = (x - 0.6 * data) / 0.8
        wanted = 0.8 * data + math.sqrt(0.5**2 - sigma**2) * eps
        torch.testing.assert_close(step(x, data, LEVELS[1], LEVELS[2], sigma=sigma), wanted)
    torch.testing.assert_close(step(x, data, LEVELS[3], LEVELS[4]), data)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("edited", [True, False])
def test_a_walk_without_noise_is_the_loop_written_out(order: int, bounded: bool, edited: bool) -> None:
    """Order 2 takes the data where the line through two guesses is at the middle of the step, by angle."""
    bounds = (torch.tensor([-0.3, -0.4]), torch.tensor([0.2, 0.35])) if bounded else None
    sampler = DenoisingSampler(levels=LEVELS, order=order, bounds=bounds)  # pyright: ignore[reportArgumentType]
    found = sampler.walk(
        start(), guess, Silent(), rows=2, edit=(lambda x, index: x + 0.1 * index) if edited else None
    )
    x, guesses = start(), []
    angles = [math.atan2(level.noise, level.signal) for level in LEVELS]
    for k in range(4):
        if edited:
            x = x + 0.1 * k
        guesses.append(guess(x, k))
        data = guesses[k]
        if order == 2 and k > 0:
            middle = 0.5 * (angles[k] + angles[k + 1])
            slope = (guesses[k] - guesses[k - 1]) / (angles[k] - angles[k - 1])
            data = guesses[k] + slope * (middle - angles[k])
        if bounds is not None:
            data = torch.minimum(torch.maximum(data, bounds[0]), bounds[1])
        eps = (x - LEVELS[k].signal * data) / LEVELS[k].noise
        x = LEVELS[k + 1].signal * data + LEVELS[k + 1].noise * eps
    torch.testing.assert_close(found, x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", [1, 2])
def test_a_walk_with_noise_is_of_order_one(order: int) -> None:
    """Two chunks for each of two rows; noise is drawn by row, and none at the clean end."""
    levels = diffusion_levels((7, 4, 2, 0), 8)
    sampler = DenoisingSampler(levels=levels, order=order, eta=0.6)  # pyright: ignore[reportArgumentType]
    noise = GeneratorNoise.seeded(3)
    found = sampler.walk(start(), guess, noise, rows=2)
    x, same = start(), GeneratorNoise.seeded(3)
    for k in range(4):
        before, after = levels[k], levels[k + 1]
        bar, bar_after = before.signal**2, after.signal**2
        sigma = 0.6 * math.sqrt((1 - bar_after) / (1 - bar) * (1 - bar / bar_after))  # eq. 16
        data = guess(x, k)
        eps = (x - before.signal * data) / before.noise
        x = after.signal * data + math.sqrt(1 - bar_after - sigma**2) * eps
        if k < 3:
            x = x + sigma * same.normal(2, 2, 3, 2).view(4, 3, 2)
    torch.testing.assert_close(found, x, rtol=1e-4, atol=1e-5)
    assert torch.equal(noise.normal(1), same.normal(1)), "both have drawn as much"
