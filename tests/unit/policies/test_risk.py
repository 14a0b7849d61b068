"""The critics behind the score of risk: what they converge to, and their steps written out."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor

from steadyhand.core.errors import DataError
from steadyhand.policies.noise import scoped
from steadyhand.policies.risk_config import RiskConfig
from steadyhand.policies.scores.risk import Critics, RiskTransitions, fit_critics


def transitions(*rows: tuple[float, float, bool, bool]) -> RiskTransitions:
    """Return steps from pair to next pair, with success and end; pairs of three numbers."""
    pair, following, success, ends = (np.array(column) for column in zip(*rows, strict=True))
    powers = np.arange(1, 4)
    return RiskTransitions(
        pair=(pair[:, None] ** powers).astype(np.float32),
        next_pair=(following[:, None] ** powers).astype(np.float32),
        success=success,
        ends=ends,
    )


def test_critics_are_two_nets_with_a_chance_each() -> None:
    with scoped(0):
        critics = Critics(3, hidden=(5,))
    pair = torch.linspace(-1.0, 2.0, 12).view(4, 3)
    assert critics(pair).shape == (4, 2)
    for k in range(2):
        wanted = critics.nets[k][2](torch.relu(critics.nets[k][0](pair))).sigmoid()[:, 0]
        torch.testing.assert_close(critics(pair)[:, k], wanted)


@pytest.mark.parametrize(("success", "ends"), [(False, False), (False, True), (True, True)])
def test_the_first_steps_of_a_fit_written_out(success: bool, ends: bool) -> None:
    """One transition, so that it matters nothing which one is drawn; targets move after steps 3 and 6."""
    data = transitions((0.7, -0.4, success, ends))
    config = RiskConfig(
        discount=0.8, num_steps=8, batch_size=5, target_every=3, polyak=0.4, hidden=(6,), learning_rate=0.05
    )
    found = fit_critics(data, config=config, seed=4)
    with scoped(4):
        critics = Critics(3, hidden=(6,))
    old = deepcopy(critics)
    optimiser = torch.optim.Adam(critics.parameters(), lr=0.05)
    for count in range(1, 9):
        with torch.no_grad():
            ahead = 0.0 if ends else min(old(torch.from_numpy(data.next_pair))[0].tolist())
        backup = float(success) + 0.8 * ahead
        loss = (critics(torch.from_numpy(data.pair)) - backup).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if count % 3 == 0:
            with torch.no_grad():
                for one, new in zip(old.parameters(), critics.parameters(), strict=True):
                    one.copy_(0.4 * one + 0.6 * new)
    assert not found.training
    for one, other in zip(found.parameters(), critics.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def drawn_by(data: RiskTransitions, config: RiskConfig, monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """Return the first number of every pair that the critics are fitted to, batch by batch."""
    batches: list[list[float]] = []
    forward = Critics.forward

    def noted(self: Critics, pair: Tensor) -> Tensor:
        batches.append(pair[:, 0].tolist())
        assert torch.get_num_threads() == 1, "more of them cost a small net more than they gain"
        return forward(self, pair)

    monkeypatch.setattr(Critics, "forward", noted)
    fit_critics(data, config=config, seed=0)
    return batches[1::2]  # the targets are asked first


@pytest.mark.parametrize("num_successes", [0, 2])
def test_a_share_of_each_batch_ended_in_success(num_successes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10 rows three are drawn among the successes, the others anywhere; all steps are drawn in time."""
    rows = [(float(k), float(k), k < num_successes, True) for k in range(6)]
    config = RiskConfig(num_steps=60, batch_size=10, positive_share=0.3, hidden=(2,))
    batches = drawn_by(transitions(*rows), config, monkeypatch)
    assert [len(batch) for batch in batches] == [10] * 60
    if num_successes:
        last = [value for batch in batches for value in batch[7:]]
        assert set(last) == {0.0, 1.0}
        assert {value for batch in batches for value in batch[:7]} == set(map(float, range(6)))
    share = np.mean([value < 2 for batch in batches for value in batch])
    wanted = 0.3 + 0.7 / 3 if num_successes else 1 / 3
    assert share == pytest.approx(wanted, abs=0.07)


def test_without_a_step_there_is_nothing_to_learn_risk_from() -> None:
    empty = np.zeros((0, 3), dtype=np.float32)
    none = np.zeros(0, dtype=bool)
    with pytest.raises(DataError, match="no steps"):
        fit_critics(
            RiskTransitions(pair=empty, next_pair=empty, success=none, ends=none), config=RiskConfig(), seed=0
        )


def test_critics_find_the_discounted_chance_of_success() -> None:
    """A chain of four steps whose first action decides: one way ends in success, the other in failure."""
    pair = np.eye(8, dtype=np.float32)
    next_pair = np.zeros((8, 8), dtype=np.float32)
    next_pair[:3], next_pair[4:7] = pair[1:4], pair[5:8]
    ends = np.array([False, False, False, True] * 2)
    success = np.array([False] * 3 + [True] + [False] * 4)
    data = RiskTransitions(pair=pair, next_pair=next_pair, success=success, ends=ends)
    config = RiskConfig(discount=0.8, num_steps=1500, hidden=(32,), learning_rate=1e-2, polyak=0.9)
    value = fit_critics(data, config=config, seed=0)(torch.from_numpy(pair)).amin(1).detach().numpy()
    assert value == pytest.approx([0.8**3, 0.8**2, 0.8, 1.0, 0, 0, 0, 0], abs=0.06)


def test_critics_are_the_same_for_the_same_seed() -> None:
    pair = np.random.default_rng(2).normal(size=(20, 2)).astype(np.float32)
    data = RiskTransitions(pair=pair, next_pair=pair, success=np.arange(20) == 3, ends=np.arange(20) % 4 == 3)
    one, same, other = (
        fit_critics(data, config=RiskConfig(num_steps=20), seed=seed)(torch.ones(1, 2)) for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
