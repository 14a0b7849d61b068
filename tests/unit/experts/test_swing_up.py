"""The swing-up expert: its regulator solves Riccati's equation, and it succeeds from every start."""

import numpy as np
import pytest

from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Actor
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE
from steadyhand.envs.base import Start
from steadyhand.envs.pendulum import PendulumConfig
from steadyhand.experts.swing_up import SwingUp, balance_gain
from steadyhand.rollout.evaluate import evaluate


@pytest.mark.parametrize("discontinuous", [False, True])
@pytest.mark.parametrize("family", ["train", "validation", "test"])
def test_it_succeeds_from_every_start(discontinuous, family):
    config = PendulumConfig(discontinuous=discontinuous)
    env = config.build(400)
    driven = evaluate(env, SwingUp(config), env.starts(family, 400, seed=5), name="expert", positions=False)
    assert driven.success.all()


@pytest.mark.parametrize("theta", [0.0, np.pi / 6, np.pi / 3, -np.pi / 6])
@pytest.mark.parametrize("discontinuous", [False, True])
def test_it_starts_from_rest_even_where_the_motion_is_reversed(theta, discontinuous):
    config = PendulumConfig(discontinuous=discontinuous)
    env = config.build(1)
    start = Start(family="test", seed=0, options={"theta": theta})
    assert evaluate(env, SwingUp(config), [start], name="expert").success.all()


def test_the_gain_is_that_of_the_continuous_riccati_equation_for_small_steps():
    """A'P + PA - P B B'P / r + Q = 0 for f'' = g f + u: k1 = g + sqrt(g^2 + 1), k2 = sqrt(1 + 2 k1)."""
    k1 = 9.81 + np.sqrt(9.81**2 + 1.0)
    exact = np.array([k1, np.sqrt(1.0 + 2.0 * k1)])
    # The cost of a held step is that of its first instant, so that its gain differs by a share of dt.
    errors = [np.abs(balance_gain(PendulumConfig(control_dt=dt)) / exact - 1).max() for dt in (0.01, 0.005)]
    assert errors[0] < 0.03
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.1)


def test_torque_goes_with_the_motion_below_the_tops_energy_and_against_it_above():
    seen = np.array([[0.0, 1.0, 1.0], [0.0, 1.0, -1.0], [0.0, 1.0, 9.0], [0.0, 1.0, -9.0]], dtype=np.float32)
    decision = SwingUp().act({STATE: seen}, {}, np.arange(4), RowStreams.from_seed(0, 4))
    np.testing.assert_array_equal(np.sign(decision.action[:, 0]), [1, -1, -1, 1])
    assert (np.abs(decision.action) <= 3).all()
    assert decision.label_valid.all()
    assert (decision.actor == Actor.EXPERT).all()


def test_it_refuses_other_observations():
    with pytest.raises(CapabilityError, match="swing-up"):
        SwingUp().action({STATE: np.zeros((1, 2), dtype=np.float32)}, {})
