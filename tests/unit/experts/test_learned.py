"""Learnt dynamics stand in for the true ones, and doubt costs what it should."""

import numpy as np
import pytest

from steadyhand.core.errors import CapabilityError
from steadyhand.envs.problem import ControlProblem
from steadyhand.experts.control.learned import Chart, doubt_of, learned_problem
from steadyhand.policies.residual_map import ResidualMap
from steadyhand.recipes.model_based import Driven, ModelBased, ModelPlanner, learn_by_planning
from steadyhand.training.config import TrainConfig

PLAIN = Chart(enter=lambda x, y: y, read=lambda x, z: z)
DRIFT, PUSH = np.array([[0.0, 0.1], [0.0, 0.0]]), np.array([[0.0], [0.1]])


def trolley(dynamics=None):
    """A trolley that is to be brought to 0."""
    return ControlProblem(
        dynamics=dynamics or (lambda x, u, xp: x + x @ DRIFT.T + u @ PUSH.T),
        running=lambda x, u, xp: xp.stack([x[..., 0], 0.1 * u[..., 0]], -1),
        terminal=lambda x, xp: x,
        low=-np.ones(1),
        high=np.ones(1),
        goal=np.zeros(2),
        rest=np.zeros(1),
        control_dt=0.1,
    )


def net(bias=(0.0, 0.0)):
    """The trolley as one layer, off by a constant."""
    return ResidualMap(
        weights=(np.hstack([DRIFT, PUSH]),),
        biases=(np.array(bias),),
        activation="relu",
        state_scale=np.ones(2),
        action_scale=np.ones(1),
        residual_scale=np.array([0.5, 2.0]),
    )


def test_exact_nets_are_the_true_problem():
    truth, model = trolley(), learned_problem(trolley(), [net(), net()], chart=PLAIN, disagreement=7.0)
    x, u = np.random.default_rng(0).normal(size=(2, 3, 2)), np.full((2, 3, 1), 0.3)
    after = model.dynamics(x, u, np)
    np.testing.assert_allclose(after[..., :2], truth.dynamics(x, u, np))
    np.testing.assert_array_equal(doubt_of(after), 0.0)
    assert (model.running(after, u, np) ** 2).sum() == pytest.approx(
        (truth.running(after[..., :2], u, np) ** 2).sum()
    )


def test_doubt_is_the_spread_of_the_nets_in_units_of_what_they_learnt():
    nets = [net((0.1, 0.0)), net((-0.1, 0.8))]
    model = learned_problem(trolley(), nets, chart=PLAIN, disagreement=7.0)
    x, u = np.zeros((1, 2)), np.zeros((1, 1))
    after = model.dynamics(x, u, np)
    np.testing.assert_allclose(after[:, :2], [[0.0, 0.4]])  # the mean
    doubt = ((0.1 / 0.5) ** 2 + (0.4 / 2.0) ** 2) / 2  # deviations of two: half their distance
    assert doubt_of(after)[0] ** 2 == pytest.approx(doubt)
    cost = 0.5 * (model.running(after, u, np) ** 2).sum()
    plain = 0.5 * (trolley().running(after[:, :2], u, np) ** 2).sum()
    assert cost - plain == pytest.approx(7.0 * doubt)


def test_a_chart_turns_both_ways_of_a_step():
    """Told twice its state and read back halved, a net that learnt there tells the same step."""
    double = Chart(enter=lambda x, y: 2.0 * y, read=lambda x, z: 0.5 * z)
    scaled = ResidualMap(
        weights=(np.hstack([DRIFT, 2.0 * PUSH]),),
        biases=(np.zeros(2),),
        activation="relu",
        state_scale=np.ones(2),
        action_scale=np.ones(1),
        residual_scale=np.ones(2),
    )
    model = learned_problem(trolley(), [scaled], chart=double)
    x, u = np.array([[1.0, -2.0]]), np.array([[0.5]])
    np.testing.assert_allclose(model.dynamics(x, u, np)[:, :2], trolley().dynamics(x, u, np))


def test_it_speaks_numpy_alone():
    model = learned_problem(trolley(), [net()], chart=PLAIN)
    with pytest.raises(CapabilityError, match="NumPy alone"):
        model.dynamics(np.zeros((1, 2)), np.zeros((1, 1)), object)


def drive(act, number):
    """Forty steps of the true trolley, from the same place."""
    x, states, actions = np.array([[1.0, 0.0]]), [], []
    for _ in range(40):
        states.append(x)
        actions.append(np.clip(act(x), -1.0, 1.0))
        x = trolley().dynamics(x, actions[-1], np)
    state, action = np.concatenate(states), np.concatenate(actions)
    after = np.concatenate([state[1:], x])
    return Driven(state=state, action=action, next_state=after, total=-float((state[:, 0] ** 2).sum()))


def test_planning_on_what_was_learnt_is_nearly_as_good_as_on_the_truth():
    """The true dynamics are never asked, steps are counted, and the same seed drives alike."""

    def secret(x, u, xp):
        raise AssertionError("the true dynamics were looked at")

    training = TrainConfig(num_steps=150, batch_size=32, learning_rate=1e-2, warmup_steps=0)
    settings = ModelBased(rounds=2, num_nets=2, horizon=15, training=training)
    first, again = (
        list(learn_by_planning(trolley(secret), drive, settings, chart=PLAIN, seed=2)) for _ in range(2)
    )
    assert [done.steps for done in first] == [40, 80, 120]
    knowing = drive(ModelPlanner(trolley(), settings.rule, horizon=15, num_rows=1, seed=5), 0)
    assert first[-1].driven.total > 1.3 * knowing.total  # both are negative
    assert knowing.total > -20.0  # standing still is paid -40
    np.testing.assert_array_equal(first[-1].driven.action, again[-1].driven.action)
