"""The linear system and its regulator, against linear algebra and SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import solve_discrete_are

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import CapabilityError, ConfigError, SpecError
from steadyhand.core.specs import STATE
from steadyhand.envs import make
from steadyhand.envs.base import Start
from steadyhand.envs.linear import LinearConfig
from steadyhand.experts.linear import (
    LinearFeedback,
    lqr_gain,
    regulator,
    slow_direction,
    spectral_radius,
)
from steadyhand.rollout.evaluate import evaluate

SYSTEMS = ("unstable", "stable")


@pytest.mark.parametrize(("system", "radius"), [("unstable", 1.16**0.5), ("stable", 0.86 * 1.16**0.5)])
def test_spectral_radii_are_those_of_the_page(system, radius):
    """A^2 = 1.16 I before scaling, since A has no trace."""
    config = LinearConfig(system=system)
    assert spectral_radius(config.a) == pytest.approx(radius)
    assert (radius > 1.0) == (system == "unstable")


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_regulator_is_scipys_and_stabilises(system):
    config = LinearConfig(system=system)
    a, b = config.a, config.b
    cost = solve_discrete_are(a, b, config.state_cost, config.input_cost)
    gain = -np.linalg.solve(config.input_cost + b.T @ cost @ b, b.T @ cost @ a)
    np.testing.assert_allclose(regulator(config).gain, gain, atol=1e-9)
    assert spectral_radius(a + b @ gain) < 0.8


@given(st.integers(0, 500))
def test_riccatis_iteration_agrees_with_scipy_on_random_systems(seed):
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(3, 3)), random.normal(size=(3, 2))
    q, r = np.diag(random.uniform(0.1, 2.0, 3)), np.diag(random.uniform(0.1, 2.0, 2))
    cost = solve_discrete_are(a, b, q, r)
    expected = -np.linalg.solve(r + b.T @ cost @ b, b.T @ cost @ a)
    np.testing.assert_allclose(lqr_gain(a, b, state_cost=q, input_cost=r), expected, rtol=1e-5, atol=1e-6)


def test_what_no_input_reaches_cannot_be_regulated():
    a, b = np.diag((1.2, 0.5)), np.array(((0.0,), (1.0,)))
    with pytest.raises(SpecError, match="did not come to rest"):
        lqr_gain(a, b, state_cost=np.eye(2), input_cost=np.eye(1))


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_slow_direction_is_kept_and_no_other(system):
    config = LinearConfig(system=system)
    loop = config.a + config.b @ regulator(config).gain
    line = slow_direction(loop)
    np.testing.assert_allclose(loop @ line, spectral_radius(loop) * line, atol=1e-9)
    with pytest.raises(SpecError, match="turns"):
        slow_direction(np.array(((0.0, -0.5), (0.5, 0.0))))


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_step_is_the_closed_form_and_torch_agrees(system):
    torch = pytest.importorskip("torch")
    env = make("linear", num_rows=5, system=system)
    rows = np.arange(5)
    env.reset(env.starts("train", 5), rows)
    before = env.state(rows)["values"]
    action = np.random.default_rng(0).normal(size=(5, 1)).astype(np.float32)
    result = env.step(action, rows)
    expected = before @ env.config.a.T + action.astype(np.float64) @ env.config.b.T
    np.testing.assert_allclose(env.state(rows)["values"], expected, atol=1e-12)
    np.testing.assert_array_equal(
        env.state(rows)["values"], env.dynamics(before, action.astype(np.float64), params={}, xp=np)
    )
    other = env.dynamics(torch.tensor(before), torch.tensor(action).double(), params={}, xp=torch)
    np.testing.assert_allclose(other.numpy(), expected, atol=1e-12)
    cost = before[:, 0] ** 2 + 100 * before[:, 1] ** 2 + 100 * action[:, 0].astype(np.float64) ** 2
    np.testing.assert_allclose(result.reward, -cost, rtol=1e-5)
    np.testing.assert_allclose(env.error(rows), np.linalg.norm(expected, axis=1), rtol=1e-6)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_regulator_brings_every_start_to_rest_and_standing_still_does_not(system):
    env = make("linear", num_rows=20, system=system, max_episode_steps=200)
    starts = env.starts("test", 20)
    assert evaluate(env, regulator(env.config), starts, name="expert").success.all()
    still = evaluate(env, LinearFeedback(np.zeros((1, 2))), starts, name="still")
    assert still.success.all() == (system == "stable")


def test_starts_lie_on_their_line_and_families_differ():
    line = (3.0, -4.0)
    env = make("linear", num_rows=1, line=line)
    starts = [[s.options["x1"], s.options["x2"]] for s in env.starts("train", 50)]
    across = np.array(starts) @ np.array((4.0, 3.0))
    np.testing.assert_allclose(across, 0.0, atol=1e-12)
    assert np.std(np.array(starts) @ np.array((0.6, -0.8))) == pytest.approx(1.0, abs=0.35)
    assert env.starts("test", 9)[:4] == env.starts("test", 4)
    families = [env.starts(family, 40) for family in ("train", "validation", "test")]
    assert len({start.seed for starts in families for start in starts}) == 120
    round_about = make("linear", num_rows=1).starts("train", 50)
    assert np.linalg.matrix_rank([[s.options["x1"], s.options["x2"]] for s in round_about]) == 2


def test_running_away_ends_the_episode_and_a_snapshot_continues():
    env = make("linear", num_rows=2, limit=5.0, max_episode_steps=100)
    rows = np.arange(2)
    env.reset([Start(family="train", seed=0, options={"x1": 1.0}), Start(family="train", seed=1)], rows)
    snapshot = env.state(rows)
    alive, ended_at = rows, np.zeros(2, dtype=int)
    while len(alive):
        result = env.step(np.zeros((len(alive), 1), dtype=np.float32), alive)
        ended_at[alive] += 1
        np.testing.assert_array_equal(result.success, result.truncated)
        alive = alive[~(result.terminated | result.truncated)]
    size = [np.linalg.norm(np.linalg.matrix_power(env.config.a, n) @ (1.0, 0.0)) for n in range(100)]
    assert ended_at.tolist() == [int(np.argmax(np.array(size) > 5.0)), 100]
    with pytest.raises(SpecError, match="ended was stepped"):
        env.step(np.zeros((1, 1), dtype=np.float32), np.array([0]))
    env.restore(snapshot, rows)
    np.testing.assert_array_equal(env.observe(rows)[STATE], [[1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(env.position(rows), env.observe(rows)[STATE])


def test_bad_calls_are_named():
    env = make("linear", num_rows=2)
    rows = np.arange(2)
    with pytest.raises(SpecError, match="one start"):
        env.reset(env.starts("train", 1), rows)
    with pytest.raises(SpecError, match="no such option"):
        env.reset([Start(family="train", seed=0, options={"y": 1.0})], rows[:1])
    with pytest.raises(SpecError, match="no such row"):
        env.observe(np.array([3]))
    env.reset(env.starts("train", 2), rows)
    with pytest.raises(SpecError, match="wrong shape"):
        env.step(np.zeros((2, 2), dtype=np.float32), rows)
    with pytest.raises(CapabilityError, match="displaced"):
        env.observe(rows, view_offset={"lateral": np.zeros(2, dtype=np.float32)})
    with pytest.raises(ConfigError, match="direction"):
        make("linear", num_rows=1, line=(1.0,))
    with pytest.raises(ConfigError, match="does not take this value of spread"):
        make("linear", num_rows=1, spread=0.0)
    with pytest.raises(SpecError, match="at least one row"):
        make("linear", num_rows=0)


def test_configs_round_trip_through_json():
    config = LinearConfig(system="stable", line=(1.0, 2.0))
    assert from_data(to_data(config), LinearConfig) == config
