"""Flow matching: closed forms of its path, its times and its sampler."""

from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from steadyhand.core.errors import CapabilityError
from steadyhand.policies.choices import Order
from steadyhand.policies.contract import Context
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.flow_head import FlowHead
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.nets.unet1d import UNet
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


def test_the_loss_of_a_step_is_the_mean_over_the_dimensions_of_its_action() -> None:
    """The oracle of data that are one chunk of zeros answers with it."""
    means = torch.zeros(1, 3, 2)
    head = head_with(Flow(net=SMALL, prediction="sample"), Oracle(means, 1e-6, answer="flow sample"))
    actions = torch.tensor([[[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]]])
    value = head.loss(context(1), target(actions), Fixed(0.0)).value
    torch.testing.assert_close(value, torch.tensor([[1.0, 2.0, 0.0]]))


@pytest.mark.parametrize("num_steps", [1, 10, 40])
def test_the_clean_chunk_and_the_velocity_lead_to_the_same_chunk(num_steps: int) -> None:
    """a_hat = x_t + (1 - t) v: a net that says one of the two says the other."""
    means = torch.tensor([[[0.7]], [[-0.4]]])
    drawn = [
        head_with(Flow(net=SMALL, num_sample_steps=num_steps), Oracle(means, 0.2, answer="velocity")),
        head_with(
            Flow(net=SMALL, num_sample_steps=num_steps, prediction="sample"),
            Oracle(means, 0.2, answer="flow sample"),
        ),
    ]
    one, other = (head.sample(context(64), GeneratorNoise.seeded(3)) for head in drawn)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_loss_of_the_expected_chunk_is_the_variance_that_is_left_of_it() -> None:
    net = Oracle(torch.full((1, 1, 1), 0.3), 0.5, answer="flow sample")
    head = head_with(Flow(net=SMALL, time="uniform", prediction="sample"), net)
    noise = GeneratorNoise.seeded(0)
    actions = 0.3 + 0.5 * noise.normal(200_000, 1, 1)
    loss = head.loss(context(len(actions)), target(actions), noise).value.mean().item()
    # Var(a | x_t) = s^2 (1 - t)^2 / (t^2 s^2 + (1 - t)^2), averaged over t in [0, 1].
    t = torch.linspace(0, 1, 100_001)
    expected = torch.trapezoid(0.25 * (1 - t) ** 2 / (0.25 * t**2 + (1 - t) ** 2), t).item()
    assert loss == pytest.approx(expected, rel=0.02)


def test_a_flow_that_predicts_the_chunk_has_no_likelihood() -> None:
    head = build(Flow(net=SMALL, prediction="sample"))
    assert head.likelihood == "none"
    with pytest.raises(CapabilityError, match="predicts the clean chunk"):
        head.log_prob(context(1), target(torch.zeros(1, 1, 1)))


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


def test_times_and_loss_of_one_draw_written_out() -> None:
    """A uniform draw of 1/2 is .5^(1 / 1.5) of Beta(1.5, 1); the noise is 0.7 throughout."""
    head = build(Flow(net=SMALL), horizon=3, action_dim=2)
    assert isinstance(head, FlowHead)
    t = 1.0 - (0.999 * 0.5 ** (1.0 / 1.5) + 0.001)
    assert head.draw_time(Fixed(0.0), 2).tolist() == pytest.approx([t, t], abs=1e-6)
    actions = GeneratorNoise.seeded(1).normal(5, 3, 2)
    x = (1.0 - t) * 0.7 + t * actions
    velocity = head.net(x, head.net.embed_times(torch.tensor([100.0 * t])), head.net.condition(context(5)))
    found = head.loss(context(5), target(actions), Fixed(0.7)).value
    torch.testing.assert_close(found, ((velocity - (actions - 0.7)) ** 2).sum(-1) / 2)


def test_context_is_read_once_and_the_net_asked_once_a_step() -> None:
    net = Oracle(torch.zeros(1, 1, 1), 0.5, answer="velocity")
    head = head_with(Flow(net=SMALL, num_sample_steps=7), net)
    head.sample(context(3), GeneratorNoise.seeded(0))
    assert (net.num_conditions, net.num_calls) == (1, 7)


def test_mode_starts_from_zero() -> None:
    head = build(Flow(net=SMALL), horizon=4)
    assert torch.equal(head.mode(context(2)), head.sample(context(2), NoNoise()))


def test_sampling_inside_a_gradient_leaves_no_graph() -> None:
    head = build(Flow(net=SMALL), horizon=4)
    tokens = torch.zeros(2, 1, 1, requires_grad=True)
    assert not head.sample(Context(tokens=tokens), GeneratorNoise.seeded(0)).requires_grad


MEANS = torch.tensor([[[0.4, -0.2], [0.1, 0.3]]])


def points(std: float, rows: int) -> Tensor:
    """Return chunks drawn from N(MEANS, std^2)."""
    return MEANS + std * GeneratorNoise.seeded(0).normal(rows, 2, 2)


@pytest.mark.parametrize("std", [1.0, 0.5, 0.1, 0.05])
def test_log_prob_of_the_exact_velocity_is_that_of_the_gaussian(std: float) -> None:
    head = build(Flow(net=SMALL), horizon=2, action_dim=2)
    head.net = Oracle(MEANS, std, answer="velocity")
    actions = points(std, 16)
    expected = Normal(MEANS, std).log_prob(actions).sum((1, 2))
    torch.testing.assert_close(head.log_prob(context(16), target(actions)), expected, rtol=0, atol=0.01)


def test_log_prob_of_two_gaussians_is_that_of_the_mixture() -> None:
    means, weights = torch.tensor([[[-0.7]], [[0.6]]]), torch.tensor([0.3, 0.7])
    head = build(Flow(net=SMALL))
    head.net = Oracle(means, 0.1, answer="velocity", weights=weights)
    actions = torch.tensor([-0.75, -0.6, 0.5, 0.65]).view(-1, 1, 1)
    expected = Normal(means, 0.1).log_prob(actions.flatten()[:, None, None, None]).sum((2, 3)).exp() * weights
    found = head.log_prob(context(4), target(actions))
    torch.testing.assert_close(found, expected.sum(1).log(), rtol=0, atol=0.02)


@pytest.mark.parametrize("rows", [1, 3])
def test_log_prob_is_the_midpoint_rule_with_the_trace_of_the_jacobian(rows: int) -> None:
    """Three steps between the times 1 - (k / 3)^2; the Jacobian comes from torch.func."""
    config = Flow(net=UNet(channels=(8, 8), time_width=4, num_groups=2), likelihood_steps=3)
    head = build(config, horizon=2, action_dim=2)
    net = head.net
    assert isinstance(net, nn.Module)
    actions = x = points(0.5, rows)
    condition, total = net.condition(context(rows)), torch.zeros(rows)

    def velocity(x: Tensor, time: float) -> Tensor:
        part = tuple(one[: len(x)] for one in condition)  # all rows have the same context
        return net(x, net.embed_times(torch.tensor([100.0 * time])), part)

    for late, early in pairwise([1.0, 8 / 9, 5 / 9, 0.0]):
        middle = (x - 0.5 * (late - early) * velocity(x, late)).detach()
        half = 0.5 * (late + early)
        for row in range(rows):
            flat = middle[row].flatten()
            jacobian = torch.func.jacrev(lambda flat: velocity(flat.view(1, 2, 2), half).flatten())(flat)  # noqa: B023
            total[row] -= (late - early) * jacobian.trace().detach()
        x = (x - (late - early) * velocity(middle, half)).detach()
    expected = Normal(0.0, 1.0).log_prob(x).sum((1, 2)) + total
    found = head.log_prob(context(rows), target(actions))
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad


def test_a_likelihood_that_is_not_known_is_refused() -> None:
    head = build(Flow(net=SMALL), horizon=2)
    whole = target(torch.zeros(3, 2, 1))
    padded = replace(whole, is_pad=torch.tensor([[False, False], [False, True], [False, False]]))
    with pytest.raises(CapabilityError, match="1 of 3 windows"):
        head.log_prob(context(3), padded)


@pytest.mark.parametrize(
    ("horizon", "action_dim", "is_known"), [(64, 1, True), (32, 2, True), (65, 1, False), (33, 2, False)]
)
def test_chunks_of_up_to_64_numbers_have_a_likelihood(horizon, action_dim, is_known) -> None:
    head = build(Flow(net=SMALL, likelihood_steps=1), horizon=horizon, action_dim=action_dim)
    assert head.likelihood == ("exact" if is_known else "none")
    with (
        nullcontext() if is_known else pytest.raises(CapabilityError, match=f"{horizon * action_dim} numbers")
    ):
        assert head.log_prob(context(2), target(torch.zeros(2, horizon, action_dim))).shape == (2,)
