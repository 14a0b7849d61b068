"""A batch of linear systems."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64, Shaped

from steadyhand.core.seeding import generator
from steadyhand.core.specs import STATE
from steadyhand.envs.arrays import ArrayEnv
from steadyhand.envs.base import Family, Start
from steadyhand.envs.linear.config import LinearConfig


class LinearSystem(ArrayEnv):
    """N copies of x' = A x + B u; see `LinearConfig` for what can be chosen.

    The reward is -(x'Qx + u'Ru). The action has no bounds: what a wrong feedback does is not hidden by them.

    Args:
        config: Settings of the env.
        num_rows: Number of copies.
    """

    OPTIONS = ("x1", "x2")

    def __init__(self, config: LinearConfig | None = None, *, num_rows: int) -> None:
        self.config = config or LinearConfig()
        super().__init__(self.config.spec(), num_rows=num_rows)
        # float64 inside: rounding is an error like any other, and here every error grows.
        self._values = self._declare("values", np.zeros((num_rows, 2)))

    def dynamics(self, x: Any, u: Any, *, params: Mapping[str, Any], xp: Any) -> Any:
        """Return A x + B u, (..., 2), computed entry by entry; `params` may override "a" and "b"."""
        a, b = params.get("a", self.config.a), params.get("b", self.config.b)
        rows = [a[i][0] * x[..., 0] + a[i][1] * x[..., 1] + b[i][0] * u[..., 0] for i in range(2)]
        return xp.stack(rows, -1)

    def place(self, observation: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into a state; see `BatchEnv.place`."""
        self._put({"values": observation[STATE]}, rows)

    def position(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        """Return the states themselves."""
        self._check_rows(rows)
        return self._values[rows].astype(np.float32)

    def error(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
        """Return the norm of the state: how far it is from rest."""
        self._check_rows(rows)
        return np.linalg.norm(self._values[rows], axis=1).astype(np.float32)

    def _options(self, family: Family, count: int, seed: int) -> Sequence[dict[str, float]]:
        """Return "x1" and "x2", normal along the line or all round."""
        drawn = [generator(seed, "linear", family, index).standard_normal(2) for index in range(count)]
        drawn = [draw * self.config.spread for draw in drawn]
        if self.config.line:
            drawn = [
                draw[0] * np.array(self.config.line) / np.linalg.norm(self.config.line) for draw in drawn
            ]
        return [{"x1": float(draw[0]), "x2": float(draw[1])} for draw in drawn]

    def _first(self, starts: Sequence[Start]) -> Mapping[str, np.ndarray]:
        first = [[start.options.get(name, 0.0) for name in self.OPTIONS] for start in starts]
        return {"values": np.array(first)}

    def _advance(
        self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]
    ) -> tuple[Float32[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        here, command = self._values[rows], actions.astype(np.float64)
        cost = (here**2 @ np.diag(self.config.state_cost)) + (command**2 @ np.diag(self.config.input_cost))
        there = self.dynamics(here, command, params={}, xp=np)
        self._values[rows] = there
        size = np.linalg.norm(there, axis=1)
        lost = size > self.config.limit
        return (-cost).astype(np.float32), lost, ~lost & (size < self.config.tolerance)

    def _see(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        return {STATE: self._values[rows].astype(np.float32)}
