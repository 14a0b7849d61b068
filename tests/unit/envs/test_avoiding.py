"""Avoiding: its geometry, its lag, its 24 modes."""

from collections import Counter

import numpy as np
import pytest

from steadyhand.core.errors import SpecError
from steadyhand.envs.avoiding import Avoiding, AvoidingConfig
from steadyhand.envs.avoiding.layout import CENTRES, RADII, gap_at, gaps_of, route_line, route_of
from steadyhand.envs.base import Start


def test_desired_positions_add_up_and_the_finger_follows_with_a_first_order_lag():
    env, row = Avoiding(num_rows=1), np.array([0])
    env.reset(env.starts("test", 1), row)
    np.testing.assert_allclose(env.observe(row)["observation.state"][0], (0.525, -0.28) * 2, atol=1e-7)
    action = np.array([[0.01, 0.004]], dtype=np.float32)
    share, desired, actual = 1 - np.exp(-1.0), np.array((0.525, -0.28)), np.array((0.525, -0.28))
    for _ in range(5):
        env.step(action, row)
        desired = desired + action[0]
        actual = actual + share * (desired - actual)
        np.testing.assert_allclose(env.observe(row)["observation.state"][0], [*desired, *actual], atol=1e-6)
    np.testing.assert_allclose(env.position(row)[0], actual, atol=1e-6)


def test_straight_up_touches_the_first_cylinder():
    env, row = Avoiding(num_rows=1), np.array([0])
    env.reset(env.starts("test", 1), row)
    for _ in range(100):
        result = env.step(np.array([[0.0, 0.01]], dtype=np.float32), row)
        if result.terminated[0]:
            break
    assert result.terminated[0]
    assert not result.success[0]
    # 0.025 m beside the middle of a cylinder of radius 0.03 m: it is met 0.0166 m before its middle.
    assert -0.1 - 0.0166 <= env.position(row)[0, 1] <= -0.1
    assert env.mode(row)[0] == -1


def test_numbers_of_routes_count_in_mixed_radix():
    routes = np.arange(24)
    gaps = gaps_of(routes)
    assert {tuple(gap) for gap in gaps.tolist()} == {
        (a, b, c) for a in range(2) for b in range(3) for c in range(4)
    }
    np.testing.assert_array_equal(route_of(gaps), routes)
    np.testing.assert_array_equal(route_of(np.array([[0, -1, 2], [1, 2, 3]])), [-1, 23])


def row(*values):
    return np.array(values, dtype=np.float32)


def test_gaps_are_told_by_the_cylinders_to_the_left():
    np.testing.assert_array_equal(gap_at(row(0.49, 0.51), 0), [0, 1])
    np.testing.assert_array_equal(gap_at(row(0.42, 0.5, 0.58), 1), [0, 1, 2])
    np.testing.assert_array_equal(gap_at(row(0.3, 0.4, 0.6, 0.7), 2), [0, 1, 2, 3])


def test_the_mode_is_the_route_that_a_hand_drawn_way_takes():
    """Right of the first, left of the second row, third gap of the third: 12 + 0 + 2."""
    env, row = Avoiding(AvoidingConfig(lag=0.001, max_delta=0.03), num_rows=1), np.array([0])
    env.reset(env.starts("test", 1), row)
    way = [(0.6, -0.2), (0.6, -0.05), (0.34, 0.02), (0.34, 0.15), (0.575, 0.17), (0.575, 0.36), (0.7, 0.36)]
    modes, done = [], False
    for goal in way:
        while not done and np.abs(goal - env.position(row)[0]).max() > 1e-3:
            result = env.step((goal - env.position(row)).astype(np.float32), row)
            modes.append(int(env.mode(row)[0]))
            done = bool(result.terminated[0])
    assert result.success[0]
    assert env.position(row)[0, 1] > 0.35
    assert set(modes) == {-1, 14}
    assert modes[-1] == 14


def test_every_24_starts_name_every_route_once():
    starts = Avoiding(num_rows=1).starts("train", 96, seed=1)
    for first in range(0, 96, 24):
        assert {start.options["route"] for start in starts[first : first + 24]} == set(range(24))
    assert set(Counter(start.options["route"] for start in starts).values()) == {4}


def test_a_start_may_leave_the_route_open_but_not_name_a_25th():
    env, row = Avoiding(num_rows=1), np.array([0])
    env.reset([Start(family="test", seed=0)], row)
    assert env.privileged(row)["privileged.intent"][0, 0] == -1
    for route in (24.0, -2.0, 1.5):
        with pytest.raises(SpecError, match="no such route"):
            env.reset([Start(family="test", seed=0, options={"route": route})], row)


def test_slope_is_the_derivative_of_the_line():
    y = np.linspace(-0.3, 0.4, 701, dtype=np.float32)
    gap_x = np.tile(row(0.42, 0.66, 0.27), (len(y), 1))
    line, slope = route_line(y, gap_x)
    np.testing.assert_allclose(np.gradient(line, y)[1:-1], slope[1:-1], atol=0.05)
    assert line[0] == pytest.approx(0.525)
    for level, x in zip((-0.1, 0.08, 0.26), gap_x[0], strict=True):
        assert line[np.abs(y - level).argmin()] == pytest.approx(x, abs=1e-6)


def test_error_is_zero_on_a_route_and_the_geometry_is_the_published_one():
    env, row = Avoiding(num_rows=1), np.array([0])
    env.reset(env.starts("test", 1), row)
    assert env.error(row)[0] == pytest.approx(0, abs=1e-6)
    env.step(np.array([[0.02, 0.0]], dtype=np.float32), row)
    assert env.error(row)[0] == pytest.approx(0.02 * (1 - np.exp(-1)), abs=1e-5)
    np.testing.assert_allclose(CENTRES[:, 1], [-0.1, 0.08, 0.08, 0.26, 0.26, 0.26])
    np.testing.assert_allclose(RADII, [0.03, 0.025, 0.025, 0.025, 0.025, 0.025])
