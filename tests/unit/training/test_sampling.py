"""Drawing by weight: shares in every batch, the same objective, and no memory."""

import numpy as np
import pytest
import torch
from torch import nn

from steadyhand.core.errors import ConfigError, DataError
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.data.episode import demonstration
from steadyhand.data.frames import Frames
from steadyhand.data.sampler import WeightedSampler
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.noise import GeneratorNoise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.policies.trainable import LossRows, Trainable
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit

STEPS = np.arange(100, 200)
WEIGHT = np.where(np.arange(100) % 10 == 0, 5.0, 0.5).astype(np.float32)  # 10 of 100 steps carry 50 of 95


def test_every_batch_holds_each_source_in_its_share():
    sampler = WeightedSampler(STEPS, WEIGHT, batch_size=64, seed=1)
    share = 64 * 50 / 95
    for step in range(50):
        drawn = sampler.batch_indices(step)
        assert abs((WEIGHT[drawn - 100] == 5.0).sum() - share) <= 1.0
        assert np.array_equal(drawn, sampler.batch_indices(step))


def test_steps_are_drawn_in_proportion_to_their_weight():
    random = np.random.default_rng(0)
    weight = random.uniform(0.1, 3.0, 40)
    sampler = WeightedSampler(np.arange(40), weight, batch_size=16, seed=0)
    count = np.bincount(np.concatenate([sampler.batch_indices(n) for n in range(4000)]), minlength=40)
    expected = 16 * 4000 * weight / weight.sum()
    assert (np.abs(count - expected) < 5.0 * np.sqrt(expected)).all()


def test_weights_must_be_positive():
    with pytest.raises(DataError, match="positive"):
        WeightedSampler(STEPS, np.zeros(100), batch_size=4, seed=0)
    with pytest.raises(DataError, match="positive"):
        WeightedSampler(STEPS, np.where(np.arange(100) == 7, 0.0, 1.0), batch_size=4, seed=0)


def test_a_batch_has_one_step_at_least_and_so_have_the_data():
    assert WeightedSampler(np.array([7]), np.ones(1), batch_size=1, seed=0).batch_indices(3).tolist() == [7]
    for steps, size in ((np.arange(1), 0), (np.arange(0), 1)):
        with pytest.raises(DataError, match=f"{len(steps)} steps, batch size {size}"):
            WeightedSampler(steps, np.ones(len(steps)), batch_size=size, seed=0)


def frames_of(weight):
    random = np.random.default_rng(0)
    state = random.normal(size=(100, 2)).astype(np.float32)
    episode = demonstration({STATE: state}, random.normal(size=(100, 1)).astype(np.float32), control_dt=0.1)
    frames = Frames.from_episodes(
        [episode],
        observation_spec={STATE: FeatureSpec(shape=(2,))},
        action_spec=FeatureSpec(shape=(1,)),
    )
    frames.weight[:] = weight
    return frames


def test_both_ways_of_sampling_have_one_objective():
    frames = frames_of(WEIGHT)
    policy = PolicyModule.build(PolicyConfig(), PolicySpec.of_frames(frames), seed=0)
    policy.fit_statistics(frames)
    source = WindowSource(frames, policy.window)
    noise = GeneratorNoise.seeded(0)
    with torch.no_grad():
        whole = policy.loss_rows(source.batch(source.steps), noise).mean().item()
        sampler = WeightedSampler(source.steps, WEIGHT, batch_size=32, seed=0)
        means = []
        for step in range(400):
            drawn = sampler.batch_indices(step)
            rows = policy.loss_rows(source.batch(drawn), noise)
            means.append(rows.over(torch.from_numpy(source.weight_of(drawn))).mean().item())
    error = np.std(means) / np.sqrt(len(means))
    assert abs(np.mean(means) - whole) < 4.0 * error
    assert error < 0.02 * whole


def test_the_loop_draws_by_weight_and_learns_what_weights_ask_for():
    """Two targets for one constant: with 50 of 95 parts of the weight on 1, the mean is 50 / 95."""
    weight = WEIGHT

    class Constant(Trainable):
        def __init__(self):
            super().__init__()
            self.value = nn.Parameter(torch.zeros(()))

        def loss_rows(self, batch, noise):
            del noise
            target, w = batch
            return LossRows(numerator=w * (self.value - target).square(), denominator=w)

    class Data:
        steps = np.arange(100)

        def batch(self, steps):
            w = torch.from_numpy(weight[steps])
            return (w == 5.0).float(), w

        def weight_of(self, steps):
            return weight[steps]

    answers = {}
    for sampling in ("epochs", "weight"):
        module = Constant()
        config = TrainConfig(num_steps=800, batch_size=100, learning_rate=2e-2, sampling=sampling)
        fit(module, Data(), config=config)
        answers[sampling] = module.value.item()
    assert answers["epochs"] == pytest.approx(50 / 95, abs=5e-3)
    assert answers["weight"] == pytest.approx(50 / 95, abs=5e-3)

    class Unweighted:
        steps = Data.steps
        batch = Data.batch

    with pytest.raises(ConfigError, match="by weight"):
        fit(Constant(), Unweighted(), config=TrainConfig(num_steps=1, sampling="weight"))
