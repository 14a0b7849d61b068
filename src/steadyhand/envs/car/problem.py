"""Driving fast as a problem of optimal control, for planners that sample.

The state of the problem is the car's own with its place on the road, as the env keeps it: costs then read
how far along, how far off the centre line and how far turned the car is. The road enters as a table, so that
the problem speaks NumPy alone, and the task ends nowhere, so that no regulator serves it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from steadyhand.core.errors import CapabilityError
from steadyhand.envs.car.config import TIGHTEST_BEND, CarConfig
from steadyhand.envs.car.dynamics import dynamics, parameters
from steadyhand.envs.problem import ControlProblem

if TYPE_CHECKING:
    from steadyhand.envs.car.atlas import Atlas

STEERING, SPEED, ALONG, LATERAL, HEADING_ERROR, CURVATURE, SLOT = range(3, 10)
NUM_STATES = 10
"""x [m], y [m], heading [rad], steering angle [rad], speed [m/s], arc length [m], offset to the left [m],
heading less the road's [rad], curvature of the road [1/m], and the road's slot in the atlas."""

MARGIN = 0.06
"""This far inside of the road's edge being there begins to cost [m]."""

EDGE, OFF, JERK, TURNED = 40.0, 12.0, 0.1, 1.0
"""Weights: each metre beyond the margin, each step off the road, the servo's way for each step as a share of
its range, and each radian that the car is turned from the road at the end."""


def car_problem(config: CarConfig, atlas: "Atlas") -> ControlProblem:
    """Return the task of getting far along the road without leaving it.

    Args:
        config: The car.
        atlas: The roads of the env, which may grow.
    """
    params = {**parameters(config), "substeps": 1}  # one Runge-Kutta step, within a millimetre of five
    half = 0.5 * config.road_width
    fastest = config.params.max_speed if config.action == "steering_speed" else config.speed
    best = fastest / (1.0 - TIGHTEST_BEND * half)  # along the inner edge of the tightest bend
    inputs = 1 if config.action == "steering" else 2
    rest = np.array([0.0, 1.0])[:inputs]  # straight on, at full speed: what a plan goes on with at its end

    def moved(x: Any, u: Any, xp: Any) -> Any:
        _numpy_alone(xp)
        body = dynamics(x[..., :5], u, params=params, xp=np)
        return on_road(x, body, config, atlas)

    def edge(x: Any) -> tuple[Any, Any]:
        away = np.abs(x[..., LATERAL])
        return EDGE * np.maximum(away - (half - MARGIN), 0.0), OFF * (away > half)

    def running(x: Any, u: Any, xp: Any) -> Any:
        _numpy_alone(xp)
        asked = np.clip(u[..., 0], -1.0, 1.0) - x[..., STEERING] / config.params.max_steering
        return np.stack([best - x[..., SPEED] * _pace(x), *edge(x), JERK * asked], axis=-1)

    def terminal(x: Any, xp: Any) -> Any:
        _numpy_alone(xp)
        return np.stack([best - x[..., SPEED] * _pace(x), *edge(x), TURNED * x[..., HEADING_ERROR]], axis=-1)

    return ControlProblem(
        dynamics=moved,
        running=running,
        terminal=terminal,
        low=np.full(inputs, -1.0),
        high=np.full(inputs, 1.0),
        goal=np.full(NUM_STATES, np.nan),
        rest=rest,
        angles=(2, HEADING_ERROR),
        control_dt=config.control_dt,
    )


def on_road(
    x: Float64[np.ndarray, "... 10"], body: Float64[np.ndarray, "... 5"], config: CarConfig, atlas: "Atlas"
) -> Float64[np.ndarray, "... 10"]:
    """Return the problem's state of a car that has got from `x` to `body` in one step, wherever that is.

    Args:
        x: (..., 10) states before the step.
        body: (..., 5) x, y, heading, steering angle and speed after it.
        config: The car.
        atlas: The roads of the env.
    """
    slot = x[..., SLOT].astype(np.int64)
    travelled = 0.5 * config.control_dt * (x[..., SPEED] + body[..., 4])
    guess = x[..., ALONG] + travelled * _pace(x)
    road = atlas.lane(slot).project(body[..., 0], body[..., 1], body[..., 2], guess)
    length = atlas.length[slot]
    along = road.s - length * np.floor(road.s / length)
    place = (along, road.lateral, road.heading_error, road.curvature, x[..., SLOT])
    return np.concatenate([body, np.stack(place, axis=-1)], axis=-1)


def state_of(seen: Mapping[str, np.ndarray], atlas: "Atlas") -> Float64[np.ndarray, "B 10"]:
    """Return the problem's state from what experts see of the car.

    Raises:
        CapabilityError: It is not what experts see.
    """
    names = ("pose", "steering", "speed", "road", "lateral", "heading_error")
    missing = [name for name in names if f"privileged.{name}" not in seen]
    if missing:
        raise CapabilityError(
            "Where on its road a car is, is told to experts alone.",
            got=sorted(seen),
            expected=", ".join(f"privileged.{name}" for name in names),
        )
    pose, steering, speed, road, lateral, heading_error = (
        seen[f"privileged.{name}"].astype(np.float64) for name in names
    )
    slots = np.array([atlas.slot(round(number)) for number in road[:, 0].tolist()], dtype=np.int64)
    near = atlas.lane(slots).samples(road[:, 1].astype(np.float32))
    bend, slot = near[:, 3:4].astype(np.float64), slots[:, None].astype(np.float64)
    return np.concatenate([pose, steering, speed, road[:, 1:], lateral, heading_error, bend, slot], axis=1)


def _pace(x: Any) -> Any:
    """Return how fast a car gets along the centre line for each unit of its speed."""
    return np.cos(x[..., HEADING_ERROR]) / np.maximum(1.0 - x[..., CURVATURE] * x[..., LATERAL], 0.1)


def _numpy_alone(xp: Any) -> None:
    if xp is not np:
        raise CapabilityError(
            "The car's road is a table that only NumPy reads.",
            got=xp.__name__,
            hint="use env.dynamics, which knows no road",
        )
