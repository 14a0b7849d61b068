"""Pieces of the remedy benchmarks that carry a result: the linear learner, reading, labels until 95 %."""

import importlib
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in ("pages", "handwriting", "mujoco_remedies", "dagger_experts"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("regulariser", [0.1, 10.0])
def test_newton_finds_the_minimum_that_another_solver_finds(regulariser):
    made = importlib.import_module("handwriting")
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 12)).astype(np.float32)
    sign = np.where(features[:, 0] + 0.5 * rng.normal(size=200) > 0, 1.0, -1.0).astype(np.float32)
    count = rng.integers(1, 4, size=200).astype(np.float32)
    signed = features * sign[:, None]

    def cost(weights):
        lacking = np.maximum(0.0, 1.0 - signed.astype(np.float64) @ weights)
        slope = regulariser * weights - signed.T.astype(np.float64) @ (count * lacking)
        return 0.5 * regulariser * weights @ weights + 0.5 * count @ lacking**2, slope

    found = made.squared_hinge(signed, count, np.zeros(12, dtype=np.float32), regulariser)
    best = minimize(cost, np.zeros(12), jac=True, method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-9})
    assert cost(found.astype(np.float64))[0] == pytest.approx(best.fun, rel=1e-4)
    assert np.abs(found - best.x).max() < 0.02 * np.abs(best.x).max()


def test_words_are_read_with_their_own_answers_as_the_letter_before():
    made = importlib.import_module("handwriting")
    rng = np.random.default_rng(1)
    length = np.array([3, 1, 5])
    place = np.concatenate([np.arange(n) for n in length])
    label = rng.integers(26, size=9)
    words = made.Words(
        pixels=rng.integers(2, size=(9, 128)).astype(np.float32),
        label=label,
        before=np.where(place == 0, 26, np.roll(label, 1)),
        place=place,
    )
    learner = made.Linear("all pairs", 1.0)
    learner.weights[:] = rng.normal(size=learner.weights.shape)
    answers, before = learner.read(words)
    for letter in range(9):
        assert before[letter] == (26 if place[letter] == 0 else answers[letter - 1])
        features = made.features_of(words.pixels[letter : letter + 1], before[letter : letter + 1])[0]
        votes = np.zeros(26)
        scores = features @ learner.weights
        for (one, other), score in zip(combinations(range(26), 2), scores, strict=True):
            votes[one if score > 0 else other] += 1
        assert votes[answers[letter]] == votes.max()


def test_merged_examples_count_as_their_parts_do():
    made = importlib.import_module("handwriting")
    rng = np.random.default_rng(2)
    rounds = [(np.arange(50), rng.integers(27, size=50), np.ones(50)) for _ in range(4)]
    letter, before, count = made.merged(rounds)
    assert len(set(zip(letter.tolist(), before.tolist(), strict=True))) == len(letter)
    assert count.sum() == 200
    for one, two, times in zip(letter, before, count, strict=True):
        assert times == sum(int(part[1][one] == two) for part in rounds)


def test_all_pairs_and_one_against_rest_learn_what_is_separable():
    made = importlib.import_module("handwriting")
    label = np.repeat(np.arange(26), 4)
    pixels = np.zeros((104, 128), dtype=np.float32)
    pixels[np.arange(104), label] = 1.0
    nothing = np.full(104, 26)
    for kind in ("all pairs", "one against rest"):
        learner = made.Linear(kind, 0.01)
        learner.fit(made.features_of(pixels, nothing), label, np.ones(104, dtype=np.float32))
        assert (learner.answer(learner.of_pixels(pixels), nothing) == label).all()


def _percent(made, row: str) -> np.ndarray:
    found = made.results_of(made.ROWS[row])
    assert len(found) >= 3
    figures = [(one["no_structure"], one["dagger"][0], one["dagger"][-1]) for one in found]
    return 100.0 * np.mean(np.array(figures) / np.array([[one["letters"]] for one in found]), axis=0)


def test_handwriting_is_the_papers_and_the_regulariser_is_where_it_differs():
    """Ross, Gordon and Bagnell (2011): 82, 83.6 and 85.5 % of the letters."""
    made = importlib.import_module("handwriting")
    alone, supervised, corrected = _percent(made, "all pairs, lambda = 0.1")
    np.testing.assert_allclose([alone, corrected], [82.0, 85.5], atol=0.7)
    # The supervised figure lies between those of two neighbouring regularisers, about one point from either.
    assert supervised < 83.6 < _percent(made, "all pairs, lambda = 1")[1]
    np.testing.assert_allclose(supervised, 83.6, atol=1.0)


def test_labels_until_the_goal_are_those_of_the_first_iterate_that_reaches_it():
    made = importlib.import_module("mujoco_remedies")
    result = {"expert": [100.0, 100.0], "labels": [50, 100, 150], "returns": [[90, 98], [95, 95], [10, 10]]}
    assert made.labels_to(result) == 100
    assert made.labels_to({**result, "returns": [[90, 98], [94, 95], [10, 10]]}) is None


def test_scripted_experts_answer_as_their_rules_say():
    made = importlib.import_module("dagger_experts")
    np.testing.assert_array_equal(made.balance(np.array([[0, 0, 0.1, 0], [0, 0, -0.1, 0.2]])), [1, 0])
    angle = np.array([0.1, np.pi, 0.3])
    rate = np.array([0.0, 0.0, -0.5])
    torque = made.swing_up(np.stack([np.cos(angle), np.sin(angle), rate], axis=1))
    # Near the top a spring and a damper; hanging at rest the energy is too low, so it pumps.
    np.testing.assert_allclose(torque[:, 0], [-1.2, 2.0, -2.0], atol=1e-6)
