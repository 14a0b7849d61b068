"""`Energy`: where its search looks, and which actions nobody showed it learns against."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Target
from steadyhand.policies.heads.energy import Energy
from steadyhand.policies.heads.energy_head import EnergyHead
from steadyhand.policies.kinds import BAD, EXPLICIT, GOOD
from steadyhand.policies.noise import GeneratorNoise, NoNoise, scoped
from unit.policies.closed_form import no_fit
from unit.policies.generative import Fixed

SMALL = Energy(hidden=(4,), num_stored=1, num_refinements=4, cloud_size=2)


def build(
    config: Energy = SMALL, *, horizon: int = 1, action_dim: int = 1, bounded: bool = True
) -> EnergyHead:
    chunk = ChunkSpec(horizon=horizon, action_dim=action_dim, is_bounded=bounded)
    with scoped(0):
        return config.build(ContextSpec(num_tokens=1, width=1), chunk)


def contexts(rows: int) -> Context:
    return Context(tokens=torch.zeros(rows, 1, 1), position=torch.zeros(1, 2), groups=(("vectors", 0, 1),))


def seeks(monkeypatch: pytest.MonkeyPatch, goals: torch.Tensor) -> None:
    """Let the score be the distance to the goal of each row."""
    monkeypatch.setattr(
        EnergyHead, "_score", lambda _, __, actions: (actions - goals[:, None]).square().sum(-1)
    )


def test_the_search_goes_half_a_unit_and_then_half_as_far_each_time(monkeypatch) -> None:
    head = build()
    head.stored.zero_()
    head.cloud.copy_(torch.tensor([2.0, -1.0])[:, None].expand(4, 2, 1))
    goals = torch.tensor([[1.0 + 0.5 + 0.125], [-0.5], [9.0], [-9.0]])
    seeks(monkeypatch, goals)
    found = head.mode(contexts(4))[:, 0, 0]
    # Steps up of 2 x 1/2, 1/4, 1/8, 1/16, and down of half as much; 9 is beyond their sum.
    assert found.tolist() == [1.625, -0.5, 1.875, -0.9375]


def test_the_search_begins_at_the_stored_chunk_of_the_lowest_score(monkeypatch) -> None:
    head = build(replace(SMALL, num_stored=3), horizon=3, action_dim=2)
    head.cloud.zero_()
    goals = torch.stack([head.stored[2] + 0.01, head.stored[0] - 0.01])
    seeks(monkeypatch, goals)
    found = head.sample(contexts(2), NoNoise())
    assert torch.equal(found, head.stored[[2, 0]].reshape(2, 3, 2))


@pytest.mark.parametrize(("bounded", "side"), [(True, 1.1), (False, 3.0)])
def test_other_actions_are_stored_drawn_from_the_cube_or_near_the_shown_one(bounded, side) -> None:
    head = build(replace(SMALL, num_stored=4, num_others=30_000), bounded=bounded)
    shown = torch.tensor([[100.0], [-50.0]])
    with torch.no_grad():
        others = head._others(shown, GeneratorNoise(torch.Generator().manual_seed(0)))[..., 0]
    stored, box, near = others.split(10_000, dim=1)
    assert set(stored.unique().tolist()) == set(head.stored[:, 0].tolist())
    assert box.min() == pytest.approx(-side, abs=0.01)
    assert box.max() == pytest.approx(side, abs=0.01)
    assert box.mean() == pytest.approx(0.0, abs=0.03 * side)
    gap = near - shown
    # The spread is even in its logarithm from 0.01 to 0.5: E[s^2] = (0.5^2 - 0.01^2) / (2 ln 50).
    assert gap.std() == pytest.approx(math.sqrt(0.2499 / (2 * math.log(50))), rel=0.03)
    # E|s z| = (0.5 - 0.01) / ln 50 * sqrt(2 / pi).
    assert gap.abs().mean() == pytest.approx(0.49 / math.log(50) * math.sqrt(2 / math.pi), rel=0.03)
    assert torch.unique(box).numel() > 19_000


DEEP = Energy(hidden=(3, 4, 5), num_others=6, num_stored=3, margin=0.5, activation="tanh")
"""For two tokens of width 2, and chunks of three steps of two numbers of which the first lies in the past."""


def deep() -> EnergyHead:
    chunk = ChunkSpec(horizon=3, action_dim=2, start=-1, is_bounded=True)
    with scoped(0):
        head = DEEP.build(ContextSpec(num_tokens=2, width=2), chunk)
        for parameter in head.parameters():  # larger than at first, so that scores differ
            nn.init.normal_(parameter)
    return head


def score_of(head: EnergyHead, tokens: Tensor, chunk: Tensor) -> Tensor:
    """Return Q of one context and one flat chunk: three layers, the first of which reads both."""
    linear = [layer for layer in head.trunk.modules() if isinstance(layer, nn.Linear)]
    x = head.of_context(tokens.flatten()) + head.of_action.weight @ chunk
    for layer in linear:
        x = layer(x.tanh())
    return head.out.weight[0] @ x.tanh() + head.offset


def test_a_score_is_a_net_of_context_and_chunk() -> None:
    head, tokens = deep(), torch.randn(2, 2, 2, generator=torch.Generator().manual_seed(1))
    chunks = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(2))
    found = head.score(Context(tokens=tokens), chunks)
    wanted = [[score_of(head, tokens[b], chunks[b, n]).item() for n in range(4)] for b in range(2)]
    torch.testing.assert_close(found, torch.tensor(wanted))
    # No layer but those of the context and of the trunk has a bias; Q has an offset.
    layers = (4 * 3 + 3) + 6 * 3 + (3 * 4 + 4) + (4 * 5 + 5) + 5 + 1
    assert sum(parameter.numel() for parameter in head.parameters()) == layers


def test_the_loss_is_the_hinge_of_the_kind_of_the_current_step() -> None:
    """Written out for noise of 0.2: two stored chunks, two from the middle of the cube, two nearby."""
    head, random = deep(), torch.Generator().manual_seed(3)
    tokens, actions = torch.randn(4, 2, 2, generator=random), torch.randn(4, 3, 2, generator=random)
    kinds = [[BAD, EXPLICIT, EXPLICIT], [GOOD, GOOD, BAD], [BAD, BAD, BAD], [BAD, EXPLICIT, EXPLICIT]]
    weight = torch.tensor([[1.0, 2.0, 3.0], [1.0, 3.0, 4.0], [1.0, 1.0, 2.0], [5.0, 1.0, 0.0]])
    shares = [5 / 6, 1 / 2, 1.0, 1 / 6]  # of the weight on steps of the kind of the current, second one
    seen = actions.clone()  # a step of another kind or without weight repeats the nearest one that counts
    for row, step, source in ((0, 0, 1), (1, 2, 1), (3, 0, 1), (3, 2, 1)):
        seen[row, step] = actions[row, source]
    target = Target(
        actions=actions,
        is_pad=torch.zeros(4, 3, dtype=torch.bool),
        weight=weight,
        kind=torch.tensor(kinds),
    )
    loss = head.loss(Context(tokens=tokens), target, Fixed(0.2))
    for b, chunk in enumerate(seen.flatten(1)):
        near = chunk + 0.2 * math.sqrt(0.01 * 0.5)  # the middle of the spreads, on a log scale
        others = [head.stored[1], head.stored[1], torch.zeros(6), torch.zeros(6), near, near]
        own = score_of(head, tokens[b], chunk).item()
        hinges = []
        for other in others:
            distance = ((other - chunk) ** 2).mean().sqrt().item()
            hinges.append(max(0.0, own - score_of(head, tokens[b], other).item() + 0.5 * distance))
        wanted = {EXPLICIT: sum(hinges) / 6, GOOD: max(0.0, own + 0.5), BAD: max(0.0, 0.5 - own)}
        assert loss.value[b].tolist() == pytest.approx([wanted[kinds[b][1]] * shares[b]], rel=1e-4)
        assert loss.metrics["score"][b].item() == pytest.approx(own, rel=1e-4)
        assert loss.metrics["kept_away"][b].item() == pytest.approx(hinges.count(0.0) / 6)
    assert 0.0 < loss.metrics["kept_away"].mean() < 1.0


@pytest.mark.parametrize(("count", "chosen"), [(3, [0, 1, 3]), (8, [0, 0, 1, 1, 2, 3, 3, 4])])
def test_chunks_are_stored_once_evenly_thinned_and_without_gaps(count: int, chosen: list[int]) -> None:
    head = build(replace(SMALL, num_stored=count), horizon=3)
    actions = torch.arange(15.0).view(5, 3, 1)
    weight = torch.ones(5, 3)
    weight[0, 1] = weight[3, 0] = 0.0
    filled = [[0, 0, 2], [3, 4, 5], [6, 7, 8], [10, 10, 11], [12, 13, 14]]
    is_pad = torch.zeros(5, 3, dtype=torch.bool)
    for values in (actions, 9 * actions):
        target = Target(actions=values, is_pad=is_pad, weight=weight)
        head.prepare(lambda: iter([(contexts(5), target)]), no_fit, NoNoise())  # noqa: B023  called at once
        assert head.stored.tolist() == [filled[place] for place in chosen]
