"""Gates: thresholds against their definition, rules on made-up scores, settings."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE
from steadyhand.correction.gate import Asking, GateInput
from steadyhand.correction.gates import (
    EnsembleGate,
    LazyGate,
    LossGate,
    NearestGate,
    SafeGate,
    ThriftyGate,
)
from steadyhand.correction.gates.calibration import (
    ScoreRecorder,
    conformal_threshold,
    joint_thresholds,
    threshold_at,
)
from steadyhand.correction.gates.rules import Above, Disagreeing, Hysteresis, Patient
from steadyhand.policies.scores import ActionScale

values = st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=60).map(np.array)


# Thresholds.


@given(values, st.floats(0, 1))
def test_a_threshold_is_the_smallest_value_that_keeps_the_share_above_it(scores, level):
    threshold = threshold_at(scores, level)
    assert threshold in scores
    assert (scores > threshold).mean() <= 1 - level + 1e-9
    smaller = scores[scores < threshold]
    if len(smaller):
        assert (scores > smaller.max()).mean() > 1 - level - 1e-9


def test_a_threshold_is_the_stated_order_statistic():
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 101.0))
    assert [threshold_at(scores, level) for level in (0.0, 0.01, 0.95, 0.99, 1.0)] == [1, 1, 95, 99, 100]
    assert threshold_at(np.array([7.0]), 0.5) == 7.0
    with pytest.raises(ConfigError, match="needs values"):
        threshold_at(np.zeros(0), 0.5)


@pytest.mark.parametrize("level", [-0.1, 1.5])
@pytest.mark.parametrize("threshold", [threshold_at, conformal_threshold])
def test_a_level_is_a_share(threshold, level):
    with pytest.raises(ConfigError, match="level is a share"):
        threshold(np.arange(5.0), level)


def test_a_conformal_threshold_is_the_stated_order_statistic():
    """Of 9 values the ceil(10 level)-th smallest; there is no tenth."""
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 10.0))
    found = [conformal_threshold(scores, level) for level in (0.0, 0.1, 0.11, 0.3, 0.89, 0.9, 0.91, 1.0)]
    assert found == [1, 1, 2, 3, 9, 9, np.inf, np.inf]


def test_joint_thresholds_by_hand():
    """Ranks (1, 4), (2, 3), (3, 1), (4, 2): the largest are 4, 3, 3, 4, and half of the steps exceed 3."""
    one, other = np.array([10.0, 20.0, 30.0, 40.0]), np.array([8.0, 7.0, 5.0, 6.0])
    assert joint_thresholds(one, other, 0.5) == (30.0, 7.0)
    assert joint_thresholds(one, other, 0.4) == (40.0, 8.0)
    assert joint_thresholds(one, np.ones(4), 0.5) == (40.0, 1.0)  # ties all have the highest rank


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_a_conformal_threshold_is_exceeded_by_chance_alone(level):
    """Of N + 1 exchangeable values the last may have any rank: count the ranks at which it lies above."""
    num = 9
    above = 0
    for last in range(num + 1):
        others = np.array([float(value) for value in range(num + 1) if value != last])
        above += last > conformal_threshold(others, level)
    assert above / (num + 1) <= 1 - level + 1e-9
    assert conformal_threshold(np.arange(9.0), 0.95) == np.inf


@given(values, st.randoms(use_true_random=False), st.floats(0.01, 0.99))
def test_both_rules_together_spend_no_more_than_the_share(one, random, share):
    other = np.array(random.sample(list(one), len(one)))
    first, second = joint_thresholds(one, other, share)
    assert ((one > first) | (other > second)).mean() <= share + 1e-9


def test_two_separate_quantiles_spend_twice_the_share_and_joint_ones_once():
    random = np.random.default_rng(0)
    one, other = random.random((2, 20_000))
    other = np.where(one > 0.95, 0.5 * other, other)  # Where one rule fires the other does not.
    share = 0.05
    apart = (one > threshold_at(one, 1 - share)) | (other > threshold_at(other, 1 - share))
    first, second = joint_thresholds(one, other, share)
    together = (one > first) | (other > second)
    assert apart.mean() == pytest.approx(2 * share, abs=0.001)
    assert share - 0.001 < together.mean() <= share
    fresh, later = random.random((2, 20_000))
    later = np.where(fresh > 0.95, 0.5 * later, later)
    spread = 4 * np.sqrt(2 * share * (1 - share) / 20_000)  # Of calibration and test alike.
    assert ((fresh > first) | (later > second)).mean() < share + spread


# Rules, on one row and made-up scores.


class Given(ScoreRecorder):
    """In the place of a watch: says what the test says."""

    def __init__(self, **scores):
        self.scores = {name: np.asarray(value, dtype=float) for name, value in scores.items()}

    def __call__(self, inputs):
        return self.scores

    def begin(self, rows):
        self.begun = rows.tolist()

    def state(self):
        return {}

    def restore(self, state):
        del state


class Zero(Controller):
    def act(self, observation, privileged, rows, generator):
        return Decision.by(
            Actor.EXPERT, np.zeros((len(rows), 1), np.float32), label=np.zeros((len(rows), 1), np.float32)
        )


SCALE = ActionScale(scale=np.ones(1), num_classes=None)


def inputs_of(proposal, held) -> GateInput:
    rows, streams = np.arange(len(held)), RowStreams.from_seed(0, len(held))
    seen = {STATE: np.zeros((len(held), 1), np.float32)}
    return GateInput(
        observation=seen,
        privileged={},
        rows=rows,
        generator=streams,
        proposal=np.asarray(proposal, dtype=np.float32)[:, None],
        held=np.asarray(held, dtype=bool),
        expert=Asking(Zero(), seen, {}, rows, streams),
    )


def drives_along(gate, scores) -> tuple[list[bool], int]:
    """Return who drives along a sequence of scores, and how many labels that costs.

    The true discrepancy is the score itself: the expert says 0, the policy the score's root.
    """
    held, out, labels = False, [], 0
    for score in scores:
        gate._watch.scores = {"score": np.array([score])}
        inputs = inputs_of([np.sqrt(max(score, 0.0))], [held])
        held = bool(gate.takes_over(inputs)[0])
        inputs.expert.label(np.flatnonzero([held]))
        labels += int(inputs.expert.asked.sum())
        out.append(held)
    return out, labels


def switches(driven) -> int:
    return int((np.diff([False, *driven]) != 0).sum())


bands = st.lists(st.sampled_from([0.1, 0.4, 0.7, 1.2]), min_size=1, max_size=20)


@settings(max_examples=30)
@given(bands)
def test_hysteresis_never_switches_more_and_less_exactly_where_a_dip_stays_in_the_band(scores):
    single, _ = drives_along(Above(Given(), threshold=1.0), scores)
    gate = Hysteresis(Given(), SCALE, enter={"score": 1.0}, leave=0.25)
    double, labels = drives_along(gate, scores)
    kinds = ["out" if score <= 0.25 else "in" if score > 1.0 else "band" for score in scores]
    # Two visits above the way in, with nothing below the way out between them, but something in the band.
    dips = any(
        kinds[i] == kinds[j] == "in" and j > i + 1 and set(kinds[i + 1 : j]) == {"band"}
        for i, j in itertools.combinations(range(len(kinds)), 2)
    )
    if dips:
        assert switches(double) < switches(single)
    else:
        assert switches(double) <= switches(single)
    handed_back = sum(a and not b for a, b in itertools.pairwise(double))
    assert labels == sum(double) + handed_back


def test_noise_about_a_threshold_makes_one_threshold_flap_and_two_not():
    random = np.random.default_rng(0)
    scores = 1.0 + 0.2 * random.normal(size=500)  # 0.25 is 3.75 standard deviations off
    single, _ = drives_along(Above(Given(), threshold=1.0), scores)
    double, _ = drives_along(Hysteresis(Given(), SCALE, enter={"score": 1.0}, leave=0.25), scores)
    assert switches(single) > 180
    assert switches(double) < 10


def test_one_threshold_asks_where_it_hands_over_and_nowhere_else():
    gate, inputs = (
        Above(Given(score=[0.5, 1.5, 1.0]), threshold=1.0),
        inputs_of([0, 0, 0], [True, False, True]),
    )
    assert gate.takes_over(inputs).tolist() == [False, True, False]
    assert not inputs.expert.asked.any()
    asking = Above(Given(score=[0.5, 1.5, 1.0]), threshold=1.0, asks_only=True)
    assert not asking.takes_over(inputs).any()
    assert inputs.expert.asked.tolist() == [False, True, False]


def test_an_ensemble_gate_asks_everywhere_and_takes_either_reason():
    gate = Disagreeing(Given(doubt=[0.0, 0.0, 2.0, 2.0, 1.0]), SCALE, tau=1.0, chi=1.0)
    inputs = inputs_of([0.5, 1.5, 0.5, 1.5, 1.0], [False] * 5)
    assert gate.takes_over(inputs).tolist() == [False, True, True, True, False]
    assert inputs.expert.asked.all()


def test_control_goes_back_only_where_it_is_both_close_and_calm():
    gate = Hysteresis(
        Given(novelty=[0.0] * 4, risk=[0.1, 0.1, 0.9, 0.9]),
        SCALE,
        enter={"novelty": 1.0, "risk": 2.0},
        leave=1.0,
        calm={"risk": 0.5},
    )
    inputs = inputs_of([0.5, 1.5, 0.5, 1.5], [True] * 4)
    assert gate.takes_over(inputs).tolist() == [False, True, True, True]
    assert gate.takes_over(inputs_of([9.0] * 4, [False] * 4)).tolist() == [False] * 4
    # At a threshold nothing is exceeded yet.
    gate._watch.scores = {"novelty": np.array([1.0, 0.0]), "risk": np.array([2.0, 0.5])}
    assert gate.takes_over(inputs_of([9.0, 1.0], [False, True])).tolist() == [False, False]
    gate._watch.scores = {"novelty": np.zeros(4), "risk": np.zeros(4)}
    gate._watch.scores["novelty"][1] = 1.5
    assert gate.takes_over(inputs_of([0.0] * 4, [False] * 4)).tolist() == [False, True, False, False]


@settings(max_examples=30)
@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(1, 4))
def test_patience_counts_steps_in_a_row_on_the_other_side(above, patience):
    driven, _ = drives_along(Patient(Given(), threshold=1.0, patience=patience), [2.0 * a for a in above])
    held, run = False, 0
    for is_above, drives in zip(above, driven, strict=True):
        run = run + 1 if is_above != held else 0
        if run == patience:
            held, run = not held, 0
        assert drives == held


def test_a_step_at_the_threshold_is_not_above_it():
    driven, _ = drives_along(Patient(Given(), threshold=1.0, patience=1), [1.0, 2.0, 1.0, 1.0])
    assert driven == [False, True, False, False]


def test_patience_is_forgotten_at_a_new_episode_and_restored_from_its_state():
    gate = Patient(Given(score=[2.0, 2.0]), threshold=1.0, patience=3)
    for _ in range(2):
        assert not gate.takes_over(inputs_of([0, 0], [False, False])).any()
    twin = Patient(Given(score=[2.0, 2.0]), threshold=1.0, patience=3)
    twin.restore(gate.state())
    gate.begin(np.array([1]))
    assert gate._watch.begun == [1]
    assert gate.takes_over(inputs_of([0, 0], [False, False])).tolist() == [True, False]
    assert twin.takes_over(inputs_of([0, 0], [False, False])).tolist() == [True, True]


# Settings.


@pytest.mark.parametrize(
    ("gate", "options", "match"),
    [
        (SafeGate, {"share": 0.0}, "share = 0.0"),
        (SafeGate, {"unsafe": 1.0}, "unsafe = 1.0"),
        (LazyGate, {"back": 0.9}, "stricter"),
        (EnsembleGate, {"members": 1}, ">= 2"),
        (ThriftyGate, {"num_held_out": 0}, ">= 1"),
        (LossGate, {"patience": 0}, ">= 1"),
        (NearestGate, {"level": 1.5}, "level = 1.5"),
    ],
)
def test_settings_that_make_no_sense_are_refused(gate, options, match):
    with pytest.raises(ConfigError, match=match):
        gate(**options)


def test_the_way_out_may_be_as_strict_as_the_way_in():
    assert LazyGate(back=0.5, unsafe=0.5).back == 0.5
    with pytest.raises(ConfigError, match=r"share = 1\.0"):
        LazyGate(share=1.0)


def test_demonstrations_are_held_out_only_where_a_threshold_needs_them():
    assert LossGate(held_out=2).demonstrations_kept_out() == 2
    assert LossGate(calibration="drives").demonstrations_kept_out() == 0
    assert NearestGate(calibration="drives").demonstrations_kept_out() == 0
    assert ThriftyGate().demonstrations_kept_out() == 1
