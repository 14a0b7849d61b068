"""Executors as configs: built, named on the command line, written to run.json and read back."""

import json

import numpy as np
import pytest

from spelling import Agreeing, Case, spelling_policy
from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError, SteadyhandError
from steadyhand.core.parts import made
from steadyhand.envs.car.config import CarConfig
from steadyhand.policies.artifact import save_policy
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.recipes.evaluate import evaluate_policies
from steadyhand.recipes.runs import EvalRun
from steadyhand.rollout.executors.config import Ensemble, ExecutorConfig, RealTime, Receding
from steadyhand.rollout.executors.ensemble import TemporalEnsemble
from steadyhand.rollout.executors.realtime import RealTimeChunking
from steadyhand.rollout.executors.receding import RecedingHorizon

CASE = Case(n_obs_steps=1, horizon=8, n_action_steps=4, chunk_start=0)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (Receding(n_action_steps=3, delay=2), RecedingHorizon),
        (Ensemble(decay=0.1, newest_heaviest=True), TemporalEnsemble),
        (RealTime(delay=3, execution_horizon=5, schedule="linear"), RealTimeChunking),
    ],
)
def test_a_run_says_how_policies_are_executed_and_builds_that(config, kind):
    run = EvalRun(executor=config, deterministic=True)
    written = json.loads(json.dumps(to_data(run)))
    assert written["executor"]["type"] == type(config).__name__
    assert from_data(written, EvalRun, source="test") == run
    policy = spelling_policy(CASE, head=Agreeing)
    executor = config.build(policy, num_rows=2, deterministic=True)
    assert type(executor) is kind
    assert executor.deterministic
    assert executor.policy is policy
    assert str(config) != repr(config)


def test_what_older_runs_leave_out_is_what_they_did():
    data = to_data(EvalRun())
    assert data["deterministic"] is None
    del data["executor"], data["deterministic"]
    assert from_data(data, EvalRun, source="test") == EvalRun(executor=Receding(), deterministic=None)


def named(name: str, *, n_action_steps: int | None = None, delay: int | None = None) -> ExecutorConfig:
    return made(ExecutorConfig, name).timed(n_action_steps=n_action_steps, delay=delay)


def test_executors_have_short_names():
    assert named("receding") == Receding()
    assert named("receding", n_action_steps=4, delay=2) == Receding(n_action_steps=4, delay=2)
    assert named("realtime") == RealTime(delay=1)
    assert named("real-time", n_action_steps=4, delay=0) == RealTime(delay=0, execution_horizon=4)
    assert named("ensemble", n_action_steps=1, delay=0) == Ensemble()
    for wrong in ({"n_action_steps": 2}, {"delay": 1}):
        with pytest.raises(ConfigError, match="every step"):
            named("ensemble", **wrong)


@pytest.mark.parametrize("config", [Receding, RealTime])
@pytest.mark.parametrize(("steps", "delay"), [(None, -1), (0, 0), (2, 3)])
def test_numbers_that_fit_no_policy_are_refused_at_once(config, steps, delay):
    name = "n_action_steps" if config is Receding else "execution_horizon"
    with pytest.raises(SteadyhandError, match="got"):
        config(delay=delay, **{name: steps})


def test_a_report_says_how_policies_were_executed_and_what_they_answered(tmp_path):
    env = CarConfig(observation=("state",))
    spec = PolicySpec.of_env(env.build(1).spec)
    draws = np.random.default_rng(0)
    for name, head in (("one", Regression()), ("many", Mixture(num_modes=2))):
        policy = PolicyModule.build(PolicyConfig(head=head, horizon=4), spec)
        for affine in policy.normaliser.values():
            affine.fit(draws.uniform(-0.1, 0.1, size=(50, affine.scale.numel())).astype(np.float32))
        save_policy(policy, tmp_path / name)
    answers = {None: "modes of one, samples of many", True: "modes", False: "samples"}
    for deterministic, expected in answers.items():
        run = EvalRun(
            policies=(tmp_path / "one", tmp_path / "many"),
            env=env,
            executor=Ensemble(decay=0.02),
            num_starts=2,
            num_videos=0,
            deterministic=deterministic,
        )
        report, _ = evaluate_policies(run, tmp_path / f"report-{deterministic}")
        facts = {fact.name: fact.value for fact in report.setting}
        assert facts["Answers"] == expected
        assert facts["Execution"] == "temporal ensemble, m = 0.02, oldest heaviest"
