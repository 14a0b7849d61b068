"""Diffusion: closed forms of its schedule, its posterior and its samplers."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.distributions import Normal

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.policies.choices import Order
from steadyhand.policies.heads import schedule
from steadyhand.policies.heads.diffusion import Diffusion, Prediction
from steadyhand.policies.heads.diffusion_head import DiffusionHead
from steadyhand.policies.heads.schedule import DenoisingSampler, diffusion_levels, squared_cosine, step
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.noise import GeneratorNoise
from unit.policies.generative import Fixed, Oracle, build, context, head_with, target

SMALL = DenoisingMLP(hidden=(8,), time_width=4)


def test_schedule_is_the_closed_form_until_beta_is_clipped() -> None:
    alpha_bar = squared_cosine(100)

    def f(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    for k in (0, 1, 50, 98):
        assert alpha_bar[k].item() == pytest.approx(f((k + 1) / 100) / f(0), rel=1e-9)
    # The last beta would be 1 and is .999.
    assert alpha_bar[99].item() == pytest.approx(0.001 * alpha_bar[98].item(), rel=1e-9)
    assert bool((alpha_bar.diff() < 0).all())


def test_sampled_steps() -> None:
    assert Diffusion(spacing="leading").sample_steps == (90, 80, 70, 60, 50, 40, 30, 20, 10, 0)
    assert Diffusion(num_sample_steps=1, spacing="leading").sample_steps == (0,)
    assert Diffusion().sample_steps == (95, 84, 74, 63, 53, 42, 32, 21, 11, 0)
    assert Diffusion(num_sample_steps=1).sample_steps == (95,)
    assert Diffusion(num_train_steps=4, num_sample_steps=2).sample_steps == (3, 0)
    for count in (2, 50, 96, 97, 99, 100):
        steps = Diffusion(num_sample_steps=count).sample_steps
        assert len(set(steps)) == count
        assert steps[-1] == 0
    assert Diffusion(num_sample_steps=100).sample_steps == tuple(range(99, -1, -1))
    assert Diffusion(sampler="ddpm").sample_steps == tuple(range(99, -1, -1))


def test_eta_one_over_all_steps_is_ddpms_posterior() -> None:
    sampler = DenoisingSampler(levels=diffusion_levels(range(99, -1, -1), 100), eta=1.0)
    alpha_bar = [*squared_cosine(100).tolist()]
    x, data, z = torch.tensor([[[0.8]]]), torch.tensor([[[-0.3]]]), torch.tensor([[[1.7]]])
    for k in (99, 60, 1):
        bar, before = alpha_bar[k], alpha_bar[k - 1]
        beta = 1.0 - bar / before
        # Ho et al. (2020), eq. 7.
        mean = (
            math.sqrt(before) * beta / (1 - bar) * data + (math.sqrt(1 - beta) * (1 - before) / (1 - bar)) * x
        )
        expected = mean + math.sqrt((1 - before) / (1 - bar) * beta) * z
        before_level, after = sampler.levels[99 - k], sampler.levels[100 - k]
        sigma = sampler.sigma(before_level, after)
        moved = step(x, data, before_level, after, sigma=sigma) + sigma * z
        torch.testing.assert_close(moved, expected, rtol=1e-5, atol=1e-6)
    assert sampler.sigma(sampler.levels[99], sampler.levels[100]) == 0.0
    torch.testing.assert_close(step(x, data, sampler.levels[99], sampler.levels[100]), data)


def gaussian(mean: float, std: float, config: Diffusion, *, answer: str = "epsilon") -> tuple[float, float]:
    net = Oracle(torch.full((1, 1, 1), mean), std, answer=answer)
    head = head_with(config, net)
    at_zero, at_one = (head.sample(context(1), Fixed(value)).item() for value in (0.0, 1.0))
    return at_zero, at_one - at_zero


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
@pytest.mark.parametrize("order", [1, 2])
def test_exact_denoiser_of_a_gaussian_gives_the_gaussian_as_steps_grow(
    order: Order, prediction: Prediction
) -> None:
    errors: list[float] = []
    for num_steps in (5, 20, 100):
        config = Diffusion(net=SMALL, prediction=prediction, num_sample_steps=num_steps, order=order)
        mean, std = gaussian(0.4, 0.5, config, answer=prediction)
        errors.append(abs(mean - 0.4) + abs(std - 0.5))
    assert errors[0] > 1.5 * errors[1] > 2.25 * errors[2]
    assert errors[2] < 0.01


@pytest.mark.parametrize("std", [0.4, 0.7, 1.0])
def test_ten_evaluations_keep_the_spread_within_five_percent_at_order_two(std: float) -> None:
    mean, spread = gaussian(0.4, std, Diffusion(net=SMALL))
    assert mean == pytest.approx(0.4, abs=0.03 * std)
    assert spread == pytest.approx(std, rel=0.05)
    # The published levels begin where the signal is .14 already, so the mean starts too low.
    mean, spread = gaussian(0.4, std, Diffusion(net=SMALL, spacing="leading"))
    assert 0.045 * std < 0.4 - mean < 0.06 * std
    assert spread == pytest.approx(std, rel=0.05)
    assert gaussian(0.4, std, Diffusion(net=SMALL, order=1))[1] < 0.9 * std


def test_ddpm_with_the_exact_denoiser_gives_the_gaussian() -> None:
    head = head_with(
        Diffusion(net=SMALL, sampler="ddpm"), Oracle(torch.full((1, 1, 1), 0.4), 0.5, answer="epsilon")
    )
    drawn = head.sample(context(20_000), GeneratorNoise.seeded(0))
    assert drawn.mean().item() == pytest.approx(0.4, rel=0.03)
    assert drawn.std().item() == pytest.approx(0.5, rel=0.03)


def test_epsilon_and_sample_nets_say_the_same() -> None:
    kinds: tuple[Prediction, ...] = ("epsilon", "sample")
    one, two = (gaussian(0.4, 0.5, Diffusion(net=SMALL, prediction=kind), answer=kind) for kind in kinds)
    assert one == pytest.approx(two, abs=1e-4)


def test_noising_round_trips() -> None:
    head = build(Diffusion(net=SMALL), horizon=4, action_dim=2)
    assert isinstance(head, DiffusionHead)
    noise = GeneratorNoise.seeded(0)
    actions, eps = noise.normal(5, 4, 2), noise.normal(5, 4, 2)
    steps = torch.tensor([0, 20, 50, 80, 98])
    x = head.noised(actions, eps, steps).double()
    bar = squared_cosine(100)[steps][:, None, None]
    signal, sigma = bar.sqrt(), (1 - bar).sqrt()
    torch.testing.assert_close((x - sigma * eps) / signal, actions.double(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close((x - signal * actions) / sigma, eps.double(), atol=1e-4, rtol=1e-4)


def test_loss_of_the_exact_denoiser_is_the_variance_that_is_left() -> None:
    head = head_with(Diffusion(net=SMALL), Oracle(torch.full((1, 1, 1), 0.3), 0.5, answer="epsilon"))
    noise = GeneratorNoise.seeded(0)
    actions = 0.3 + 0.5 * noise.normal(200_000, 1, 1)
    loss = head.loss(context(len(actions)), target(actions), noise).value.mean().item()
    bar = squared_cosine(100)
    assert loss == pytest.approx((0.25 * bar / (0.25 * bar + 1 - bar)).mean().item(), rel=0.02)


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
def test_the_loss_is_that_of_one_noisy_chunk_written_out(prediction: Prediction) -> None:
    """A uniform draw of 1/2 is level 4 of 8, which the net knows as time 50; the noise is 0.7 throughout."""
    config = Diffusion(net=SMALL, prediction=prediction, num_train_steps=8, num_sample_steps=4)
    head = build(config, horizon=3, action_dim=2)
    actions = GeneratorNoise.seeded(1).normal(5, 3, 2)
    bar = squared_cosine(8)[4].item()
    x = math.sqrt(bar) * actions + math.sqrt(1.0 - bar) * 0.7
    predicted = head.net(x, head.net.embed_times(torch.tensor([50.0])), head.net.condition(context(5)))
    wanted = torch.full_like(actions, 0.7) if prediction == "epsilon" else actions
    found = head.loss(context(5), target(actions), Fixed(0.7)).value
    torch.testing.assert_close(found, ((predicted - wanted) ** 2).sum(-1) / 2)


def test_bounds_move_outwards_alone_and_the_units_stay() -> None:
    head = build(Diffusion(net=SMALL, prediction="sample"), action_dim=3, is_bounded=True)
    assert isinstance(head, DiffusionHead)
    for low, high in (([-2.0, -1.0, -1.0], [1.0, 3.0, 1.0]), ([-1.0, -1.0, -4.0], [1.0, 2.0, 1.0])):
        assert not head.widen(torch.tensor(low), torch.tensor(high))
    far = torch.full((1, 1, 3), 9.0)
    for value, ends in ((far, [1.0, 3.0, 1.0]), (-far, [-2.0, -1.0, -4.0])):
        assert head.expected(far, value, head.sampler.levels[3]).flatten().tolist() == ends


def test_clipping_a_z_score_loses_the_tails_and_min_max_does_not() -> None:
    # The same data, N(0, 1) in z-score; under min_max the largest of them is 1, so that s = 1 / 4.
    lost = head_with(
        Diffusion(net=SMALL), Oracle(torch.zeros(1, 1, 1), 1.0, answer="epsilon"), is_bounded=True
    )
    kept = head_with(
        Diffusion(net=SMALL), Oracle(torch.zeros(1, 1, 1), 0.25, answer="epsilon"), is_bounded=True
    )
    free = head_with(Diffusion(net=SMALL), Oracle(torch.zeros(1, 1, 1), 1.0, answer="epsilon"))
    rows = context(20_000)
    stds = [head.sample(rows, GeneratorNoise.seeded(0)).std().item() for head in (lost, kept, free)]
    assert stds[0] < 0.85
    assert stds[1] / 0.25 == pytest.approx(1.0, abs=0.08)
    assert stds[2] == pytest.approx(1.0, abs=0.05)
    assert lost.sample(rows, GeneratorNoise.seeded(0)).abs().max().item() <= 1.0


@pytest.mark.parametrize(
    ("config", "calls"), [(Diffusion(net=SMALL), 10), (Diffusion(net=SMALL, sampler="ddpm"), 100)]
)
def test_context_is_read_once_and_the_net_asked_once_a_step(config: Diffusion, calls: int) -> None:
    net = Oracle(torch.zeros(1, 1, 1), 0.5, answer="epsilon")
    head_with(config, net).sample(context(3), GeneratorNoise.seeded(0))
    assert (net.num_conditions, net.num_calls) == (1, calls)


def test_options_of_ddim_are_refused_where_ddpm_would_ignore_them() -> None:
    for wrong in ({"eta": 0.5}, {"spacing": "leading"}, {"num_sample_steps": 50}):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is an option of DDIM"):
            Diffusion(sampler="ddpm", **wrong)
    every = Diffusion(sampler="ddpm", num_sample_steps=100)
    assert every.sample_steps == Diffusion(sampler="ddpm").sample_steps


@pytest.mark.parametrize(("std", "gap"), [(1.0, 0.04), (0.5, 0.05), (0.1, 0.15)])
@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
def test_log_prob_is_a_bound_and_close_for_the_exact_denoiser(
    std: float, gap: float, prediction: Prediction
) -> None:
    """Averaged over chunks and 256 draws. For N(0, 1) the reverse steps are exact but for the last one."""
    means = torch.tensor([[[0.2, -0.2], [0.1, 0.3]]])
    config = Diffusion(net=SMALL, prediction=prediction, likelihood_draws=256)
    head = build(config, horizon=2, action_dim=2)
    head.net = Oracle(means, std, answer=prediction)
    actions = means + std * GeneratorNoise.seeded(0).normal(32, 2, 2)
    exact = Normal(means, std).log_prob(actions).sum((1, 2))
    lost = (exact - head.log_prob(context(32), target(actions))).mean().item() / 4
    assert 0.0 < lost < gap


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("levels", [None, [0.9, 0.6, 0.35]])
def test_the_bound_is_the_sum_of_ho_et_als_terms(
    levels: list[float] | None, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eq. 5 written out with torch.distributions, for a net that answers badly.

    On the published schedule next to nothing is left of the data at its end, on the other one a third.
    """
    if levels is not None:
        monkeypatch.setattr(schedule, "squared_cosine", lambda _: torch.tensor(levels, dtype=torch.float64))
    bar = [1.0, *(levels or squared_cosine(6).tolist())]
    count = len(bar) - 1
    config = Diffusion(net=SMALL, num_train_steps=count, num_sample_steps=2, likelihood_draws=3)
    head = build(config, horizon=3, action_dim=2)
    assert isinstance(head, DiffusionHead)
    actions = GeneratorNoise.seeded(1).normal(rows, 3, 2)
    source, total = torch.Generator().manual_seed(0), torch.zeros(rows)
    for k in range(1, count + 1):
        beta = 1.0 - bar[k] / bar[k - 1]
        eps = torch.randn(3, 3, 2, generator=source)
        for row, chunk in enumerate(actions):
            x = math.sqrt(bar[k]) * chunk + math.sqrt(1.0 - bar[k]) * eps
            time = torch.tensor([(k - 1) * 100.0 / count])
            predicted = head.net(x, head.net.embed_times(time), head.net.condition(context(3))).detach()
            mean = (x - beta / math.sqrt(1.0 - bar[k]) * predicted) / math.sqrt(1.0 - beta)  # eq. 11
            backward = Normal(mean, math.sqrt(beta))
            if k == 1:
                total[row] += backward.log_prob(chunk).sum((1, 2)).mean()
                continue
            posterior = Normal(
                math.sqrt(bar[k - 1]) * beta / (1 - bar[k]) * chunk
                + math.sqrt(1 - beta) * (1 - bar[k - 1]) / (1 - bar[k]) * x,
                math.sqrt((1 - bar[k - 1]) / (1 - bar[k]) * beta),
            )  # eq. 7
            total[row] -= torch.distributions.kl_divergence(posterior, backward).sum((1, 2)).mean()
    last = Normal(math.sqrt(bar[-1]) * actions, math.sqrt(1 - bar[-1]))
    total -= torch.distributions.kl_divergence(last, Normal(0.0, 1.0)).sum((1, 2))
    torch.testing.assert_close(head.log_prob(context(rows), target(actions)), total, rtol=1e-4, atol=1e-3)


def test_padded_steps_leave_no_bound() -> None:
    head = build(Diffusion(net=SMALL), horizon=2)
    padded = replace(target(torch.zeros(1, 2, 1)), is_pad=torch.tensor([[False, True]]))
    with pytest.raises(CapabilityError, match="whole chunk"):
        head.log_prob(context(1), padded)
    assert head.likelihood == "lower_bound"


def test_no_step_of_the_schedule_forgets_more_than_the_paper_allows() -> None:
    bar = [1.0, *squared_cosine(100).tolist()]
    beta = [1.0 - after / before for before, after in pairwise(bar)]
    curve = [math.cos((k / 100 + 0.008) / 1.008 * math.pi / 2) ** 2 for k in range(101)]
    assert beta[:-1] == pytest.approx([1.0 - after / before for before, after in pairwise(curve)][:-1])
    assert beta[-1] == pytest.approx(0.999)
