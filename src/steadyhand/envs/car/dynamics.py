"""Equations of motion of the car, in NumPy or torch.

Kinematic single-track model with the rear axle as reference point (Rajamani, Vehicle Dynamics and Control,
2nd ed., section 2.2, with the slip angle taken at the rear axle, where it is zero):

    x' = v cos(psi),  y' = v sin(psi),  psi' = v tan(delta) / L.

Servo and motor run at their limiting rate until they reach the target, so that delta(t) and v(t) are known in
closed form. The classical Runge-Kutta method (RK4) for the pose then needs no loop: the stages of all
sub-steps are evaluated together.
"""

from collections.abc import Mapping
from typing import Any

from steadyhand.envs.car.config import CarConfig

TWO_PI = 6.283185307179586


def parameters(config: CarConfig) -> dict[str, Any]:
    """Return the parameters that `advance` reads, as plain numbers in SI units."""
    body = config.params
    return {
        "wheelbase": body.wheelbase,
        "max_steering": body.max_steering,
        "max_steering_rate": body.max_steering_rate,
        "max_speed": body.max_speed,
        "max_acceleration": body.max_acceleration,
        "max_deceleration": body.max_deceleration,
        "speed": config.speed,
        "control_dt": config.control_dt,
        "substeps": body.substeps,
    }


def dynamics(x: Any, u: Any, *, params: Mapping[str, Any], xp: Any) -> Any:
    """Return the state after one control step.

    Args:
        x: (..., 5) x [m], y [m], heading [rad], steering angle [rad], speed [m/s].
        u: (..., 1) steering command in [-1, 1], or (..., 2) with a speed command in [-1, 1].
        params: Parameters that `parameters` returns; numbers or arrays that broadcast against (...).
        xp: The array namespace of `x` and `u`: numpy or torch.

    Returns:
        (..., 5) the next state.
    """
    u = xp.clip(u, -1.0, 1.0)
    target_steering = u[..., 0] * params["max_steering"]
    if u.shape[-1] > 1:
        target_speed = (u[..., 1] + 1.0) * (0.5 * params["max_speed"])
    else:
        target_speed = xp.zeros_like(target_steering) + params["speed"]
    state = tuple(x[..., index] for index in range(5))
    return xp.stack(advance(state, target_steering, target_speed, params=params, xp=xp), axis=-1)


def advance(
    state: tuple[Any, ...],
    target_steering: Any,
    target_speed: Any,
    *,
    params: Mapping[str, Any],
    xp: Any,
) -> tuple[Any, ...]:
    """Return x, y, heading, steering, speed after one control step; all arguments are (...)."""
    x, y, heading, steering, speed = state
    substeps = int(params["substeps"])
    h = params["control_dt"] / substeps
    half = [0.5 * h * k for k in range(2 * substeps + 1)]
    t = xp.asarray(half, dtype=x.dtype, device=x.device).reshape((-1,) + (1,) * x.ndim)
    rate = params["max_steering_rate"]
    delta = steering + xp.clip(target_steering - steering, -rate * t, rate * t)
    v = speed + xp.clip(target_speed - speed, -params["max_deceleration"] * t, params["max_acceleration"] * t)
    omega = v * xp.tan(delta) / params["wheelbase"]

    first, middle, last = omega[:-1:2], omega[1::2], omega[2::2]
    turn = (first + 4.0 * middle + last) * (h / 6.0)
    # A loop adds in order whatever the batch size, where sum may not: no row depends on the others.
    headings = [heading]
    for k in range(substeps):
        headings.append(headings[k] + turn[k])
    before = xp.stack(headings[:-1])
    # The slope of the pose does not depend on x and y, so its four stages are known from the headings.
    stages = xp.stack([before, before + (0.5 * h) * first, before + (0.5 * h) * middle, before + h * middle])
    v0, v1, v2 = v[:-1:2] * (h / 6.0), v[1::2] * (h / 3.0), v[2::2] * (h / 6.0)
    c, s = xp.cos(stages), xp.sin(stages)
    east = v0 * c[0] + v1 * (c[1] + c[2]) + v2 * c[3]
    north = v0 * s[0] + v1 * (s[1] + s[2]) + v2 * s[3]
    for k in range(substeps):
        x, y = x + east[k], y + north[k]
    return x, y, wrap(headings[-1], xp), delta[-1], v[-1]


def wrap(angle: Any, xp: Any) -> Any:
    """Return the angle in [-pi, pi]."""
    return angle - TWO_PI * xp.round(angle * (1.0 / TWO_PI))
