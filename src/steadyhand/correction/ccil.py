"""CCIL (Ke et al., ICLR 2024): corrective labels from a dynamics model learnt from demonstrations alone.

A label (s, a) is a state beside the demonstrations from which a leads, by the model, back onto them. Names
are those of numerical analysis: "explicit" needs no solver, "implicit" finds a root. The released code names
them the other way round, and its root finder for BackTrack solves the explicit equation (its unknown does not
enter the model).

A feature that never changes in the demonstrations keeps its value in every label of a learnt model: the
model's error would be all of its spread, and after normalisation a flag that says which states are synthetic.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

import numpy as np
from jaxtyping import Bool, Float, Float64

from steadyhand.core.errors import CapabilityError, DataError
from steadyhand.core.seeding import derive, generator
from steadyhand.correction.ccil_config import (
    CorrectiveLabels,
    KeepAll,
    Quantile,
    Radius,
    Rejection,
)
from steadyhand.correction.expert_steps import ExpertSteps, Points, state_features
from steadyhand.correction.label_geometry import LabelGeometry, measure, with_model
from steadyhand.correction.label_search import Learnt, find
from steadyhand.correction.true_dynamics import Oracle, TrueDynamics
from steadyhand.data.episode import Branch, Episode, EpisodeOrigin, demonstration
from steadyhand.policies.dynamics import Dynamics, Transitions, TransitionSource
from steadyhand.policies.residual_map import ResidualMap
from steadyhand.policies.spec import PolicySpec
from steadyhand.training.loop import fit


def corrective_labels(
    episodes: Sequence[Episode],
    spec: PolicySpec,
    config: CorrectiveLabels,
    *,
    seed: int,
    oracle: Oracle | None = None,
) -> tuple[list[Episode], LabelGeometry]:
    """Return corrective labels as branch episodes, and where they lie.

    Train on `[*episodes, *labels]`: a label names its parent by position in `episodes`, which must stand
    first and in this order. A label holds the features of the state and no others. It counts as a label of
    the expert in `Episode.num_labels`, though nobody was asked.

    Args:
        episodes: Demonstrations or corrected rollouts. The model learns from all executed steps, labels are
            derived from steps whose expert action is known; branches among the episodes are left alone.
        spec: What policies see and do.
        config: Settings.
        seed: Seed of the model's initial parameters, its training and the disturbances.
        oracle: Makes the labels instead of a learnt model, which is then not trained. An `Inverse` is exact,
            so explicit and implicit labels are the same; slopes are unknown to it, and L counts as 1.

    Raises:
        CapabilityError: No continuous vector to take for the state, or discrete actions to be disturbed.
        DataError: No transition, no expert's label, or no label that was found.
    """
    require_meaning(spec, config)
    steps = ExpertSteps(episodes, spec, config.features)
    points = _points(steps, config, seed)
    if oracle is None:
        train, heldout = _halves(steps.transitions, config.holdout, seed)
        source = Learnt(model=learnt_dynamics(train, config, seed=seed), train=train, heldout=heldout)
    else:
        source = oracle
    found, slope = find(
        source,
        steps,
        points,
        explicit=config.label != "implicit",
        normalised=config.units == "normalised",
        tolerance=config.tolerance,
        max_iterations=config.max_iterations,
    )
    states = found.x.astype(np.float32)
    if oracle is None:
        states = steps.restored(states, points)
    distance = bound_distance(steps, points, states, config)
    kept = _kept(config.rejection, distance, slope, found.converged)
    if not kept.any():
        raise DataError(
            "No corrective label was found.",
            got=f"{int(found.converged.sum())} roots of {len(points)}, none kept",
            hint="raise max_iterations or the rejection's limit; label='explicit' needs no root",
        )
    geometry = measure(steps, points, states, found=found.converged, kept=kept, seed=seed)
    if isinstance(source, Learnt):
        geometry = with_model(geometry, source, steps, points)
    return _episodes(steps, points, states, kept, config), geometry


def require_meaning(spec: PolicySpec, config: CorrectiveLabels) -> None:
    """Raise CapabilityError where a disturbed action has no meaning, before anything is collected."""
    if config.label == "disturbed" and spec.action.num_classes is not None:
        raise CapabilityError(
            "A class cannot be disturbed a little.",
            got=f"label = {config.label!r} and discrete actions",
            expected="continuous actions",
            hint='use label="explicit" or "implicit", which leave the action as it is',
        )


def require_all_seen(spec: PolicySpec, config: CorrectiveLabels) -> None:
    """Raise CapabilityError if policies see what corrective labels do not hold: they could not be trained."""
    held = state_features(spec, config.features)
    missing = [name for name in spec.observation if name not in held]
    if missing:
        raise CapabilityError(
            "Corrective labels hold the features of the state alone, and the policy sees others as well.",
            got=", ".join(f"{name} ({spec.observation[name].kind})" for name in missing),
            expected=", ".join(held),
            hint="let the policy see vectors alone (on the command line --observation state), or use another "
            "remedy: no picture or class of a state beside the demonstrations is known",
        )


def learnt_dynamics(transitions: Transitions, config: CorrectiveLabels, *, seed: int) -> ResidualMap:
    """Return a model of the dynamics, trained on `transitions`."""
    model = Dynamics.build(
        config.dynamics,
        state_dim=transitions.state.shape[1],
        action_dim=transitions.action.shape[1],
        seed=derive(seed, "dynamics"),
    )
    model.fit_statistics(transitions)
    training = replace(config.training, seed=derive(seed, "training", config.training.seed))
    fit(model, TransitionSource(transitions), config=training)
    return model.snapshot()


def label_errors(
    labels: Sequence[Episode],
    episodes: Sequence[Episode],
    spec: PolicySpec,
    truth: TrueDynamics,
    *,
    features: tuple[str, ...] = (),
) -> Float64[np.ndarray, " K"]:
    """Return how far the true system, doing what each label says, misses the state that it should reach.

    Args:
        labels: What `corrective_labels` returned.
        episodes: What it was given.
        spec: Spec of the policies, the same as `corrective_labels` was given.
        truth: The true system.
        features: Vector features that make the state, the same as in `CorrectiveLabels`.

    Returns:
        (K,) distances in standard deviations of the state.
    """
    steps = ExpertSteps(episodes, spec, features)
    places = [label.branch for label in labels if label.branch is not None]
    target = np.stack([steps.states[place.parent][place.step + 1] for place in places])
    state = truth.states(np.concatenate([steps.joined(label) for label in labels]))
    action = steps.encode(np.concatenate([label.expert_action for label in labels])).astype(np.float64)
    reached = truth.observations(state + truth.residual(state, action))
    return np.linalg.norm((reached - target) / steps.scale, axis=1)


def _points(steps: ExpertSteps, config: CorrectiveLabels, seed: int) -> Points:
    if config.label != "disturbed":
        return steps.back_track()
    unit = steps.action_scale if config.units == "normalised" else np.ones_like(steps.action_scale)
    return steps.disturbed(repeats=config.labels_per_step, delta=config.delta * unit, seed=seed)


def _halves(transitions: Transitions, share: float, seed: int) -> tuple[Transitions, Transitions | None]:
    """Return what the model is trained on, and what its error is measured on."""
    total = len(transitions)
    count = min(int(np.ceil(share * total)), total - 1)
    if count == 0:
        return transitions, None
    order = generator(seed, "held-out transitions").permutation(total)
    return transitions.rows(np.sort(order[count:])), transitions.rows(np.sort(order[:count]))


def bound_distance(
    steps: ExpertSteps, points: Points, states: np.ndarray, config: CorrectiveLabels
) -> Float64[np.ndarray, " N"]:
    """Return ||s - s*|| + ||a - a*||: what multiplies the slopes in the bound of a label's error."""
    raw = config.units == "raw"
    away = (states - points.state) / (1.0 if raw else steps.scale)
    shift = points.shift / (1.0 if raw else steps.action_scale)
    return np.linalg.norm(away, axis=1) + np.linalg.norm(shift, axis=1)


def _kept(
    rejection: Rejection, distance: np.ndarray, slope: np.ndarray, found: Bool[np.ndarray, " N"]
) -> Bool[np.ndarray, " N"]:
    match rejection:
        case Quantile(share=share, score="lipschitz_distance"):
            return _within(slope * distance, found, share)
        case Quantile(share=share):
            return _within(distance, found, share)
        case Radius(distance=most):
            return found & (distance < most)
        case KeepAll():
            return found
        case _:
            assert_never(rejection)


def _within(
    score: Float[np.ndarray, " N"], found: Bool[np.ndarray, " N"], share: float
) -> Bool[np.ndarray, " N"]:
    """Return which of the found labels have a score of at most the quantile `share` of theirs."""
    if not found.any():
        return found
    return found & (score <= np.quantile(score[found], share))


def _episodes(
    steps: ExpertSteps, points: Points, states: np.ndarray, kept: np.ndarray, config: CorrectiveLabels
) -> list[Episode]:
    """Return the kept labels as one-step episodes that go on in their parents."""
    chosen = np.flatnonzero(kept)
    observation = steps.split(states[chosen])
    actions = steps.decode(points.action[chosen])
    provenance = EpisodeOrigin(source="ccil")
    return [
        demonstration(
            {name: values[row : row + 1] for name, values in observation.items()},
            actions[row : row + 1],
            control_dt=steps.episodes[parent].control_dt,
            task=steps.episodes[parent].task_at(step),
            provenance=provenance,
            weight=config.weight,
            branch=Branch(parent=parent, step=step),
        )
        for row, (parent, step) in enumerate(
            zip(points.parent[chosen].tolist(), points.step[chosen].tolist(), strict=True)
        )
    ]
