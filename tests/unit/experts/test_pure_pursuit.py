"""Pure pursuit: its geometry, its labels, and that it keeps every car on the road."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.core.protocol import Actor
from steadyhand.core.seeding import RowStreams
from steadyhand.envs.car import Car, CarConfig
from steadyhand.experts.pure_pursuit import PurePursuit, goal_point


def arc(curvature, *, far=1.5):
    s = np.arange(0.02, far, 0.02)
    return np.stack([np.sin(curvature * s) / curvature, (1 - np.cos(curvature * s)) / curvature], axis=1)


@given(st.floats(-1.2, 1.2).filter(lambda k: abs(k) > 0.01), st.floats(0.2, 1.0))
def test_on_an_arc_it_steers_that_arc(curvature, lookahead):
    expert = PurePursuit(lookahead=lookahead)
    seen = {
        "privileged.path": arc(curvature)[None].astype(np.float32),
        "privileged.speed": np.full((1, 1), 2.5, dtype=np.float32),
    }
    decision = expert.act({}, seen, np.array([0]), RowStreams.from_seed(0, 1))
    body = expert.config.params
    wanted = np.clip(np.arctan(body.wheelbase * curvature) / body.max_steering, -1, 1)
    assert decision.action[0, 0] == pytest.approx(wanted, abs=2e-3)


@given(st.integers(0, 1000), st.floats(0.1, 3.0))
def test_goal_lies_at_the_lookahead_or_at_the_end(seed, lookahead):
    random = np.random.default_rng(seed)
    path = np.cumsum(random.uniform(0.0, 0.2, (3, 10, 2)), axis=1).astype(np.float32)
    goal = goal_point(path, np.full(3, lookahead, dtype=np.float32))
    distance, reach = np.hypot(*goal.T), np.hypot(*path[:, -1].T)
    first = np.hypot(*path[:, 0].T)
    wanted = np.clip(lookahead, first, reach)
    # A chord lies inside the circle through its ends.
    assert (distance <= wanted + 1e-5).all()
    assert (distance >= wanted - 0.03).all()


def test_labels_are_its_own_actions_and_are_counted():
    env = Car(CarConfig(observation=("state",)), num_rows=5)
    env.reset(env.starts("train", 5), np.arange(5))
    expert, rows = PurePursuit(lookahead_time=0.1), np.array([0, 2, 3])
    for _ in range(2):
        decision = expert.act({}, env.privileged(rows), rows, RowStreams.from_seed(0, 3))
    np.testing.assert_array_equal(decision.label, decision.action)
    assert decision.label_valid.all()
    assert (decision.actor == Actor.EXPERT).all()
    assert decision.action.dtype == np.float32
    assert expert.num_queries == 6


@pytest.mark.parametrize(
    "config", [CarConfig(observation=("state",)), CarConfig(observation=("state",), action="steering_speed")]
)
def test_it_keeps_all_64_cars_on_the_test_tracks_for_a_minute(config):
    env = Car(config, num_rows=64)
    rows = np.arange(64)
    env.reset(env.starts("test", 64), rows)
    expert, streams = PurePursuit(config), RowStreams.from_seed(0, 64)
    worst = 0.0
    for _ in range(config.max_episode_steps):
        result = env.step(expert.act({}, env.privileged(rows), rows, streams).action, rows)
        worst = max(worst, float(env.error(rows).max()))
        assert not result.terminated.any()
    assert result.success.all()
    assert worst < 0.1


def test_it_says_what_it_needs():
    with pytest.raises(CapabilityError, match="path"):
        PurePursuit().act({}, {}, np.array([0]), RowStreams.from_seed(0, 1))
    with pytest.raises(SpecError, match="look-ahead"):
        PurePursuit(lookahead=0.0)
