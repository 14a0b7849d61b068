"""Labels from the true system instead of a learnt model: the upper bound of what CCIL could gain."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64, Int64

Step = Callable[[Float64[np.ndarray, "N X"], Float64[np.ndarray, "N A"]], Float[np.ndarray, "N X"]]
_PROBE = 1e-5
"""Half width of a central difference, in spreads of the state."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrueDynamics:
    """The true step of a system whose state can be read from the observation.

    `env.dynamics` with `xp=numpy` is such a step. Derivatives are central differences, so it should keep the
    float64 that it is given.

    Attributes:
        step: (state (N, X), action (N, A)) -> next state (N, X), raw.
        state_of: Observation (N, S) -> state (N, X), such as (sin, cos) -> angle; None where they are the
            same.
        observe: State (N, X) -> observation (N, S), its inverse; None where they are the same.
        difference: (x, y) -> x - y, for states with an angle that wraps; None means the plain difference.
    """

    step: Step
    state_of: Callable[[np.ndarray], np.ndarray] | None = None
    observe: Callable[[np.ndarray], np.ndarray] | None = None
    difference: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    def states(self, observation: Float[np.ndarray, "N S"]) -> Float64[np.ndarray, "N X"]:
        """Return the states behind observations."""
        wide = observation.astype(np.float64)
        return wide if self.state_of is None else self.state_of(wide).astype(np.float64)

    def observations(self, state: Float64[np.ndarray, "N X"]) -> Float64[np.ndarray, "N S"]:
        """Return what is observed in states."""
        return state if self.observe is None else self.observe(state)

    def minus(self, x: Float64[np.ndarray, "N X"], y: Float64[np.ndarray, "N X"]) -> np.ndarray:
        """Return x - y."""
        return x - y if self.difference is None else self.difference(x, y)

    def residual(self, state: Float64[np.ndarray, "N X"], action: Float[np.ndarray, "N A"]) -> np.ndarray:
        """Return the change of state in one step."""
        return self.minus(self.step(state, action).astype(np.float64), state)

    def jacobian(
        self,
        state: Float64[np.ndarray, "N X"],
        action: Float[np.ndarray, "N A"],
        *,
        scale: Float64[np.ndarray, " X"],
    ) -> Float64[np.ndarray, "N X X"]:
        """Return the derivative of `residual` with respect to the state.

        Args:
            state: (N, X).
            action: (N, A).
            scale: (X,) spread of each entry of the state: differences are taken over a small share of it.
        """
        columns: list[np.ndarray] = []
        for index, probe in enumerate(_PROBE * scale):
            shift = np.zeros_like(scale)
            shift[index] = probe
            ahead, behind = self.step(state + shift, action), self.step(state - shift, action)
            columns.append(self.minus(ahead.astype(np.float64), behind.astype(np.float64)) / (2.0 * probe))
        return np.stack(columns, axis=-1) - np.eye(len(scale))


@runtime_checkable
class Inverse(Protocol):
    """The true system run backwards, where the observation hides the state (a car seen by its lidar)."""

    def before(
        self,
        parent: Int64[np.ndarray, " N"],
        reached: Int64[np.ndarray, " N"],
        action: Float64[np.ndarray, "N A"],
    ) -> Float[np.ndarray, "N S"]:
        """Return what is observed where `action` leads to the state of step `reached` of an episode.

        Args:
            parent: (N,) position of the episode among those given to `corrective_labels`.
            reached: (N,) step whose state is reached, 0 to T; T is the final state.
            action: (N, A) what is executed.

        Returns:
            (N, S) observations, the features side by side; NaN in rows where there is no such state.
        """
        ...


Oracle = TrueDynamics | Inverse
