"""Gymnasium's Pendulum-v1 as a problem of optimal control, and many of them stepped at once.

The equations are Gymnasium's own, entry by entry (a test holds the two against each other): the speed is
updated first and clipped, then the angle. The cost of a problem is half the sum of squares of its residuals;
they are scaled so that it is Gymnasium's, and the return is minus the cost.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float64

from steadyhand.core.seeding import generator
from steadyhand.envs.mechanics import wrapped
from steadyhand.envs.problem import ControlProblem

EPISODE = 200
MAX_SPEED, MAX_TORQUE, DT = 8.0, 2.0, 0.05


def step(x: Any, u: Any, xp: Any = np) -> Any:
    """Return the next (angle from upright [rad], speed [rad/s])."""
    angle, rate = x[..., 0], x[..., 1]
    torque = xp.clip(u[..., 0], -MAX_TORQUE, MAX_TORQUE)
    rate = xp.clip(rate + (15.0 * xp.sin(angle) + 3.0 * torque) * DT, -MAX_SPEED, MAX_SPEED)
    return xp.stack([angle + rate * DT, rate], -1)


def residuals(x: Any, u: Any, xp: Any = np) -> Any:
    """Return what half the sum of squares of is Gymnasium's cost of a step."""
    felt = (wrapped(x[..., 0], xp), 0.1**0.5 * x[..., 1], 0.001**0.5 * u[..., 0])
    return 2.0**0.5 * xp.stack(felt, -1)


def problem() -> ControlProblem:
    """Return the task; the last state of a plan costs as much as any other, without its torque."""
    return ControlProblem(
        dynamics=step,
        running=residuals,
        terminal=lambda x, xp: residuals(x, xp.zeros_like(x[..., :1]), xp),
        low=np.array([-MAX_TORQUE]),
        high=np.array([MAX_TORQUE]),
        goal=np.zeros(2),
        rest=np.zeros(1),
        angles=(0,),
        control_dt=DT,
    )


def seen(x: Float64[np.ndarray, "... 2"]) -> Float64[np.ndarray, "... 3"]:
    """Return what Gymnasium shows: cosine and sine of the angle, and the speed."""
    return np.stack([np.cos(x[..., 0]), np.sin(x[..., 0]), x[..., 1]], axis=-1)


def state_of(observation: Float64[np.ndarray, "... 3"]) -> Float64[np.ndarray, "... 2"]:
    """Return the state that is seen."""
    return np.stack([np.arctan2(observation[..., 1], observation[..., 0]), observation[..., 2]], axis=-1)


def starts(family: str, count: int, *, seed: int = 0) -> Float64[np.ndarray, "B 2"]:
    """Return starts, spread as Gymnasium's: any angle, and a speed of at most 1 rad/s."""
    drawn = [generator(seed, "pendulum v1", family, row).uniform(-1.0, 1.0, 2) for row in range(count)]
    return np.array(drawn) * [np.pi, 1.0]


def drive(
    act: Callable[[Float64[np.ndarray, "B 2"]], Float64[np.ndarray, "B 1"]],
    start: Float64[np.ndarray, "B 2"],
    *,
    steps: int = EPISODE,
) -> tuple[Float64[np.ndarray, "B T 2"], Float64[np.ndarray, "B T 1"], Float64[np.ndarray, " B"]]:
    """Drive from every start; return states before each step, torques, and returns."""
    x, states, torques = start, [], []
    for _ in range(steps):
        u = np.clip(act(x), -MAX_TORQUE, MAX_TORQUE)
        states.append(x)
        torques.append(u)
        x = step(x, u)
    path, done = np.stack(states, axis=1), np.stack(torques, axis=1)
    return path, done, -0.5 * (residuals(path, done) ** 2).sum((-1, -2))
