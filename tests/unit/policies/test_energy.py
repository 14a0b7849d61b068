"""`Energy`: where its search looks, and which actions nobody showed it learns against."""

import math
from dataclasses import replace

import pytest
import torch

from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec
from steadyhand.policies.heads.energy import Energy
from steadyhand.policies.heads.energy_head import EnergyHead
from steadyhand.policies.noise import GeneratorNoise, NoNoise, scoped

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
    head.cloud.copy_(torch.tensor([2.0, -2.0])[:, None].expand(4, 2, 1))
    goals = torch.tensor([[1.0 + 0.5 + 0.125], [-0.5], [0.0], [9.0]])
    seeks(monkeypatch, goals)
    found = head.mode(contexts(4))[:, 0, 0]
    # Steps of 2 x 1/2, 1/4, 1/8, 1/16 either way; 9 is beyond their sum.
    assert found.tolist() == [1.625, -0.5, 0.0, 1.875]


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
