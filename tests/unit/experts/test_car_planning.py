"""The car as a problem of optimal control, and planners that drive it."""

import numpy as np
import pytest

from steadyhand.core.errors import CapabilityError
from steadyhand.envs.car import CarConfig
from steadyhand.experts.config import PurePursuitExpert
from steadyhand.experts.control.config import (
    CemExpert,
    IlqrExpert,
    MppiExpert,
    PredictiveSamplingExpert,
    RegulatorExpert,
)
from steadyhand.experts.control.sampling import Cem, Mppi, PredictiveSampling
from steadyhand.rollout.evaluate import evaluate

SHORT = MppiExpert(horizon=0.5, rule=Mppi(num_samples=64, sigma=0.3, num_nodes=3))


def car(action="steering", *, rows=4, steps=60, **options):
    options = {"observation": ("state",), "max_episode_steps": steps, **options}
    return CarConfig(action=action, **options).build(rows)


def seen(env, rows):
    return {**env.observe(rows), **env.privileged(rows)}


@pytest.mark.parametrize("action", ["steering", "steering_speed"])
def test_the_problem_moves_as_the_env_does(action):
    env = car(action, road_width=1.0)
    rows, problem, random = np.arange(4), env.problem(), np.random.default_rng(0)
    env.reset(env.starts("test", 4), rows)
    for _ in range(8):
        u = random.uniform(-0.5, 0.5, (4, problem.num_inputs)).astype(np.float32)
        expected = problem.dynamics(env.x_of(seen(env, rows)), u.astype(np.float64), np)
        env.step(u, rows)
        found = env.x_of(seen(env, rows))
        # One Runge-Kutta step for five, and single precision: within a millimetre and three milliradians.
        np.testing.assert_allclose(found[:, :8], expected[:, :8], atol=3e-3)
        np.testing.assert_allclose(found[:, [0, 1, 5, 6]], expected[:, [0, 1, 5, 6]], atol=1e-3)
        np.testing.assert_allclose(found[:, 8], expected[:, 8], atol=0.05)  # of one sample or the next
        np.testing.assert_array_equal(found[:, 9], expected[:, 9])


def test_what_costs_is_being_slow_being_near_the_edge_and_worst_of_all_off_the_road():
    env = car()
    env.reset(env.starts("test", 4), np.arange(4))
    x = env.x_of(seen(env, np.arange(4)))[:1]
    problem, u = env.problem(), np.zeros((1, 1))

    def cost(lateral, speed=2.5):
        there = x.copy()
        there[0, [4, 6, 7, 8]] = speed, lateral, 0.0, 0.0
        return float((problem.running(there, u, np) ** 2).sum())

    assert cost(0.0, speed=1.0) > cost(0.0)
    assert cost(0.2) == pytest.approx(cost(0.0))
    assert cost(0.0) < cost(0.28) < cost(0.31)
    assert cost(0.31) > cost(0.29) + 50.0


@pytest.mark.parametrize("action", ["steering", "steering_speed"])
def test_mppi_gets_farther_than_pure_pursuit_and_stays_on_the_road(action):
    env = car(action)
    starts = env.starts("validation", 4)
    planned = evaluate(env, SHORT.build(env), starts, seed=0, name="MPPI")
    followed = evaluate(env, PurePursuitExpert().build(env), starts, seed=0, name="pure pursuit")
    assert not planned.terminated.any()
    assert planned.returns.mean() > followed.returns.mean()


@pytest.mark.parametrize(
    "expert",
    [
        SHORT,
        CemExpert(horizon=0.5, rule=Cem(num_samples=32, num_elites=6, rounds=2, num_nodes=3)),
        PredictiveSamplingExpert(horizon=0.5, rule=PredictiveSampling(num_samples=32, num_nodes=3)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_planners_come_back_from_where_nobody_planned(expert):
    """Turned by 0.3 rad away from the middle, seen by a camera alone: the way back to the road is found."""
    env = car(rows=2, steps=20, observation=("retina",))
    track = env.starts("test", 1)[0]
    side = [
        type(track)(family="test", seed=0, options={**track.options, "lateral": away, "heading": 3.0 * away})
        for away in (0.1, -0.1)
    ]
    found = evaluate(env, expert.build(env), side, seed=0, name="planner")
    assert not found.terminated.any()
    assert (found.error[:, -1] < 0.28).all()


@pytest.mark.parametrize("expert", [IlqrExpert(), RegulatorExpert()], ids=lambda one: type(one).__name__)
def test_experts_that_need_a_goal_to_rest_in_refuse_the_car(expert):
    with pytest.raises(CapabilityError, match="no goal in which the system can rest"):
        expert.build(car())


def test_the_road_is_told_to_experts_alone():
    env = car()
    env.reset(env.starts("test", 4), np.arange(4))
    with pytest.raises(CapabilityError, match="experts alone"):
        env.x_of(env.observe(np.arange(4)))
