"""What an evaluation keeps about ways, and the mean-versus-sample test, on a line with two ends."""

import numpy as np
import pytest
import torch

from point_env import PointEnv
from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.envs.base import Start, StepResult
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Encoder, Head, Loss
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.rollout.evaluate import evaluate
from steadyhand.rollout.executors.receding import RecedingHorizon
from steadyhand.rollout.samples import MeanOfSamples, mean_versus_sample


class TwoEnds(PointEnv):
    """Reaching x = 1 (way 0) or x = -1 (way 1) succeeds; staying between them fails. Open while |x| < 0.3."""

    def starts(self, family, count, *, seed=0):
        return tuple(
            Start(family=family, seed=index, options={"x": 0.1 * (index % 2)}) for index in range(count)
        )

    def step(self, actions, rows):
        result = super().step(actions, rows)
        arrived = np.abs(self.x[rows]) >= 1
        return StepResult(
            reward=result.reward,
            terminated=arrived,
            truncated=~arrived & (self.time[rows] >= self.spec.max_episode_steps),
            success=arrived,
        )

    @property
    def num_modes(self):
        return 2

    def mode(self, rows):
        x = self.x[rows]
        return np.where(np.abs(x) < 0.3, -1, (x < 0).astype(np.int64))


class Scripted(Controller):
    """Row r does step t of its script; scripts are by row, for as many starts as rows."""

    def __init__(self, scripts):
        self.scripts = np.array(scripts, dtype=np.float32)
        self.time = np.zeros(len(scripts), dtype=np.int64)

    def begin(self, rows):
        self.time[rows] = 0

    def act(self, observation, privileged, rows, generator):
        action = self.scripts[rows, self.time[rows], None]
        self.time[rows] += 1
        return Decision.by(Actor.POLICY, action)


def test_the_way_is_kept_for_every_step_and_for_the_end():
    env = TwoEnds(3, max_episode_steps=5)
    scripts = [[0.5, 0.5, 0, 0, 0], [-0.5, 0.5, 0.5, 0.5, 0], [0.1, -0.2, 0, 0, 0]]
    found = evaluate(env, Scripted(scripts), env.starts("test", 3), name="scripted")
    assert found.num_modes == 2
    assert found.mode_track.dtype == np.int8
    np.testing.assert_array_equal(
        found.mode_track,
        [[0, 0, -1, -1, -1], [1, -1, 0, 0, -1], [-1, -1, -1, -1, -1]],
    )
    np.testing.assert_array_equal(found.modes, [0, 0, -1])
    np.testing.assert_array_equal(found.success, [True, True, False])
    np.testing.assert_array_equal(found.lengths, [2, 4, 5])


@pytest.mark.parametrize("num_rows", [1, 2, 3, 8])
def test_equal_first_observations_make_a_group_whatever_the_batch(num_rows):
    env = TwoEnds(num_rows, max_episode_steps=4)
    found = evaluate(env, Scripted([[0.5] * 4] * num_rows), env.starts("test", 6), name="scripted")
    np.testing.assert_array_equal(found.group, [0, 1, 0, 1, 0, 1])


def test_an_env_that_does_not_know_its_ways_leaves_them_out():
    env = PointEnv(2, max_episode_steps=4)
    found = evaluate(env, Scripted([[0.0] * 4] * 2), env.starts("test", 2), name="still")
    assert found.num_modes is found.modes is found.mode_track is None
    assert len(found.group) == 2


class Seeing(Encoder):
    spec = ContextSpec(num_tokens=1, width=1)

    def forward(self, observation, is_pad, noise):
        return Context.single(observation[STATE][:, -1])


class Coin(Head):
    """Goes to the end it is nearer to; in the middle a coin decides. Its mean there is 0."""

    draws = True

    def __init__(self, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk

    def loss(self, context, target, noise) -> Loss:
        raise NotImplementedError

    def sample(self, context, noise, prefix=None):
        x = context.flat()
        side = torch.where(noise.uniform(len(x), 1) < 0.5, 1.0, -1.0)
        side = torch.where(x.abs() > 0.3, x.sign(), side)
        return side[:, None].expand(-1, self.chunk.horizon, 1) * 0.5


def coin_policy(*, action: FeatureSpec | None = None) -> PolicyModule:
    config = PolicyConfig(
        horizon=2, n_action_steps=2, normalisation={STATE: "identity", "action": "identity"}
    )
    spec = PolicySpec(
        observation={STATE: FeatureSpec(shape=(1,))},
        action=action or FeatureSpec(shape=(1,), low=(-0.5,), high=(0.5,)),
        control_dt=0.1,
    )
    policy = PolicyModule(config, spec, Seeing(), Coin(ChunkSpec(horizon=2, action_dim=1)))
    for affine in policy.normaliser.values():
        affine.fit(np.zeros((2, 1)))
    return policy


def test_the_mean_is_that_of_the_samples():
    policy = coin_policy()
    rows, streams = np.arange(3), RowStreams.from_seed(0, 3)
    observation = {STATE: np.zeros((3, 1), dtype=np.float32)}
    mean = MeanOfSamples(policy, num_rows=3, num_samples=400)
    mean.begin(rows)
    action = mean.act(observation, {}, rows, streams).action
    assert action.dtype == np.float32
    np.testing.assert_allclose(action, 0.0, atol=0.5 * 4 / np.sqrt(400))
    assert len(np.unique(action)) == 3, "rows draw their own"
    # One sample is what the plain executor plays.
    single = RecedingHorizon(policy, num_rows=3, deterministic=False)
    one = MeanOfSamples(policy, num_rows=3, num_samples=1)
    for controller in (single, one):
        controller.begin(rows)
    np.testing.assert_array_equal(
        single.act(observation, {}, rows, streams).action, one.act(observation, {}, rows, streams).action
    )


def test_a_row_does_not_depend_on_its_neighbours():
    policy, streams = coin_policy(), RowStreams.from_seed(0, 4)
    observation = {STATE: np.zeros((4, 1), dtype=np.float32)}
    both = MeanOfSamples(policy, num_rows=4)
    alone = MeanOfSamples(policy, num_rows=4)
    both.begin(np.arange(4))
    alone.begin(np.arange(4))
    together = both.act(observation, {}, np.arange(4), streams).action
    third = alone.act({STATE: observation[STATE][2:3]}, {}, np.array([2]), streams.take(np.array([2]))).action
    np.testing.assert_array_equal(together[2:3], third)


def test_the_mean_fails_where_the_sample_succeeds():
    env = TwoEnds(8, max_episode_steps=4)
    found = mean_versus_sample(env, coin_policy(), env.starts("test", 24), num_samples=16)
    assert found.sample.success.all()
    assert set(found.sample.modes.tolist()) == {0, 1}
    assert found.mean.success.mean() < 0.5
    assert found.success.difference.interval.high < 0
    assert found.success.pairing.only_a == 0


def test_what_has_no_mean_is_refused():
    with pytest.raises(ConfigError, match="samples"):
        MeanOfSamples(coin_policy(), num_rows=1, num_samples=0)
    discrete = FeatureSpec(shape=(1,), dtype="int64", kind="discrete", num_classes=2)
    with pytest.raises(CapabilityError, match="no mean"):
        MeanOfSamples(coin_policy(action=discrete), num_rows=1)
