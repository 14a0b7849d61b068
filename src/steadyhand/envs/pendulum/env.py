"""A batch of pendulums that must be swung up and kept upright."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64, Shaped, UInt8

from steadyhand.core.errors import SpecError
from steadyhand.core.seeding import derive, generator
from steadyhand.core.specs import STATE
from steadyhand.envs.base import BatchEnv, Family, Start, StepResult
from steadyhand.envs.pendulum.config import PendulumConfig
from steadyhand.envs.pendulum.dynamics import dynamics, parameters, wrap
from steadyhand.envs.pendulum.render import render_pendulum

OPTIONS = ("theta", "theta_dot")
TRAIL_STEPS = 60
PI = np.float32(np.pi)


class Pendulum(BatchEnv):
    """N pendulums; see `PendulumConfig` for what can be chosen.

    The state is the angle theta from hanging, counter-clockwise, in [0, 2 pi], and its rate; a policy sees
    (sin theta, cos theta, theta_dot). The reward of a step is CCIL's,
    -(1/2) ((theta - pi)^2 + theta_dot^2) - (1/2) torque^2, of the state in which the torque was chosen. An
    episode lasts `max_episode_steps`, and succeeds if the bob was upright throughout its last `hold_time`.

    Args:
        config: What was chosen.
        num_rows: Number of pendulums.
    """

    checks_itself = True

    def __init__(self, config: PendulumConfig | None = None, *, num_rows: int) -> None:
        if num_rows < 1:
            raise SpecError("An env needs at least one row.", got=num_rows, expected=">= 1")
        self.config = config or PendulumConfig()
        self.num_rows = num_rows
        self.spec = self.config.spec()
        self._params = parameters(self.config)
        self._values = np.zeros((num_rows, 2), dtype=np.float32)
        self._torque = np.zeros(num_rows, dtype=np.float32)
        self._held = np.zeros(num_rows, dtype=np.int64)
        self._steps = np.zeros(num_rows, dtype=np.int64)
        self._ended = np.ones(num_rows, dtype=bool)
        self._trails: dict[int, deque[np.ndarray]] = {}

    def starts(self, family: Family, count: int, *, seed: int = 0) -> tuple[Start, ...]:
        """Return `count` starts. Options: "theta" from hanging [rad] and "theta_dot" [rad/s]."""
        config = self.config
        starts: list[Start] = []
        for index in range(count):
            angle, rate = generator(seed, "pendulum", family, index).uniform(-1.0, 1.0, 2)
            options = {
                "theta": float(angle * config.start_angle),
                "theta_dot": float(rate * config.start_speed),
            }
            starts.append(
                Start(family=family, seed=derive(seed, "pendulum", family, "start", index), options=options)
            )
        return tuple(starts)

    def reset(self, starts: Sequence[Start], rows: Int64[np.ndarray, " B"]) -> None:
        """Put each of `rows` at its start."""
        self._check_starts(starts, rows, options=OPTIONS)
        if not starts:
            return
        first = [[start.options.get(name, 0.0) for name in OPTIONS] for start in starts]
        values = np.array(first, dtype=np.float32)
        values[:, 0] = wrap(values[:, 0], np)
        self._values[rows] = values
        self._torque[rows] = 0.0
        self._held[rows] = 0
        self._steps[rows] = 0
        self._ended[rows] = False
        self._trails = {row: trail for row, trail in self._trails.items() if row not in rows}

    def step(self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]) -> StepResult:
        """Advance `rows` by control_dt.

        Raises:
            SpecError: A row has ended, or the actions have the wrong shape.
        """
        self._check_step(actions, rows, self._ended)
        limit = np.float32(self.config.max_torque)
        torque = np.clip(actions.astype(np.float32, copy=False), -limit, limit)
        old = self._values[rows]
        away, rate = old[:, 0] - PI, old[:, 1]
        reward = -0.5 * (away * away + rate * rate + torque[:, 0] * torque[:, 0])
        new = dynamics(old, torque, params=self._params, xp=np)
        upright = np.abs(new[:, 0] - PI) <= np.float32(self.config.upright)
        held = np.where(upright, self._held[rows] + 1, 0)
        steps = self._steps[rows] + 1
        truncated = steps >= self.config.max_episode_steps
        self._values[rows] = new
        self._torque[rows] = torque[:, 0]
        self._held[rows] = held
        self._steps[rows] = steps
        self._ended[rows] = truncated
        for row, trail in self._trails.items():
            trail.append(self._values[row].copy())
        return StepResult(
            reward=reward,
            terminated=np.zeros(len(rows), dtype=bool),
            truncated=truncated,
            success=truncated & (held >= self.config.hold_steps),
        )

    def observe(
        self,
        rows: Int64[np.ndarray, " B"],
        *,
        view_offset: Mapping[str, Float32[np.ndarray, " B"]] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return (sin theta, cos theta, theta_dot); see `BatchEnv.observe`."""
        if view_offset is not None:
            raise self._lacks("displaced sensors (view_offset)")
        self._check_rows(rows)
        theta, rate = self._values[rows].T
        return {STATE: np.stack([np.sin(theta), np.cos(theta), rate], axis=1)}

    def state(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return a snapshot of `rows`; it may be restored into another env of the same config."""
        self._check_rows(rows)
        return {
            "values": self._values[rows],
            "torque": self._torque[rows],
            "held": self._held[rows],
            "steps": self._steps[rows],
            "ended": self._ended[rows],
        }

    def restore(self, state: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into the snapshot `state`, bit for bit."""
        self._check_rows(rows)
        self._values[rows] = state["values"]
        self._torque[rows] = state["torque"]
        self._held[rows] = state["held"]
        self._steps[rows] = state["steps"]
        self._ended[rows] = state["ended"]
        self._trails = {row: trail for row, trail in self._trails.items() if row not in rows}

    def place(self, observation: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` at an angle and a speed; see `BatchEnv.place`."""
        sin, cos, rate = observation[STATE].astype(np.float32).T
        count = len(rows)
        self.restore(
            {
                "values": np.stack([np.arctan2(sin, cos), rate], axis=1),
                "torque": np.zeros(count, dtype=np.float32),
                "held": np.zeros(count, dtype=np.int64),
                "steps": np.zeros(count, dtype=np.int64),
                "ended": np.zeros(count, dtype=bool),
            },
            rows,
        )

    def dynamics(self, x: Any, u: Any, *, params: Mapping[str, Any], xp: Any) -> Any:
        """Return the next (..., 2) state (theta, theta_dot); `params` overrides single parameters."""
        return dynamics(x, u, params={**self._params, **params}, xp=xp)

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return the pendulum from the front, with the torque.

        A row leaves a trail from its first picture on.
        """
        if row not in self._trails:
            self._trails[row] = deque([self._values[row].copy()], maxlen=TRAIL_STEPS)
        return render_pendulum(
            self.config,
            np.array(self._trails[row])[:, 0],
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
