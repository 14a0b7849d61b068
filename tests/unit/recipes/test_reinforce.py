"""Experts that are trained by reinforcement learning."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.envs.catalogue import env_config
from steadyhand.experts.config import WeightsExpert
from steadyhand.recipes import reinforce
from steadyhand.recipes.experts import expert_from_text
from steadyhand.recipes.lesson import Lesson
from steadyhand.recipes.reinforce import ExpertRun, expert_run, train_expert
from steadyhand.recipes.zoo import ALGORITHMS, ZOO, default_algorithm, numbers_for
from steadyhand.rollout.evaluate import evaluate

needs_sb3 = pytest.mark.skipif(find_spec("stable_baselines3") is None, reason="stable-baselines3 is absent")
SHORT = {"evaluations": 2, "starts": 2, "test_starts": 4, "policy": {"net_arch": [8]}}


def short(env: str, algorithm: str, steps: int, **options: object) -> ExpertRun:
    config = env_config(env, **({} if env == "tabular" else {"max_episode_steps": 20}))
    return ExpertRun(env=config, algorithm=algorithm, steps=steps, options=options, **SHORT)


@needs_sb3
@pytest.mark.parametrize("algorithm", ["SAC", "PPO"])
def test_the_folder_is_the_expert_that_was_reported(algorithm: str, tmp_path: Path) -> None:
    options = {"n_steps": 30, "batch_size": 30} if algorithm == "PPO" else {"learning_starts": 10}
    run = replace(short("Pendulum-v1", algorithm, 60, **options), normalize=algorithm == "PPO")
    seen = []
    outcome = train_expert(run, tmp_path, on_trial=seen.append)
    assert [one.steps for one in seen] == [30, 60]
    best = max(seen, key=lambda one: one.mean_return)
    assert (outcome.best_steps, outcome.validation_return) == (best.steps, best.mean_return)
    expert = expert_from_text(str(tmp_path), run.env)
    assert expert == WeightsExpert(path=tmp_path / "actor.safetensors")
    env = run.env.build(4)
    for family, count, wanted in (
        ("test", 4, outcome.mean_return.value),
        ("validation", 2, outcome.validation_return),
    ):
        found = evaluate(env, expert.build(env), env.starts(family, count), name="", seed=5)
        assert found.returns.mean() == pytest.approx(wanted, abs=1e-9)
    said = json.loads((tmp_path / "expert.json").read_text())
    assert said["test_return"] == outcome.mean_return.value
    assert len(said["test_returns"]) == 4
    assert said["provenance"]["versions"]["gymnasium"] == gymnasium.__version__
    assert said["stable_baselines3"] == __import__("stable_baselines3").__version__
    # Once more: nothing is trained, and it says the same.
    again = train_expert(run, tmp_path, on_step=lambda *_: pytest.fail("it was trained again"))
    assert again.mean_return == outcome.mean_return
    with pytest.raises(ConfigError, match="another run"):
        train_expert(replace(run, seed=1), tmp_path)


@needs_sb3
def test_a_run_that_was_stopped_goes_on_with_all_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(short("Pendulum-v1", "SAC", 60, learning_starts=10), normalize=True)
    models = []
    make = reinforce._made

    def made(given: ExpertRun) -> tuple[object, object]:
        models.append(make(given))
        return models[-1]

    def stop(done: int, of: int) -> None:
        if done == 45:
            raise KeyboardInterrupt

    monkeypatch.setattr(reinforce, "_made", made)
    with pytest.raises(KeyboardInterrupt):
        train_expert(run, tmp_path, on_step=stop)
    steps = []

    def resumed(done: int, of: int) -> None:
        if not steps:
            (before, statistics), (after, others) = models
            for name, part in before.get_parameters().items():
                if "param_groups" not in part:
                    for key, value in part.items():
                        np.testing.assert_array_equal(after.get_parameters()[name][key], value)
                    continue
                for number, moments in part["state"].items():
                    for key, value in moments.items():
                        there = after.get_parameters()[name]["state"][number][key]
                        np.testing.assert_array_equal(there, value, err_msg=f"{name} {key}")
            assert after.log_ent_coef.item() == before.log_ent_coef.item() != 0
            buffer = before.replay_buffer
            for name in ("observations", "actions", "rewards", "dones"):
                kept = getattr(after.replay_buffer, name)[: buffer.pos]
                np.testing.assert_array_equal(kept, getattr(buffer, name)[: buffer.pos])
            assert buffer.pos > 40
            assert others.ret_rms.count > statistics.ret_rms.count - 1
        steps.append(done)

    outcome = train_expert(run, tmp_path, on_step=resumed)
    assert steps[0] == 46
    assert steps[-1] == 60
    lines = (tmp_path / "evaluations.jsonl").read_text().splitlines()
    assert [json.loads(line)["steps"] for line in lines] == [30, 60]
    assert outcome.best_steps in (30, 60)


@needs_sb3
def test_choices_are_learnt_as_the_env_counts_them(tmp_path: Path) -> None:
    run = short("tabular", "DQN", 40, learning_starts=4, train_freq=4)
    train_expert(run, tmp_path)
    env = run.env.build(2)
    expert = expert_from_text(str(tmp_path), run.env).build(env)
    env.reset(env.starts("test", 2), np.arange(2))
    answer = expert.action(env.observe(np.arange(2)), {})
    assert answer.shape == (2, 1)
    assert env.spec.action.is_class(answer).all()


@pytest.mark.filterwarnings("ignore:.*Box action spaces")
def test_a_lesson_keeps_the_rules_of_gymnasium_and_starts_in_train() -> None:
    from gymnasium.utils.env_checker import check_env

    lesson = Lesson(env_config("tabular"))
    check_env(lesson, skip_render_check=True)
    assert lesson.action_space == gymnasium.spaces.Discrete(
        lesson.unwrapped._one.batch.spec.action.num_classes
    )
    assert lesson._one.family == "train"
    lesson = Lesson(env_config("Pendulum-v1"))
    check_env(lesson, skip_render_check=True)
    assert lesson.observation_space.shape == (3,)


def test_what_cannot_be_learnt_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for run, words in (
        (ExpertRun(env=env_config("Pendulum-v1"), algorithm="DQN"), r"SAC[\s\S]*--algorithm SAC"),
        (ExpertRun(env=env_config("CartPole-v1"), algorithm="SAC"), "PPO"),
        (ExpertRun(env=env_config("car", observation=("camera",))), "pictures"),
    ):
        with pytest.raises(CapabilityError, match=words):
            train_expert(run, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_the_extra_the_line_that_installs_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reinforce, "find_spec", lambda name: None)
    with pytest.raises(CapabilityError, match=r'pip install "steadyhand\[rl\]"'):
        train_expert(short("Pendulum-v1", "SAC", 10), tmp_path / "run")


@needs_sb3
@pytest.mark.parametrize("options", [{"learning_rat": 1}, {"learning_rate": "linear fast"}])
def test_options_that_nobody_knows_are_refused(options: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"learning_rat|rate"):
        train_expert(short("Pendulum-v1", "SAC", 10, **options), tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_the_numbers_are_the_zoos() -> None:
    run = expert_run(env_config("CartPole-v1"))
    assert (run.algorithm, run.copies, run.options["n_steps"]) == ("PPO", 8, 32)
    assert numbers_for("Hopper-v5", "PPO").options["learning_rate"] == 9.80828e-5
    assert numbers_for("mujoco/Hopper-v5", "TD3").steps == 1_000_000
    assert numbers_for("Reacher-v5", "SAC") == numbers_for("anything", "SAC")
    assert default_algorithm("Pendulum-v1", is_choice=False) == "SAC"
    assert default_algorithm("somebody/Else", is_choice=True) == "PPO"
    assert {name for known in ZOO.values() for name in known} <= set(ALGORITHMS)


@needs_sb3
@pytest.mark.parametrize("env", ["Pendulum-v1", "CartPole-v1", "Hopper-v5"])
def test_the_zoos_numbers_are_options_that_the_algorithms_take(env: str) -> None:
    for algorithm in ZOO[env.partition("-")[0]]:
        run = expert_run(env_config(env), algorithm=algorithm)
        model, _ = reinforce._made(replace(run, steps=100))
        assert type(model).__name__ == algorithm
