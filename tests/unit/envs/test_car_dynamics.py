"""The car's equations of motion against circles, fine integration and torch's derivatives."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steadyhand.envs.car import CarConfig, CarParams
from steadyhand.envs.car.dynamics import dynamics, parameters, wrap

PARAMS = parameters(CarConfig())


def drive(x, u, steps, *, params=PARAMS, xp=np):
    for _ in range(steps):
        x = dynamics(x, u, params=params, xp=xp)
    return x


@given(
    command=st.floats(-1, 1).filter(lambda c: abs(c) > 0.05),
    speed=st.floats(0.5, 5.0),
    heading=st.floats(-3, 3),
)
def test_constant_steering_is_a_circle(command, speed, heading):
    steering = command * PARAMS["max_steering"]
    params = {**PARAMS, "speed": speed}
    x = drive(np.array([[0.3, -0.2, heading, steering, speed]]), np.array([[command]]), 20, params=params)
    radius = PARAMS["wheelbase"] / np.tan(steering)
    turned = heading + speed / radius * 20 * 0.05
    expected = (
        0.3 + radius * (np.sin(turned) - np.sin(heading)),
        -0.2 - radius * (np.cos(turned) - np.cos(heading)),
    )
    np.testing.assert_allclose(x[0, :2], expected, atol=2e-6)
    assert abs(wrap(x[0, 2] - turned, np)) < 1e-9


def test_straight_ahead_is_straight():
    x = drive(np.array([[1.0, 2.0, 0.5, 0.0, 2.5]]), np.zeros((1, 1)), 40)
    np.testing.assert_allclose(x[0], [1 + 5 * np.cos(0.5), 2 + 5 * np.sin(0.5), 0.5, 0.0, 2.5], atol=1e-12)


def test_runge_kutta_converges_with_fourth_order():
    # The servo turns during the whole step, so that steering is smooth and the order shows.
    start = np.array([[0.0, 0.0, 0.2, -0.38, 5.0]])

    def end(substeps):
        params = {**PARAMS, "speed": 5.0, "control_dt": 0.2, "substeps": substeps}
        return dynamics(start, np.ones((1, 1)), params=params, xp=np)[0, :3]

    exact = end(512)
    errors = [np.abs(end(substeps) - exact).max() for substeps in (2, 4, 8)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 3.7).all(), (errors, orders)


@given(command=st.floats(-3, 3), speed=st.floats(-3, 3), steering=st.floats(-0.38, 0.38), now=st.floats(0, 5))
def test_servo_and_motor_keep_their_limits(command, speed, steering, now):
    x = dynamics(np.array([[0, 0, 0, steering, now]]), np.array([[command, speed]]), params=PARAMS, xp=np)
    turned, gained = x[0, 3] - steering, x[0, 4] - now
    assert abs(turned) <= 3.2 * 0.05 + 1e-12
    assert abs(x[0, 3]) <= 0.38 + 1e-12
    assert -6.0 * 0.05 - 1e-12 <= gained <= 4.0 * 0.05 + 1e-12
    target = np.clip(command, -1, 1) * 0.38
    reached = abs(target - steering) <= 3.2 * 0.05
    assert (abs(x[0, 3] - target) < 1e-12) == reached or abs(abs(target - steering) - 0.16) < 1e-9


def test_torch_and_numpy_agree_and_derivatives_are_right():
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (6, 5)) * [3, 3, 3, 0.3, 1] + [0, 0, 0, 0, 2.5]
    u = random.uniform(-0.9, 0.9, (6, 2))
    by_numpy = dynamics(x, u, params=PARAMS, xp=np)
    by_torch = dynamics(torch.tensor(x), torch.tensor(u), params=PARAMS, xp=torch)
    np.testing.assert_allclose(by_torch.numpy(), by_numpy, atol=1e-12)

    def step(state, action):
        return dynamics(state, action, params=PARAMS, xp=torch)

    inputs = (torch.tensor(x, requires_grad=True), torch.tensor(u, requires_grad=True))
    assert torch.autograd.gradcheck(step, inputs)


def test_parameters_may_be_learnt():
    wheelbase = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[0.0, 0.0, 0.0, 0.2, 2.5]], dtype=torch.float64)
    u = torch.full((1, 1), 0.5, dtype=torch.float64)
    dynamics(x, u, params={**PARAMS, "wheelbase": wheelbase}, xp=torch)[0, 2].backward()
    # A longer car turns less, in inverse proportion.
    turned = float(dynamics(x, u, params={**PARAMS, "wheelbase": 0.3}, xp=torch)[0, 2])
    assert float(wheelbase.grad) == pytest.approx(-turned / 0.3, rel=1e-9)


def test_float32_stays_float32():
    x = np.zeros((3, 5), dtype=np.float32)
    assert dynamics(x, np.zeros((3, 1), dtype=np.float32), params=PARAMS, xp=np).dtype == np.float32


def test_substeps_come_from_the_body():
    assert parameters(CarConfig(params=CarParams(substeps=9)))["substeps"] == 9
