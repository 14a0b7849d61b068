"""What diffusion, flow and two-step regression learn: a Gaussian, two modes, two moons."""

from itertools import combinations

import numpy as np
import pytest
import torch

from densities import sliced_wasserstein, two_moons
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.mip import Mip
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.nets.unet1d import UNet
from steadyhand.policies.noise import GeneratorNoise
from steadyhand.policies.spec import PolicyConfig
from steadyhand.testing.conformance import check_memorises, check_policy
from unit.policies.generative import build, context, target, train

NET = DenoisingMLP(hidden=(64, 64), time_width=16)
GENERATIVE: list[HeadConfig] = [
    Flow(net=NET),
    Diffusion(net=NET),
    Diffusion(net=NET, prediction="sample"),
]


def _name(head: HeadConfig) -> str:
    return f"{type(head).__name__}-{getattr(head, 'prediction', '')}"


@pytest.mark.parametrize("config", GENERATIVE, ids=_name)
def test_a_gaussian_is_recovered_within_five_percent(config: HeadConfig) -> None:
    head = build(config)
    data = 0.6 + 0.5 * GeneratorNoise.seeded(1).normal(20_000, 1, 1)
    train(head, data, num_steps=1000)
    drawn = head.sample(context(20_000), GeneratorNoise.seeded(2))
    assert drawn.mean().item() == pytest.approx(0.6, rel=0.05)
    assert drawn.std().item() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("config", GENERATIVE, ids=_name)
def test_two_modes_are_kept_in_their_shares(config: HeadConfig) -> None:
    head = build(config, is_bounded=True)
    noise = GeneratorNoise.seeded(1)
    side = (noise.uniform(20_000, 1, 1) < 0.7).float() * 2 - 1
    train(head, 0.8 * side + 0.05 * noise.normal(20_000, 1, 1), num_steps=800)
    drawn = head.sample(context(4000), GeneratorNoise.seeded(2))[:, 0, 0]
    assert (drawn > 0).float().mean().item() == pytest.approx(0.7, abs=0.08)
    # Hardly anything between them, where no data lie.
    assert (drawn.abs() < 0.4).float().mean().item() < 0.05


def test_two_step_regression_gives_the_mean_of_two_modes() -> None:
    head = build(Mip(net=NET))
    noise = GeneratorNoise.seeded(1)
    side = (noise.uniform(20_000, 1, 1) < 0.5).float() * 2 - 1
    train(head, 0.8 * side + 0.05 * noise.normal(20_000, 1, 1), num_steps=800)
    drawn = head.sample(context(4), GeneratorNoise.seeded(2))
    assert torch.equal(drawn, head.mode(context(4)))
    assert drawn.abs().max().item() < 0.4


@pytest.mark.parametrize("kind", [Flow, Diffusion, Mip])
@pytest.mark.parametrize("chunk_start", [0, -1])
def test_laws_hold_under_a_unet(kind: type[Flow | Diffusion | Mip], chunk_start: int) -> None:
    head = kind(net=UNet(channels=(16, 32), time_width=16))
    encoder = StateMLP(hidden=(16,))
    check_policy(PolicyConfig(encoder=encoder, head=head, n_obs_steps=2, horizon=4, chunk_start=chunk_start))


def test_unet_memorises() -> None:
    head = Mip(net=UNet(channels=(16, 32), time_width=16))
    check_memorises(PolicyConfig(encoder=StateMLP(hidden=(64, 64)), head=head, horizon=4), num_steps=400)


def test_mip_loss_has_the_two_terms_of_the_paper() -> None:
    head = build(Mip(net=NET, time=0.75), horizon=3, action_dim=2)
    noise = GeneratorNoise.seeded(1)
    actions = noise.normal(5, 3, 2)
    loss = head.loss(context(5), target(actions), GeneratorNoise.seeded(3)).value
    z = GeneratorNoise.seeded(3).normal(5, 3, 2)
    net, embeddings = head.net, head.net.embed_times(torch.tensor([0.0, 75.0]))
    condition = net.condition(context(5))
    first = net(torch.zeros(5, 3, 2), embeddings[:1], condition) - actions
    second = net(actions + 0.25 * z, embeddings[1:], condition) - actions
    expected = first.square().mean(-1) / 0.75**2 + second.square().mean(-1) / 0.25**2
    torch.testing.assert_close(loss, expected)
    again = net(net(torch.zeros(5, 3, 2), embeddings[:1], condition), embeddings[1:], condition)
    torch.testing.assert_close(head.mode(context(5)), again)


@pytest.mark.parametrize("config", GENERATIVE[:2], ids=_name)
def test_two_moons_are_as_near_as_another_sample(config: HeadConfig) -> None:
    random = np.random.default_rng(0)
    points = [two_moons(count, random) for count in (4000, 1000, 1000, 1000)]
    # Into [-1, 1], as min_max does.
    low, high = points[0].min(0), points[0].max(0)
    data, *others = (2 * (part - low) / (high - low) - 1 for part in points)
    head = build(
        type(config)(net=DenoisingMLP(hidden=(128, 128), time_width=32)), action_dim=2, is_bounded=True
    )
    train(head, torch.from_numpy(data).float()[:, None], num_steps=1500, batch_size=256)
    drawn = head.sample(context(1000), GeneratorNoise.seeded(2))[:, 0].double().numpy()

    def distance(one: np.ndarray, other: np.ndarray) -> float:
        return sliced_wasserstein(one, other, np.random.default_rng(1))

    floor = np.mean([distance(one, other) for one, other in combinations(others, 2)])
    assert np.mean([distance(one, drawn) for one in others]) <= 2 * floor
