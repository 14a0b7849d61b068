"""The verdict is a sentence made from the numbers, and says when they are too few."""

import dataclasses

import numpy as np
import pytest

from outcomes import episodes
from steadyhand.analysis.report import completed
from steadyhand.analysis.results import Cost, Report, Wording
from steadyhand.analysis.summary import summarise
from steadyhand.core.errors import ConfigError, DataError

CARS = Wording(outcome="kept {k} of {n} cars on the road")


def outcome(name, successes, starts=64, *, returns=None, **costs):
    success = None if successes is None else np.arange(starts) < successes
    if returns is None:
        returns = success.astype(np.float64)
    lengths = np.full(starts, 10)
    kind = "expert" if name == "Expert" else "policy"
    return summarise(episodes(name, success, returns, lengths), kind=kind, cost=Cost(**costs))


def report(*results, wording=CARS, random_returns=None):
    made = Report(title="t", command="c", env="car", results=results, wording=wording)
    return completed(made, random_returns=random_returns)


def verdict(*results, **fields):
    return report(*results, **fields).verdict


def test_a_clear_win():
    text = verdict(outcome("Cloning", 3, labels=1000), outcome("DAgger", 64, labels=1000))
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
    text = verdict(outcome("Cloning", 9), outcome("DAgger", 9))
    assert text == (
        "Cloning kept 9 of 64 cars on the road; DAgger kept 9 of 64. "
        "From the same 64 starts, DAgger and Cloning had the same outcome and the same return every time."
    )


def around(mean, starts=16):
    """Returns with this mean, 1 apart from start to start."""
    return mean + np.arange(starts) - (starts - 1) / 2


@pytest.mark.parametrize("successes", [16, 0, None])
def test_what_differs_comes_first(successes):
    text = verdict(
        outcome("Cloning", successes, 16, returns=around(169.0)),
        outcome("DAgger", successes, 16, returns=around(701.0)[::-1].copy()),
        wording=Wording(),
    )
    assert text.startswith("Cloning returned 169 on average; DAgger returned 701. ")
    assert "same outcome" not in text
    assert "DAgger returned 532 more than Cloning on average (95 % interval 52" in text
    assert ("Each of them succeeded from 16 of 16 starts." in text) == (successes == 16)
    assert ("Each of them succeeded from 0 of 16 starts." in text) == (successes == 0)
    assert ("Nothing tells success here" in text) == (successes is None)
    assert ("succeeded" in text) == (successes is not None)


def test_success_comes_first_where_it_tells_them_apart():
    text = verdict(
        outcome("Cloning", 3, returns=around(700.0, 64)),
        outcome("DAgger", 60, returns=around(100.0, 64)),
        wording=Wording(),
    )
    assert text.startswith("Cloning succeeded from 3 of 64 starts; DAgger succeeded from 60 of 64. ")


def test_returns_that_chance_explains_are_said_to_be_so():
    random = np.random.default_rng(0)
    text = verdict(
        outcome("A", None, returns=random.normal(0.0, 5.0, 64)),
        outcome("B", None, returns=random.normal(0.0, 5.0, 64)),
    )
    assert "too little to tell them apart" in text
    assert "had the same return every time" in verdict(
        outcome("A", None, 2, returns=np.array([1.0, 2.0])),
        outcome("B", None, 2, returns=np.array([1.0, 2.0])),
    )


def test_a_return_is_put_on_the_scale_from_random_actions_to_the_expert():
    results = [
        outcome("Expert", None, 16, returns=around(900.0)),
        outcome("Cloning", None, 16, returns=around(300.0)),
        outcome("DAgger", None, 16, returns=around(1000.0)),
    ]
    one = report(*results, random_returns=[-100.0] * 16)
    assert [one.normalised(result) for result in one.results] == pytest.approx([1.0, 0.4, 1.1])
    assert (
        "On the way from random actions to the expert Cloning is at 40 % and DAgger is at 110 %."
        in one.verdict
    )
    assert "The expert returned 900." in one.verdict
    for unknown in (
        report(*results),
        report(*results[1:], random_returns=[0.0] * 16),
    ):
        assert unknown.normalised(unknown.results[0]) is None
        assert "random" not in unknown.verdict


@pytest.mark.parametrize("gap", [-50.0, 0.0, 0.5])
def test_an_expert_that_is_not_clearly_better_than_random_actions_gives_no_scale(gap):
    random = np.random.default_rng(0)
    returns = random.normal(0.0, 20.0, 64)
    one = report(
        outcome("Expert", None, returns=returns),
        outcome("Cloning", None, returns=returns - 5.0),
        random_returns=(returns - gap + random.normal(0.0, 10.0, 64)).tolist(),
    )
    assert [one.normalised(result) for result in one.results] == [None, None]
    assert "%" not in one.verdict.replace("95 %", "")
    assert "The expert is not clearly better than random actions (" in one.verdict


def test_one_start_gives_no_scale():
    one = report(
        outcome("Expert", None, 1, returns=np.array([9.0])),
        outcome("Cloning", None, 1, returns=np.array([5.0])),
        random_returns=[0.0],
    )
    assert one.normalised(one.results[1]) is None
    assert "The expert is not clearly better than random actions (+9 in return)" in one.verdict


def test_different_label_budgets_are_named():
    text = verdict(outcome("Cloning", 3, labels=500), outcome("DAgger", 64, labels=1000))
    assert "DAgger, with 1,000 labels, kept" in text


def test_labels_that_the_returned_policy_was_not_taught_on_are_not_called_the_same():
    cloning = outcome("Cloning", 3, labels=300)
    early = outcome("HG-DAgger", 64, labels=300, trained_labels=200)
    text = verdict(cloning, early)
    assert "; HG-DAgger, trained on 200 of its 300 labels, kept 64 of 64. " in text
    others = [outcome(name, 60, labels=300, trained_labels=300) for name in ("DART", "noise")]
    text = verdict(cloning, early, *others)
    assert (
        "; with the same 300 labels, DART kept 60 of 64 and noise kept 60 of 64; HG-DAgger, trained on"
        in text
    )
    partly = outcome("Cloning", 3, labels=300, trained_labels=100)
    assert "the same 300 labels" not in verdict(partly, *others)


def test_several_policies_share_their_budget_once():
    results = [outcome(name, k, labels=1000) for name, k in (("Cloning", 3), ("DAgger", 64), ("DART", 60))]
    text = verdict(*results)
    assert "; with the same 1,000 labels, DAgger kept 64 of 64 and DART kept 60 of 64. " in text
    assert text.count("DAgger succeeded") == 1


def test_an_imperfect_expert_is_named_and_a_perfect_one_is_not():
    assert "Even the expert kept 47 of 64." in verdict(outcome("Expert", 47), outcome("Cloning", 1))
    assert "expert" not in verdict(outcome("Expert", 64), outcome("Cloning", 1)).lower()


def test_the_expert_alone_and_one_policy_alone():
    assert verdict(outcome("Expert", 64)) == "The expert kept 64 of 64 cars on the road."
    assert verdict(outcome("Cloning", 1), wording=Wording()) == "Cloning succeeded from 1 of 64 starts."


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("cloning", "The policy cloning kept"),
        ("HG-DAgger", "HG-DAgger kept"),
        ("runs/a1", "The policy runs/a1 kept"),
        ("clone-2", "The policy clone-2 kept"),
    ],
)
def test_a_verdict_begins_as_a_sentence_does(name, beginning):
    assert verdict(outcome(name, 1)).startswith(f"{beginning} 1 of 64 cars on the road.")


def test_names_stay_as_they_are_wherever_they_stand():
    differing = verdict(
        outcome("runs/a1", 12, 16, returns=around(169.0)), outcome("b-2", 16, 16, returns=around(701.0))
    )
    assert "As for success, runs/a1 kept 12 of 16 cars on the road and b-2 kept 16 of 16." in differing
    expert = outcome("Expert", 64)
    for name, beginning in (("runs/e", "The expert runs/e"), ("expert", "The expert"), ("PID", "PID")):
        named = dataclasses.replace(expert, name=name)
        assert verdict(named) == f"{beginning} kept 64 of 64 cars on the road."
        beside = verdict(named, outcome("a", None, returns=np.zeros(64)))
        assert f"{beginning} returned 1." in beside
        assert "Runs" not in beside


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
