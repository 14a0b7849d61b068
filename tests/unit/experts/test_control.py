"""Optimal control against theory: Riccati, Karush-Kuhn-Tucker, laws of sampling, and what experts must do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyhand.core.errors import CapabilityError, ConfigError, SpecError
from steadyhand.core.seeding import RowStreams
from steadyhand.envs import make
from steadyhand.envs.problem import ControlProblem
from steadyhand.experts.control.box_qp import solve_box_qp
from steadyhand.experts.control.config import (
    CemExpert,
    GeometricExpert,
    IlqrExpert,
    MppiExpert,
    PredictiveSamplingExpert,
    RegulatorExpert,
)
from steadyhand.experts.control.ilqr import IlqrSettings, ilqr, ilqr_with_restarts
from steadyhand.experts.control.riccati import balance_gain, finite_lqr_gains, lqr_gain
from steadyhand.experts.control.sampling import (
    Cem,
    Mppi,
    PredictiveSampling,
    path_weights,
    plan_by_sampling,
    shifted,
)
from steadyhand.rollout.evaluate import evaluate

A, B = np.array([[1.0, 0.1], [0.3, 1.1]]), np.array([[0.0], [0.1]])
Q, R, LAST = np.diag([2.0, 0.5]), np.array([[0.3]]), np.diag([5.0, 3.0])
FREE = np.array([np.inf])


def linear(low=-FREE, high=FREE):
    """A linear system with quadratic costs."""
    return ControlProblem(
        dynamics=lambda x, u, xp: x @ A.T + u @ B.T,
        running=lambda x, u, xp: np.concatenate([x @ np.sqrt(Q), u @ np.sqrt(R)], -1),
        terminal=lambda x, xp: x @ np.sqrt(LAST),
        low=low,
        high=high,
        goal=np.zeros(2),
        rest=np.zeros(1),
        control_dt=0.1,
    )


def test_an_infinite_horizon_solves_riccatis_equation():
    linalg = pytest.importorskip("scipy.linalg")
    cost = linalg.solve_discrete_are(A, B, Q, R)
    gain = -np.linalg.solve(R + B.T @ cost @ B, B.T @ cost @ A)
    np.testing.assert_allclose(lqr_gain(A, B, state_cost=Q, input_cost=R), gain, rtol=1e-9)


def test_a_finite_horizon_minimises_the_cost_that_it_says():
    horizon, x0 = 12, np.array([1.0, -0.5])
    gains = finite_lqr_gains(A, B, state_cost=Q, input_cost=R, last_cost=LAST, horizon=horizon)
    x, inputs = x0, []
    for gain in gains:
        inputs.append(gain @ x)
        x = A @ x + B @ inputs[-1]
    # The same as one least-squares problem in all inputs.
    reach = np.zeros((2 * (horizon + 1), horizon))
    free = np.concatenate([np.linalg.matrix_power(A, t) @ x0 for t in range(horizon + 1)])
    for t in range(horizon + 1):
        for s in range(t):
            reach[2 * t : 2 * t + 2, s] = (np.linalg.matrix_power(A, t - 1 - s) @ B)[:, 0]
    weights = np.kron(np.eye(horizon + 1), Q)
    weights[-2:, -2:] = LAST
    best = np.linalg.solve(reach.T @ weights @ reach + R[0, 0] * np.eye(horizon), -reach.T @ weights @ free)
    np.testing.assert_allclose(np.concatenate(inputs), best, rtol=1e-9)
    long = finite_lqr_gains(A, B, state_cost=Q, input_cost=R, last_cost=LAST, horizon=400)
    np.testing.assert_allclose(long[0], lqr_gain(A, B, state_cost=Q, input_cost=R), rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("cart-pole", [[0.907, 30.128, 2.099, 7.721]]),
        ("arm", [[-38.392, -9.965, -14.162, -4.143], [-8.605, -8.986, -3.669, -2.363]]),
        ("acrobot", [[215.162, 53.065, 78.885, 23.050]]),
    ],
)
def test_regulators_at_the_goal_are_those_of_the_literature(name, gain):
    """Gains for Q = I and R = I of the RK4 step of 0.02 s, made by SciPy from the same equations."""
    problem = make(name, num_rows=1, substeps=1).problem()
    found = balance_gain(problem, state_cost=np.eye(4), input_cost=np.eye(problem.num_inputs))
    np.testing.assert_allclose(found, gain, atol=1.5e-3)


def test_the_regulator_of_gymnasiums_pendulum_is_that_of_the_literature():
    """Its input u turns by 3 u, so that a torque of 3 u costs a ninth of its square."""
    problem = make("pendulum", num_rows=1, gravity=15.0, max_torque=6.0, control_dt=0.05).problem()
    found = balance_gain(problem, state_cost=np.eye(2), input_cost=np.eye(1) / 9.0) / 3.0
    np.testing.assert_allclose(found, [[-9.139, -2.487]], atol=6e-4)


def test_what_no_input_reaches_is_not_regulated():
    with pytest.raises(SpecError, match="did not come to rest"):
        lqr_gain(np.diag([1.2, 0.5]), np.array([[0.0], [1.0]]), state_cost=np.eye(2), input_cost=np.eye(1))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_box_solutions_obey_karush_kuhn_and_tucker(seed, size):
    random = np.random.default_rng(seed)
    root = random.normal(size=(7, size, size))
    hessian = root @ np.swapaxes(root, 1, 2) + 0.1 * np.eye(size)
    gradient = 3.0 * random.normal(size=(7, size))
    low, high = -random.uniform(0, 1, (7, size)), random.uniform(0, 1, (7, size))
    found = solve_box_qp(hessian, gradient, low, high, max_iterations=100)
    slope = (hessian @ found.x[..., None])[..., 0] + gradient
    assert ((found.x >= low) & (found.x <= high)).all()
    at_low, at_high = found.x <= low + 1e-9, found.x >= high - 1e-9
    inside = ~at_low & ~at_high
    assert np.abs(slope[inside]).max(initial=0.0) < 1e-6
    assert (slope[at_low & ~at_high] > -1e-6).all()
    assert (slope[at_high & ~at_low] < 1e-6).all()


def test_feedback_of_inputs_on_a_bound_is_zero_and_that_of_others_is_newtons():
    hessian = np.array([[[2.0, 0.5], [0.5, 1.0]]])
    found = solve_box_qp(hessian, np.array([[10.0, 0.1]]), np.array([[-1.0, -1.0]]), np.array([[1.0, 1.0]]))
    np.testing.assert_allclose(found.x, [[-1.0, 0.4]])
    mixed = np.array([[[3.0], [7.0]]])
    np.testing.assert_allclose(found.feedback(mixed), [[[0.0], [-7.0]]])


def test_ilqr_of_a_linear_problem_is_the_regulator_of_its_horizon():
    x0 = np.random.default_rng(0).normal(size=(3, 2))
    found = ilqr(linear(), x0, np.zeros((3, 12, 1)))
    gains = finite_lqr_gains(A, B, state_cost=Q, input_cost=R, last_cost=LAST, horizon=12)
    np.testing.assert_allclose(found.gain[0], gains, rtol=1e-4, atol=1e-4)
    x = x0.copy()
    for t, gain in enumerate(gains):
        np.testing.assert_allclose(found.u[:, t], x @ gain.T, atol=2e-3)
        x = x @ A.T + (x @ gain.T) @ B.T
    assert found.is_converged.all()


def test_bounds_hold_and_cost_more_than_none():
    x0, guess = np.array([[2.0, 1.0]]), np.zeros((1, 20, 1))
    free, bounded = ilqr(linear(), x0, guess), ilqr(linear(np.array([-1.0]), np.array([1.0])), x0, guess)
    assert np.abs(free.u).max() > 1.5
    assert np.abs(bounded.u).max() <= 1.0
    assert bounded.cost[0] > free.cost[0]
    clamped = np.abs(bounded.u[0, :, 0]) == 1.0
    assert clamped.any()
    assert (bounded.gain[0, clamped] == 0.0).all()
    # No other inputs within bounds are cheaper.
    random, problem = np.random.default_rng(0), linear(np.array([-1.0]), np.array([1.0]))
    others = np.clip(bounded.u + 0.05 * random.normal(size=(200, 20, 1)), -1.0, 1.0)
    assert (problem.cost(problem.rollout(x0, others), others) >= bounded.cost[0]).all()


def test_problems_of_a_batch_do_not_depend_on_each_other():
    problem = make("pendulum", num_rows=1).problem()
    random = np.random.default_rng(1)
    x0, guess = random.uniform(-1, 1, (3, 2)), random.normal(size=(3, 30, 1))
    together = ilqr(problem, x0, guess, IlqrSettings(max_iterations=8))
    alone = ilqr(problem, x0[1:2], guess[1:2], IlqrSettings(max_iterations=8))
    np.testing.assert_allclose(together.u[1], alone.u[0], atol=1e-12)
    assert together.iterations[1] == alone.iterations[0]


def test_ilqr_never_makes_a_trajectory_dearer():
    problem = make("cart-pole", num_rows=1).problem()
    random = np.random.default_rng(2)
    x0, guess = random.uniform(-1, 1, (4, 4)), 3.0 * random.normal(size=(4, 40, 1))
    costs = [ilqr(problem, x0, guess, IlqrSettings(max_iterations=count)).cost for count in (1, 2, 4, 8)]
    assert (np.diff(costs, axis=0) <= 0.0).all()
    found = ilqr(problem, x0, guess, IlqrSettings(max_iterations=8))
    np.testing.assert_allclose(problem.cost(found.x, found.u), found.cost)
    np.testing.assert_allclose(problem.rollout(x0, found.u), found.x)


def test_what_is_solved_does_not_begin_again_and_the_cheapest_is_kept():
    asked = []

    def guess(rows, attempt):
        asked.append((rows.tolist(), attempt))
        return np.zeros((len(rows), 5, 1))

    _, taken = ilqr_with_restarts(
        linear(),
        np.array([[0.0, 0.0], [1.0, 0.0]]),
        guess,
        is_solved=lambda found: np.abs(found.x[:, 0]).max(axis=1) < 0.5,
        attempts=3,
    )
    assert asked == [([0, 1], 0), ([1], 1), ([1], 2)]
    assert taken.tolist() == [1, 0]


@given(st.floats(1e-3, 1e3), st.integers(0, 2**31))
def test_path_weights_sum_to_one_and_fall_with_cost(temperature, seed):
    costs = np.random.default_rng(seed).exponential(10.0, (3, 20))
    weights = path_weights(costs, temperature)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    order = np.argsort(costs, axis=1)
    assert (np.diff(np.take_along_axis(weights, order, axis=1), axis=1) <= 0.0).all()
    np.testing.assert_allclose(path_weights(costs + 1e3, temperature), weights, rtol=1e-6, atol=1e-12)


def test_a_cold_mean_is_the_best_sample_and_a_hot_one_the_mean_of_all():
    random = np.random.default_rng(0)
    samples, costs = random.uniform(-1, 1, (2, 9, 4, 1)), random.uniform(0, 5, (2, 9))
    plan, spread = np.zeros((2, 4, 1)), np.ones((2, 4, 1))
    cold, _ = Mppi(temperature=1e-9).improved(plan, spread, samples, costs)
    np.testing.assert_allclose(cold, samples[[0, 1], costs.argmin(axis=1)])
    hot, _ = Mppi(temperature=1e12).improved(plan, spread, samples, costs)
    np.testing.assert_allclose(hot, samples.mean(axis=1))
    best, _ = PredictiveSampling().improved(plan, spread, samples, costs)
    np.testing.assert_array_equal(best, samples[[0, 1], costs.argmin(axis=1)])


def test_costs_that_are_no_numbers_weigh_nothing():
    weights = path_weights(np.array([[1.0, np.nan, np.inf]]), 1.0)
    np.testing.assert_array_equal(weights, [[1.0, 0.0, 0.0]])


def test_elites_give_mean_and_spread():
    samples = np.array([0.1, 0.3, -0.9, 0.9])[None, :, None, None]
    plan, spread = np.full((1, 1, 1), 0.5), np.full((1, 1, 1), 0.4)
    mean, deviation = Cem(num_samples=4, num_elites=2, smoothing=0.0, least=0.01).improved(
        plan, spread, samples, np.array([[1.0, 2.0, 3.0, 4.0]])
    )
    np.testing.assert_allclose([mean.item(), deviation.item()], [0.2, 0.1])
    kept, _ = Cem(num_samples=4, num_elites=2, smoothing=0.5).improved(
        plan, spread, samples, np.array([[1.0, 2.0, 3.0, 4.0]])
    )
    np.testing.assert_allclose(kept.item(), 0.35)


@pytest.mark.parametrize("rule", [Mppi(num_samples=32), Cem(num_samples=32), PredictiveSampling()])
def test_plans_keep_to_bounds_and_rows_to_themselves(rule):
    problem = make("cart-pole", num_rows=1).problem()
    x = np.random.default_rng(0).normal(size=(3, 4))
    plan = np.zeros((3, 10, 1))
    together, costs = plan_by_sampling(problem, rule, x, plan, RowStreams.from_seed(4, 3))
    alone, cost = plan_by_sampling(
        problem, rule, x[1:2], plan[1:2], RowStreams.from_seed(4, 3).take(np.array([1]))
    )
    np.testing.assert_allclose(together[1], alone[0], atol=1e-12)
    assert costs[1] == pytest.approx(cost[0])
    assert (np.abs(together) <= 10.0).all()
    # The plan as it was is among the samples: what was rolled out is never dearer than it.
    assert (costs <= problem.cost(problem.rollout(x, plan), plan) + 1e-9).all()


def test_a_plan_moves_on_and_ends_at_rest():
    plan = np.arange(6.0).reshape(1, 3, 2)
    np.testing.assert_array_equal(shifted(plan, np.array([7.0, 8.0])), [[[2.0, 3.0], [4.0, 5.0], [7.0, 8.0]]])


def test_sampling_without_bounds_is_refused():
    with pytest.raises(ConfigError, match="bounds"):
        plan_by_sampling(linear(), Mppi(), np.zeros((1, 2)), np.zeros((1, 4, 1)), RowStreams.from_seed(0, 1))


def drives(name, expert, count, **options):
    env = make(name, num_rows=count, **options)
    built = expert.build(env)
    return evaluate(env, built, env.starts("test", count), seed=0, name="expert"), built


@pytest.mark.parametrize("flight", ["hover", "circle", "gate"])
def test_the_geometric_controller_flies(flight):
    found, _ = drives("quadrotor", GeometricExpert(), 32, flight=flight)
    assert found.success.sum() >= 31


def test_ilqr_flies_to_the_point_and_says_what_it_costs():
    found, expert = drives("planar-quadrotor", IlqrExpert(horizon=1.5, attempts=1), 4, max_episode_steps=130)
    assert found.success.sum() == 4
    assert expert.num_queries == 4 * 130


def test_mppi_balances_a_cart_pole():
    expert = MppiExpert(horizon=0.6, rule=Mppi(num_samples=128, sigma=0.3, temperature=0.05))
    found, built = drives("cart-pole", expert, 4, max_episode_steps=90, hold_time=0.4, start_scale=0.1)
    assert found.success.sum() == 4
    assert np.isfinite(built.cost.values).all()


def test_the_regulator_holds_what_is_near_and_loses_what_is_far():
    near, _ = drives("acrobot", RegulatorExpert(), 1, start_scale=0.0, max_episode_steps=20, hold_time=0.1)
    assert near.success.sum() == 0  # it hangs
    env = make("acrobot", num_rows=1)
    expert, rows = RegulatorExpert().build(env), np.arange(1)
    env.reset(env.starts("test", 1), rows)
    env.place({"observation.state": env.seen(np.array([[np.pi + 0.02, -0.02, 0.0, 0.0]]))}, rows)
    expert.begin(rows)
    for _ in range(150):
        decision = expert.act(env.observe(rows), {}, rows, RowStreams.from_seed(0, 1))
        env.step(decision.action, rows)
    assert env.error(rows)[0] < 5e-3


@pytest.mark.parametrize(
    "expert",
    [
        IlqrExpert(horizon=0.4, attempts=1, search=IlqrSettings(max_iterations=3)),
        MppiExpert(horizon=0.2, rule=Mppi(num_samples=8)),
        CemExpert(horizon=0.2, rule=Cem(num_samples=8, num_elites=2, rounds=2)),
        PredictiveSamplingExpert(horizon=0.2, rule=PredictiveSampling(num_samples=4, num_nodes=3)),
        RegulatorExpert(),
    ],
    ids=lambda expert: type(expert).__name__,
)
def test_planners_go_on_from_a_snapshot_as_if_nothing_had_been(expert):
    env = make("cart-pole", num_rows=3)
    rows = np.arange(3)
    env.reset(env.starts("test", 3), rows)
    planner = expert.build(env)
    planner.begin(rows)
    streams = RowStreams.from_seed(0, 3)

    def go(planner, count):
        said = []
        for _ in range(count):
            said.append(planner.act(env.observe(rows), {}, rows, streams).action)
            env.step(said[-1], rows)
            streams.advance()
        return said

    go(planner, 3)
    kept = planner.state(), env.state(rows), streams.state()
    first = go(planner, 3)
    other = expert.build(env)
    other.restore(kept[0])
    env.restore(kept[1], rows)
    streams.restore(kept[2])
    for one, two in zip(first, go(other, 3), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_planner_labels_states_that_nobody_planned_for():
    env = make("planar-quadrotor", num_rows=1)
    rows = np.arange(1)
    env.reset(env.starts("test", 1), rows)
    expert = IlqrExpert(horizon=1.0, attempts=1, search=IlqrSettings(max_iterations=10)).build(env)
    expert.begin(rows)
    expert.act(env.observe(rows), {}, rows, RowStreams.from_seed(0, 1))
    first = expert.cost.values.copy()
    env.place({"observation.state": env.seen(np.array([[-1.5, 1.5, 0.5, 0.0, 0.0, 0.0]]))}, rows)
    label = expert.act(env.observe(rows), {}, rows, RowStreams.from_seed(0, 1)).label
    assert expert.cost.values[0] != first[0]
    assert np.isfinite(label).all()
    expert.act(env.observe(rows), {}, rows, RowStreams.from_seed(0, 1))


def test_experts_refuse_envs_that_they_do_not_know():
    with pytest.raises(CapabilityError, match="problem of optimal control"):
        MppiExpert().build(make("forks", num_rows=1))
    with pytest.raises(CapabilityError, match="geometric"):
        GeometricExpert().build(make("arm", num_rows=1))
