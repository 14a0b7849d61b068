"""Where labels lie: every figure a second time, by loops and by hand."""

import inspect
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.correction.expert_steps import ExpertSteps
from steadyhand.correction.label_geometry import (
    LabelGeometry,
    linear_r2,
    measure,
    neighbours,
    per_step,
    with_model,
)
from steadyhand.data.episode import demonstration
from steadyhand.policies.dynamics import Transitions
from steadyhand.policies.residual_map import ResidualMap
from steadyhand.policies.spec import PolicySpec

SPEC = PolicySpec(
    observation={STATE: FeatureSpec(shape=(3,))}, action=FeatureSpec(shape=(2,)), control_dt=0.1
)


def walks(lengths, seed=0):
    """Return episodes of random steps, wide in one dimension and narrow in another."""
    rng = np.random.default_rng(seed)
    out = []
    for length in lengths:
        track = np.cumsum(rng.normal(size=(length + 1, 3)) * [1.0, 5.0, 0.2], axis=0).astype(np.float32)
        action = (rng.normal(size=(length, 2)) * [0.5, 3.0]).astype(np.float32)
        out.append(
            demonstration({STATE: track[:-1]}, action, control_dt=0.1, final_observation={STATE: track[-1]})
        )
    return out


def r2_by_loops(x, y, held):
    """Solve the normal equations of the rows that are not held out, and compare on the others."""
    wide = np.array([[*row, 1.0] for row in x])
    weights = np.linalg.solve(wide[~held].T @ wide[~held], wide[~held].T @ y[~held])
    missed = varied = 0.0
    for row in np.flatnonzero(held):
        missed += float(np.sum((y[row] - wide[row] @ weights) ** 2))
        varied += float(np.sum((y[row] - y[held].mean(axis=0)) ** 2))
    return 1.0 - missed / varied


def test_figures_by_loops():
    episodes = walks([9, 14, 11])
    steps = ExpertSteps(episodes, SPEC, ())
    points = steps.back_track()
    rng = np.random.default_rng(1)
    states = (points.state + rng.normal(size=points.state.shape) * 1.5 * steps.scale).astype(np.float32)
    found = rng.random(len(points)) < 0.9
    kept = found & (rng.random(len(points)) < 0.7)
    told = measure(steps, points, states, found=found, kept=kept, seed=0)

    track = np.concatenate(
        [np.vstack([e.observation[STATE], e.final_observation[STATE][None]]) for e in episodes]
    )
    moves = np.concatenate([e.observation[STATE] for e in episodes]).astype(np.float64)
    scale, wide = moves.std(axis=0), np.concatenate([e.action for e in episodes]).astype(np.float64)
    unit = wide.std(axis=0)
    assert steps.scale == pytest.approx(scale)
    assert len(track) == 9 + 14 + 11 + 3

    away, trust, leak, true, answer, group, gaps, near = [], [], [], [], [], [], [], []
    for row in np.flatnonzero(kept):
        number, step = points.parent[row], points.step[row]
        seen, done = episodes[number].observation[STATE].astype(np.float64), episodes[number].action
        here, label = states[row].astype(np.float64), done[step + 1] / unit
        away.append(
            np.linalg.norm((here - seen[step]) / scale)
            / np.linalg.norm((seen[step + 1] - seen[step]) / scale)
        )
        trust.append(np.linalg.norm((here - seen[step + 1]) / scale))
        distance = np.linalg.norm((here - moves) / scale, axis=1)
        near.append(distance.min())
        gaps.append(np.sqrt(np.mean((label - wide[distance.argmin()] / unit) ** 2)))
        leak.append((here - seen[step + 1]) / scale)
        true.append((seen[step] - seen[step + 1]) / scale)
        answer.append(label)
        group.append(number)
    between = np.linalg.norm((moves[:, None] - moves) / scale, axis=2)
    np.fill_diagonal(between, np.inf)
    held, y = np.array(group) == 1, np.array(answer)
    assert np.median(gaps) > 0.5
    expected = {
        "num_candidates": len(points),
        "num_converged": int(found.sum()),
        "num_kept": len(group),
        "kept_fraction": len(group) / len(points),
        "distance_per_step": pytest.approx(np.median(away), rel=1e-4),
        "trust_distance": pytest.approx(np.median(trust), rel=1e-4),
        "nearest_ratio": pytest.approx(np.median(near) / np.median(between.min(axis=1)), rel=1e-4),
        "action_disagreement": pytest.approx(np.median(gaps), rel=1e-4),
        "action_leak": pytest.approx(r2_by_loops(np.array(leak), y, held), abs=1e-4),
        "action_leak_true": pytest.approx(r2_by_loops(np.array(true), y, held), abs=1e-4),
    }
    assert {name: value for name, value in asdict(told).items() if value is not None} == expected


def test_r2_of_a_line_and_of_noise() -> None:
    rng = np.random.default_rng(0)
    x, groups = rng.normal(size=(400, 3)), np.repeat(np.arange(8), 50)
    exact = linear_r2(x, x @ rng.normal(size=(3, 2)) + 5.0, groups=groups)
    assert exact == pytest.approx(1.0)
    half = linear_r2(x, x[:, :1] + rng.normal(size=(400, 1)), groups=groups)
    assert half == pytest.approx(0.5, abs=0.1)
    nothing = linear_r2(x, rng.normal(size=(400, 2)), groups=groups)
    assert nothing == pytest.approx(0.0, abs=0.1)
    assert linear_r2(x[:6], x[:6], groups=groups[:6]) is None


@pytest.mark.parametrize(
    ("groups", "held"),
    [
        ([0] * 9 + [3] * 4 + [4] * 6 + [8] * 5 + [9] * 3, [3, 8]),  # every other one, from the second on
        ([2] * 12 + [7] * 5, [7]),
        ([5] * 21, None),  # of a single one its second half, from the middle on: 11 of 21 steps
    ],
)
def test_every_other_episode_is_held_out(groups, held):
    rng, groups = np.random.default_rng(2), np.array(groups)
    x = rng.normal(size=(len(groups), 3))
    y = x @ rng.normal(size=(3, 2)) + rng.normal(size=(len(groups), 2))
    apart = np.arange(21) >= 10 if held is None else np.isin(groups, held)
    assert linear_r2(x, y, groups=groups) == pytest.approx(r2_by_loops(x, y, apart))


@pytest.mark.parametrize(
    ("trained", "held", "is_enough"), [(8, 2, True), (7, 2, False), (8, 1, False), (30, 1, False)]
)
def test_a_fit_takes_two_rows_for_each_of_its_numbers_and_two_to_be_tried_on(trained, held, is_enough):
    """Three inputs and a constant: 8 rows."""
    rng, groups = np.random.default_rng(3), np.repeat([0, 1], [trained, held])
    x = rng.normal(size=(len(groups), 3))
    assert (linear_r2(x, x[:, :1] + 1.0, groups=groups) is not None) == is_enough


def test_of_answers_that_are_all_the_same_nothing_can_be_told():
    x, groups = np.random.default_rng(4).normal(size=(20, 2)), np.repeat([0, 1], 10)
    assert linear_r2(x, np.ones((20, 1)), groups=groups) is None


def test_neighbours_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    labels, states = rng.normal(size=(40, 3)), rng.normal(size=(70, 3))
    actions, expert = rng.normal(size=(40, 2)), rng.normal(size=(70, 2))
    gaps = np.linalg.norm(labels[:, None] - states, axis=2)
    own = np.linalg.norm(states[:, None] - states, axis=2)
    np.fill_diagonal(own, np.inf)
    ratio, disagreement = neighbours(labels, actions, states, expert, seed=0)
    assert ratio == pytest.approx(np.median(gaps.min(1)) / np.median(own.min(1)))
    apart = np.sqrt(np.square(actions - expert[gaps.argmin(1)]).mean(1))
    assert disagreement == pytest.approx(np.median(apart))


def test_among_states_that_repeat_every_label_is_far():
    states, action = np.zeros((4, 2)), np.ones((4, 1))
    ratio, disagreement = neighbours(states[:2] + 3.0, action[:2], states, 4.0 * action, seed=0)
    assert (ratio, disagreement) == (np.inf, 3.0)


def test_of_many_labels_some_are_looked_up_none_of_them_twice():
    """Distances 1, 2, ..., 2001, of which one is left out: the median is that of all, or beside it."""
    labels = np.arange(1.0, 2002.0)[:, None]
    states = np.array([[0.0], [-1.0]])  # one apart
    ratio, _ = neighbours(labels, labels, states, states, seed=0)
    assert 1000.5 <= ratio <= 1001.5


def test_lengths_are_those_of_steps_that_moved():
    assert per_step(np.array([3.0, 8.0, 5.0]), np.array([0.5, 2.0, 0.0])) == 5.0
    assert per_step(np.array([3.0]), np.array([0.0])) == 0.0


def test_errors_of_a_model_are_lengths_of_the_steps_in_the_spread_of_the_states() -> None:
    """It misses by a quarter of each step of dimension 0; dimension 1 is wide and hardly counts."""
    state = np.zeros((6, 2), dtype=np.float32)
    moved = np.array([[s, 0.1 * s] for s in (4.0, -4.0, 8.0, 8.0, 8.0, 0.0)], dtype=np.float32)
    data = Transitions(state=state, action=np.zeros((6, 1), dtype=np.float32), next_state=moved)
    gap = np.array([0.25, -0.25])

    class Asked(ResidualMap):
        def __init__(self) -> None: ...

        def step(self, state, action):
            return moved * (1 + gap)

        def end_to_end(self):
            return SimpleNamespace(state=2.0, step=3.0, normalised=4.0)

        def local_lipschitz(self, state, action):
            return np.array([1.0, 5.0, 6.0])

    points = SimpleNamespace(state=None, action=None)
    whole = SimpleNamespace(model=Asked(), train=data, heldout=None)
    steps = SimpleNamespace(scale=np.array([2.0, 100.0]))
    blank = LabelGeometry(
        num_candidates=1,
        num_converged=1,
        num_kept=1,
        kept_fraction=1.0,
        distance_per_step=0.0,
        trust_distance=0.0,
        nearest_ratio=0.0,
        action_disagreement=0.0,
    )
    told = inspect.unwrap(with_model)(blank, whole, steps, points)
    assert told.model_error == pytest.approx(0.25)
    assert told.heldout_error is None
    constants = (told.lipschitz, told.lipschitz_step, told.lipschitz_normalised, told.local_lipschitz)
    assert constants == (2.0, 3.0, 4.0, 5.0)
