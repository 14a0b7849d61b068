"""Success rules as they are written on the command line, and in words."""

import pytest

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError
from steadyhand.core.success import AS_TOLD, UNKNOWN, SuccessRule, success_rule


@pytest.mark.parametrize(
    ("text", "kind", "threshold"),
    [
        ("terminated", "terminated", None),
        ("survived", "survived", None),
        ("return>=200", "return", 200.0),
        ("return >= -1.5e2", "return", -150.0),
        ("mean_reward>=0.5", "mean_reward", 0.5),
        ("ever", "ever", None),
        ("last", "last", None),
        ("none", "unknown", None),
    ],
)
def test_a_rule_is_read_from_text(text, kind, threshold):
    rule = success_rule(text)
    assert (rule.kind, rule.threshold) == (kind, threshold)
    assert rule.is_told == (kind != "unknown")
    assert from_data(to_data(rule), SuccessRule) == rule
    assert (f"{threshold:g}" if threshold is not None else " ") in rule.words


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (SuccessRule(), "as the env says"),
        (SuccessRule(said="two laps"), "two laps"),
        (
            AS_TOLD,
            'info["is_success"] or info["success"] is true at some step; open where the info never holds it',
        ),
        (
            success_rule("last:at goal"),
            'info["at goal"] is true at the last step; failed where the info never holds it',
        ),
        (success_rule("return>=-2.5"), "the rewards of the episode add up to -2.5 or more"),
        (success_rule("mean_reward>=3"), "the mean reward of a step is 3 or more"),
        (success_rule("survived"), "the episode lasted until the time limit"),
        (success_rule("terminated"), "the env ended the episode by its own rules, before the time limit"),
        (UNKNOWN, "this env does not tell it"),
    ],
)
def test_a_rule_is_said_in_words(rule, words):
    assert rule.words == words


def test_a_stated_info_rule_counts_silence_as_failure_and_the_default_leaves_it_open():
    assert success_rule("ever:goal_achieved").keys == ("goal_achieved",)
    assert success_rule("last").absent == "failure"
    assert AS_TOLD.absent == "unknown"
    assert "goal_achieved" in success_rule("ever:goal_achieved").words
    assert not UNKNOWN.is_told


@pytest.mark.parametrize(
    "text",
    [
        "",
        "success",
        "return",
        "return>=",
        "return>=inf",
        "mean_reward>=-inf",
        "terminated>=1",
        "none:x",
        "terminated:x",
        "return>=nan",
        "survived>=3",
        "ever:",
        "auto",
        "ever=x",
    ],
)
def test_other_texts_are_refused_with_what_there_is(text):
    with pytest.raises(ConfigError, match="return>=NUMBER"):
        success_rule(text)


def test_a_threshold_belongs_to_rewards_alone():
    for change in ({"kind": "return"}, {"kind": "survived", "threshold": 1.0}):
        with pytest.raises(ConfigError, match="threshold"):
            SuccessRule(**change)
    with pytest.raises(ConfigError, match="key"):
        SuccessRule(kind="ever", keys=())
