"""Where labels lie: by a learnt model or by the true system, with or without a solver."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float64

from steadyhand.correction.expert_steps import ExpertSteps, Points, spread
from steadyhand.correction.roots import Roots, solve
from steadyhand.correction.true_dynamics import Inverse, Oracle, TrueDynamics
from steadyhand.policies.dynamics import Transitions
from steadyhand.policies.residual_map import ResidualMap


@dataclass(frozen=True, kw_only=True, eq=False)
class Learnt:
    """A learnt model, asked in the same way as the true system.

    Attributes:
        model: The model.
        train: What it was trained on.
        heldout: What it was not, if anything.
    """

    model: ResidualMap
    train: Transitions
    heldout: Transitions | None

    def states(self, observation: Float[np.ndarray, "N S"]) -> Float64[np.ndarray, "N S"]:
        """Return the states behind observations, which are the same."""
        return observation.astype(np.float64)

    def observations(self, state: Float64[np.ndarray, "N S"]) -> Float64[np.ndarray, "N S"]:
        """Return what is observed in states, which is the same."""
        return state

    def minus(
        self, x: Float64[np.ndarray, "N S"], y: Float64[np.ndarray, "N S"]
    ) -> Float64[np.ndarray, "N S"]:
        """Return x - y."""
        return x - y

    def residual(
        self, state: Float64[np.ndarray, "N S"], action: Float64[np.ndarray, "N A"]
    ) -> Float64[np.ndarray, "N S"]:
        """Return the change of state in one step."""
        return self.model.residual(state, action)

    def jacobian(
        self,
        state: Float64[np.ndarray, "N S"],
        action: Float64[np.ndarray, "N A"],
        *,
        scale: Float64[np.ndarray, " S"],
    ) -> Float64[np.ndarray, "N S S"]:
        """Return its exact derivative with respect to the state."""
        del scale
        return self.model.jacobian(state, action)


def find(
    source: Learnt | Oracle,
    steps: ExpertSteps,
    points: Points,
    *,
    explicit: bool,
    normalised: bool,
    tolerance: float,
    max_iterations: int,
) -> tuple[Roots, Float64[np.ndarray, " N"]]:
    """Return the observations where the labels lie, and the slope L at the points they are derived from.

    Args:
        source: The dynamics.
        steps: What the points were taken from.
        points: What is sought.
        explicit: Go back by the change at the state to be reached, instead of finding the root.
        normalised: Measure slopes in standard deviations of the state.
        tolerance: Largest error of a root, in those.
        max_iterations: Newton steps.
    """
    if not isinstance(source, Learnt | TrueDynamics):
        return _inverted(source, points), np.ones(len(points))
    target, here = source.states(points.target), source.states(points.state)
    scale = spread(source.states(steps.transitions.state))
    slopes = source.jacobian(here, points.action, scale=scale)
    ratio = scale / scale[:, None] if normalised else np.ones((len(scale), len(scale)))
    slope = np.linalg.norm(slopes * ratio, 2, axis=(1, 2))
    # From the state to be reached, back by the change there: the explicit label, and for BackTrack, whose
    # state to be reached is the expert's own, a fair guess of the root.
    back = source.minus(target, source.residual(target, points.action))
    if explicit:
        return _given(source.observations(back)), slope

    def rise(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return source.minus(x + source.residual(x, points.action[rows]), target[rows])

    def derivative(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.eye(x.shape[1]) + source.jacobian(x, points.action[rows], scale=scale)

    roots = solve(rise, derivative, back, scale=scale, tolerance=tolerance, max_iterations=max_iterations)
    return replace(roots, x=source.observations(roots.x)), slope


def _inverted(oracle: Inverse, points: Points) -> Roots:
    states = oracle.before(points.parent, points.step + 1, points.action).astype(np.float64)
    known = np.isfinite(states.sum(axis=1))
    error = np.where(known, 0.0, np.inf)
    return Roots(x=np.where(known[:, None], states, 0.0), error=error, converged=known)


def _given(x: Float64[np.ndarray, "N S"]) -> Roots:
    return Roots(x=x, error=np.zeros(len(x)), converged=np.ones(len(x), dtype=bool))
