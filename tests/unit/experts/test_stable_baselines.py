"""Models of Stable-Baselines3: what is taken out of them answers as they do."""

import json
import zipfile
from importlib.util import find_spec
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from steadyhand.core.errors import ArtifactError, CapabilityError, SpecError
from steadyhand.envs import make
from steadyhand.experts import stable_baselines
from steadyhand.experts.actor import read_actor, write_actor
from steadyhand.experts.config import TrainedExpert
from steadyhand.experts.stable_baselines import convert, exported
from steadyhand.recipes.experts import expert_from_text

needs_sb3 = pytest.mark.skipif(find_spec("stable_baselines3") is None, reason="stable-baselines3 is absent")


def saved(path: Path, module: str, **data: object) -> Path:
    """Write what SB3 writes, as far as it is read before SB3 reads it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps({"policy_class": {"__module__": module}, **data}))
    return path


class Both(gymnasium.Env):
    """Shows a vector and a choice, and takes two numbers of different bounds."""

    observation_space = gymnasium.spaces.Dict(
        {
            "velocity": gymnasium.spaces.Box(-9, 9, (2, 2), np.float32),
            "gear": gymnasium.spaces.Discrete(3),
        }
    )
    action_space = gymnasium.spaces.Box(np.array([-2.0, 0.0]), np.array([2.0, 0.5]), dtype=np.float64)


def model_of(name: str, env: str | gymnasium.Env, **options: object) -> object:
    package = __import__("stable_baselines3")
    is_dict = isinstance(env, Both)
    options.setdefault("policy_kwargs", {"net_arch": [8, 8]})
    return getattr(package, name)(
        "MultiInputPolicy" if is_dict else "MlpPolicy", env, device="cpu", **options
    )


MODELS = {
    "PPO": ("Pendulum-v1", {}),
    "PPO of choices": ("CartPole-v1", {"n_steps": 8, "batch_size": 8}),
    "A2C with an exploration of its own": ("Pendulum-v1", {"use_sde": True}),
    "A2C": ("CartPole-v1", {}),
    "SAC": ("Pendulum-v1", {}),
    "SAC of entries": (Both, {}),
    "TD3": ("Pendulum-v1", {}),
    "DDPG": ("Pendulum-v1", {"policy_kwargs": {"net_arch": [4]}}),
    "DQN": ("CartPole-v1", {}),
}


@needs_sb3
@pytest.mark.parametrize("title", MODELS)
def test_what_is_taken_out_answers_as_the_model_does(title: str, tmp_path: Path) -> None:
    env, options = MODELS[title]
    model = model_of(title.split(maxsplit=1)[0], env if isinstance(env, str) else env(), **options)
    write_actor(tmp_path / "actor.safetensors", *exported(model))
    actor = read_actor(tmp_path / "actor.safetensors")
    random = np.random.default_rng(0)
    if isinstance(env, str):
        seen = random.normal(size=(100, *model.observation_space.shape)).astype(np.float32) * 3
        asked = seen
    else:
        velocity, gear = random.normal(size=(100, 2, 2)).astype(np.float32), random.integers(0, 3, 100)
        seen = {"velocity": velocity, "gear": gear}
        asked = {"observation.velocity": velocity.reshape(100, 4), "observation.gear": gear[:, None]}
    wanted, _ = model.predict(seen, deterministic=True)
    np.testing.assert_allclose(actor.answer(asked).reshape(wanted.shape), wanted, rtol=0, atol=2e-6)


@needs_sb3
def test_a_file_is_an_expert_by_its_path_and_its_normalisation_goes_along(tmp_path: Path) -> None:
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    wrapped = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")]), clip_obs=1.5)
    model = model_of("SAC", wrapped)
    wrapped.obs_rms.mean, wrapped.obs_rms.var = np.array([0.3, -0.2, 1.0]), np.array([0.5, 2.0, 9.0])
    model.save(tmp_path / "model.zip")
    wrapped.save(str(tmp_path / "normalised.pkl"))
    convert(tmp_path / "model.zip", tmp_path / "a.safetensors", normalization=tmp_path / "normalised.pkl")
    env = make("Pendulum-v1", num_rows=2)
    expert = expert_from_text(str(tmp_path / "a.safetensors"), None).build(env)
    seen = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32) * 4
    wanted, _ = model.predict(wrapped.normalize_obs(seen), deterministic=True)
    np.testing.assert_allclose(expert.action({"observation.state": seen}, {}), wanted, rtol=0, atol=2e-6)
    with pytest.raises(SpecError, match="3 numbers"):
        expert_from_text(str(tmp_path / "a.safetensors"), None).build(
            make("MountainCarContinuous-v0", num_rows=1)
        )


@needs_sb3
def test_layers_of_other_kinds_are_refused() -> None:
    model = model_of("DQN", "CartPole-v1")
    model.policy.q_net.q_net.insert(1, __import__("torch").nn.LayerNorm(8))
    with pytest.raises(ArtifactError, match=r"LayerNorm[\s\S]*ReLU"):
        exported(model)


def test_without_the_package_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stable_baselines, "find_spec", lambda name: None)
    path = saved(tmp_path / "model.zip", "stable_baselines3.sac.policies")
    with pytest.raises(CapabilityError, match=r"steadyhand\[rl\]"):
        convert(path, tmp_path / "actor.safetensors")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("data", "{}")
    for path in (tmp_path / "text.zip", tmp_path / "other.zip", tmp_path / "absent.zip"):
        with pytest.raises(ArtifactError):
            convert(path, tmp_path / "actor.safetensors")
    with pytest.raises(ArtifactError, match="not known here"):
        convert(saved(tmp_path / "new.zip", "sb3_contrib.tqc.policies"), tmp_path / "actor.safetensors")
    assert not (tmp_path / "actor.safetensors").exists()


def test_an_env_without_a_trained_expert_is_told() -> None:
    with pytest.raises(CapabilityError, match=r"Acrobot-v1[\s\S]*expert train"):
        TrainedExpert().build(make("Acrobot-v1", num_rows=1))
