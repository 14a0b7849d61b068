"""Our envs seen by Gymnasium."""

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import steadyhand.envs.gym  # noqa: F401  registers
from steadyhand.core.errors import SpecError
from steadyhand.envs.catalogue import BUILT_IN


@pytest.mark.parametrize("observation", [("retina",), ("state", "lidar")])
def test_gymnasium_accepts_the_car(observation):
    env = gymnasium.make("steadyhand/Car-v0", observation=observation, render_mode="rgb_array")
    with warnings.catch_warnings():
        # "observation.state" has no bounds, of which the checker warns.
        warnings.filterwarnings("ignore", message=".*(infinity|not within|skip_render_check).*")
        check_env(env.unwrapped)
    env.close()


def test_seeds_choose_the_start():
    env = gymnasium.make("steadyhand/Car-v0", observation=("state",)).unwrapped
    one, _ = env.reset(seed=3)
    two, _ = env.reset(seed=3)
    other, _ = env.reset(seed=4)
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    placed, _ = env.reset(seed=3, options={"lateral": 0.1, "heading": 0.0})
    assert placed[0] == pytest.approx(0.1, abs=1e-4)


def test_an_episode_ends_with_success_in_its_info():
    env = gymnasium.make("steadyhand/Car-v0", max_episode_steps=None, observation=("state",)).unwrapped
    env.reset(seed=0)
    for _ in range(300):
        _, _, terminated, truncated, info = env.step(np.zeros(1, dtype=np.float32))
        assert ("is_success" in info) == (terminated or truncated)
        if terminated:
            break
    assert terminated
    assert info["is_success"] is False


def test_the_vector_env_resets_on_the_next_step():
    envs = gymnasium.make_vec("steadyhand/Car-v0", num_envs=5, observation=("state",))
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    first, _ = envs.reset(seed=7)
    again, _ = envs.reset(seed=7)
    np.testing.assert_array_equal(first, again)
    assert envs.observation_space.contains(first)
    over = np.zeros(5, dtype=bool)
    resets = 0
    for _ in range(120):
        seen, reward, terminated, truncated, info = envs.step(np.zeros((5, 1), dtype=np.float32))
        assert not (terminated | truncated)[over].any()
        assert (reward[over] == 0).all()
        assert (reward[~over] != 0).all()
        assert (np.abs(seen[over, 0]) < 0.1).all()
        resets += over.sum()
        if terminated.any():
            np.testing.assert_array_equal(info["_is_success"], terminated)
            assert not info["is_success"].any()
        over = terminated | truncated
    assert resets >= 5
    envs.close()


def test_vector_and_single_envs_agree():
    envs = gymnasium.make_vec("steadyhand/Car-v0", num_envs=2, observation=("state",), family="test")
    seen, _ = envs.reset(seed=[11, 12], options={"lateral": 0.05})
    envs.reset(seed=[11, 12])
    seen, *_ = envs.step(np.full((2, 1), 0.2, dtype=np.float32))
    assert seen.shape == (2, *envs.single_observation_space.shape)
    with pytest.raises(SpecError, match="one seed"):
        envs.reset(seed=[1])


def test_envs_package_does_not_load_gymnasium():
    code = "import sys, steadyhand.envs; print('gymnasium' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("name", ["Forks", "Avoiding", "Pendulum", "Tabular"])
def test_gymnasium_accepts_the_small_envs(name):
    env = gymnasium.make(f"steadyhand/{name}-v0", render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(infinity|not within|skip_render_check|normalized).*")
        check_env(env.unwrapped)
    assert env.metadata["render_fps"] == round(1 / env.unwrapped.batch.spec.control_dt)
    env.close()
    envs = gymnasium.make_vec(f"steadyhand/{name}-v0", num_envs=3)
    seen, _ = envs.reset(seed=1)
    assert envs.observation_space.contains(seen)
    envs.close()


def test_every_env_that_comes_along_is_registered():
    ids = {name for name in gymnasium.registry if name.startswith("steadyhand/")}
    assert len(ids) == len(BUILT_IN)
    assert {"steadyhand/CartPole-v0", "steadyhand/Tabletop-v0", "steadyhand/PlanarQuadrotor-v0"} <= ids
    env = gymnasium.make("steadyhand/Tabletop-v0", task="instruct", observation=("goal",))
    seen, _ = env.reset(seed=3)
    assert seen.shape == (5,)
