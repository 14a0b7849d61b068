"""Flow matching: closed forms of its path, its times and its sampler."""

import pytest
import torch

from steadyhand.core.errors import ConfigError, SpecError
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec
from steadyhand.policies.heads.flow import Flow, FlowHead
from steadyhand.policies.heads.schedule import Order
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.noise import GeneratorNoise, NoNoise
from unit.policies.generative import Fixed, Oracle, build, context, head_with, target

SMALL = DenoisingMLP(hidden=(8,), time_width=4)


def gaussian(mean: float, std: float, config: Flow) -> tuple[float, float]:
    """Mean and std of what the sampler, which is linear here, makes of N(0, 1)."""
    head = head_with(config, Oracle(torch.full((1, 1, 1), mean), std, answer="velocity"))
    at_zero, at_one = (head.sample(context(1), Fixed(value)).item() for value in (0.0, 1.0))
    return at_zero, at_one - at_zero


@pytest.mark.parametrize(("order", "bounds"), [(1, (0.015, 3.0)), (2, (0.001, 4.0))])
def test_exact_velocity_of_a_gaussian_gives_the_gaussian_as_steps_grow(
    order: Order, bounds: tuple[float, float]
) -> None:
    errors: list[float] = []
    for num_steps in (10, 40, 160):
        mean, std = gaussian(0.7, 0.5, Flow(net=SMALL, num_sample_steps=num_steps, order=order))
        assert mean == pytest.approx(0.7, abs=1e-3)
        errors.append(abs(std - 0.5) / 0.5)
    last, factor = bounds
    assert errors[2] < last
    # Four times as many steps: a quarter of the error at order 1, less at order 2.
    assert errors[0] > factor * errors[1]


@pytest.mark.parametrize("std", [0.4, 0.7, 1.0])
def test_ten_evaluations_keep_mean_and_spread_within_five_percent_at_order_two(std: float) -> None:
    mean, spread = gaussian(0.7, std, Flow(net=SMALL))
    assert mean == pytest.approx(0.7, rel=1e-3)
    assert spread == pytest.approx(std, rel=0.05)
    # Euler's method loses an eighth of it.
    assert gaussian(0.7, std, Flow(net=SMALL, order=1))[1] < 0.89 * std


def test_loss_of_the_exact_velocity_is_the_variance_that_is_left() -> None:
    net = Oracle(torch.full((1, 1, 1), 0.3), 0.5, answer="velocity")
    head = head_with(Flow(net=SMALL, time="uniform"), net)
    noise = GeneratorNoise.seeded(0)
    actions = 0.3 + 0.5 * noise.normal(200_000, 1, 1)
    loss = head.loss(context(len(actions)), target(actions), noise).value.mean().item()
    # Var(a - eps | x_t) = s^2 / (t^2 s^2 + (1 - t)^2), averaged over t in [0, 1].
    t = torch.linspace(0, 1, 100_001)
    expected = torch.trapezoid(0.25 / (0.25 * t**2 + (1 - t) ** 2), t).item()
    assert loss == pytest.approx(expected, rel=0.02)


def test_training_times_have_the_law_of_beta_towards_the_noise() -> None:
    head = build(Flow(net=SMALL))
    assert isinstance(head, FlowHead)
    time = head.draw_time(GeneratorNoise.seeded(0), 200_000)
    # 1 - (.999 X + .001), X ~ Beta(1.5, 1): mean .6, variance .6 * .4 / 3.5.
    assert time.mean().item() == pytest.approx(1 - (0.999 * 0.6 + 0.001), abs=2e-3)
    assert time.var().item() == pytest.approx(0.999**2 * 0.24 / 3.5, rel=0.02)
    assert (time < 0.1).float().mean().item() == pytest.approx(1 - 0.9**1.5, abs=5e-3)
    assert 0.0 <= time.min().item() <= time.max().item() <= 0.999
    uniform = build(Flow(net=SMALL, time="uniform"))
    assert isinstance(uniform, FlowHead)
    assert uniform.draw_time(GeneratorNoise.seeded(0), 50_000).mean().item() == pytest.approx(0.5, abs=0.01)


def test_context_is_read_once_and_the_net_asked_once_a_step() -> None:
    net = Oracle(torch.zeros(1, 1, 1), 0.5, answer="velocity")
    head = head_with(Flow(net=SMALL, num_sample_steps=7), net)
    head.sample(context(3), GeneratorNoise.seeded(0))
    assert (net.num_conditions, net.num_calls) == (1, 7)


def test_mode_starts_from_zero() -> None:
    head = build(Flow(net=SMALL), horizon=4)
    assert torch.equal(head.mode(context(2)), head.sample(context(2), NoNoise()))


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one step"):
        Flow(num_sample_steps=0)
    with pytest.raises(SpecError, match="continuous"):
        Flow(net=SMALL).build(
            ContextSpec(num_tokens=1, width=1), ChunkSpec(horizon=1, action_dim=1, num_classes=3)
        )


def test_sampling_inside_a_gradient_leaves_no_graph() -> None:
    head = build(Flow(net=SMALL), horizon=4)
    tokens = torch.zeros(2, 1, 1, requires_grad=True)
    assert not head.sample(Context(tokens=tokens), GeneratorNoise.seeded(0)).requires_grad
