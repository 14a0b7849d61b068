"""The labelled steps as arrays, and what steps of the true system say of them."""

from dataclasses import replace

import numpy as np
import pytest

from steadyhand.core.errors import CapabilityError, DataError
from steadyhand.core.specs import IMAGES, STATE, FeatureSpec, discrete_spec, image_spec
from steadyhand.correction.ccil import _halves, _kept, bound_distance, corrective_labels, learnt_dynamics
from steadyhand.correction.ccil_config import CcilConfig, KeepAll, Radius
from steadyhand.correction.expert_steps import ExpertSteps, state_features
from steadyhand.correction.label_search import find
from steadyhand.correction.true_dynamics import TrueDynamics
from steadyhand.data.episode import Branch, demonstration
from steadyhand.policies.dynamics import Transitions
from steadyhand.policies.dynamics_config import DynamicsConfig
from steadyhand.policies.spec import PolicySpec
from steadyhand.training.config import TrainConfig

SPEC = PolicySpec(
    observation={STATE: FeatureSpec(shape=(2,))}, action=FeatureSpec(shape=(3,)), control_dt=0.1
)
CLASSES = replace(SPEC, action=discrete_spec(4, start=2))


def walk(length, *, seed=0, has_end=True, classes=False):
    rng = np.random.default_rng(seed)
    track = rng.normal(size=(length + 1, 2)).astype(np.float32)
    action = rng.normal(size=(length, 3)).astype(np.float32)
    if classes:
        action = rng.integers(2, 6, (length, 1))
    end = {STATE: track[-1]} if has_end else None
    return demonstration({STATE: track[:-1]}, action, control_dt=0.1, final_observation=end)


def branch(seed=9):
    return replace(walk(1, seed=seed), branch=Branch(parent=0, step=1))


def all_points(steps, *, repeats=1):
    return steps.disturbed(repeats=repeats, delta=np.full(3, 0.1), seed=0)


def test_transitions_are_the_executed_steps_whose_next_state_is_known():
    ended, cut = walk(4, seed=1), walk(3, seed=2, has_end=False)
    steps = ExpertSteps([ended, branch(), cut], SPEC, ())
    assert [len(states) for states in steps.states] == [5, 0, 3]
    track = np.vstack([ended.observation[STATE], ended.final_observation[STATE][None]])
    seen = cut.observation[STATE]
    assert np.array_equal(steps.transitions.state, np.vstack([track[:-1], seen[:-1]]))
    assert np.array_equal(steps.transitions.next_state, np.vstack([track[1:], seen[1:]]))
    assert np.array_equal(steps.transitions.action, np.vstack([ended.action, cut.action[:-1]]))
    assert steps.scale == pytest.approx(np.vstack([track[:-1], seen[:-1]]).std(axis=0))


def test_what_moves_by_its_floor_and_no_more_is_still():
    """A thousandth of the largest value, 1000 d: values 999 d +- d have exactly this deviation."""
    unit = 2.0**-12
    for low, high, is_still in ((998, 1000, True), (997, 1000, False)):
        track = np.array([[low, 0], [high, 500]] * 3 + [[low, 0]], dtype=np.float32) * np.float32(unit)
        episode = replace(walk(7, has_end=False), observation={STATE: track})
        assert ExpertSteps([episode], SPEC, ()).still.tolist() == [is_still, False]


@pytest.mark.parametrize("disturbed", [False, True])
def test_steps_of_no_weight_and_of_branches_give_no_label(disturbed):
    weight = np.float32([1.0, 0.0, 0.5, 0.0, 2.0])
    episode = replace(walk(5), weight=weight)
    steps = ExpertSteps([branch(), episode, branch()], SPEC, ())
    points = all_points(steps, repeats=2) if disturbed else steps.back_track()
    assert set(points.parent.tolist()) == {1}
    assert points.step.tolist() == ([0, 0, 2, 2, 4, 4] if disturbed else [1, 3])


def test_an_action_is_disturbed_only_where_all_of_it_was_executed():
    episode = walk(4)
    meant = episode.action.copy()
    meant[1, 0] += 0.5
    meant[2] += 0.5
    steps = ExpertSteps([replace(episode, expert_action=meant)], SPEC, ())
    assert all_points(steps).step.tolist() == [0, 3]
    with pytest.raises(DataError, match="No step of the episodes"):
        all_points(ExpertSteps([replace(episode, expert_action=episode.action + 1)], SPEC, ()))


@pytest.mark.parametrize(("low", "high"), [(-0.2, None), (None, 0.3), (-0.2, 0.3)])
def test_disturbed_actions_keep_to_the_bounds_that_there_are(low, high):
    sides = [None if side is None else (side,) * 3 for side in (low, high)]
    spec = replace(SPEC, action=FeatureSpec(shape=(3,), low=sides[0], high=sides[1]))
    episode = walk(6)
    still = replace(
        episode, action=np.zeros_like(episode.action), expert_action=np.zeros_like(episode.action)
    )
    steps = ExpertSteps([still, walk(6)], spec, ())
    points = steps.disturbed(repeats=20, delta=np.full(3, 2.0), seed=0)
    for side, found in ((low, points.action.min()), (high, points.action.max())):
        assert found == pytest.approx(side) if side is not None else abs(found) > 1.0
    assert np.array_equal(points.action[:120] - points.shift[:120], np.zeros((120, 3)))


def test_one_transition_and_one_label_are_enough():
    episode = replace(walk(2, has_end=False), action=np.ones((2, 3), np.float32))
    system = TrueDynamics(step=lambda state, action: state + action[:, :2])
    labels, geometry = corrective_labels([episode], SPEC, CcilConfig(), seed=0, oracle=system)
    assert [one.branch for one in labels] == [Branch(parent=0, step=0)]
    assert geometry.num_candidates == 1


def test_classes_become_vectors_and_come_back_as_the_envs_own_numbers():
    steps = ExpertSteps([walk(5, classes=True)], CLASSES, ())
    numbers = np.array([[2], [5], [3]])
    vectors = steps.encode(numbers)
    assert vectors.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    back = steps.decode(vectors.astype(np.float64))
    assert back.tolist() == numbers.tolist()
    assert back.dtype == np.int64


PICTURE, NUMBER = IMAGES + "front", "observation.gear"
MIXED = replace(
    SPEC, observation={STATE: FeatureSpec(shape=(2,)), PICTURE: image_spec(4, 4, 3), NUMBER: discrete_spec(3)}
)


def test_the_state_is_made_of_vectors():
    assert list(state_features(MIXED, ())) == [STATE]
    assert list(state_features(MIXED, (STATE,))) == [STATE]
    for name in (PICTURE, NUMBER):
        with pytest.raises(CapabilityError, match="a state of continuous vectors"):
            state_features(MIXED, (STATE, name))
    with pytest.raises(CapabilityError, match="a state of continuous vectors"):
        state_features(replace(MIXED, observation={NUMBER: discrete_spec(3)}), ())


# The true system.


def bent(state, action):
    """x' = x + x^3 / 3 + 2 y, y' = x y + a."""
    x, y = state[:, 0], state[:, 1]
    return np.stack([x + x**3 / 3 + 2 * y, x * y + action[:, 0]], axis=1)


@pytest.mark.parametrize("size", [1e-4, 1.0])
def test_slopes_of_the_true_system_are_those_of_its_formula(size):
    state = np.array([[0.5, -1.0], [2.0, 0.25]]) * size
    found = TrueDynamics(step=bent).jacobian(state, np.zeros((2, 3)), scale=np.full(2, size))
    for slope, (x, y) in zip(found, state, strict=True):
        assert slope == pytest.approx(np.array([[x**2, 2.0], [y, x - 1.0]]), abs=1e-6)


def test_slopes_are_the_largest_stretch_in_deviations_of_the_state():
    episode = walk(30)
    wide = replace(episode, observation={STATE: episode.observation[STATE] * np.float32([1.0, 7.0])})
    steps = ExpertSteps([replace(wide, final_observation=None)], SPEC, ())
    points = steps.back_track()
    scale = wide.observation[STATE][:-1].astype(np.float64).std(axis=0)
    for normalised in (False, True):
        _, slope = find(
            TrueDynamics(step=bent),
            steps,
            points,
            explicit=True,
            normalised=normalised,
            tolerance=1e-6,
            max_iterations=1,
        )
        for row, (x, y) in enumerate(points.state):
            matrix = np.array([[x**2, 2.0], [y, x - 1.0]])
            if normalised:
                matrix = np.array([[matrix[i, j] * scale[j] / scale[i] for j in (0, 1)] for i in (0, 1)])
            assert slope[row] == pytest.approx(np.linalg.svd(matrix)[1].max(), rel=1e-4)


# What becomes of labels.


def test_the_bound_is_the_way_in_the_state_plus_the_way_in_the_action():
    steps = ExpertSteps([walk(12)], SPEC, ())
    points = all_points(steps)
    away = np.array([3.0, -4.0])
    shift = np.linalg.norm(points.shift, axis=1)
    states = (points.state + away).astype(np.float32)
    raw = bound_distance(steps, points, states, CcilConfig(units="raw"))
    assert raw == pytest.approx(5.0 + shift, rel=1e-5)
    normalised = bound_distance(steps, points, states, CcilConfig())
    wanted = np.linalg.norm(away / steps.scale) + np.linalg.norm(points.shift / steps.action_scale, axis=1)
    assert normalised == pytest.approx(wanted, rel=1e-5)


def test_within_a_radius_is_nearer_than_it():
    found, distance = np.array([True, True, True, False]), np.array([1.0, 2.0, 3.0, 1.0])
    assert _kept(Radius(distance=2.0), distance, distance, found).tolist() == [True, False, False, False]
    assert _kept(KeepAll(), distance, distance, found).tolist() == found.tolist()


@pytest.mark.parametrize(
    ("total", "share", "held"),
    [(20, 0.1, 2), (21, 0.1, 3), (2, 0.1, 1), (2, 0.9, 1), (1, 0.1, 0), (5, 0.0, 0)],
)
def test_a_share_is_held_out_and_never_all(total, share, held):
    rows = np.arange(total, dtype=np.float32)[:, None]
    train, out = _halves(Transitions(state=rows, action=rows, next_state=rows), share, 0)
    parts = [train.state[:, 0].tolist(), [] if out is None else out.state[:, 0].tolist()]
    assert [len(part) for part in parts] == [total - held, held]
    assert sorted(parts[0] + parts[1]) == rows[:, 0].tolist()
    assert all(part == sorted(part) for part in parts)


def test_a_model_is_normalised_by_what_it_is_trained_on():
    transitions = ExpertSteps([walk(40)], SPEC, ()).transitions
    config = CcilConfig(dynamics=DynamicsConfig(hidden=(4,)), training=TrainConfig(num_steps=1, batch_size=8))
    model = learnt_dynamics(transitions, config, seed=0)
    assert model.state_scale == pytest.approx(transitions.state.std(axis=0), rel=1e-5)
    assert model.action_scale == pytest.approx(transitions.action.std(axis=0), rel=1e-5)
