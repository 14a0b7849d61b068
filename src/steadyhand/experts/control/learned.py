"""Planning on learnt dynamics: next states come from nets, and what they disagree about costs.

A planner looks for inputs that are cheap *by the model*, and so for the model's errors in its favour. Several
nets that learnt the same steps agree where there were some, and differ where they guess: a cost on their
disagreement keeps a plan where the model can be believed (PETS: Chua et al., 2018, without its particles; the
penalty as in MOPO: Yu et al., 2020).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from steadyhand.core.errors import CapabilityError
from steadyhand.envs.problem import ControlProblem
from steadyhand.policies.residual_map import ResidualMap


@dataclass(frozen=True, kw_only=True)
class Chart:
    """How a problem's states are told to a net, and how its answers are read; row by row.

    A net should be told nothing that does not matter, such as where a car is, and nothing that jumps, such as
    an angle at pi. `read(x, enter(x, y))` is y, for every y that a step from x may lead to.

    Attributes:
        enter: (x, y), states (N, S) before a step and states (N, S), to the latter as a net is told them,
            (N, Z); it is given enter(x, x) and should say enter(x, y).
        read: (x, z), states (N, S) before a step and what a net says comes after it, (N, Z), to the states
            (N, S) after it.
    """

    enter: Callable[[np.ndarray, np.ndarray], np.ndarray]
    read: Callable[[np.ndarray, np.ndarray], np.ndarray]


def learned_problem(
    problem: ControlProblem, nets: Sequence[ResidualMap], *, chart: Chart, disagreement: float = 0.0
) -> ControlProblem:
    """Return the problem with learnt dynamics: the mean of the nets.

    Its states have one entry more, what the nets disagreed about in the step that led there; a state without
    that entry, such as a planner begins with, is taken as well. It speaks NumPy alone.

    Args:
        problem: The task, whose costs stay.
        nets: One net or several.
        chart: How states are told to them.
        disagreement: Cost of a step for each unit of the nets' squared disagreement: the mean over entries
            of their variance, in units of the spread of the changes that they learnt from.
    """
    size, weight = problem.num_states, np.sqrt(2.0 * disagreement)

    def dynamics(x: Any, u: Any, xp: Any) -> Any:
        _numpy_alone(xp)
        lead, plain = x.shape[:-1], x[..., :size].reshape(-1, size)
        told = chart.enter(plain, plain)
        flat = np.clip(u, problem.low, problem.high).reshape(len(plain), -1)
        said = np.stack([net.step(told, flat) for net in nets])
        apart = said.std(axis=0) / nets[0].residual_scale
        doubt = np.sqrt((apart * apart).mean(axis=1, keepdims=True))
        after = np.concatenate([chart.read(plain, said.mean(axis=0)), doubt], axis=1)
        return after.reshape(*lead, size + 1)

    def felt(residuals: Any, x: Any) -> Any:
        if weight == 0.0 or x.shape[-1] == size:
            return residuals
        return np.concatenate([residuals, weight * x[..., size:]], axis=-1)

    def running(x: Any, u: Any, xp: Any) -> Any:
        return felt(problem.running(x[..., :size], u, xp), x)

    def terminal(x: Any, xp: Any) -> Any:
        return felt(problem.terminal(x[..., :size], xp), x)

    goal = np.append(problem.goal, 0.0)
    return replace(problem, dynamics=dynamics, running=running, terminal=terminal, goal=goal)


def doubt_of(path: Float64[np.ndarray, "... S"]) -> Float64[np.ndarray, "..."]:
    """Return what the nets disagreed about on the way to states of a learnt problem."""
    return path[..., -1]


def _numpy_alone(xp: Any) -> None:
    if xp is not np:
        raise CapabilityError(
            "A learnt model of the dynamics speaks NumPy alone.",
            got=xp.__name__,
            hint="plan by sampling (mppi, cem), which needs no derivative",
        )
