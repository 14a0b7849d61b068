"""Forks: its geometry, its endings, its modes."""

import numpy as np
import pytest

from steadyhand.envs.base import Start
from steadyhand.envs.forks import Forks, ForksConfig

ORIGIN = Start(family="test", seed=0)


def walk(points, **options):
    """Walk one point along way points in straight moves; return the last result, the modes and the env."""
    env, row = Forks(ForksConfig(max_speed=10.0, max_episode_steps=200, **options), num_rows=1), np.array([0])
    env.reset([ORIGIN], row)
    modes = []
    for point in points:
        move = (np.array(point) - env.position(row)[0]) / 0.1
        result = env.step(move[None].astype(np.float32), row)
        modes.append(int(env.mode(row)[0]))
    return result, modes, env


def test_straight_on_is_the_tree_and_round_it_is_the_goal():
    result, modes, _ = walk([(0.5, 0.0), (0.76, 0.0)])
    assert result.terminated[0]
    assert not result.success[0]
    assert modes == [-1, -1]
    for sign, mode in ((1, 0), (-1, 1)):
        result, modes, _ = walk([(0.4, 0.1 * sign), (0.8, 0.4 * sign), (1.4, 0.4 * sign), (2.0001, 0.0)])
        assert result.success[0]
        assert result.terminated[0]
        assert modes == [mode] * 4


def test_the_disc_is_touched_on_the_way_through_too():
    result, *_ = walk([(0.9, 0.5), (0.9, -0.5)])
    assert result.terminated[0]
    assert not result.success[0]
    # The tangent x = 0.74 stays 1 cm clear of the disc, whose nearest point is (0.75, 0).
    result, modes, _ = walk([(0.74, 0.5), (0.74, -0.5)])
    assert not result.terminated[0]
    assert modes == [0, 1]


def test_the_mode_is_open_in_the_middle_and_kept_behind_the_disc():
    _, modes, _ = walk([(0.2, 0.04), (0.3, -0.06), (0.7, 0.4), (1.05, 0.4), (1.5, -0.3), (1.6, 0.0)])
    assert modes == [-1, 1, 0, 0, 0, 0]
    _, modes, _ = walk([(0.7, 0.4), (1.05, 0.4), (1.5, 0.0), (1.5, -0.4), (0.9, -0.4), (1.1, -0.4)])
    assert modes == [0, 0, 0, 0, 1, 1]


def test_reward_is_the_progress_and_success_needs_the_whole_way():
    result, _, env = walk([(0.5, 0.4), (1.2, 0.4), (1.999, 0.4)])
    assert not result.terminated[0]
    assert result.reward[0] == pytest.approx(0.799, abs=1e-5)
    assert env.config.goal_x == 2.0


def test_late_moves_everything_but_the_start_one_metre_on():
    early, late = ForksConfig(), ForksConfig(late=True)
    assert (late.disc_x, late.goal_x, late.step_limit) == (2.0, 3.0, 72)
    assert (early.disc_x, early.goal_x, early.step_limit) == (1.0, 2.0, 48)
    result, *_ = walk([(1.0, 0.0), (1.7, 0.0)], late=True)
    assert not result.terminated[0]


def test_starts_are_at_the_origin_or_spread_as_asked():
    env, rows = Forks(num_rows=64), np.arange(64)
    env.reset(env.starts("test", 64), rows)
    np.testing.assert_array_equal(env.position(rows), 0)
    env = Forks(ForksConfig(start_std=0.05), num_rows=500)
    env.reset(env.starts("test", 500), np.arange(500))
    x, y = env.position(np.arange(500)).T
    assert not x.any()
    assert y.std() == pytest.approx(0.05, rel=0.1)
    assert np.abs(y).max() <= 0.15 + 1e-6


@pytest.mark.parametrize("share", [0.3, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_choices_have_the_share_asked_for_among_few_starts(share, seed):
    for count in (20, 50, 100):
        below = sum(
            start.options["choice"] < share for start in Forks(num_rows=1).starts("train", count, seed=seed)
        )
        assert abs(below - share * count) <= 3


def test_error_is_the_distance_from_the_nearer_path():
    _, _, env = walk([(0.6, 0.5), (1.0, 0.5)])
    # At the middle of the disc the bump is 1, so the middle paths are at +-0.45 m.
    assert env.error(np.array([0]))[0] == pytest.approx(0.05, abs=1e-6)
    _, _, env = walk([(0.6, -0.5), (1.0, -0.4)])
    assert env.error(np.array([0]))[0] == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("control_dt", [0.02, 0.05, 0.2])
def test_the_time_limit_is_a_time_whatever_the_rate(control_dt):
    for late, limit in ((False, 4.8), (True, 7.2)):
        config = ForksConfig(late=late, control_dt=control_dt)
        assert config.step_limit * control_dt == pytest.approx(limit)
    assert ForksConfig(control_dt=control_dt, max_episode_steps=7).step_limit == 7
