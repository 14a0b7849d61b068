"""The softmax policy over joint features of context and action."""

import math

import pytest
import torch
from torch import Tensor

from steadyhand.core.errors import CapabilityError
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Head, Target
from steadyhand.policies.heads.log_linear import LogLinear
from steadyhand.policies.noise import GeneratorNoise, NoNoise, scoped
from unit.policies.closed_form import CONTINUOUS, DISCRETE, SIZE, A, C, H, K, prepared, random, target


def minimised(chunk: ChunkSpec, contexts: Tensor, whole: Target, *, seed: int) -> Head:
    """Return the head at the minimum of its loss, in float64."""
    with scoped(seed):
        head = LogLinear(num_bins=20, num_bumps=5).build(SIZE, chunk).double()
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=500, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = head.loss(Context.single(contexts), whole, NoNoise()).value.mean()
        value.backward()
        return value

    optimizer.step(closure)
    return head


def test_log_linear_matches_the_features_of_the_demonstrations() -> None:
    """At the optimum of a maximum-entropy model, model and data agree on the mean of phi(s, a).

    And the problem is convex: any start ends at the same probabilities.
    """
    contexts = random(60, C).double()
    classes = torch.randint(K, (60, H, 1), generator=torch.Generator().manual_seed(5))
    head, other = (minimised(DISCRETE, contexts, target(classes), seed=seed) for seed in (0, 1))
    probability = head.logits(Context.single(contexts))[:, :, 0].softmax(-1)
    features = torch.nn.functional.pad(contexts, (0, 1), value=1.0)
    seen = torch.nn.functional.one_hot(classes[..., 0], K).double()
    gap = torch.einsum("bd,bhk->hdk", features, seen - probability) / 60
    assert gap.abs().max() < 1e-4
    torch.testing.assert_close(
        probability, other.logits(Context.single(contexts))[:, :, 0].softmax(-1), atol=1e-3, rtol=0
    )


def test_log_linear_on_continuous_actions_matches_the_bumps() -> None:
    contexts = random(60, C).double()
    actions = random(60, H, A, seed=1).mul(0.4).clamp(-0.99, 0.99).double()
    head = minimised(CONTINUOUS, contexts, target(actions), seed=0)
    probability = head.logits(Context.single(contexts)).softmax(-1)
    bins = ((actions + 1.0) * 10.0).long()
    seen = torch.nn.functional.one_hot(bins, 20).double()
    features = torch.nn.functional.pad(contexts, (0, 1), value=1.0)
    gap = torch.einsum("bd,bhak,jk->hadj", features, seen - probability, head.bumps) / 60
    assert gap.abs().max() < 1e-4


def test_log_linear_has_a_density_over_the_grid_and_samples_by_it() -> None:
    with scoped(3):
        head = LogLinear(num_bins=20, num_bumps=5).build(SIZE, ChunkSpec(horizon=1, action_dim=1))
    torch.nn.init.normal_(head.theta.weight, std=1.0, generator=torch.Generator().manual_seed(0))
    grid = torch.linspace(-1.0, 1.0, 2001)[:-1, None, None] + 0.0005
    context = Context.single(random(1, C).expand(2000, -1))
    density = head.log_prob(context, target(grid)).exp()
    assert density.mean().item() * 2.0 == pytest.approx(1.0, abs=1e-4)
    drawn = head.sample(Context.single(random(1, C).expand(50_000, -1)), GeneratorNoise.seeded(0))
    share = torch.histc(drawn, 20, -1.0, 1.0) / 50_000
    torch.testing.assert_close(share, density.view(20, 100).mean(1) * 0.1, atol=0.01, rtol=0)
    assert head.mode(context)[0].item() == pytest.approx(
        -0.95 + 0.1 * density.view(20, 100)[:, 0].argmax().item()
    )


def test_log_linear_lays_its_grid_over_the_data_unless_the_range_is_known() -> None:
    actions = torch.tensor([[-3.0, 0.0], [5.0, 0.5], [100.0, 100.0]]).view(3, 1, 2)
    weight = torch.tensor([[1.0], [1.0], [0.0]])
    ranges: list[list[float]] = []
    for is_bounded in (False, True):
        chunk = ChunkSpec(horizon=1, action_dim=2, is_bounded=is_bounded)
        head = prepared(LogLinear().build(SIZE, chunk), random(3, C), target(actions, weight))
        prepared(
            head, random(1, C), target(torch.full((1, 1, 2), 7.0))
        )  # trained further: theta keeps its grid
        ranges.append([*head.range.low.tolist(), *head.range.high.tolist()])
    assert ranges[0] == pytest.approx([-3.0, 0.0, 5.0, 0.5], abs=0.01)
    assert ranges[1] == [-1.0, -1.0, 1.0, 1.0]


def small(chunk: ChunkSpec) -> Head:
    with scoped(1):
        return LogLinear(num_bins=10, num_bumps=4).build(ContextSpec(num_tokens=2, width=3), chunk)


def test_bumps_are_gaussians_as_wide_as_their_distance() -> None:
    """Ten bins of 0.1 and four bumps, a third apart, in units of the range."""
    bumps = small(CONTINUOUS).bumps
    assert bumps.shape == (4, 10)
    for place in range(4):
        for number in range(10):
            score = ((number + 0.5) / 10 - place / 3) / (1 / 3)
            assert bumps[place, number].item() == pytest.approx(math.exp(-(score**2) / 2), rel=1e-5)


def test_the_density_of_a_step_is_that_of_its_bins() -> None:
    """Also at the ends of the range and beyond, where the bin at the edge counts."""
    head, context = small(CONTINUOUS), Context(tokens=random(4, 2, 3))
    values = torch.tensor([-1.0, -1.4, -0.95, -0.5, -0.15, 0.0, 0.1, 0.35, 0.79, 0.81, 1.0, 1.7])
    bins = [0, 0, 0, 2, 4, 5, 5, 6, 8, 9, 9, 9]
    actions = values.repeat(2).view(4, H, A)
    places = torch.tensor(bins * 2).view(4, H, A)
    weight = head.theta(context.tokens.flatten(1)).view(4, H, A, 4)
    score = torch.einsum("bhaj,jk->bhak", weight, head.bumps)
    wanted = torch.zeros(4, H)
    for row in range(4):
        for step in range(H):
            for dim in range(A):
                p = score[row, step, dim].softmax(0)[places[row, step, dim]]
                wanted[row, step] += (p / 0.2).log()
    torch.testing.assert_close(head.loss(context, target(actions), NoNoise()).value, -wanted)
    is_pad = torch.zeros(4, H, dtype=torch.bool)
    is_pad[1, 1:] = True
    padded = Target(actions=actions, is_pad=is_pad, weight=(~is_pad).float())
    torch.testing.assert_close(head.log_prob(context, padded), wanted.masked_fill(is_pad, 0.0).sum(1))


def test_an_answer_is_evenly_spread_within_its_bin() -> None:
    head, context = small(CONTINUOUS), Context(tokens=random(4, 2, 3))
    middle = -0.9 + 0.2 * head.logits(context).argmax(-1)
    torch.testing.assert_close(head.mode(context), middle)
    assert head.draws
    assert head.likelihood == "exact"
    drawn = head.sample(context.rows(500), GeneratorNoise.seeded(0))
    inside = (drawn + 1.0) / 0.2 % 1.0
    assert inside.mean().item() == pytest.approx(0.5, abs=0.02)
    assert inside.var().item() == pytest.approx(1 / 12, abs=0.005)


def test_classes_have_a_logit_each() -> None:
    head, context = small(DISCRETE), Context(tokens=random(4, 2, 3))
    assert head.logits(context).shape == (4, H, 1, K)
    classes = torch.arange(4 * H).view(4, H, 1) % K
    wanted = head.theta(context.tokens.flatten(1)).view(4, H, K).log_softmax(2).gather(2, classes)[..., 0]
    torch.testing.assert_close(head.loss(context, target(classes), NoNoise()).value, -wanted)
    assert torch.equal(head.mode(context)[..., 0], head.logits(context)[:, :, 0].argmax(2))


def test_labels_inside_the_range_change_nothing() -> None:
    chunk = ChunkSpec(horizon=H, action_dim=A, is_bounded=True)
    assert not small(chunk).widen(torch.tensor([-1.0, -1.01]), torch.tensor([1.0, 1.01]))
    with pytest.raises(CapabilityError, match="LogLinear cannot go on"):
        small(chunk).widen(torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 1.1]))
