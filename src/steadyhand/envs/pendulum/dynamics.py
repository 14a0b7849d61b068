"""Equations of motion of the pendulum, in NumPy or torch.

theta'' = -(g / l) sin(theta) + torque / l^2 for a bob of 1 kg, theta from hanging, counter-clockwise. One
step of the classical Runge-Kutta method (RK4) with the torque held. Everything is computed entry by entry, so
a row never depends on its neighbours.

Deviation: which integrator the paper used is not known.
"""

from collections.abc import Mapping
from typing import Any

from steadyhand.envs.pendulum.config import FLIP_ANGLES, FLIP_WIDTH, PendulumConfig

TWO_PI = 6.283185307179586


def parameters(config: PendulumConfig) -> dict[str, Any]:
    """Return the parameters that `dynamics` reads, as plain numbers in SI units."""
    return {
        "discontinuous": config.discontinuous,
        "max_torque": config.max_torque,
        "length": config.length,
        "gravity": config.gravity,
        "control_dt": config.control_dt,
    }


def dynamics(x: Any, u: Any, *, params: Mapping[str, Any], xp: Any) -> Any:
    """Return the state after one control step.

    Args:
        x: (..., 2) angle from hanging [rad], angular velocity [rad/s].
        u: (..., 1) torque [N m], clipped to its bound.
        params: Parameters that `parameters` returns; numbers or arrays that broadcast against (...).
        xp: The array namespace of `x` and `u`: numpy or torch.

    Returns:
        (..., 2) the next state, its angle in [0, 2 pi].
    """
    theta, rate = x[..., 0], x[..., 1]
    limit, length, dt = params["max_torque"], params["length"], params["control_dt"]
    push = xp.clip(u[..., 0], -limit, limit) * (1.0 / (length * length))
    pull = params["gravity"] / length
    half = 0.5 * dt

    rate_1, turn_1 = rate, push - pull * xp.sin(theta)
    rate_2, turn_2 = rate + half * turn_1, push - pull * xp.sin(theta + half * rate_1)
    rate_3, turn_3 = rate + half * turn_2, push - pull * xp.sin(theta + half * rate_2)
    rate_4, turn_4 = rate + dt * turn_3, push - pull * xp.sin(theta + dt * rate_3)
    theta = theta + (dt / 6.0) * (rate_1 + 2.0 * rate_2 + 2.0 * rate_3 + rate_4)
    rate = rate + (dt / 6.0) * (turn_1 + 2.0 * turn_2 + 2.0 * turn_3 + turn_4)

    theta = wrap(theta, xp)
    if params["discontinuous"]:
        near = xp.abs(theta - FLIP_ANGLES[0]) < FLIP_WIDTH
        near = near | (xp.abs(theta - FLIP_ANGLES[1]) < FLIP_WIDTH)
        rate = xp.where(near, -rate, rate)
    return xp.stack([theta, rate], axis=-1)


def wrap(angle: Any, xp: Any) -> Any:
    """Return the angle in [0, 2 pi]: hanging lies at the seam, upright in the middle."""
    return angle - TWO_PI * xp.floor(angle * (1.0 / TWO_PI))
