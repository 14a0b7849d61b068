"""A batch of pendulums that must be swung up and kept upright."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped, UInt8

from steadyhand.core.seeding import generator
from steadyhand.core.specs import STATE
from steadyhand.envs.arrays import ArrayEnv, Trails
from steadyhand.envs.base import Family, Start
from steadyhand.envs.pendulum.config import PendulumConfig
from steadyhand.envs.pendulum.dynamics import dynamics, parameters, wrap
from steadyhand.envs.pendulum.render import render_pendulum
from steadyhand.envs.problem import ControlProblem

TRAIL_STEPS = 60
PI = np.float32(np.pi)


class Pendulum(ArrayEnv):
    """N pendulums; see `PendulumConfig` for what can be chosen.

    The state is the angle theta from hanging, counter-clockwise, in [0, 2 pi], and its rate; a policy sees
    (sin theta, cos theta, theta_dot). The reward of a step is CCIL's,
    -(1/2) ((theta - pi)^2 + theta_dot^2) - (1/2) torque^2, of the state in which the torque was chosen. An
    episode lasts `max_episode_steps`, and succeeds if the bob was upright throughout its last `hold_time`.

    Args:
        config: Settings of the env.
        num_rows: Number of pendulums.
    """

    OPTIONS = ("theta", "theta_dot")

    def __init__(self, config: PendulumConfig | None = None, *, num_rows: int) -> None:
        self.config = config or PendulumConfig()
        super().__init__(self.config.spec(), num_rows=num_rows)
        self._params = parameters(self.config)
        self._values = self._declare("values", np.zeros((num_rows, 2), dtype=np.float32))
        self._torque = self._declare("torque", np.zeros(num_rows, dtype=np.float32))
        self._held = self._declare("held", np.zeros(num_rows, dtype=np.int64))
        self._trails = self._followed(Trails(self._values, length=TRAIL_STEPS))

    def place(self, observation: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` at an angle and a speed; see `BatchEnv.place`."""
        sin, cos, rate = observation[STATE].astype(np.float32).T
        self._put({"values": np.stack([wrap(np.arctan2(sin, cos), np), rate], axis=1)}, rows)

    def dynamics(self, x: Any, u: Any, *, params: Mapping[str, Any], xp: Any) -> Any:
        """Return the next (..., 2) state (theta, theta_dot); `params` overrides single parameters."""
        return dynamics(x, u, params={**self._params, **params}, xp=xp)

    def problem(self) -> ControlProblem:
        """Return the task as a problem of optimal control; see `BatchEnv.problem`.

        Its costs are no reward of the env's: torque is cheap, and an angle e counts as 2 sin(e / 2), without
        a kink at hanging.
        """
        limit = np.array([self.config.max_torque])

        def running(x: Any, u: Any, xp: Any) -> Any:
            return xp.stack([6.0 * xp.cos(0.5 * x[..., 0]), 0.3 * x[..., 1], 0.1 * u[..., 0]], -1)

        def terminal(x: Any, xp: Any) -> Any:
            return xp.stack([20.0 * xp.cos(0.5 * x[..., 0]), 3.0 * x[..., 1]], -1)

        return ControlProblem(
            dynamics=lambda x, u, xp: self.dynamics(x, u, params={}, xp=xp),
            running=running,
            terminal=terminal,
            low=-limit,
            high=limit,
            goal=np.array([np.pi, 0.0]),
            rest=np.zeros(1),
            angles=(0,),
            control_dt=self.config.control_dt,
        )

    def x_of(self, observation: Mapping[str, np.ndarray]) -> Float64[np.ndarray, "B 2"]:
        """Return (theta, theta_dot), theta in [-pi, pi]."""
        sin, cos, rate = observation[STATE].astype(np.float64).T
        return np.stack([np.arctan2(sin, cos), rate], axis=1)

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return the pendulum from the front, with the torque.

        A row leaves a trail from its first picture on.
        """
        return render_pendulum(
            self.config,
            self._trails.of(row)[:, 0],
            torque=float(self._torque[row]),
            width=width,
            height=height,
        )

    def position(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        """Return where the bob is, right of and above the hinge [m]."""
        self._check_rows(rows)
        theta = self._values[rows, 0]
        return np.float32(self.config.length) * np.stack([np.sin(theta), -np.cos(theta)], axis=1)

    def error(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
        """Return the angle from upright, at most pi [rad]."""
        self._check_rows(rows)
        return np.abs(self._values[rows, 0] - PI)

    def _options(self, family: Family, count: int, seed: int) -> Sequence[dict[str, float]]:
        """Return "theta" from hanging [rad] and "theta_dot" [rad/s]."""
        config = self.config
        drawn = [generator(seed, "pendulum", family, index).uniform(-1.0, 1.0, 2) for index in range(count)]
        return [
            {"theta": float(angle * config.start_angle), "theta_dot": float(rate * config.start_speed)}
            for angle, rate in drawn
        ]

    def _first(self, starts: Sequence[Start]) -> Mapping[str, np.ndarray]:
        first = [[start.options.get(name, 0.0) for name in self.OPTIONS] for start in starts]
        values = np.array(first, dtype=np.float32)
        values[:, 0] = wrap(values[:, 0], np)
        return {"values": values}

    def _advance(
        self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]
    ) -> tuple[Float32[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        limit = np.float32(self.config.max_torque)
        torque = np.clip(actions.astype(np.float32, copy=False), -limit, limit)
        old = self._values[rows]
        away, rate = old[:, 0] - PI, old[:, 1]
        reward = -0.5 * (away * away + rate * rate + torque[:, 0] * torque[:, 0])
        new = dynamics(old, torque, params=self._params, xp=np)
        upright = np.abs(new[:, 0] - PI) <= np.float32(self.config.upright)
        held = np.where(upright, self._held[rows] + 1, 0)
        self._values[rows] = new
        self._torque[rows] = torque[:, 0]
        self._held[rows] = held
        return reward, np.zeros(len(rows), dtype=bool), held >= self.config.hold_steps

    def _see(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        theta, rate = self._values[rows].T
        return {STATE: np.stack([np.sin(theta), np.cos(theta), rate], axis=1)}
