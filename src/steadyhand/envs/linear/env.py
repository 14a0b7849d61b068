"""A batch of linear systems."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from steadyhand.core.errors import SpecError
from steadyhand.core.seeding import derive, generator
from steadyhand.core.specs import STATE
from steadyhand.envs.base import BatchEnv, Family, Start, StepResult
from steadyhand.envs.linear.config import LinearConfig


class LinearSystem(BatchEnv):
    """N copies of x' = A x + B u; see `LinearConfig` for what can be chosen.

    The reward is -(x'Qx + u'Ru). The action has no bounds: what a wrong feedback does is not hidden by them.

    Args:
        config: What was chosen.
        num_rows: Number of copies.
    """

    def __init__(self, config: LinearConfig | None = None, *, num_rows: int) -> None:
        if num_rows < 1:
            raise SpecError("An env needs at least one row.", got=num_rows, expected=">= 1")
        self.config = config or LinearConfig()
        self.spec = self.config.spec()
        self.num_rows = num_rows
        # float64 inside: rounding is an error like any other, and here every error grows.
        self._values = np.zeros((num_rows, 2))
        self._steps = np.zeros(num_rows, dtype=np.int64)
        self._ended = np.ones(num_rows, dtype=bool)

    def starts(self, family: Family, count: int, *, seed: int = 0) -> tuple[Start, ...]:
        """Return `count` starts with the options "x1" and "x2", normal along the line or all round."""
        starts: list[Start] = []
        for index in range(count):
            draw = generator(seed, "linear", family, index).standard_normal(2) * self.config.spread
            if self.config.line:
                draw = draw[0] * np.array(self.config.line) / np.linalg.norm(self.config.line)
            options = {"x1": float(draw[0]), "x2": float(draw[1])}
            starts.append(
                Start(family=family, seed=derive(seed, "linear", family, "start", index), options=options)
            )
        return tuple(starts)

    def reset(self, starts: Sequence[Start], rows: Int64[np.ndarray, " B"]) -> None:
        """Put each of `rows` at its start."""
        self._check_starts(starts, rows, options=("x1", "x2"))
        if not starts:
            return
        self._values[rows] = [[start.options.get(name, 0.0) for name in ("x1", "x2")] for start in starts]
        self._steps[rows] = 0
        self._ended[rows] = False

    def step(self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]) -> StepResult:
        """Advance `rows` by control_dt.

        Raises:
            SpecError: A row has ended, or the actions have the wrong shape.
        """
        self._check_step(actions, rows, self._ended)
        here, command = self._values[rows], actions.astype(np.float64)
        cost = (here**2 @ np.diag(self.config.state_cost)) + (command**2 @ np.diag(self.config.input_cost))
        there = self.dynamics(here, command, params={}, xp=np)
        self._values[rows] = there
        self._steps[rows] += 1
        size = np.linalg.norm(there, axis=1)
        terminated = size > self.config.limit
        truncated = (self._steps[rows] >= self.config.max_episode_steps) & ~terminated
        self._ended[rows] = terminated | truncated
        return StepResult(
            reward=(-cost).astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            success=truncated & (size < self.config.tolerance),
        )

    def observe(
        self,
        rows: Int64[np.ndarray, " B"],
        *,
        view_offset: Mapping[str, Float32[np.ndarray, " B"]] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the states of `rows`; see `BatchEnv.observe`."""
        if view_offset is not None:
            raise self._lacks("displaced sensors (view_offset)")
        self._check_rows(rows)
        return {STATE: self._values[rows].astype(np.float32)}

    def dynamics(self, x: Any, u: Any, *, params: Mapping[str, Any], xp: Any) -> Any:
        """Return A x + B u, (..., 2), computed entry by entry; `params` may override "a" and "b"."""
        a, b = params.get("a", self.config.a), params.get("b", self.config.b)
        rows = [a[i][0] * x[..., 0] + a[i][1] * x[..., 1] + b[i][0] * u[..., 0] for i in range(2)]
        return xp.stack(rows, -1)

    def state(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return a snapshot of `rows`; it may be restored into another env of the same config."""
        self._check_rows(rows)
        return {"values": self._values[rows], "steps": self._steps[rows], "ended": self._ended[rows]}

    def restore(self, state: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into the snapshot `state`, bit for bit."""
        self._check_rows(rows)
        self._values[rows] = state["values"]
        self._steps[rows] = state["steps"]
        self._ended[rows] = state["ended"]

    def place(self, observation: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into a state; see `BatchEnv.place`."""
        self._check_rows(rows)
        self._values[rows] = observation[STATE]
        self._steps[rows] = 0
        self._ended[rows] = False

    def position(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        """Return the states themselves."""
        self._check_rows(rows)
        return self._values[rows].astype(np.float32)

    def error(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
        """Return the norm of the state: how far it is from rest."""
        self._check_rows(rows)
        return np.linalg.norm(self._values[rows], axis=1).astype(np.float32)
