"""Where labels lie: on circles, within their bounds, and which of them are kept."""

from dataclasses import replace

import numpy as np
import pytest

from linear_demos import LINEAR_SYSTEM, SPEC, all_labels, episodes, states_of
from steadyhand.core.errors import DataError
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.correction.ccil import _kept, bound_distance, corrective_labels, label_errors
from steadyhand.correction.ccil_config import CcilConfig, KeepAll, Quantile, Radius
from steadyhand.correction.expert_steps import ExpertSteps
from steadyhand.correction.label_search import Learnt, find
from steadyhand.correction.true_dynamics import TrueDynamics
from steadyhand.data.episode import demonstration
from steadyhand.policies.residual_map import ResidualMap


class TestHiddenStates:
    """A pendulum observed as (sin, cos, rate): labels are found in angle and rate."""

    @staticmethod
    def step(state: np.ndarray, action: np.ndarray) -> np.ndarray:
        rate = state[:, 1] + 0.1 * (action[:, 0] - 9.81 * np.sin(state[:, 0]))
        return np.stack([(state[:, 0] + 0.1 * rate) % (2 * np.pi), rate], axis=1)

    def test_labels_lie_on_the_circle_and_are_exact(self) -> None:
        def observe(state: np.ndarray) -> np.ndarray:
            return np.stack([np.sin(state[:, 0]), np.cos(state[:, 0]), state[:, 1]], axis=1)

        def difference(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            gap = x - y
            gap[:, 0] = (gap[:, 0] + np.pi) % (2 * np.pi) - np.pi
            return gap

        system = TrueDynamics(
            step=self.step,
            state_of=lambda seen: np.stack([np.arctan2(seen[:, 0], seen[:, 1]), seen[:, 2]], axis=1),
            observe=observe,
            difference=difference,
        )
        state, track = np.array([[np.pi - 0.1, 2.0]]), [np.array([[np.pi - 0.1, 2.0]])]
        action = np.random.default_rng(0).normal(size=(40, 1)).astype(np.float32)
        for t in range(40):
            state = self.step(state, action[t : t + 1])
            track.append(state)
        seen = observe(np.concatenate(track)).astype(np.float32)
        demo = demonstration({STATE: seen[:-1]}, action, control_dt=0.1, final_observation={STATE: seen[-1]})
        spec = replace(SPEC, observation={STATE: FeatureSpec(shape=(3,))})
        config = CcilConfig(label="implicit", rejection=KeepAll())
        labels, geometry = corrective_labels([demo], spec, config, seed=0, oracle=system)
        assert geometry.num_converged == len(labels) == 39
        assert np.allclose(np.hypot(*states_of(labels)[:, :2].T), 1.0, atol=1e-6)
        assert label_errors(labels, [demo], spec, system).max() < 1e-4


class TestBounds:
    """Errors of labels on random smooth systems, against the certificates; not one may be larger."""

    @staticmethod
    def draw(rng: np.random.Generator) -> ResidualMap:
        scale = rng.uniform(0.05, 0.6)
        return ResidualMap(
            weights=(rng.normal(size=(6, 3)) * 0.7, rng.normal(size=(2, 6)) * scale),
            biases=(rng.normal(size=6), rng.normal(size=2) * scale),
            activation="tanh",
            state_scale=np.ones(2),
            action_scale=np.ones(1),
            residual_scale=np.ones(2),
        )

    @pytest.mark.parametrize("label", ["explicit", "implicit", "disturbed"])
    def test_no_violation(self, label: str) -> None:
        rng = np.random.default_rng(1)
        checked, tight = 0, list[float]()
        for _ in range(100):
            truth, model = self.draw(rng), self.draw(rng)
            steps = ExpertSteps(episodes(1, 24, step=truth.step, seed=int(rng.integers(1e9))), SPEC, ())
            points = steps.back_track()
            if label == "disturbed":
                points = steps.disturbed(repeats=1, delta=np.array([0.3]), seed=0)
            learnt = Learnt(model=model, train=steps.transitions, heldout=None)
            roots, _ = find(
                learnt,
                steps,
                points,
                explicit=label != "implicit",
                normalised=False,
                tolerance=1e-10,
                max_iterations=50,
            )
            k1, k2 = truth.end_to_end(), model.end_to_end()
            at = points.state, points.action - points.shift
            eps = np.linalg.norm(truth.residual(*at) - model.residual(*at), axis=1)
            away = np.linalg.norm(roots.x - points.state, axis=1)
            error = np.linalg.norm(truth.step(roots.x, points.action) - points.target, axis=1)
            bound = {
                "explicit": eps + k1.state * away,
                "implicit": eps + (k1.state + k2.state) * away,
                "disturbed": eps
                + k1.state * np.linalg.norm(roots.x - points.target, axis=1)
                + (k1.both + k2.both)
                * np.linalg.norm(np.hstack([points.target - points.state, points.shift]), axis=1),
            }[label]
            found = roots.converged
            # Targets are stored states, true to float32 only; roots are within their tolerance.
            assert (error[found] <= bound[found] + 1e-5).all()
            checked += int(found.sum())
            tight.append(float(np.median(error[found] / bound[found])) if found.any() else 0.0)
        assert checked > 1900
        assert np.median(tight) > 0.05  # the bounds say something


class TestRejection:
    def test_labels_that_were_not_found_have_no_say_in_the_quantile(self) -> None:
        score, found = np.array([1.0, 2.0, 3.0, 4.0, -9.0]), np.array([True, True, True, True, False])
        kept = _kept(Quantile(share=0.5, score="distance"), score, score, found)
        assert kept.tolist() == [True, True, False, False, False]
        none = np.zeros(5, dtype=bool)
        assert not _kept(Quantile(share=0.5, score="distance"), score, score, none).any()

    def test_a_quantile_keeps_its_share_of_the_smallest_scores(self) -> None:
        def step(state: np.ndarray, action: np.ndarray) -> np.ndarray:
            return state + 0.3 * np.sin(2 * state[:, ::-1]) + 0.2 * action

        demos, system = episodes(6, 30, step=step), TrueDynamics(step=step)
        everything = all_labels(CcilConfig(), demos, oracle=system)
        steps = ExpertSteps(demos, SPEC, ())
        points = steps.back_track()
        away = np.linalg.norm((states_of(everything) - points.state) / steps.scale, axis=1)
        # The Jacobian by hand: 0.6 cos(2 s_2) above the diagonal, 0.6 cos(2 s_1) below it; normalised.
        upper = np.abs(0.6 * np.cos(2 * points.state[:, 1])) * steps.scale[1] / steps.scale[0]
        lower = np.abs(0.6 * np.cos(2 * points.state[:, 0])) * steps.scale[0] / steps.scale[1]
        scores = {"distance": away, "lipschitz_distance": np.maximum(upper, lower) * away}
        for share in (0.1, 0.37, 0.8, 1.0):
            for name, score in scores.items():
                config = CcilConfig(rejection=Quantile(share=share, score=name))  # pyright: ignore[reportArgumentType]
                kept, geometry = corrective_labels(demos, SPEC, config, seed=0, oracle=system)
                assert abs(len(kept) - share * len(everything)) <= 1
                assert geometry.kept_fraction == len(kept) / len(everything)
                smallest = np.sort(np.argsort(score)[: len(kept)])
                assert np.allclose(states_of(kept), states_of(everything)[smallest])

    def test_a_radius_keeps_what_is_nearer(self) -> None:
        demos = episodes()
        everything = all_labels(CcilConfig(), demos)
        points = ExpertSteps(demos, SPEC, ()).back_track()
        away = np.linalg.norm(states_of(everything) - points.state, axis=1)
        config = CcilConfig(rejection=Radius(distance=float(np.median(away))), units="raw")
        kept, _ = corrective_labels(demos, SPEC, config, seed=0, oracle=LINEAR_SYSTEM)
        assert np.allclose(states_of(kept), states_of(everything)[away < np.median(away)])

    def test_the_bound_adds_the_actions_shift_in_its_own_deviations(self) -> None:
        """||s - s*|| / std(s) + ||a - a*|| / std(a): an action ten times as large changes no distance."""
        demos = episodes(4, 20)
        config = CcilConfig(label="disturbed", delta=0.3, units="normalised")
        steps = ExpertSteps(demos, SPEC, ())
        points = steps.disturbed(repeats=1, delta=0.3 * steps.action_scale, seed=0)
        found = bound_distance(steps, points, points.state, config)
        assert found == pytest.approx(np.abs(points.shift[:, 0]) / steps.action_scale[0])
        raw = bound_distance(steps, points, points.state, replace(config, units="raw"))
        assert raw == pytest.approx(np.abs(points.shift[:, 0]))

    def test_nothing_left_is_an_error(self) -> None:
        config = CcilConfig(rejection=Radius(distance=1e-9))
        with pytest.raises(DataError, match="No corrective label"):
            corrective_labels(episodes(), SPEC, config, seed=0, oracle=LINEAR_SYSTEM)
