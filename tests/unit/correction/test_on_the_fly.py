"""The buffer's balance by counting, and the whole of ALVINN for half a minute of driving."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from point_env import Halving, PointEnv
from steadyhand.core.errors import CapabilityError, ConfigError, DataError
from steadyhand.core.specs import discrete_spec
from steadyhand.correction.on_the_fly import OnTheFlyConfig, as_batch, learn_on_the_fly
from steadyhand.correction.pattern_buffer import PatternBuffer
from steadyhand.correction.view_config import AlvinnViews
from steadyhand.envs.car import Car, CarConfig
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.policies.encoders.image import FlatImage
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.hill import GaussianHill
from steadyhand.policies.noise import GeneratorNoise
from steadyhand.policies.spec import PolicyConfig


def buffer(eviction, *, capacity=200, **options):
    return PatternBuffer(capacity, eviction=eviction, generator=np.random.default_rng(0), **options)


def feed(into, steering):
    label = np.float32(steering)[:, None]
    into.add({"seen": label.copy()}, label)


def bends_then_straight(eviction, straight=2000):
    """Left and right bends in turn, then a long straight; returns the share of bends that are left."""
    held = buffer(eviction)
    random = np.random.default_rng(1)
    feed(held, np.where(np.arange(200) % 2, 0.6, -0.6) + 0.05 * random.standard_normal(200))
    feed(held, 0.02 * random.standard_normal(straight))
    return held, float((np.abs(held.steering) > 0.3).mean())


def test_random_eviction_forgets_bends_on_a_long_straight_and_balanced_does_not():
    for eviction in ("random", "oldest"):
        assert bends_then_straight(eviction)[1] < 0.01
    # A pattern survives n random evictions out of 200 with probability (1 - 1/200)^n.
    held, kept = bends_then_straight("random", straight=138)
    assert kept == pytest.approx((1 - 1 / 200) ** 138, abs=0.11)
    held, kept = bends_then_straight("balanced")
    assert kept > 0.25
    assert abs(held.steering.mean()) < 0.01


def test_balanced_eviction_keeps_the_mean_straight_ahead_in_a_long_bend():
    random = np.random.default_rng(2)
    worst = {}
    for eviction in ("balanced", "random"):
        held = buffer(eviction)
        feed(held, 0.3 * random.standard_normal(200))
        means = []
        for _ in range(60):
            feed(held, 0.5 + 0.1 * random.standard_normal(15))
            means.append(abs(held.steering.mean()))
        worst[eviction] = max(means)
    assert worst["random"] > 0.45
    assert worst["balanced"] < 0.06


@pytest.mark.parametrize("centre", [0.0, 0.7])
def test_each_balanced_eviction_is_the_best_of_all_when_all_are_candidates(centre):
    random = np.random.default_rng(3)
    held = buffer("balanced", capacity=12, candidates=12, centre=centre)
    feed(held, random.standard_normal(12))
    for _ in range(50):
        before, new = held.steering.copy(), float(np.float32(random.standard_normal()))
        feed(held, [new])
        means = [abs(np.delete(before, i).sum() + new - 12 * centre) for i in range(12)]
        changed = np.flatnonzero(held.steering != before)
        assert changed.tolist() == [int(np.argmin(means))]
        assert held.steering[changed[0]] == new


def test_of_several_that_balance_alike_the_oldest_leaves():
    held = PatternBuffer(3, eviction="balanced", generator=np.random.default_rng(0), candidates=3)
    held.add({"seen": np.arange(3)}, np.float32([[0.5], [0.5], [-0.5]]))
    held.add({"seen": np.array([3])}, np.float32([[0.5]]))
    assert held.observation["seen"].tolist() == [3, 1, 2]
    held.add({"seen": np.array([4])}, np.float32([[0.5]]))
    assert held.observation["seen"].tolist() == [3, 4, 2]
    held = PatternBuffer(2, eviction="balanced", generator=np.random.default_rng(0), candidates=2, centre=1.0)
    held.add({"seen": np.arange(2)}, np.float32([[0.0], [2.0]]))
    held.add({"seen": np.array([2])}, np.float32([[1.0]]))
    assert held.observation["seen"].tolist() == [2, 1]


def test_the_buffer_keeps_pictures_with_their_labels_and_the_oldest_leaves_first():
    held = buffer("oldest", capacity=5)
    with pytest.raises(DataError, match="empty"):
        _ = held.label
    feed(held, np.arange(3.0))
    assert len(held) == 3
    feed(held, np.arange(3.0, 8.0))
    assert sorted(held.label[:, 0].tolist()) == [3.0, 4.0, 5.0, 6.0, 7.0]
    assert np.array_equal(held.observation["seen"], held.label)
    assert sorted(held.order(np.random.default_rng(0)).tolist()) == [0, 1, 2, 3, 4]
    chosen = np.array([4, 0])
    batch = as_batch(held.observation, held.label, chosen)
    assert torch.equal(batch.observation["seen"][:, 0], batch.actions[:, 0])
    assert batch.actions[:, 0, 0].tolist() == held.label[chosen, 0].tolist()
    assert batch.weight.tolist() == [[1.0], [1.0]]
    assert batch.obs_is_pad.tolist() == batch.action_is_pad.tolist() == [[False], [False]]


def test_a_small_buffer_has_no_more_candidates_than_patterns():
    held = buffer("balanced", capacity=3)
    feed(held, [0.5, -0.5, 0.2, -0.2])
    assert held.steering.round(1).tolist() == [0.5, -0.5, -0.2]  # without 0.2 the sum is nearest to 0
    one = buffer("balanced", capacity=1, candidates=1)
    feed(one, [0.5, 0.25])
    assert one.steering.tolist() == [0.25]


def test_a_centre_other_than_zero_can_be_kept():
    held = buffer("balanced", centre=0.4)
    random = np.random.default_rng(4)
    feed(held, 0.4 + 0.3 * random.standard_normal(200))
    feed(held, 0.3 * random.standard_normal(600))
    assert held.steering.mean() == pytest.approx(0.4, abs=0.02)


CAR = CarConfig(num_tracks=2)
ALVINN = PolicyConfig(encoder=FlatImage(hidden=(4,)), head=GaussianHill())
SHORT = OnTheFlyConfig(seconds=20.0, cycle_seconds=0.5)


def learn(config=SHORT, policy=ALVINN, *, seed=0, car=CAR):
    env = Car(car, num_rows=1)
    return learn_on_the_fly(
        env, PurePursuit(car), policy=policy, config=config, starts=env.starts("train", 3), seed=seed
    )


def test_the_net_learns_while_the_driver_drives():
    result = learn(policy=PolicyConfig(encoder=FlatImage(hidden=(32,)), head=GaussianHill()))
    assert result.driven_steps == 400
    assert result.labels == len(result.cycles) == 40
    assert [one.step for one in result.cycles] == [1 + 10 * i for i in range(40)]
    assert [one.patterns for one in result.cycles[:15]] == [*(15 * i for i in range(1, 14)), 200, 200]
    assert abs(result.cycles[-1].mean) < 0.05
    assert result.cycles[-1].loss < 0.5 * result.cycles[0].loss
    # On what the buffer holds the answer is nearer to the label than the mean label is.
    held = result.buffer
    seen = {name: value[:, None] for name, value in held.observation.items()}
    answer = result.policy.predict_chunk(seen)[:, 0, 0].numpy()
    assert np.abs(answer - held.steering).mean() < 0.5 * np.abs(held.steering).mean()
    assert not result.policy.training


def test_a_cycle_sees_the_whole_buffer_in_batches_as_often_as_asked(monkeypatch):
    seen: list[np.ndarray] = []

    def noted(observation, label, chosen):
        seen.append(chosen)
        return as_batch(observation, label, chosen)

    monkeypatch.setattr("steadyhand.correction.on_the_fly.as_batch", noted)
    result = learn(replace(SHORT, seconds=1.0, epochs_per_cycle=2, batch_size=4))
    held = [one.patterns for one in result.cycles]
    assert [len(chosen) for chosen in seen] == [4, 4, 4, 3] * 2 + [4] * 7 + [2] + [4] * 7 + [2]
    assert held == [15, 30]
    for first, last, count in ((0, 4, 15), (4, 8, 15), (8, 16, 30), (16, 24, 30)):
        assert sorted(np.concatenate(seen[first:last]).tolist()) == list(range(count))
    assert seen[0].tolist() != seen[4].tolist()


def test_the_same_seed_gives_the_same_net():
    config = replace(SHORT, seconds=4.0)
    one, two, other = learn(config), learn(config), learn(config, seed=1)
    assert one.cycles == two.cycles
    for name, value in one.policy.state_dict().items():
        assert torch.equal(value, two.policy.state_dict()[name])
    assert one.cycles != other.cycles


def test_each_update_is_a_step_of_adamw_on_the_gradient_of_its_batch_alone(monkeypatch):
    batches = []

    def noted(observation, label, chosen):
        batches.append(as_batch(observation, label, chosen))
        return batches[-1]

    monkeypatch.setattr("steadyhand.correction.on_the_fly.as_batch", noted)
    learnt = learn(replace(SHORT, seconds=1.0)).policy
    monkeypatch.undo()
    other = learn(replace(SHORT, seconds=0.05, learning_rate=1e-30)).policy  # as it was in the beginning
    optimizer = torch.optim.AdamW(other.parameters(), lr=SHORT.learning_rate, weight_decay=0.0)
    for batch in batches:
        optimizer.zero_grad()
        other.loss_rows(batch, GeneratorNoise.seeded(0)).mean().backward()
        optimizer.step()
    assert len(batches) == 5
    for name, value in learnt.state_dict().items():
        assert torch.allclose(value, other.state_dict()[name], atol=1e-5), name


def test_a_cycle_shorter_than_a_control_step_is_a_look_at_every_step():
    few = replace(SHORT, seconds=0.25, cycle_seconds=0.01, views=AlvinnViews(num_views=1))
    result = learn(few)
    assert [one.step for one in result.cycles] == [1, 2, 3, 4, 5]
    assert [one.patterns for one in result.cycles] == [2, 4, 6, 8, 10]


class Geared(Car):
    """Shows its gear, one of 3 to 7, beside its lidar."""

    def __init__(self, **bounds):
        super().__init__(replace(CAR, observation=("lidar",)), num_rows=1)
        ((name, lidar),) = self.spec.observation.items()
        self.spec = replace(
            self.spec,
            observation={name: replace(lidar, **bounds), "observation.gear": discrete_spec(5, start=3)},
        )

    def observe(self, rows, *, view_offset=None):
        seen = super().observe(rows, view_offset=view_offset)
        return {**seen, "observation.gear": np.full((len(rows), 1), 7)}


def test_ranges_are_finite_on_both_sides_and_classes_have_none():
    policy = PolicyConfig(encoder=StateMLP(hidden=(8,)), head=GaussianHill())
    config = replace(SHORT, seconds=0.1, views=AlvinnViews(num_views=1))

    def go(env):
        driver, starts = PurePursuit(CAR), env.starts("train", 1)
        return learn_on_the_fly(env, driver, policy=policy, config=config, starts=starts, seed=0)

    assert go(Geared()).labels == 1
    beams = next(iter(Geared().spec.observation.values())).shape[0]
    for bounds in ({"high": (np.inf, *[1e3] * (beams - 1))}, {"low": None}, {"high": None}):
        with pytest.raises(ConfigError, match="no bounds"):
            go(Geared(**bounds))


def test_one_row_is_driven_of_however_many():
    config = replace(SHORT, seconds=1.0)
    env, driver = Car(CAR, num_rows=3), PurePursuit(CAR)
    starts = env.starts("train", 3)
    result = learn_on_the_fly(env, driver, policy=ALVINN, config=config, starts=starts, seed=0)
    assert result.driven_steps == 20
    assert result.cycles == learn(config).cycles


def test_eviction_is_passed_on():
    config = replace(SHORT, seconds=8.0)
    balanced = learn(config).cycles
    random = learn(replace(config, eviction="random")).cycles
    assert balanced[:13] == random[:13]
    assert balanced[-1].mean != random[-1].mean


def test_vectors_need_a_known_range():
    lidar = replace(CAR, observation=("lidar",))
    config = replace(SHORT, seconds=1.0)
    policy = PolicyConfig(encoder=StateMLP(hidden=(8,)), head=GaussianHill())
    assert learn(config, policy, car=lidar).labels == 2
    state = replace(CAR, observation=("state",))
    with pytest.raises(ConfigError, match="no bounds"):
        learn(config, policy, car=state)
    plain = replace(policy, normalisation={"observation.state": "identity"})
    assert learn(config, plain, car=state).labels == 2


def test_what_does_not_fit_is_refused():
    for more in ({"horizon": 4}, {"n_obs_steps": 2}):
        with pytest.raises(ConfigError, match="one picture"):
            learn(policy=replace(ALVINN, **more))
    with pytest.raises(ConfigError, match="used up"):
        learn(replace(SHORT, seconds=10_000.0), car=replace(CAR, max_episode_steps=5))
    with pytest.raises(ConfigError, match="buffer is smaller"):
        OnTheFlyConfig(capacity=14)
    assert OnTheFlyConfig(capacity=15).capacity == 15
    for wrong in ({"capacity": 0}, {"capacity": 3, "candidates": 0}):
        with pytest.raises(ConfigError, match="holds patterns"):
            buffer("random", **wrong)
    with pytest.raises(ConfigError, match="seconds"):
        OnTheFlyConfig(seconds=0.0)
    env = PointEnv(1)
    plain = PolicyConfig(encoder=StateMLP(hidden=(8,)), normalisation={"observation.state": "identity"})
    with pytest.raises(CapabilityError, match="displaced"):
        learn_on_the_fly(env, Halving(), policy=plain, config=SHORT, starts=env.starts("train", 2), seed=0)


def test_views_may_be_of_another_kind():
    few = replace(SHORT, seconds=1.0, views=AlvinnViews(num_views=2))
    assert learn(few).cycles[-1].patterns == 6
