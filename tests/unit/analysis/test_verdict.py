"""The verdict is a sentence made from the numbers, and says when they are too few."""

import numpy as np
import pytest

from steadyhand.analysis.report import make_report
from steadyhand.analysis.results import Wording, summarise
from steadyhand.core.errors import ConfigError, DataError

CARS = Wording(outcome="kept {k} of {n} cars on the road")


def outcome(name, successes, starts=64, **costs):
    success = np.arange(starts) < successes
    return summarise(
        name,
        kind="expert" if name == "Expert" else "policy",
        success=success,
        returns=success.astype(np.float64),
        lengths=np.full(starts, 10),
        first_failure=np.where(success, np.inf, 0.5),
        control_dt=0.1,
        **costs,
    )


def verdict(*results, wording=CARS):
    return make_report(
        title="t", command="c", env="car", setting=(), seed=0, results=results, wording=wording
    ).verdict


def test_a_clear_win():
    text = verdict(outcome("Cloning", 3, labels_used=1000), outcome("DAgger", 64, labels_used=1000))
    assert text == (
        "Cloning kept 3 of 64 cars on the road; DAgger, with the same 1,000 labels, kept 64 of 64. "
        "From the same 64 starts, DAgger succeeded 61 times where Cloning failed, "
        "and never the other way round (exact McNemar p < 0.0001)."
    )


def test_a_loss_is_not_told_as_a_win():
    text = verdict(outcome("Cloning", 60), outcome("DAgger", 5))
    assert "DAgger kept 5 of 64" in text
    assert "DAgger succeeded never where Cloning failed" not in text
    assert "Cloning succeeded 55 times where DAgger failed" in text


def test_too_few_starts_are_said():
    text = verdict(outcome("Cloning", 2, 4), outcome("DAgger", 4, 4))
    assert "too little to tell them apart (exact McNemar p = 0.5)" in text


def test_equal_outcomes_are_said():
    assert "had the same outcome every time" in verdict(outcome("Cloning", 9), outcome("DAgger", 9))


def test_different_label_budgets_are_named():
    text = verdict(outcome("Cloning", 3, labels_used=500), outcome("DAgger", 64, labels_used=1000))
    assert "DAgger, with 1,000 labels, kept" in text


def test_several_policies_share_their_budget_once():
    results = [
        outcome(name, k, labels_used=1000) for name, k in (("Cloning", 3), ("DAgger", 64), ("DART", 60))
    ]
    text = verdict(*results)
    assert "; with the same 1,000 labels, DAgger kept 64 of 64 and DART kept 60 of 64. " in text
    assert text.count("DAgger succeeded") == 1


def test_an_imperfect_expert_is_named_and_a_perfect_one_is_not():
    assert "Even the expert kept 47 of 64." in verdict(outcome("Expert", 47), outcome("Cloning", 1))
    assert "expert" not in verdict(outcome("Expert", 64), outcome("Cloning", 1)).lower()


def test_the_expert_alone_and_one_policy_alone():
    assert verdict(outcome("Expert", 64)) == "Expert kept 64 of 64 cars on the road."
    assert verdict(outcome("Cloning", 1), wording=Wording()) == "Cloning succeeded from 1 of 64 starts."


def test_an_outcome_without_numbers_is_refused():
    with pytest.raises(ConfigError, match="how many of how many"):
        Wording(outcome="did well")


def test_other_starts_and_equal_names_are_refused():
    with pytest.raises(DataError, match="same starts"):
        verdict(outcome("Cloning", 1, 4), outcome("DAgger", 1, 5))
    with pytest.raises(DataError, match="different names"):
        verdict(outcome("Cloning", 1), outcome("Cloning", 2))
    with pytest.raises(DataError, match="different names"):
        verdict()
