"""The car's motion run backwards: the state from which a command leads to a given one, in closed form.

Steering and speed after a step depend on those before it alone, and the pose moves by a rigid displacement
that depends on nothing but them: undo the servo and the motor, see how far that state moves from the origin,
and move back.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from steadyhand.envs.car.dynamics import dynamics, wrap

NUM_STATES = 5
"""x, y, heading, steering, speed: also the first entries of the car's snapshots ("values")."""

SAME = 1e-5
"""A steering angle [rad] or a speed [m/s] this close to its target has reached it."""


def before(
    state: Float[np.ndarray, "N 5"],
    action: Float[np.ndarray, "N A"],
    *,
    params: Mapping[str, Any],
    steering: Float[np.ndarray, " N"] | None = None,
) -> Float64[np.ndarray, "N 5"]:
    """Return where the car was, if `action` was executed in the step that led to `state`.

    Where the servo has reached its target it may have come from anywhere within its rate; then it is taken to
    have been there all along, and likewise the motor. Where it has not, it came at its full rate.

    Args:
        state: x [m], y [m], heading [rad], steering angle [rad], speed [m/s] after the step.
        action: The command, as `dynamics` takes it.
        params: Parameters that `dynamics.parameters` returns.
        steering: Steering angle before the step [rad], for what does not see the wheels: the step then leads
            to the pose and the speed in `state`, and to whatever steering angle follows. None looks for the
            angle that leads to the one in `state` too.

    Returns:
        The state before the step; NaN in rows where the steering angle or the speed would have had to be out
        of bounds, so that there is none.
    """
    after = state.astype(np.float64)
    command = np.clip(action.astype(np.float64), -1.0, 1.0)
    dt, most = params["control_dt"], params["max_steering"]
    turn = params["max_steering_rate"] * dt
    wheels = _undone(after[:, 3], command[:, 0] * most, up=turn, down=turn)
    if steering is not None:
        wheels = steering.astype(np.float64)
    if command.shape[1] > 1:
        target = (command[:, 1] + 1.0) * (0.5 * params["max_speed"])
    else:
        target = np.full(len(after), float(params["speed"]))
    up, down = params["max_acceleration"] * dt, params["max_deceleration"] * dt
    speed = _undone(after[:, 4], target, up=up, down=down)

    origin = np.zeros_like(after)
    origin[:, 3], origin[:, 4] = wheels, speed
    move = dynamics(origin, command, params=params, xp=np)
    heading = after[:, 2] - move[:, 2]
    cos, sin = np.cos(heading), np.sin(heading)
    x = after[:, 0] - (cos * move[:, 0] - sin * move[:, 1])
    y = after[:, 1] - (sin * move[:, 0] + cos * move[:, 1])
    found = np.stack([x, y, wrap(heading, np), wheels, speed], axis=1)
    within = (np.abs(wheels) <= most + SAME) & (speed >= -SAME) & (speed <= params["max_speed"] + SAME)
    found[~within] = np.nan
    return found


def moved(snapshot: Mapping[str, np.ndarray], states: Float[np.ndarray, "N 5"]) -> dict[str, np.ndarray]:
    """Return a snapshot of the car with its rows at other states, for `Car.restore`.

    What it tells about the road (arc length, offset) stays that of the old states: look through its lidar or
    camera, but do not drive on.
    """
    values = snapshot["values"].copy()
    values[:, :NUM_STATES] = states
    return {**snapshot, "values": values}


def _undone(
    after: Float64[np.ndarray, " N"], target: Float64[np.ndarray, " N"], *, up: float, down: float
) -> Float64[np.ndarray, " N"]:
    """Undo a step towards `target` that was cut to [-down, up]."""
    left = target - after
    back = np.where(left > 0.0, -up, down)
    return np.where(np.abs(left) <= SAME, target, after + back)
