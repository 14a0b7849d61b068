"""Corrective labels: closed forms on linear systems, bounds on random ones, and where labels belong."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from linear_demos import (
    FAST,
    LINEAR,
    LINEAR_SYSTEM,
    SPEC,
    A,
    B,
    all_labels,
    branch_of,
    episodes,
    final_of,
    linear_step,
    states_of,
    track_of,
)
from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import CapabilityError, ConfigError, DataError
from steadyhand.core.protocol import Actor
from steadyhand.core.specs import IMAGES, STATE, FeatureSpec, discrete_spec, image_spec
from steadyhand.correction.ccil import _points, corrective_labels, label_errors
from steadyhand.correction.ccil_config import CcilConfig, KeepAll, Label, Quantile, Radius
from steadyhand.correction.expert_steps import ExpertSteps, Points
from steadyhand.correction.true_dynamics import TrueDynamics
from steadyhand.data.episode import Branch, Episode, demonstration
from steadyhand.data.frames import Frames, Windower, WindowSpec
from steadyhand.policies.dynamics_config import DynamicsConfig, Spectral
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec


class TestClosedForms:
    """For s' = A s + B a every label is a formula."""

    def test_explicit(self) -> None:
        demos = episodes()
        labels = all_labels(CcilConfig(label="explicit"), demos)
        assert len(labels) == 3 * 11  # the first step has none before it
        for label in labels:
            place = branch_of(label)
            state = demos[place.parent].observation[STATE][place.step + 1]
            action = demos[place.parent].action[place.step + 1]
            want = 2 * state - A @ state - B @ action  # s - f(s, a) with f = (A - I) s + B a
            assert np.allclose(label.observation[STATE][0], want, atol=1e-5)
            assert np.array_equal(label.expert_action[0], action)

    def test_implicit(self) -> None:
        demos = episodes()
        labels = all_labels(CcilConfig(label="implicit"), demos)
        assert len(labels) == 3 * 11
        for label in labels:
            place = branch_of(label)
            state = demos[place.parent].observation[STATE][place.step + 1]
            action = demos[place.parent].action[place.step + 1]
            want = np.linalg.solve(A, state - B @ action)
            assert np.allclose(label.observation[STATE][0], want, atol=1e-5)
            assert np.array_equal(label.expert_action[0], action)

    def test_disturbed(self) -> None:
        demos = episodes(8, 40)
        labels = all_labels(CcilConfig(label="disturbed", delta=0.5, labels_per_step=4), demos)
        assert len(labels) == 8 * 40 * 4
        shifts: list[float] = []
        for label in labels:
            place = branch_of(label)
            demo = demos[place.parent]
            track = np.concatenate([demo.observation[STATE], final_of(demo)[None]])
            ahead = track[place.step + 1]
            want = 2 * ahead - A @ ahead - B @ label.expert_action[0]  # as released: s_t+1 - f(s_t+1, a)
            assert np.allclose(label.observation[STATE][0], want, atol=1e-5)
            shifts.append(float(label.expert_action[0, 0] - demo.action[place.step, 0]))
        spread = np.concatenate([demo.action for demo in demos]).std()
        assert np.std(shifts) == pytest.approx(0.5 * spread, rel=0.08)
        assert abs(np.mean(shifts)) < 0.05

    def test_disturbances_are_in_spreads_of_the_action_or_raw(self) -> None:
        steps = ExpertSteps(episodes(2, 20), SPEC, ())
        config = CcilConfig(label="disturbed", delta=0.5, labels_per_step=2)
        wide, raw = (_points(steps, replace(config, units=units), 3) for units in ("normalised", "raw"))
        assert np.allclose(wide.shift, raw.shift * steps.action_scale)
        assert not np.allclose(steps.action_scale, 1.0, atol=0.01)
        assert raw.shift.std() == pytest.approx(0.5, rel=0.3)

    @pytest.mark.parametrize("label", ["explicit", "implicit", "disturbed"])
    def test_a_learnt_model_comes_close_to_them(self, label: str) -> None:
        demos = episodes(8, 40)
        config = CcilConfig(label=label, delta=0.5, dynamics=LINEAR, training=FAST)  # pyright: ignore[reportArgumentType]
        learnt = all_labels(config, demos, oracle=None)
        true = all_labels(config, demos)
        assert [branch_of(one) for one in learnt] == [branch_of(one) for one in true]
        assert np.abs(states_of(learnt) - states_of(true)).max() < 0.05

    def test_an_inverse_of_the_system_gives_the_implicit_labels(self) -> None:
        demos = episodes()

        class Backwards:
            def before(self, parent: np.ndarray, reached: np.ndarray, action: np.ndarray) -> np.ndarray:
                rows = zip(parent, reached, strict=True)
                state = np.stack([track_of(demos[episode])[step] for episode, step in rows])
                found = np.linalg.solve(A, (state - action @ B.T).T).T
                found[reached == 5] = np.nan
                return found

        labels = all_labels(CcilConfig(label="implicit"), demos, oracle=Backwards())
        true = [one for one in all_labels(CcilConfig(label="implicit"), demos) if branch_of(one).step != 4]
        assert [branch_of(one) for one in labels] == [branch_of(one) for one in true]
        assert np.allclose(states_of(labels), states_of(true), atol=1e-5)

    def test_units_of_the_disturbance(self) -> None:
        demos = [
            replace(demo, action=9 * demo.action, expert_action=9 * demo.action) for demo in episodes(8, 40)
        ]
        labels = all_labels(CcilConfig(label="disturbed", delta=0.5, units="raw"), demos)
        shifts = [one.action[0] - demos[branch_of(one).parent].action[branch_of(one).step] for one in labels]
        assert np.std(shifts) == pytest.approx(0.5, rel=0.1)
        labels = all_labels(CcilConfig(label="disturbed", delta=0.5), demos)
        shifts = [one.action[0] - demos[branch_of(one).parent].action[branch_of(one).step] for one in labels]
        spread = np.concatenate([demo.action for demo in demos]).std()
        assert np.std(shifts) == pytest.approx(0.5 * spread, rel=0.1)

    def test_disturbed_actions_stay_within_their_bounds(self) -> None:
        demos = episodes()
        spec = replace(SPEC, action=FeatureSpec(shape=(1,), low=(-3.0,), high=(3.0,)))
        config = CcilConfig(label="disturbed", delta=5.0, rejection=KeepAll())
        labels, _ = corrective_labels(demos, spec, config, seed=0, oracle=LINEAR_SYSTEM)
        actions = np.concatenate([label.expert_action for label in labels])
        assert np.abs(actions).max() == 3.0


class TestBranches:
    @pytest.mark.parametrize("label", ["explicit", "implicit", "disturbed"])
    def test_the_window_of_a_label_goes_on_in_its_parent(self, label: str) -> None:
        demos = episodes()
        labels = all_labels(CcilConfig(label=label, delta=0.1), demos)  # pyright: ignore[reportArgumentType]
        together = [*demos, *labels]
        frames = Frames.from_episodes(together, observation_spec=SPEC.observation, action_spec=SPEC.action)
        windower = Windower(frames, WindowSpec(obs_offsets=(-1, 0, 1), action_offsets=(0, 1, 2)))
        rows = np.arange(sum(map(len, demos)), len(frames))
        windows = windower(rows)
        for row, one in enumerate(labels):
            place = branch_of(one)
            demo = demos[place.parent]
            seen = frames.observation[STATE][windows.obs_index[row]]
            done = frames.expert_action[windows.action_index[row]]
            assert np.array_equal(seen[1], one.observation[STATE][0])
            assert np.array_equal(done[0], one.expert_action[0])
            assert not windows.obs_is_pad[row, 1]
            assert not windows.action_is_pad[row, 0]
            assert windows.obs_is_pad[row, 0] == (place.step == 0)
            if place.step > 0:
                assert np.array_equal(seen[0], demo.observation[STATE][place.step - 1])
            for ahead in (1, 2):
                inside = place.step + ahead < len(demo)
                assert windows.action_is_pad[row, ahead] == (not inside)
                if inside:
                    assert np.array_equal(done[ahead], demo.expert_action[place.step + ahead])
            if place.step + 1 < len(demo) and label == "implicit":
                # The truth: doing the label brings the system to the very state from which the chunk goes on.
                reached = linear_step(one.observation[STATE].astype(float), one.expert_action.astype(float))
                assert np.allclose(reached[0], seen[2], atol=1e-4)

    def test_a_chunked_policy_trains_on_them(self) -> None:
        demos = episodes()
        labels = all_labels(CcilConfig(label="implicit"), demos)
        frames = Frames.from_episodes(
            [*demos, *labels], observation_spec=SPEC.observation, action_spec=SPEC.action
        )
        policy = PolicyModule.build(PolicyConfig(n_obs_steps=2, horizon=4), SPEC)
        policy.fit_statistics(frames)
        window = frames.observation[STATE][-1:, None].repeat(2, axis=1)
        assert policy.predict_chunk({STATE: window}).shape == (1, 4, 1)

    def test_several_features_lie_side_by_side_and_keep_their_shapes(self) -> None:
        features = {"observation.a": FeatureSpec(shape=(1, 1)), "observation.b": FeatureSpec(shape=(1,))}
        demos = [
            replace(
                demo,
                observation={"observation.a": whole[:-1, None, :1], "observation.b": whole[:-1, 1:]},
                final_observation={"observation.a": whole[-1:, :1], "observation.b": whole[-1, 1:]},
            )
            for demo in episodes()
            for whole in [track_of(demo).astype(np.float32)]
        ]
        config = CcilConfig(rejection=KeepAll())
        labels, _ = corrective_labels(
            demos, replace(SPEC, observation=features), config, seed=0, oracle=LINEAR_SYSTEM
        )
        whole = states_of(all_labels(CcilConfig(), episodes()))
        assert labels[0].observation["observation.a"].shape == (1, 1, 1)
        for row, label in enumerate(labels):
            assert label.observation["observation.a"].item() == pytest.approx(whole[row, 0], abs=1e-6)
            assert label.observation["observation.b"].item() == pytest.approx(whole[row, 1], abs=1e-6)


class TestWhatIsUsed:
    def test_the_model_learns_what_was_executed_and_labels_are_what_was_meant(self) -> None:
        clean = episodes(6, 40)
        noisy = [
            replace(
                demo,
                expert_action=demo.action + np.float32(1.0),
                actor=np.full(len(demo), Actor.NOISE, dtype=np.uint8),
            )
            for demo in clean
        ]
        steps = ExpertSteps(noisy, SPEC, ())
        assert np.array_equal(steps.transitions.action, np.concatenate([demo.action for demo in clean]))
        config = CcilConfig(dynamics=LINEAR, training=FAST)
        labels = all_labels(config, noisy, oracle=None)
        for label in labels:
            place = branch_of(label)
            state = noisy[place.parent].observation[STATE][place.step + 1]
            meant = noisy[place.parent].expert_action[place.step + 1]
            assert np.array_equal(label.expert_action[0], meant)
            want = 2 * state - A @ state - B @ meant
            assert np.allclose(label.observation[STATE][0], want, atol=0.08)

    def test_steps_without_a_label_and_branches_give_none(self) -> None:
        demos = episodes()
        asked = np.arange(12) % 3 == 1
        demos[1] = replace(demos[1], expert_action_valid=asked)
        demos.insert(1, replace(all_labels(CcilConfig(), demos)[0], branch=Branch(parent=0, step=3)))
        labels = all_labels(CcilConfig(), demos)
        places = [branch_of(label) for label in labels]
        assert [place.step + 1 for place in places if place.parent == 2] == [1, 4, 7, 10]
        assert {place.parent for place in places} == {0, 2, 3}

    def test_actions_are_disturbed_only_where_the_experts_own_was_executed(self) -> None:
        demos = episodes()
        meant = demos[1].action.copy()
        meant[::3] += 0.5
        demos[1] = replace(demos[1], expert_action=meant)
        places = [branch_of(label) for label in all_labels(CcilConfig(label="disturbed"), demos)]
        assert [place.step for place in places if place.parent == 1] == [t for t in range(12) if t % 3]
        assert [place.step for place in places if place.parent == 0] == list(range(12))

    def test_without_a_final_state_the_last_step_cannot_be_disturbed(self) -> None:
        demos = [replace(demo, final_observation=None) for demo in episodes()]
        labels = all_labels(CcilConfig(label="disturbed"), demos)
        assert {branch_of(label).step for label in labels} == set(range(11))

    def test_labels_weigh_what_they_are_told(self) -> None:
        labels = all_labels(CcilConfig(weight=0.25), episodes())
        assert {float(label.weight[0]) for label in labels} == {0.25}
        assert {label.provenance.source for label in labels} == {"ccil"}

    def test_the_same_seed_gives_the_same_labels(self) -> None:
        config = CcilConfig(
            label="disturbed",
            delta=0.1,
            dynamics=DynamicsConfig(hidden=(8,), lipschitz=Spectral()),
            training=replace(FAST, num_steps=20),
        )
        first, again, other = (corrective_labels(episodes(), SPEC, config, seed=seed) for seed in (0, 0, 1))
        assert np.array_equal(states_of(first[0]), states_of(again[0]))
        assert asdict(first[1]) == asdict(again[1])
        assert asdict(first[1]) != asdict(other[1])


def with_constant(demos: list[Episode]) -> tuple[list[Episode], PolicySpec]:
    """Give the state a third entry that never changes."""

    def wider(state: np.ndarray) -> np.ndarray:
        return np.concatenate([state, np.full((*state.shape[:-1], 1), 0.7, np.float32)], axis=-1)

    spec = replace(SPEC, observation={STATE: FeatureSpec(shape=(3,))})
    wide = [
        replace(
            demo,
            observation={STATE: wider(demo.observation[STATE])},
            final_observation={STATE: wider(final_of(demo))},
        )
        for demo in demos
    ]
    return wide, spec


@pytest.mark.parametrize("label", ["explicit", "implicit", "disturbed"])
def test_what_never_changes_in_the_demonstrations_is_the_same_in_every_label(label: Label) -> None:
    demos, spec = with_constant(episodes())
    # A net that is hardly trained errs in the constant, too.
    config = CcilConfig(
        label=label,
        delta=0.1,
        dynamics=DynamicsConfig(hidden=(8,), lipschitz=Spectral()),
        training=replace(FAST, num_steps=5),
        rejection=KeepAll(),
        tolerance=1e-4,
    )
    labels, _ = corrective_labels(demos, spec, config, seed=0)
    states = states_of(labels)
    assert len(labels) > 20
    assert (states[:, 2] == np.float32(0.7)).all()
    assert states[:, :2].std(axis=0).min() > 0.1


class TestLeak:
    def test_labels_of_a_model_that_sees_only_the_action_say_their_action(self) -> None:
        """f(s, a) = B a: the label minus the expert's state is -B a, whatever the true system does."""

        told = TrueDynamics(step=lambda s, a: s + a @ B.T)
        _, geometry = corrective_labels(
            episodes(6, 40), SPEC, CcilConfig(rejection=KeepAll()), seed=0, oracle=told
        )
        assert geometry.action_leak == pytest.approx(1.0, abs=1e-6)
        # The expert's own last step was made by the action before, which is independent here.
        assert geometry.action_leak_true is not None
        assert abs(geometry.action_leak_true) < 0.2


class TestGeometry:
    def test_figures_of_a_line(self) -> None:
        """s' = s + a, a = 1 always, states 0, 1, ..., 10: explicit labels are exactly the previous states."""
        state = np.arange(11, dtype=np.float32)[:, None]
        action = np.ones((10, 1), dtype=np.float32)
        demo = demonstration(
            {STATE: state[:-1]}, action, control_dt=1.0, final_observation={STATE: state[-1]}
        )
        spec = PolicySpec(
            observation={STATE: FeatureSpec(shape=(1,))}, action=FeatureSpec(shape=(1,)), control_dt=1.0
        )
        system = TrueDynamics(step=lambda s, a: s + a)
        labels, geometry = corrective_labels(
            [demo], spec, CcilConfig(rejection=KeepAll()), seed=0, oracle=system
        )
        assert np.array_equal(states_of(labels)[:, 0], np.arange(9))
        assert geometry.distance_per_step == pytest.approx(0.0, abs=1e-6)
        assert geometry.trust_distance == pytest.approx(1.0 / np.arange(10).std(), rel=1e-5)
        assert geometry.nearest_ratio == pytest.approx(0.0, abs=1e-6)
        assert geometry.action_disagreement == 0.0
        assert (geometry.num_candidates, geometry.num_converged, geometry.num_kept) == (9, 9, 9)
        assert geometry.model_error is None
        assert geometry.lipschitz is None

    def test_a_learnt_model_reports_its_error_and_its_constants(self) -> None:
        config = CcilConfig(dynamics=LINEAR, training=FAST, holdout=0.25)
        _, geometry = corrective_labels(episodes(8, 40), SPEC, config, seed=0)
        assert geometry.heldout_error is not None
        assert geometry.model_error is not None
        assert max(geometry.heldout_error, geometry.model_error) < 0.03
        steepest = np.linalg.norm(A - np.eye(2), 2)
        assert geometry.lipschitz == pytest.approx(steepest, rel=0.05)
        assert geometry.local_lipschitz == pytest.approx(steepest, rel=0.05)
        assert geometry.lipschitz_step == pytest.approx(1 + steepest, rel=0.05)

    def test_label_errors_of_explicit_labels_by_hand(self) -> None:
        """s - f(s, a) + f(s - f(s, a), a) - s = -(A - I) f(s, a) for a linear system."""
        demos = episodes()
        steps = ExpertSteps(demos, SPEC, ())
        labels = all_labels(CcilConfig(label="explicit"), demos)
        points: Points = steps.back_track()
        change = points.state @ (A - np.eye(2)).T + points.action @ B.T
        want = np.linalg.norm(change @ (A - np.eye(2)).T / steps.scale, axis=1)
        assert np.allclose(label_errors(labels, demos, SPEC, LINEAR_SYSTEM), want, atol=1e-5)


@pytest.mark.parametrize("label", ["explicit", "implicit"])
def test_classes_are_stepped_back_by_their_own_residual(label: Label) -> None:
    """x' = A x + b_a: back from s_t by a_t is s_t - (A - 1) s_t - b_a, or the x with A x + b_a = s_t."""
    pushes = np.array([[-0.4, 0.1], [0.0, 0.0], [0.3, 0.2]])
    rng = np.random.default_rng(3)
    chosen = rng.integers(0, 3, (8, 1))
    states = [rng.normal(size=2)]
    for action in chosen[:, 0]:
        states.append(A @ states[-1] + pushes[action])
    track = np.array(states, dtype=np.float32)
    demo = demonstration({STATE: track[:-1]}, chosen, control_dt=0.1, final_observation={STATE: track[-1]})
    truth = TrueDynamics(step=lambda state, one_hot: state @ A.T + one_hot @ pushes)
    spec = replace(SPEC, action=discrete_spec(3))
    config = CcilConfig(label=label, rejection=KeepAll())
    labels, _ = corrective_labels([demo], spec, config, seed=0, oracle=truth)
    assert len(labels) == 7
    for one in labels:
        step = branch_of(one).step + 1
        assert one.expert_action.dtype == np.int64
        assert one.expert_action.tolist() == [chosen[step].tolist()]
        push = pushes[chosen[step, 0]]
        explicit = track[step] - (A @ track[step] + push - track[step])
        wanted = explicit if label == "explicit" else np.linalg.solve(A, track[step] - push)
        assert one.observation[STATE][0] == pytest.approx(wanted, abs=1e-5)
    learnt = replace(config, dynamics=LINEAR, training=FAST)
    again, _ = corrective_labels([demo], spec, learnt, seed=0)
    assert [branch_of(one) for one in again] == [branch_of(one) for one in labels]
    with pytest.raises(CapabilityError, match="cannot be disturbed"):
        corrective_labels([demo], spec, replace(config, label="disturbed"), seed=0, oracle=truth)


def test_what_has_no_state_is_refused() -> None:
    demos = episodes()
    picture = {IMAGES + "front": image_spec(4, 4, 3)}
    for spec, message in (
        (replace(SPEC, action=image_spec(4, 4, 3)), "continuous or discrete actions"),
        (replace(SPEC, observation=picture), "vectors"),
    ):
        with pytest.raises(CapabilityError, match=message):
            corrective_labels(demos, spec, CcilConfig(), seed=0)
    with pytest.raises(ConfigError, match="no such observation"):
        corrective_labels(demos, SPEC, CcilConfig(features=("observation.stat",)), seed=0)
    short = [replace(demo, final_observation=None) for demo in episodes(2, 1)]
    with pytest.raises(DataError, match="no transition"):
        corrective_labels(short, SPEC, CcilConfig(), seed=0)


def test_settings_survive_json_and_bad_ones_are_refused() -> None:
    for rejection in (Quantile(share=0.3, score="distance"), Radius(distance=6.5), KeepAll()):
        config = CcilConfig(rejection=rejection, label="disturbed", labels_per_step=20)
        assert from_data(to_data(config), CcilConfig) == config
    for bad in (
        lambda: CcilConfig(labels_per_step=2),
        lambda: CcilConfig(holdout=1.0),
        lambda: CcilConfig(tolerance=0.0),
        lambda: Quantile(share=0.0),
    ):
        with pytest.raises(ConfigError):
            bad()
