"""Optimal control problems: what planners are given, whatever env they plan in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

Dynamics = Callable[[Any, Any, Any], Any]
"""(x, u, xp) -> the next state: (..., S), (..., U) and an array namespace (numpy or torch) to (..., S)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlProblem:
    """Choose u_0 ... u_{T-1} so that sum_t |r(x_t, u_t)|^2 / 2 + |r_T(x_T)|^2 / 2 is least.

    x_{t+1} = f(x_t, u_t), and low <= u_t <= high. The costs are sums of squares, so that their Gauss-Newton
    Hessians are never negative. All three functions take any leading dimensions, and compute each of their
    entries by itself.

    Attributes:
        dynamics: f(x, u, xp): (..., S) and (..., U) to (..., S), in the array namespace `xp`.
        running: r(x, u, xp): to (..., R), the residuals of a step.
        terminal: r_T(x, xp): to (..., Q), the residuals of the last state.
        low: (U,) lower bounds of the input.
        high: (U,) upper bounds of the input.
        goal: (S,) state in which the task is done and the system can rest; nan where there is none.
        rest: (U,) input that keeps it there.
        angles: Entries of the state that are angles [rad], whose differences are taken the short way round.
        control_dt: Time of one step [s].
    """

    dynamics: Dynamics
    running: Callable[[Any, Any, Any], Any]
    terminal: Callable[[Any, Any], Any]
    low: Float64[np.ndarray, " U"]
    high: Float64[np.ndarray, " U"]
    goal: Float64[np.ndarray, " S"]
    rest: Float64[np.ndarray, " U"]
    angles: tuple[int, ...] = ()
    control_dt: float

    @property
    def num_states(self) -> int:
        """S."""
        return len(self.goal)

    @property
    def num_inputs(self) -> int:
        """U."""
        return len(self.low)

    def difference(
        self, x: Float64[np.ndarray, "... S"], other: Float64[np.ndarray, "... S"]
    ) -> Float64[np.ndarray, "... S"]:
        """Return x - other, with differences of angles in [-pi, pi)."""
        apart = np.subtract(x, other)
        for index in self.angles:
            apart[..., index] = (apart[..., index] + np.pi) % (2.0 * np.pi) - np.pi
        return apart

    def cost(
        self, x: Float64[np.ndarray, "... P S"], u: Float64[np.ndarray, "... T U"]
    ) -> Float64[np.ndarray, "..."]:
        """Return the cost of trajectories."""
        running = self.running(x[..., :-1, :], u, np)
        terminal = self.terminal(x[..., -1, :], np)
        return 0.5 * ((running * running).sum((-1, -2)) + (terminal * terminal).sum(-1))

    def rollout(
        self, start: Float64[np.ndarray, "... S"], u: Float64[np.ndarray, "... T U"]
    ) -> Float64[np.ndarray, "... P S"]:
        """Return the states from `start` under clipped inputs, the start first."""
        inputs = np.clip(u, self.low, self.high)
        states = np.empty((*inputs.shape[:-2], inputs.shape[-2] + 1, self.num_states))
        states[..., 0, :] = start
        for step in range(inputs.shape[-2]):
            states[..., step + 1, :] = self.dynamics(states[..., step, :], inputs[..., step, :], np)
        return states


def rk4(derivative: Callable[[Any], Any], x: Any, *, dt: float, substeps: int = 1) -> Any:
    """Return the state after `dt`, by the classical Runge-Kutta method in equal substeps.

    Args:
        derivative: x -> x', with the input held.
        x: The state, (..., S).
        dt: Time [s].
        substeps: In how many steps.
    """
    step = dt / substeps
    for _ in range(substeps):
        first = derivative(x)
        second = derivative(x + 0.5 * step * first)
        third = derivative(x + 0.5 * step * second)
        fourth = derivative(x + step * third)
        x = x + (step / 6.0) * (first + 2.0 * second + 2.0 * third + fourth)
    return x
