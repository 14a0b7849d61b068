"""Linear-quadratic regulators: the best feedback where dynamics are linear and costs are squares."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.envs.problem import ControlProblem

STEP = 1e-5
"""Half the distance of the two points of a centred difference, in units of the state or input."""


@dataclass(frozen=True, kw_only=True)
class Linearised:
    """Dynamics and residuals near points of a trajectory, (...) of them.

    Attributes:
        a: (..., S, S) derivative of the next state by the state.
        b: (..., S, U) derivative of the next state by the input.
        residual: (..., R) residuals of the step.
        by_state: (..., R, S) their derivative by the state.
        by_input: (..., R, U) their derivative by the input.
    """

    a: Float64[np.ndarray, "... S S"]
    b: Float64[np.ndarray, "... S U"]
    residual: Float64[np.ndarray, "... R"]
    by_state: Float64[np.ndarray, "... R S"]
    by_input: Float64[np.ndarray, "... R U"]


def linearised(
    problem: ControlProblem, x: Float64[np.ndarray, "... S"], u: Float64[np.ndarray, "... U"]
) -> Linearised:
    """Return dynamics and residuals to first order, by centred differences.

    All points and all directions are evaluated in one call. With `STEP` in float64 they agree with automatic
    differentiation to about 1e-9 for smooth dynamics.
    """
    size, count = problem.num_states, problem.num_states + problem.num_inputs
    shifts = STEP * np.concatenate([np.eye(count), -np.eye(count)])
    shifts = shifts.reshape(2 * count, *(1,) * (x.ndim - 1), count)
    states, inputs = x + shifts[..., :size], u + shifts[..., size:]
    moved = problem.dynamics(states, inputs, np)
    slopes = np.moveaxis(problem.difference(moved[:count], moved[count:]), 0, -1) / (2.0 * STEP)
    felt = problem.running(states, inputs, np)
    pulls = np.moveaxis(felt[:count] - felt[count:], 0, -1) / (2.0 * STEP)
    return Linearised(
        a=slopes[..., :size],
        b=slopes[..., size:],
        residual=problem.running(x, u, np),
        by_state=pulls[..., :size],
        by_input=pulls[..., size:],
    )


def last_residuals(
    problem: ControlProblem, x: Float64[np.ndarray, "... S"]
) -> tuple[Float64[np.ndarray, "... Q"], Float64[np.ndarray, "... Q S"]]:
    """Return the residuals of last states, and their derivative, by centred differences."""
    size = problem.num_states
    shifts = (STEP * np.eye(size)).reshape(size, *(1,) * (x.ndim - 1), size)
    ahead, behind = problem.terminal(x + shifts, np), problem.terminal(x - shifts, np)
    return problem.terminal(x, np), np.moveaxis(ahead - behind, 0, -1) / (2.0 * STEP)


def lqr_gain(
    a: Float64[np.ndarray, "S S"],
    b: Float64[np.ndarray, "S U"],
    *,
    state_cost: Float64[np.ndarray, "S S"],
    input_cost: Float64[np.ndarray, "U U"],
    tolerance: float = 1e-13,
    max_iterations: int = 100_000,
) -> Float64[np.ndarray, "U S"]:
    """Return K of the best feedback u = K x for the cost sum x'Qx + u'Ru without a horizon.

    Iterates Riccati's equation, P <- Q + A'P(A + BK) with K = -(R + B'PB)^-1 B'PA, from P = Q until P rests.

    Args:
        a: (S, S) A.
        b: (S, U) B.
        state_cost: (S, S) Q, not negative.
        input_cost: (U, U) R, positive.
        tolerance: Largest change of P that counts as rest, relative to P's largest entry.
        max_iterations: Iterations after which it gives up.

    Raises:
        SpecError: P does not come to rest: no feedback stabilises the system.
    """
    return _rested(
        a, b, state_cost=state_cost, input_cost=input_cost, tolerance=tolerance, max_iterations=max_iterations
    )[0]


def _rested(
    a: Float64[np.ndarray, "S S"],
    b: Float64[np.ndarray, "S U"],
    *,
    state_cost: Float64[np.ndarray, "S S"],
    input_cost: Float64[np.ndarray, "U U"],
    tolerance: float = 1e-13,
    max_iterations: int = 100_000,
) -> tuple[Float64[np.ndarray, "U S"], Float64[np.ndarray, "S S"]]:
    """Return K and P of an infinite horizon; see `lqr_gain`."""
    cost = state_cost
    for _ in range(max_iterations):
        gain, new = _backward(a, b, cost, state_cost, input_cost)
        change, size = np.abs(new - cost).max(), np.abs(new).max()
        cost = new
        if change <= tolerance * size:
            return gain, cost
        if not size < 1e150:
            break
    raise SpecError(
        "Riccati's iteration did not come to rest.",
        got=f"spectral radius of A: {np.abs(np.linalg.eigvals(a)).max():.4g}",
        hint="the input must reach every direction in which the system is unstable",
    )


def finite_lqr_gains(
    a: Float64[np.ndarray, "S S"],
    b: Float64[np.ndarray, "S U"],
    *,
    state_cost: Float64[np.ndarray, "S S"],
    input_cost: Float64[np.ndarray, "U U"],
    last_cost: Float64[np.ndarray, "S S"],
    horizon: int,
) -> Float64[np.ndarray, "T U S"]:
    """Return K_t of the best feedback u_t = K_t x_t for sum_t<T x'Qx + u'Ru + x_T' Q_T x_T.

    Args:
        a: (S, S) A.
        b: (S, U) B.
        state_cost: (S, S) Q, not negative.
        input_cost: (U, U) R, positive.
        last_cost: (S, S) Q_T, not negative.
        horizon: Number of steps T.
    """
    gains = np.empty((horizon, b.shape[1], a.shape[0]))
    cost = last_cost
    for step in reversed(range(horizon)):
        gains[step], cost = _backward(a, b, cost, state_cost, input_cost)
    return gains


def balance_gain(
    problem: ControlProblem,
    *,
    state_cost: Float64[np.ndarray, "S S"] | None = None,
    input_cost: Float64[np.ndarray, "U U"] | None = None,
) -> Float64[np.ndarray, "U S"]:
    """Return K of u = rest + K (x - goal), the regulator of the problem linearised at its goal.

    Args:
        problem: The system and its costs.
        state_cost: (S, S) Q; that of the problem's own residuals where it is left out.
        input_cost: (U, U) R; that of the problem's own residuals where it is left out.

    Raises:
        CapabilityError: The task ends at no state in which the system rests.
        SpecError: No feedback stabilises the system there.
    """
    return _balanced(problem, state_cost, input_cost)[0]


def ending_held(problem: ControlProblem, *, weight: float) -> ControlProblem:
    """Return the problem whose last state also costs what the regulator would pay from there on.

    A plan that merely ends near an unstable goal may end too fast for the regulator, whose cost to go
    x'Px / 2 tells the directions apart.

    Args:
        problem: The problem.
        weight: By which the residuals of that cost are multiplied.

    Raises:
        CapabilityError: The task ends at no state in which the system rests.
        SpecError: No feedback stabilises the system there.
    """
    _, cost = _balanced(problem, None, None)
    values, directions = np.linalg.eigh(cost)
    root = weight * directions * np.sqrt(np.maximum(values, 0.0))
    angles = np.isin(np.arange(problem.num_states), problem.angles)

    def terminal(x: Any, xp: Any) -> Any:
        apart = x - xp.asarray(problem.goal)
        apart = xp.where(xp.asarray(angles), 2.0 * xp.sin(0.5 * apart), apart)
        return xp.concatenate([problem.terminal(x, xp), apart @ xp.asarray(root)], -1)

    return replace(problem, terminal=terminal)


def _balanced(
    problem: ControlProblem,
    state_cost: Float64[np.ndarray, "S S"] | None,
    input_cost: Float64[np.ndarray, "U U"] | None,
) -> tuple[Float64[np.ndarray, "U S"], Float64[np.ndarray, "S S"]]:
    """Return K and P of the problem linearised at its goal; see `balance_gain`."""
    if not np.isfinite(problem.goal).all():
        raise CapabilityError(
            "This task has no goal in which the system can rest.",
            hint="plan by sampling: --expert mppi, cem or predictive-sampling",
        )
    near = linearised(problem, problem.goal, problem.rest)
    if state_cost is None:
        state_cost = near.by_state.T @ near.by_state
    if input_cost is None:
        input_cost = near.by_input.T @ near.by_input
    return _rested(near.a, near.b, state_cost=state_cost, input_cost=input_cost)


def _backward(
    a: np.ndarray, b: np.ndarray, cost: np.ndarray, state_cost: np.ndarray, input_cost: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gain of a step and the cost to go before it, from the cost to go after it."""
    gain = -np.linalg.solve(input_cost + b.T @ cost @ b, b.T @ cost @ a)
    before = state_cost + a.T @ cost @ (a + b @ gain)
    return gain, (before + before.T) / 2.0
