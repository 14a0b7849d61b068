"""Trajectory optimisation by iLQR with bounded inputs, many problems at once.

Tassa, Mansard and Todorov, "Control-limited differential dynamic programming" (ICRA 2014): a backward pass
that solves a small box-constrained quadratic program at each step, zeroes the feedback of inputs that sit on
a bound, and regularises; a forward pass that tries several step sizes. Gauss-Newton Hessians (costs are sums
of squares), so that only dynamics enter to first order.

Every problem of a batch has its own regularisation and its own step size, and all step sizes are tried in one
rollout: B problems cost little more than one.

Deviation: regularisation is added to the input's Hessian alone (type 1 of the paper's program).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from steadyhand.core.settings import Count, Positive, Settings
from steadyhand.envs.problem import ControlProblem
from steadyhand.experts.control.box_qp import solve_box_qp
from steadyhand.experts.control.riccati import Linearised, last_residuals, linearised

STEP_SIZES = 10.0 ** np.linspace(0.0, -3.0, 11)
"""Step sizes of the line search, as in the paper's program."""

FACTOR, LEAST, MOST = 1.6, 1e-6, 1e10
"""How fast regularisation changes, below what it is 0, and above what a problem is given up."""


@dataclass(frozen=True, kw_only=True)
class Trajectories:
    """Locally best trajectories of B problems, with the feedback that keeps to them.

    Attributes:
        x: (B, P = T + 1, S) states.
        u: (B, T, U) inputs.
        gain: (B, T, U, S) K of u = u_t + K (x - x_t); rows of inputs on a bound are 0.
        cost: (B,) what they cost.
        is_converged: (B,) whether the search ended because nothing got better.
        iterations: (B,) iterations that each took.
    """

    x: Float64[np.ndarray, "B P S"]
    u: Float64[np.ndarray, "B T U"]
    gain: Float64[np.ndarray, "B T U S"]
    cost: Float64[np.ndarray, " B"]
    is_converged: Bool[np.ndarray, " B"]
    iterations: Int64[np.ndarray, " B"]

    def put(self, rows: np.ndarray, other: "Trajectories") -> None:
        """Take over those of `other`, one for each of `rows`."""
        for name in ("x", "u", "gain", "cost", "is_converged", "iterations"):
            getattr(self, name)[rows] = getattr(other, name)

    def take(self, rows: np.ndarray) -> "Trajectories":
        """Return those of some problems."""
        return Trajectories(
            x=self.x[rows],
            u=self.u[rows],
            gain=self.gain[rows],
            cost=self.cost[rows],
            is_converged=self.is_converged[rows],
            iterations=self.iterations[rows],
        )


@dataclass(frozen=True, kw_only=True)
class IlqrSettings(Settings):
    """How long the search goes on.

    Attributes:
        max_iterations: The most iterations of a problem, accepted or not.
        tolerance: A problem is done when an accepted step saves less than this share of its cost.
        min_gradient: Or when no input would change by more than this, relative to 1 + |u|, on average.
    """

    max_iterations: Count = 100
    tolerance: Positive = 1e-7
    min_gradient: Positive = 1e-4


def ilqr(
    problem: ControlProblem,
    start: Float64[np.ndarray, "B S"],
    guess: Float64[np.ndarray, "B T U"],
    settings: IlqrSettings | None = None,
) -> Trajectories:
    """Return locally best trajectories from `start`.

    Args:
        problem: Dynamics, costs and bounds.
        start: (B, S) first states.
        guess: (B, T, U) inputs to begin with. At rest with no input a pendulum's gradient is zero: begin
            with noise there.
        settings: How long the search goes on.
    """
    settings = settings or IlqrSettings()
    u = np.clip(guess, problem.low, problem.high)
    x = problem.rollout(start, u)
    found = Trajectories(
        x=x,
        u=u,
        gain=np.zeros((*u.shape, problem.num_states)),
        cost=problem.cost(x, u),
        is_converged=np.zeros(len(u), dtype=bool),
        iterations=np.zeros(len(u), dtype=np.int64),
    )
    damping = _Damping(len(u))
    active = np.arange(len(u))
    offset = np.zeros_like(u)
    while len(active):
        _iterate(problem, found, active, offset, damping=damping, settings=settings)
        spent = found.iterations[active] >= settings.max_iterations
        active = active[~(found.is_converged[active] | spent | damping.is_hopeless[active])]
    # Feedback of what was found, of the model itself: regularisation is for the search alone.
    found.gain[:] = _backward(problem, found.x, found.u, np.zeros(len(u)), offset).gain
    return found


class _Damping:
    """Regularisation of each problem: quickly more where a step fails, quickly less where it holds."""

    def __init__(self, count: int) -> None:
        self.value = np.ones(count)
        self._change = np.ones(count)

    @property
    def is_hopeless(self) -> Bool[np.ndarray, " B"]:
        """(B,) whether no regularisation helps."""
        return self.value > MOST

    def less(self, rows: np.ndarray) -> None:
        """Trust the quadratic model of `rows` more."""
        self._change[rows] = np.minimum(self._change[rows] / FACTOR, 1.0 / FACTOR)
        value = self.value[rows] * self._change[rows]
        self.value[rows] = np.where(value < LEAST, 0.0, value)

    def more(self, rows: np.ndarray) -> None:
        """Trust the quadratic model of `rows` less."""
        self._change[rows] = np.minimum(np.maximum(self._change[rows] * FACTOR, FACTOR), MOST)
        self.value[rows] = np.maximum(self.value[rows] * self._change[rows], LEAST)


def _iterate(
    problem: ControlProblem,
    found: Trajectories,
    active: np.ndarray,
    warm: np.ndarray,
    *,
    damping: _Damping,
    settings: IlqrSettings,
) -> None:
    """Improve the trajectories of `active` once, where that is possible."""
    found.iterations[active] += 1
    x, u = found.x[active], found.u[active]
    backward = _backward(problem, x, u, damping.value[active], warm[active])
    found.gain[active], warm[active] = backward.gain, backward.offset
    is_flat = np.abs(backward.offset / (np.abs(u) + 1.0)).max(-1).mean(-1) < settings.min_gradient
    found.is_converged[active[is_flat]] = True
    going = np.flatnonzero(~is_flat)
    if not len(going):
        return
    rows, backward = active[going], backward.take(going)
    new_x, new_u, new_cost, is_better = _searched(problem, x[going], u[going], found.cost[rows], backward)
    saved = found.cost[rows] - new_cost
    found.is_converged[rows[is_better & (saved < settings.tolerance * (1e-12 + np.abs(new_cost)))]] = True
    better = rows[is_better]
    found.x[better], found.u[better] = new_x[is_better], new_u[is_better]
    found.cost[better] = new_cost[is_better]
    damping.less(better)
    damping.more(rows[~is_better])


@dataclass(frozen=True, kw_only=True)
class _Step:
    """What a backward pass finds.

    Attributes:
        offset: (B, T, U) change of the inputs for a full step.
        gain: (B, T, U, S) feedback.
        linear: (B,) change of the cost for a full step, to first order.
        quadratic: (B,) what the second order adds.
    """

    offset: np.ndarray
    gain: np.ndarray
    linear: np.ndarray
    quadratic: np.ndarray

    def take(self, rows: np.ndarray) -> "_Step":
        """Return that of some problems."""
        return _Step(
            offset=self.offset[rows],
            gain=self.gain[rows],
            linear=self.linear[rows],
            quadratic=self.quadratic[rows],
        )


def _backward(
    problem: ControlProblem, x: np.ndarray, u: np.ndarray, damping: np.ndarray, warm: np.ndarray
) -> _Step:
    """Return steps and feedback, from the last time step to the first."""
    near = linearised(problem, x[:, :-1], u)
    last, slope = last_residuals(problem, x[:, -1])
    gradient, hessian = _square(slope, last)
    offset, gain = np.empty_like(u), np.empty((*u.shape, problem.num_states))
    linear, quadratic = np.zeros(len(u)), np.zeros(len(u))
    for step in reversed(range(u.shape[1])):
        q = _action_value(near, step, gradient, hessian)
        low, high = problem.low - u[:, step], problem.high - u[:, step]
        damped = q.uu + damping[:, None, None] * np.eye(problem.num_inputs)
        best = solve_box_qp(damped, q.u, low, high, guess=warm[:, step])
        feedback = best.feedback(q.ux)
        offset[:, step], gain[:, step] = best.x, feedback
        pushed = (q.uu @ best.x[..., None])[..., 0]
        linear += (best.x * q.u).sum(-1)
        quadratic += 0.5 * (best.x * pushed).sum(-1)
        turned = np.swapaxes(feedback, -1, -2)
        gradient = q.x + _times(turned, pushed + q.u) + _times(np.swapaxes(q.ux, -1, -2), best.x)
        hessian = q.xx + turned @ q.uu @ feedback + turned @ q.ux + np.swapaxes(q.ux, -1, -2) @ feedback
        hessian = 0.5 * (hessian + np.swapaxes(hessian, -1, -2))
    return _Step(offset=offset, gain=gain, linear=linear, quadratic=quadratic)


@dataclass(frozen=True, kw_only=True)
class _ActionValue:
    """Derivatives of the cost to go from a state and an input: `ux` is (B, U, S), and so on."""

    x: np.ndarray
    u: np.ndarray
    xx: np.ndarray
    uu: np.ndarray
    ux: np.ndarray


def _action_value(near: Linearised, step: int, gradient: np.ndarray, hessian: np.ndarray) -> _ActionValue:
    a, b = near.a[:, step], near.b[:, step]
    by_state, by_input, felt = near.by_state[:, step], near.by_input[:, step], near.residual[:, step]
    a_turned, b_turned = np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2)
    input_turned = np.swapaxes(by_input, -1, -2)
    own_x, own_xx = _square(by_state, felt)
    own_u, own_uu = _square(by_input, felt)
    return _ActionValue(
        x=own_x + _times(a_turned, gradient),
        u=own_u + _times(b_turned, gradient),
        xx=own_xx + a_turned @ hessian @ a,
        uu=own_uu + b_turned @ hessian @ b,
        ux=input_turned @ by_state + b_turned @ hessian @ a,
    )


def _square(slope: np.ndarray, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return gradient and Gauss-Newton Hessian of half a sum of squares."""
    turned = np.swapaxes(slope, -1, -2)
    return _times(turned, residual), turned @ slope


def _times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return (matrix @ vector[..., None])[..., 0]


def _searched(
    problem: ControlProblem, x: np.ndarray, u: np.ndarray, cost: np.ndarray, step: _Step
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the trajectories of the largest step size that saves cost, and whether there is one.

    All step sizes are rolled out at once.
    """
    sizes = STEP_SIZES[:, None]
    shape = (len(STEP_SIZES), len(u))
    new_x = np.empty((*shape, *x.shape[1:]))
    new_u = np.empty((*shape, *u.shape[1:]))
    new_x[:, :, 0] = x[:, 0]
    for now in range(u.shape[1]):
        apart = problem.difference(new_x[:, :, now], x[:, now])
        wanted = u[:, now] + sizes[..., None] * step.offset[:, now] + _times(step.gain[:, now], apart)
        new_u[:, :, now] = np.clip(wanted, problem.low, problem.high)
        new_x[:, :, now + 1] = problem.dynamics(new_x[:, :, now], new_u[:, :, now], np)
    with np.errstate(all="ignore"):
        costs = problem.cost(new_x, new_u)
    saved = cost - costs
    expected = -sizes * (step.linear + sizes * step.quadratic)
    holds = np.isfinite(costs) & (saved > 0.0) & (expected > 0.0)
    first = holds.argmax(axis=0)
    each = np.arange(len(u))
    return new_x[first, each], new_u[first, each], costs[first, each], np.asarray(holds.any(axis=0))


Guess = Callable[[Int64[np.ndarray, " B"], int], Float64[np.ndarray, "B T U"]]
"""(rows, attempt) -> inputs to begin with; attempts count from 0."""


def ilqr_with_restarts(
    problem: ControlProblem,
    start: Float64[np.ndarray, "B S"],
    guess: Guess,
    *,
    is_solved: Callable[[Trajectories], Bool[np.ndarray, " B"]],
    attempts: int = 4,
    settings: IlqrSettings | None = None,
) -> tuple[Trajectories, Int64[np.ndarray, " B"]]:
    """Return the best trajectories of several beginnings; only what is not solved begins again.

    Args:
        problem: Dynamics, costs and bounds.
        start: (B, S) first states.
        guess: Inputs to begin with.
        is_solved: Which trajectories do what they should: local optima are no solutions by themselves.
        attempts: How often a problem is begun, the first time included.
        settings: How long each search goes on.

    Returns:
        The trajectories: a solved one where there is one, otherwise the cheapest; and (B,) the number of
        attempts that each took until it was solved, 0 where it was not.
    """
    best = ilqr(problem, start, guess(np.arange(len(start)), 0), settings)
    taken = np.where(is_solved(best), 1, 0)
    for attempt in range(1, attempts):
        rows = np.flatnonzero(taken == 0)
        if not len(rows):
            break
        other = ilqr(problem, start[rows], guess(rows, attempt), settings)
        solved = is_solved(other)
        better = solved | (other.cost < best.cost[rows])
        best.put(rows[better], other.take(better))
        taken[rows[solved]] = attempt + 1
    return best, taken
