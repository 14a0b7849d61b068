"""`expert(...)`: whoever knows what to do."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

import steadyhand as sh
from point_env import PointEnv
from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.core.seeding import RowStreams
from steadyhand.envs.base import BatchEnv


def actions(expert: sh.Controller, env: BatchEnv) -> np.ndarray:
    """What an expert means at the first states of four test starts."""
    rows = np.arange(env.num_rows)
    env.reset(env.starts("test", env.num_rows), rows)
    streams = RowStreams.from_seed(0, env.num_rows)
    expert.begin(rows)
    return expert.act(env.observe(rows), env.privileged(rows), rows, streams).label


def back(state: np.ndarray) -> np.ndarray:
    return -0.5 * state


def back_of_one(state: np.ndarray) -> float:
    if state.shape != (1,):
        raise ValueError("one state at a time")
    return float(-0.5 * state[0])


def back_of_a_batch(states: np.ndarray) -> np.ndarray:
    batch, _ = states.shape
    return -0.5 * states[:batch, 0]


@pytest.mark.parametrize("function", [back, back_of_one, back_of_a_batch, lambda x: -0.5 * x[..., 0]])
def test_a_function_of_one_observation_or_of_a_batch(function: Callable[..., object]) -> None:
    env = PointEnv(4)
    expected = actions(sh.expert(back, env, batched=True), env)
    np.testing.assert_allclose(actions(sh.expert(function, env), env), expected)


def test_a_function_of_the_only_feature_of_another_name() -> None:
    env = PointEnv(2)
    lateral = sh.expert(back, env, feature="lateral")
    np.testing.assert_array_equal(actions(lateral, env), actions(sh.expert(back, env), env))


def test_a_function_of_several_features_is_given_them_by_name() -> None:
    env = sh.make("car", num_rows=2, observation=("state", "retina"), max_episode_steps=5)

    def steer(seen: dict[str, np.ndarray]) -> np.ndarray:
        assert seen["observation.images.front"].shape[-3:] == (30, 32, 1)
        return -seen["privileged.lateral"][..., :1]

    rows = np.arange(2)
    meant = actions(sh.expert(steer, env), env)
    np.testing.assert_array_equal(meant, -env.privileged(rows)["privileged.lateral"])


def test_what_is_neither_of_one_nor_of_a_batch_is_refused_in_words() -> None:
    with pytest.raises(SpecError, match="neither one observation nor a batch") as caught:
        sh.expert(lambda state: np.zeros(7), PointEnv(2))
    assert "shape (7,)" in str(caught.value)
    assert "an array [1]" in str(caught.value)


def test_what_answers_otherwise_in_a_batch_is_refused_in_words() -> None:
    with pytest.raises(SpecError, match="batched=True or batched=False"):
        sh.expert(lambda states: states - states.mean(axis=0), PointEnv(2))


def test_a_torch_module_of_a_batch() -> None:
    env = PointEnv(3)
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(module.weight, -0.5)
    np.testing.assert_allclose(actions(sh.expert(module, env), env), actions(sh.expert(back, env), env))


def test_a_model_with_predict_is_asked_for_its_mode() -> None:
    class Model:
        def predict(self, observation: np.ndarray, *, deterministic: bool) -> tuple[np.ndarray, None]:
            assert deterministic
            return -0.5 * observation, None

    env = PointEnv(3)
    np.testing.assert_array_equal(actions(sh.expert(Model(), env), env), actions(sh.expert(back, env), env))


def test_a_policy_labels_with_what_it_does_itself() -> None:
    env = PointEnv(4)
    demos = sh.record(env, sh.expert(back, env), labels=40, episodes=4, quiet=True)
    policy = sh.train(demos, steps=20, horizon=4, quiet=True)
    rows = np.arange(4)
    env.reset(env.starts("test", 4), rows)
    expected = policy(env.observe(rows))
    np.testing.assert_allclose(actions(sh.expert(policy, env), env), expected, rtol=1e-5, atol=1e-6)


def test_a_controller_is_an_expert_as_it_is() -> None:
    env = PointEnv(1)
    expert = sh.expert(back, env)
    assert sh.expert(expert, env) is expert


@pytest.mark.parametrize("nobody", ["pure-pursuit", "nobody", 3])
def test_what_is_no_expert_of_the_env_is_refused(nobody: object) -> None:
    with pytest.raises(CapabilityError):
        sh.expert(nobody, PointEnv(1))
