"""What the score of a policy's own loss asks its head for."""

import numpy as np
import pytest
import torch
from torch import Tensor

from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.policies.contract import Context, Loss, Target
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.judging import Judging
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.noise import Noise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.scores import OwnLoss, Seen
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.testing import toy_frames

ROWS, COUNT, HORIZON = 3, 5, 2
DIFFUSION = Diffusion(net=DenoisingMLP(hidden=(8,), time_width=4), num_sample_steps=2)
FRAMES = toy_frames({STATE: FeatureSpec(shape=(4,))}, FeatureSpec(shape=(2,)), num_episodes=2)
SEEN = Seen(observation={STATE: np.random.default_rng(0).normal(size=(ROWS, 1, 4)).astype(np.float32)})


class Asked:
    """Stands in for a head's loss, and keeps what it is asked with."""

    def __init__(self, head: HeadConfig, monkeypatch: pytest.MonkeyPatch, streams: RowStreams) -> None:
        config = PolicyConfig(encoder=StateMLP(hidden=(6,)), head=head, horizon=HORIZON)
        policy = PolicyModule.build(config, PolicySpec.of_frames(FRAMES))
        policy.fit_statistics(FRAMES)
        monkeypatch.setattr(policy.head, "loss", self.loss)
        action = np.zeros((ROWS, 2), dtype=np.float32)
        self.score = OwnLoss(policy, num_draws=COUNT)(SEEN, action, streams)

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        self.context, self.target = context.flat(), target
        self.times, self.grid = noise.uniform(ROWS * COUNT), noise.uniform(ROWS * COUNT, 4)
        self.normal = noise.normal(ROWS * COUNT, 3, 2)
        return Loss(value=torch.arange(2.0 * ROWS * COUNT).view(-1, 2))


def runs(value: Tensor) -> Tensor:
    """Return (ROWS, COUNT, ...): what belongs to each row."""
    return value.unflatten(0, (ROWS, COUNT))


@pytest.mark.parametrize("head", [DIFFUSION, Judging(head=DIFFUSION)], ids=["denoised", "judging"])
def test_of_a_denoiser_one_answer_is_judged_at_times_that_are_evenly_spaced(
    head: HeadConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(head, monkeypatch, RowStreams.from_seed(1, ROWS))
    chunks = runs(asked.target.actions)
    assert torch.equal(chunks, chunks[:, :1].expand_as(chunks))
    assert not torch.equal(chunks[0], chunks[1])
    times = runs(asked.times)
    torch.testing.assert_close(times.diff(dim=1), torch.full((ROWS, COUNT - 1), 1 / COUNT))
    assert ((times[:, 0] >= 0) & (times[:, 0] < 1 / COUNT)).all()
    assert len(times[:, 0].unique()) == ROWS


def test_of_others_each_answer_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    head = Mixture(num_modes=2, low_noise=False)
    asked = Asked(head, monkeypatch, RowStreams.from_seed(1, ROWS))
    assert len(asked.target.actions.flatten(1).unique(dim=0)) == ROWS * COUNT
    assert (runs(asked.times).diff(dim=1) < 0).any()


@pytest.mark.parametrize("head", [DIFFUSION, Mixture(num_modes=2)], ids=["denoised", "others"])
def test_every_row_has_a_run_of_its_own_draws(head: HeadConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(head, monkeypatch, RowStreams.from_seed(1, ROWS))
    assert asked.score.tolist() == [4.5, 14.5, 24.5]  # the means of 0 .. 9, 10 .. 19 and 20 .. 29
    contexts = runs(asked.context)
    assert torch.equal(contexts, contexts[:, :1].expand_as(contexts))
    assert len(asked.context.unique(dim=0)) == ROWS
    assert asked.target.actions.shape == (ROWS * COUNT, HORIZON, 2)
    assert asked.target.weight.shape == asked.target.is_pad.shape == (ROWS * COUNT, HORIZON)
    assert not asked.target.is_absent.any()
    assert (asked.grid.shape, asked.normal.shape) == ((ROWS * COUNT, 4), (ROWS * COUNT, 3, 2))
    assert len(asked.grid.unique()) == ROWS * COUNT * 4
    assert len(asked.normal.unique()) == ROWS * COUNT * 6
    others = Asked(head, monkeypatch, RowStreams.from_seed(1, ROWS).take(np.array([2, 1, 0])))
    assert torch.equal(runs(others.grid), runs(asked.grid).flip(0))
    assert torch.equal(runs(others.normal), runs(asked.normal).flip(0))


@pytest.mark.parametrize("head", [DIFFUSION, Mixture(num_modes=2)], ids=["denoised", "others"])
def test_no_uniform_draw_is_rounded_to_one(head: HeadConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 - 2^-53 is 1 in single precision, and lies beyond the last class and the last step."""

    class Highest(RowStreams):
        def fork(self, name: str) -> "Highest":
            return Highest(self.keys)

        def uniform(self, *shape: int) -> np.ndarray:
            return np.full((len(self), *shape), 1.0 - 2.0**-53)

    asked = Asked(head, monkeypatch, Highest(RowStreams.from_seed(1, ROWS).keys))
    for drawn in (asked.times, asked.grid):
        assert 0.99 < drawn.max().item() < 1.0
