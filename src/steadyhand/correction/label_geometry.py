"""Where corrective labels lie: whether they can add anything, or contradict the expert."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from steadyhand.core.seeding import generator
from steadyhand.correction.expert_steps import ExpertSteps, Points
from steadyhand.correction.label_search import Learnt
from steadyhand.policies.dynamics import Transitions
from steadyhand.policies.residual_map import ResidualMap

_MOST_QUERIES = 2000
"""Nearest neighbours are looked up for so many labels, drawn at random where there are more."""
_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class LabelGeometry:
    """Figures of one set of labels. Distances are Euclidean and normalised, medians over kept labels.

    Attributes:
        num_candidates: Labels that were sought.
        num_converged: Labels among the candidates whose equation was solved.
        num_kept: Labels among those solved that were not rejected.
        kept_fraction: num_kept / num_candidates.
        distance_per_step: Distance from the state that the label stands in for, in lengths of the step that
            the expert took there; median. Near 0 the label repeats a demonstration, above 1 it leaves the
            data by more than a step.
        trust_distance: Distance from the expert's state from which the label was derived; median.
        nearest_ratio: Distance to the nearest expert state, in units of that between expert states; median.
        action_disagreement: Root mean square over dimensions of label - action at the nearest expert state,
            in standard deviations of the action; median. Large where labels contradict demonstrations.
        action_leak: Held-out R2 with which label - expert's state predicts the label's action linearly; None
            for fewer labels than that takes. Near 1 a policy can read the answer off the label.
        action_leak_true: R2 of that prediction for the step that the expert took there, in place of the
            label's: what is due to the task itself.
        model_error: Error of the next state on transitions that were trained on, in lengths of their steps;
            median. None where the labels come from the true system, as in the rest below.
        heldout_error: Error of the next state on transitions that were held out; None also where none were.
        lipschitz: End-to-end Lipschitz constant of the residual with respect to the state, raw units.
        lipschitz_step: That of the next state: 1 + `lipschitz`.
        lipschitz_normalised: Product of the layers' spectral norms.
        local_lipschitz: L(s, a), the slope of the residual at the expert's states, raw units; median.
    """

    num_candidates: int
    num_converged: int
    num_kept: int
    kept_fraction: float
    distance_per_step: float
    trust_distance: float
    nearest_ratio: float
    action_disagreement: float
    action_leak: float | None = None
    action_leak_true: float | None = None
    model_error: float | None = None
    heldout_error: float | None = None
    lipschitz: float | None = None
    lipschitz_step: float | None = None
    lipschitz_normalised: float | None = None
    local_lipschitz: float | None = None


def measure(
    steps: ExpertSteps,
    points: Points,
    states: Float32[np.ndarray, "N S"],
    *,
    found: Bool[np.ndarray, " N"],
    kept: Bool[np.ndarray, " N"],
    seed: int,
) -> LabelGeometry:
    """Return the figures that need no model.

    Args:
        steps: Where the labels come from.
        points: What was sought.
        states: (N, S) where the labels lie.
        found: (N,) which were found.
        kept: (N,) which of them were kept, at least one.
        seed: Seed of the draw of labels whose neighbours are looked up.
    """
    demos, actions = steps.labelled()
    away = np.linalg.norm((states - points.stands_for) / steps.scale, axis=1)[kept]
    moved = np.linalg.norm((points.target - points.stands_for) / steps.scale, axis=1)[kept]
    derived = np.linalg.norm((states - points.state) / steps.scale, axis=1)[kept]
    ratio, gap = neighbours(
        states[kept] / steps.scale,
        points.action[kept] / steps.action_scale,
        demos / steps.scale,
        actions / steps.action_scale,
        seed=seed,
    )
    answer = points.action[kept] / steps.action_scale
    leak, leak_true = (
        linear_r2((place[kept] - points.state[kept]) / steps.scale, answer, groups=points.parent[kept])
        for place in (states, points.stands_for)
    )
    return LabelGeometry(
        num_candidates=len(points),
        num_converged=int(found.sum()),
        num_kept=int(kept.sum()),
        kept_fraction=float(kept.mean()),
        distance_per_step=per_step(away, moved),
        trust_distance=float(np.median(derived)),
        nearest_ratio=ratio,
        action_disagreement=gap,
        action_leak=leak,
        action_leak_true=leak_true,
    )


def with_model(geometry: LabelGeometry, learnt: Learnt, steps: ExpertSteps, points: Points) -> LabelGeometry:
    """Return the figures with those of the learnt model."""
    model, heldout = learnt.model, learnt.heldout
    constants = model.end_to_end()
    return replace(
        geometry,
        model_error=_model_error(model, learnt.train, steps.scale),
        heldout_error=None if heldout is None else _model_error(model, heldout, steps.scale),
        lipschitz=constants.state,
        lipschitz_step=constants.step,
        lipschitz_normalised=constants.normalised,
        local_lipschitz=float(np.median(model.local_lipschitz(points.state, points.action))),
    )


def _model_error(model: ResidualMap, data: Transitions, scale: Float64[np.ndarray, " S"]) -> float:
    missed = (model.step(data.state, data.action) - data.next_state) / scale
    moved = (data.next_state.astype(np.float64) - data.state) / scale
    return per_step(np.linalg.norm(missed, axis=1), np.linalg.norm(moved, axis=1))


def per_step(length: Float[np.ndarray, " N"], step: Float[np.ndarray, " N"]) -> float:
    """Return the median of length / step over rows that moved at all; 0 where none did."""
    moved = step > 0.0
    return float(np.median(length[moved] / step[moved])) if moved.any() else 0.0


def linear_r2(
    inputs: Float[np.ndarray, "N D"], outputs: Float[np.ndarray, "N A"], *, groups: Int64[np.ndarray, " N"]
) -> float | None:
    """Return the R2 of a linear fit on rows that it was not made on; None where there are too few.

    Every other group (episode) is held out; of a single group, its second half.
    """
    names = np.unique(groups)
    held = np.isin(groups, names[1::2]) if len(names) > 1 else np.arange(len(groups)) >= len(groups) // 2
    wide = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
    if (~held).sum() < 2 * wide.shape[1] or held.sum() < 2:
        return None
    weights, *_ = np.linalg.lstsq(wide[~held], outputs[~held], rcond=None)
    missed = np.square(outputs[held] - wide[held] @ weights).sum()
    varied = np.square(outputs[held] - outputs[held].mean(axis=0)).sum()
    return float(1.0 - missed / varied) if varied > 0.0 else None


def neighbours(
    labels: Float64[np.ndarray, "K S"],
    actions: Float64[np.ndarray, "K A"],
    states: Float64[np.ndarray, "N S"],
    expert: Float64[np.ndarray, "N A"],
    *,
    seed: int,
) -> tuple[float, float]:
    """Return (nearest ratio, action disagreement) of labels against expert states, all normalised."""
    chosen = _some(len(labels), seed)
    nearest, distance = _nearest(labels[chosen], states, is_self=None)
    gap = np.sqrt(np.square(actions[chosen] - expert[nearest]).mean(1))
    own = _some(len(states), seed)
    _, between = _nearest(states[own], states, is_self=own)
    base = float(np.median(between))
    return float(np.median(distance)) / base if base > 0.0 else np.inf, float(np.median(gap))


def _some(count: int, seed: int) -> np.ndarray:
    if count <= _MOST_QUERIES:
        return np.arange(count)
    return np.sort(generator(seed, "neighbours").choice(count, _MOST_QUERIES, replace=False))


def _nearest(
    queries: np.ndarray, states: np.ndarray, *, is_self: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return index and distance of the nearest state; a query that is itself a state leaves that one out."""
    square = np.square(states).sum(1)
    index = np.zeros(len(queries), dtype=np.int64)
    for first in range(0, len(queries), _AT_ONCE):
        part = queries[first : first + _AT_ONCE]
        gaps = square - 2.0 * part @ states.T  # the query's own square changes no order
        if is_self is not None:
            gaps[np.arange(len(part)), is_self[first : first + _AT_ONCE]] = np.inf
        index[first : first + _AT_ONCE] = gaps.argmin(1)
    return index, np.linalg.norm(queries - states[index], axis=1)
