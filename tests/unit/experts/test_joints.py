"""Computed torque and PD on the arm: what the mathematics says of motion and of rest."""

import numpy as np
import pytest

import steadyhand as sh
from steadyhand.core.errors import CapabilityError
from steadyhand.core.seeding import RowStreams
from steadyhand.envs import make
from steadyhand.envs.two_link.dynamics import LinkParameters, gravity_torque, mass_matrix
from steadyhand.experts.control.config import ComputedTorqueExpert, PdExpert
from steadyhand.rollout.evaluate import evaluate

OUT = (np.pi / 2, 0.3)
"""A posture in which gravity pulls hard."""
TRUE = LinkParameters(masses=(1.0, 1.0), lengths=(1.0, 1.0), gravity=9.81)
HEAVY = LinkParameters(masses=(1.0, 1.3), lengths=(1.0, 1.0), gravity=9.81)


def moved(expert, steps, x0, **options):
    """States of one arm, (steps + 1, 4)."""
    env = make("arm", num_rows=1, max_torque=60.0, max_episode_steps=10_000, **options)
    rows, driver = np.arange(1), expert.build(env)
    env.reset(env.starts("test", 1), rows)
    env.place({"observation.state": env.seen(np.array([x0]))}, rows)
    driver.begin(rows)
    states = []
    for _ in range(steps + 1):
        seen = env.observe(rows)
        states.append(env.x_of(seen)[0])
        env.step(driver.act(seen, {}, rows, RowStreams.from_seed(0, 1)).action, rows)
    return np.array(states)


def test_computed_torque_makes_every_joint_a_damped_spring():
    """With k = 16 and d = 8: e = (e0 + (v0 + 4 e0) t) exp(-4 t), whatever the arm's posture."""
    start = np.array([0.6, -0.8, 0.5, -0.2])
    x = moved(ComputedTorqueExpert(target=OUT), 300, start, control_dt=0.005)
    t = 0.005 * np.arange(301)[:, None]
    off = start[:2] - OUT
    expected = (off + (start[2:] + 4.0 * off) * t) * np.exp(-4.0 * t)
    np.testing.assert_allclose(x[:, :2] - OUT, expected, atol=0.01)


@pytest.mark.parametrize(
    ("expert", "pull"),
    [
        (PdExpert(target=OUT), lambda q: gravity_torque(q, TRUE, np) / [60.0, 15.0]),
        (PdExpert(target=OUT, held=1.0), lambda q: np.zeros(2)),
        (ComputedTorqueExpert(target=OUT), lambda q: np.zeros(2)),
        (
            ComputedTorqueExpert(target=OUT, masses=HEAVY.masses),
            lambda q: (
                np.linalg.solve(
                    mass_matrix(q, HEAVY, np), gravity_torque(q, TRUE, np) - gravity_torque(q, HEAVY, np)
                )
                / 16.0
            ),
        ),
    ],
    ids=["pd", "pd that holds gravity", "computed torque", "computed torque of a wrong mass"],
)
def test_what_is_left_at_rest_balances_what_the_model_does_not_know(expert, pull):
    x = moved(expert, 300, [0.6, -0.8, 0.0, 0.0])[-1]
    np.testing.assert_allclose(x[2:], 0.0, atol=2e-3)
    np.testing.assert_allclose(x[:2] - OUT, pull(x[:2]), atol=2e-3)
    if expert.masses is not None or expert == PdExpert(target=OUT):
        assert np.abs(x[:2] - OUT).max() > 0.05


@pytest.mark.parametrize("name", ["computed-torque", "pd"])
def test_both_raise_the_arm_where_the_motors_can_hold_it(name):
    env = make("arm", num_rows=8, max_torque=60.0, max_episode_steps=150, hold_time=0.2)
    found = evaluate(env, sh.expert(name, env), env.starts("test", 8), seed=0, name=name)
    assert found.success.all()


@pytest.mark.parametrize("expert", [ComputedTorqueExpert(), PdExpert()], ids=lambda one: type(one).__name__)
def test_joints_of_other_envs_are_refused(expert):
    with pytest.raises(CapabilityError, match=type(expert).__name__):
        expert.build(make("acrobot", num_rows=1))
