"""The softmax policy over joint features of context and action."""

import pytest
import torch
from torch import Tensor

from steadyhand.policies.contract import ChunkSpec, Context, Head, Target
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
