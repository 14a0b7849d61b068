"""What the face makes is what the recipes make of the same seeds, bit for bit."""

from pathlib import Path

import numpy as np
import torch

import steadyhand as sh
from steadyhand.correction.budget import Budget
from steadyhand.data.dataset import open_dataset
from steadyhand.data.digests import episodes_digest
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.forks.config import ForksConfig
from steadyhand.experts.config import ForksExpert, PurePursuitExpert
from steadyhand.policies.artifact import load_policy
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.policy import PolicyModule as Network
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.correct import correct
from steadyhand.recipes.evaluate import evaluate_policies
from steadyhand.recipes.record import record
from steadyhand.recipes.remedies import remedy
from steadyhand.recipes.runs import CorrectRun, EvalRun, RecordRun
from steadyhand.recipes.train import train
from steadyhand.recipes.train_run import TrainRun
from steadyhand.training.config import TrainConfig

CAR = CarConfig(observation=("state",), max_episode_steps=40)
TRAINING = TrainConfig(num_steps=20, batch_size=16)


def same_weights(one: Network, other: Network) -> bool:
    there = other.state_dict()
    return all(torch.equal(value, there[name]) for name, value in one.state_dict().items())


def test_cloning(tmp_path: Path) -> None:
    record(RecordRun(env=CAR, expert=PurePursuitExpert(), num_episodes=4, num_labels=80), tmp_path / "demos")
    outcome = train(
        TrainRun(data=tmp_path / "demos", training=TRAINING, validation_fraction=0.25, seed=3),
        tmp_path / "clone",
    )
    report, _ = evaluate_policies(
        EvalRun(policies=(tmp_path / "clone",), env=CAR, num_starts=4, num_videos=0), tmp_path / "eval"
    )

    env = sh.make(CAR, num_rows=4)
    demos = sh.record(env, sh.expert("auto", env), labels=80, episodes=4)
    clone = sh.train(demos, training=TRAINING, validation_fraction=0.25, seed=3)
    driven = sh.evaluate(clone, env, starts=4)

    stored = open_dataset(tmp_path / "demos").episodes()
    assert episodes_digest(stored) == episodes_digest(demos.episodes())
    assert same_weights(clone.network, outcome.policy)
    assert driven.returns.tolist() == list(report.results[0].returns)


def test_flow_on_forks(tmp_path: Path) -> None:
    policy = PolicyConfig(head=Flow(net=DenoisingMLP(hidden=(32,))), horizon=8, n_action_steps=4)
    record(RecordRun(env=ForksConfig(), expert=ForksExpert(), num_episodes=4), tmp_path / "demos")
    outcome = train(
        TrainRun(data=tmp_path / "demos", policy=policy, training=TRAINING, control_dt=0.1), tmp_path / "flow"
    )
    report, _ = evaluate_policies(
        EvalRun(policies=(tmp_path / "flow",), env=ForksConfig(), num_starts=3, num_videos=0),
        tmp_path / "eval",
    )

    env = sh.make("forks", num_rows=4)
    demos = sh.record(env, sh.expert("scripted", env), episodes=4, out=tmp_path / "again")
    flow = sh.train(demos, head=policy.head, horizon=8, training=TRAINING)
    few = sh.make("forks", num_rows=3)

    assert same_weights(flow.network, outcome.policy)
    assert sh.evaluate(flow, few, starts=3).returns.tolist() == list(report.results[0].returns)


def test_dagger(tmp_path: Path) -> None:
    budget = Budget(labels=60, rounds=2, episodes=2, validation_starts=2)
    run = CorrectRun(
        env=CAR,
        training=TRAINING,
        method=remedy("dagger").from_budget(budget),
        evaluation_starts=4,
        clone=False,
        num_videos=0,
        seed=5,
    )
    report, _ = correct(run, tmp_path / "run")

    env = sh.make(CAR, num_rows=4)
    dagger = sh.correct(run.method, env, sh.expert("auto", env), training=TRAINING, seed=5)

    assert same_weights(dagger.network, load_policy(tmp_path / "run" / "policy"))
    assert report.results[-1].name == dagger.name == "DAgger"


def test_a_policy_asked_step_by_step_drives_as_it_does_when_it_is_evaluated(tmp_path: Path) -> None:
    env = sh.make("forks", num_rows=3)
    demos = sh.record(env, sh.expert("auto", env), episodes=6)
    head = Flow(net=DenoisingMLP(hidden=(32,)))
    flow = sh.train(demos, head=head, horizon=8, n_obs_steps=2, training=TRAINING, out=tmp_path)
    driven = sh.evaluate(flow, env, starts=1)

    policy, row = sh.load(tmp_path), np.array([0])
    policy.reset()
    env.reset(env.starts("test", 1), row)
    total, ended = 0.0, False
    while not ended:
        action = policy({name: value[0] for name, value in env.observe(row).items()})
        result = env.step(action[None], row)
        total += float(result.reward[0])
        ended = bool(result.terminated[0] or result.truncated[0])
    assert total == driven.returns[0]
