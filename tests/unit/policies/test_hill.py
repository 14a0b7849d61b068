"""ALVINN's output units: the published hill, and decoding against a brute-force fit."""

import math

import pytest
import torch
from torch import Tensor

from steadyhand.core.errors import CapabilityError
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Target
from steadyhand.policies.heads.hill import GaussianHill, HillError
from steadyhand.policies.heads.hill_head import GaussianHillHead
from steadyhand.policies.noise import GeneratorNoise, NoNoise, scoped

C = 4
SIZE = ContextSpec(num_tokens=1, width=C)
ONE = ChunkSpec(horizon=1, action_dim=1, is_bounded=True)


def build(config: GaussianHill | None = None, chunk: ChunkSpec = ONE) -> GaussianHillHead:
    with scoped(0):
        return (config or GaussianHill()).build(SIZE, chunk)


def target(actions: Tensor) -> Target:
    is_pad = torch.zeros(actions.shape[:2], dtype=torch.bool)
    return Target(actions=actions, is_pad=is_pad, weight=(~is_pad).float())


def no_fit(*args: object, **kwargs: object) -> None:
    raise AssertionError("hills need no training loop")


def test_the_hill_is_that_of_pomerleau() -> None:
    """30 units; straight ahead is between units 14 and 15; exp(-d^2 / 10)."""
    hill = build().hill(torch.tensor([0.5, 0.0]))
    assert hill.shape == (2, 30)
    for i in range(30):
        assert hill[0, i].item() == pytest.approx(math.exp(-((i - 14.5) ** 2) / 10), rel=1e-4)
        assert hill[1, i].item() == pytest.approx(math.exp(-(i**2) / 10), rel=1e-4)


@pytest.mark.parametrize("num_units", [10, 30, 45])
@pytest.mark.parametrize("height", [0.2, 1.0])
def test_noiseless_hills_decode_to_a_hundredth_of_the_range(num_units: int, height: float) -> None:
    """Also at the ends, where half of the hill is cut off. The published units are at 1e-4 of the range."""
    head = build(GaussianHill(num_units=num_units))
    value = torch.linspace(-1, 1, 501).view(-1, 1, 1)
    found = head.decode(height * head.hill((value + 1) / 2))
    assert (found - value).abs().max() < (2e-4 if num_units == 30 else 1e-3) * 2


def test_decoding_is_the_least_squares_fit_on_noisy_units() -> None:
    """Against a search over centre and height."""
    head = build()
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(20, generator=generator) * 2 - 1
    units = (head.hill((truth + 1) / 2) + 0.1 * torch.randn(20, 30, generator=generator)).double()
    grid = torch.linspace(-1, 1, 20_001, dtype=torch.float64)
    hills = head.hill((grid + 1) / 2).double()
    height = units @ hills.T / hills.square().sum(-1)
    left = (units[:, None].square().sum(-1) - height.square() * hills.square().sum(-1)).argmin(1)
    found = head.decode(units.float().view(-1, 1, 1, 30)).flatten()
    assert (found - grid[left].float()).abs().max() < 2e-3
    assert (found - truth).square().mean().sqrt() < 0.05


def test_of_two_hills_the_higher_is_taken_and_not_the_mean() -> None:
    head = build()
    low, high = head.hill(torch.tensor([0.2, 0.8]))
    found = head.decode((0.45 * low + 0.55 * high).view(1, 1, 1, -1)).item()
    assert found == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize("error", ["mse", "cross_entropy"])
def test_trained_on_two_ways_it_takes_the_frequent_one(error: HillError) -> None:
    """40 % at -0.6 and 60 % at 0.6: the mean would be 0.12."""
    head = build(GaussianHill(error=error))
    same = Context.single(torch.ones(10, C))
    wanted = target(torch.tensor([-0.6] * 4 + [0.6] * 6).view(10, 1, 1))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        head.loss(same, wanted, NoNoise()).value.mean().backward()
        optimizer.step()
    with torch.no_grad():
        assert head.mode(same)[0].item() == pytest.approx(0.6, abs=0.02)
        units = head.units(same)[0, 0, 0]
    rare, frequent = units[6], units[23]
    assert (rare / frequent).item() == pytest.approx(0.4 / 0.6, abs=0.03), "the units show both ways"


def test_the_loss_is_the_error_of_the_units() -> None:
    chunk = ChunkSpec(horizon=3, action_dim=2, is_bounded=True)
    actions = torch.linspace(-1, 1, 30).view(5, 3, 2)
    context = Context.single(torch.linspace(-1, 1, 20).view(5, C))
    for error in ("mse", "cross_entropy"):
        head = build(GaussianHill(error=error), chunk)
        units, hill = head.units(context), head.hill((actions + 1) / 2)
        if error == "mse":
            expected = (units - hill).square().sum(-1).mean(-1) / 30
        else:
            expected = -((hill / hill.sum(-1, keepdim=True)) * units.log()).sum(-1).mean(-1)
        torch.testing.assert_close(head.loss(context, target(actions), NoNoise()).value, expected)
        assert torch.equal(head.sample(context, GeneratorNoise.seeded(0)), head.mode(context))
        with pytest.raises(CapabilityError, match="no likelihood"):
            head.log_prob(context, target(actions))


def test_unbounded_actions_take_the_range_of_the_data() -> None:
    head = build(chunk=ChunkSpec(horizon=1, action_dim=1))
    actions = torch.linspace(2, 6, 9).view(9, 1, 1)
    pair = (Context.single(torch.zeros(9, C)), target(actions))
    head.prepare(lambda: iter([pair]), no_fit, GeneratorNoise.seeded(0))
    found = head.decode(head.hill(head.range.to_unit(actions)))
    torch.testing.assert_close(found, actions, atol=2e-3, rtol=0)


@pytest.mark.parametrize("error", ["mse", "cross_entropy"])
def test_an_action_beyond_the_range_is_taught_as_its_end(error: HillError) -> None:
    head = build(GaussianHill(error=error))
    context = Context.single(torch.ones(2, C))
    beyond, ends = (target(torch.tensor(pair).view(2, 1, 1)) for pair in ([-1.3, 1.7], [-1.0, 1.0]))
    found, wanted = (head.loss(context, one, NoNoise()).value for one in (beyond, ends))
    assert torch.equal(found, wanted)


def test_a_hill_beyond_the_range_is_decoded_as_its_end() -> None:
    found = build().decode(build().hill(torch.tensor([-0.2, -0.02, 1.02, 1.2])).view(4, 1, 1, -1))
    torch.testing.assert_close(found.flatten(), torch.tensor([-1.0, -1.0, 1.0, 1.0]), atol=1e-6, rtol=0)
