"""Comparisons, pages and benches of envs that do not tell success speak of returns, and of nothing else."""

import dataclasses
import re

import numpy as np
import pytest

from steadyhand.analysis.page import render
from steadyhand.analysis.results import Rounds
from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.correction.record import RoundRecord
from steadyhand.envs.adapter import GymnasiumEnv
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.recipes.compare import NamedController, compete, report_of
from steadyhand.recipes.comparison import Row, difference, mean_return, return_difference, tells_success
from steadyhand.recipes.env_choices import env_from_text


class Push(Controller):
    """Pushes the way the car of MountainCar goes, which brings it up."""

    sees_privileged = False

    def __init__(self, gain):
        self._gain = gain

    def act(self, observation, privileged, rows, generator):
        action = self._gain * observation["observation.state"][:, 1:]
        return Decision.by(Actor.EXPERT, action.astype(np.float32))


def compared(success="none"):
    config = GymnasiumConfig(env_id="MountainCarContinuous-v0", max_episode_steps=150, success=success)
    env = GymnasiumEnv(config, num_rows=4)
    entrants = [
        NamedController(name="expert", controller=Push(50.0), kind="expert"),
        NamedController(name="weak", controller=Push(0.0)),
        NamedController(name="strong", controller=Push(20.0)),
    ]
    outcomes = compete(env, entrants, env.starts("test", 8), seed=0, num_films=0)
    report = report_of(env, outcomes, title="t", setting=(), seed=0, wall_s=0.0)
    env.close()
    return report


@pytest.fixture(scope="module")
def report():
    return compared()


def text_of(report):
    page = render(report)
    return re.sub(r"<style>.*?</style>|<script>.*?</script>", "", page, flags=re.DOTALL)


def test_a_report_without_success_compares_returns(report):
    assert [one.successes for one in report.results] == [None] * 3
    assert report.comparisons[0].success is None
    assert report.success.kind == "unknown"
    assert ("Success", "this env does not tell it") in [(fact.name, fact.value) for fact in report.setting]
    expert, weak, strong = (one.mean_return.value for one in report.results)
    assert report.verdict.startswith(
        f"The policy weak returned {weak:.3g} on average; strong".replace("-", "\u2212")
    )
    assert report.random_return is not None
    span = expert - report.random_return
    assert report.normalised(report.results[2]) == pytest.approx((strong - report.random_return) / span)
    assert report.normalised(report.results[0]) == 1.0


def test_its_page_names_no_success_that_nobody_told(report):
    record = RoundRecord(
        round=1,
        beta=0.0,
        labels=1,
        total_labels=1,
        online_loss=None,
        hindsight_loss=None,
        regret=None,
        train_loss=0.0,
        validation_success=None,
        validation_return=-12.5,
        starts_failed=0,
    )
    records = (record, dataclasses.replace(record, round=2, validation_return=-3.0))
    rounds = Rounds(name="strong", records=records, returned=2, validation_starts=4)
    text = text_of(dataclasses.replace(report, rounds=rounds))
    assert not re.search(r"\bnan\b|\binf\b|None", text)
    assert "succeeded" not in text
    assert "Wilson" not in text
    assert "Validation return by round: \u221212.5, \u22123; round 2 is returned." in text
    assert "by highest return on validation starts" in text
    assert "Mean return. expert: " in text
    assert "Nothing tells whether an early end is good or bad." in text
    assert "Normalised" in text


def test_a_rule_that_never_hears_its_key_says_so():
    report = compared("ever:goal_achieved")
    assert [one.num_successes for one in report.results] == [0, 0, 0]
    assert any("No info of the env ever held goal_achieved" in caveat for caveat in report.caveats)
    assert report.random_return is None
    assert not compared("return>=-1e9").caveats


def row(title, success, returns):
    results = [
        {"success": one, "returns": two, "labels": 10, "burden": {"env_steps": 20}}
        for one, two in zip(success, returns, strict=True)
    ]
    return Row.of(title, results)


def test_a_bench_without_success_compares_returns():
    clone = row("cloning", [None, None], [[-10.0, -12.0], [-11.0, -13.0]])
    dagger = row("DAgger", [None, None], [[-5.0, -7.0], [-6.0, -8.0]])
    assert clone.success is None
    assert not tells_success([clone, dagger])
    assert difference(dagger, clone) == ""
    assert mean_return(dagger).startswith("-6.5 (")
    assert return_difference(dagger, clone) == "+5 (+5 to +5)"
    told = row("cloning", [[1, 0], [1, 1]], [[0.0, 0.0], [0.0, 0.0]])
    assert tells_success([told, Row(title="x", success=None, refusal="does not fit")])
    assert not tells_success([told, dagger])


def test_the_rule_of_the_command_line_reaches_the_env():
    config = env_from_text("Pendulum-v1", success="return>=-200")
    assert isinstance(config, GymnasiumConfig)
    assert config.success_rule().threshold == -200.0
    for observation in ((), ("state",)):
        with pytest.raises(ConfigError, match="tells success itself"):
            env_from_text("car", observation=observation, success="survived")
