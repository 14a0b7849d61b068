"""The car run backwards, against the car run forwards."""

import numpy as np
import pytest

from steadyhand.envs.car import Car, CarConfig
from steadyhand.envs.car.dynamics import dynamics, parameters
from steadyhand.envs.car.inverse import before, moved


@pytest.mark.parametrize("action", ["steering", "steering_speed"])
def test_the_step_leads_from_there_to_here(action):
    params = parameters(CarConfig(action=action))
    random = np.random.default_rng(0)
    low, high = (-5, -5, -3, -0.38, 0.5), (5, 5, 3, 0.38, 4.5)
    state = random.uniform(low, high, (500, 5))
    command = random.uniform(-1, 1, (500, 1 if action == "steering" else 2))
    found = before(state, command, params=params)
    known = np.isfinite(found).all(axis=1)
    assert 50 < known.sum() < 500
    there = dynamics(found[known], command[known], params=params, xp=np)
    np.testing.assert_allclose(there[:, [0, 1, 3, 4]], state[known][:, [0, 1, 3, 4]], atol=1e-9)
    np.testing.assert_allclose(np.exp(1j * there[:, 2]), np.exp(1j * state[known][:, 2]), atol=1e-9)


def test_with_wheels_that_nobody_sees_only_pose_and_speed_are_reached():
    params = parameters(CarConfig(action="steering_speed"))
    random = np.random.default_rng(1)
    low, high = (-5, -5, -3, -0.38, 0.5), (5, 5, 3, 0.38, 4.0)
    state = random.uniform(low, high, (200, 5))
    command, wheels = random.uniform(-1, 1, (200, 2)), random.uniform(-0.38, 0.38, 200)
    command[:, 1] = 2.0 * state[:, 4] / params["max_speed"] - 1.0
    found = before(state, command, params=params, steering=wheels)
    np.testing.assert_array_equal(found[:, 3], wheels)
    there = dynamics(found, command, params=params, xp=np)
    np.testing.assert_allclose(there[:, [0, 1, 4]], state[:, [0, 1, 4]], atol=1e-9)
    np.testing.assert_allclose(np.exp(1j * there[:, 2]), np.exp(1j * state[:, 2]), atol=1e-9)


def test_there_is_none_where_the_wheels_would_have_been_past_their_stop():
    """Wheels close to a stop that are turning away from it at full rate would have come from beyond it."""
    params = parameters(CarConfig())
    state = np.array([[0.0, 0.0, 0.0, 0.3, 2.5], [0.0, 0.0, 0.0, -0.3, 2.5]])
    found = before(state, np.array([[0.5], [0.9]]), params=params)
    # 0.16 rad a step: the first came down from 0.46 rad, past the stop at 0.38.
    assert np.isnan(found[0]).all()
    assert np.isnan(found[1]).all()


def test_a_drive_at_rest_in_its_commands_is_retraced():
    config = CarConfig(start_lateral_std=0.05)
    env = Car(config, num_rows=4)
    rows = np.arange(4)
    env.reset(env.starts("train", 4), rows)
    command = np.full((4, 1), 0.2, dtype=np.float32)
    for _ in range(4):
        env.step(command, rows)
    old = env.state(rows)
    env.step(command, rows)
    new = env.state(rows)
    found = before(new["values"][:, :5], command, params=parameters(config))
    np.testing.assert_allclose(found, old["values"][:, :5], atol=2e-6)
    other = Car(CarConfig(observation=("scan",)), num_rows=4)
    other.restore(moved(new, found), rows)
    seen = other.observe(rows)
    other.restore(old, rows)
    for name, value in other.observe(rows).items():
        np.testing.assert_allclose(seen[name], value, atol=2e-2)
