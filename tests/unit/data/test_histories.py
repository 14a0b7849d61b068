"""Numbers on two axes of 16 or more are read as numbers where somebody says so, in every reader."""

import logging
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from lerobot_folders import FEATURES, rows, write_v21
from steadyhand.cli.data import main as data_command
from steadyhand.core.errors import ConfigError, DataError, SpecError
from steadyhand.data.dataset import open_any
from steadyhand.envs.adapter import GymnasiumEnv
from steadyhand.envs.gymnasium_config import GymnasiumConfig

HISTORY = np.random.default_rng(0).normal(size=(24, 20, 30)).astype(np.float32)
CALLED = "observation.touch=observation.history.touch"


def npz(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    action = np.zeros((24, 2), np.float32)
    np.savez(folder / "d.npz", action=action, episode_ends=[12, 24], **{"observation.touch": HISTORY})
    return folder / "d.npz"


def lerobot(folder: Path) -> Path:
    features = FEATURES | {"observation.touch": {"dtype": "float32", "shape": [20, 30], "names": None}}
    parts = [rows(k, **{"observation.touch": HISTORY[12 * k : 12 * k + 12]}) for k in range(2)]
    return write_v21(folder / "set", parts, features)


@pytest.mark.parametrize("make", [npz, lerobot])
def test_data_say_it_with_rename_in_python_and_on_the_command_line(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = make(tmp_path)
    with pytest.raises(DataError, match=r"--rename observation\.touch=observation\.history"):
        open_any(path, control_dt=0.1).frames()
    old, _, new = CALLED.partition("=")
    dataset = open_any(path, control_dt=0.1, rename={old: new})
    assert dataset.observation[new].kind == "continuous"
    np.testing.assert_array_equal(dataset.frames().observation[new], HISTORY)
    assert data_command(["info", str(path), "--rename", CALLED]) == 0


class Touch(gymnasium.Env):
    metadata = {"render_modes": [], "render_fps": 10}  # noqa: RUF012  as Gymnasium declares it
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, key: str = "") -> None:
        box = spaces.Box(-5, 5, (20, 30), np.float32)
        self.key, self.observation_space = key, spaces.Dict({key: box}) if key else box

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {self.key: HISTORY[0]} if self.key else HISTORY[0], {}

    def step(self, action):
        return self.reset()[0], 0.0, False, False, {}


def touch(key: str = "", **rename: str) -> GymnasiumEnv:
    named = {f"observation.{old}": f"observation.{new}" for old, new in rename.items()}
    config = GymnasiumConfig(env_id="touch", max_episode_steps=5, rename=named)
    return GymnasiumEnv(config, num_rows=1, factory=lambda: Touch(key))


@pytest.mark.parametrize(("key", "own"), [("", "state"), ("skin", "skin")])
def test_an_env_says_it_in_its_config(key: str, own: str) -> None:
    with pytest.raises(SpecError, match=rf"rename={{'observation\.{own}': .*--set 'env\.rename=") as refusal:
        touch(key)
    assert "float32 of shape (20, 30)" in str(refusal.value)
    env = touch(key, **{own: "history.touch"})
    assert env.spec.observation["observation.history.touch"].shape == (20, 30)
    env.reset(env.starts("test", 1), np.array([0]))
    seen = env.observe(np.array([0]))["observation.history.touch"]
    np.testing.assert_array_equal(seen, np.clip(HISTORY[:1], -5, 5))


def test_names_that_are_not_there_or_cannot_be_are_refused() -> None:
    with pytest.raises(SpecError, match="no such observation to rename"):
        touch("skin", skin="history", state="map")
    with pytest.raises(ConfigError, match="cannot have this name"):
        GymnasiumConfig(env_id="touch", rename={"observation.state": "../x"})


def test_a_picture_may_be_renamed_too(caplog: pytest.LogCaptureFixture) -> None:
    class Eye(Touch):
        observation_space = spaces.Dict({"eye": spaces.Box(0, 1, (20, 30), np.float32)})

        def __init__(self) -> None:
            self.key = "eye"

    config = GymnasiumConfig(
        env_id="eye", max_episode_steps=5, rename={"observation.eye": "observation.images.top"}
    )
    with caplog.at_level(logging.WARNING):
        env = GymnasiumEnv(config, num_rows=1, factory=Eye)
    assert env.spec.observation["observation.images.top"].kind == "image"
    assert not caplog.records
