"""Gymnasium envs as batched envs, against stepping them directly."""

from dataclasses import dataclass

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import CapabilityError, ConfigError, SpecError
from steadyhand.envs import EnvConfig, make
from steadyhand.envs.adapter import GymnasiumEnv
from steadyhand.envs.car import CarConfig
from steadyhand.envs.gymnasium_config import GymnasiumConfig


class Toy(gymnasium.Env):
    """Dict in, Dict out: counts steps, ends after four."""

    metadata = {"render_modes": [], "render_fps": 25}  # noqa: RUF012

    def __init__(self, observation_space=None, action_space=None, info=None):
        self.info = info
        self.observation_space = observation_space or spaces.Dict(
            {
                "pixels": spaces.Box(0, 255, (4, 6, 3), np.uint8),
                "arm": spaces.Dict(
                    {"joints": spaces.Box(-1, 1, (2,), np.float64), "grip": spaces.Discrete(3, start=5)}
                ),
            }
        )
        self.action_space = action_space or spaces.Dict(
            {"move": spaces.Box(-1, 1, (2,), np.float32), "turn": spaces.Box(-2, 2, (1,), np.float64)}
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        self.options = options
        return self._see(np.zeros(2)), {}

    def step(self, action):
        self.time += 1
        self.last = action
        seen = self._see(action["move"]) if isinstance(action, dict) else self.observation_space.sample()
        return seen, 0.5, self.time == 4, False, self.info or {}

    def _see(self, move):
        if not isinstance(self.observation_space, spaces.Dict):
            return self.observation_space.sample()
        pixels = np.full((4, 6, 3), self.time, dtype=np.uint8)
        return {"pixels": pixels, "arm": {"joints": move.astype(float) / 2, "grip": 5 + self.time % 3}}


def toy(num_rows=2, **kwargs):
    config = GymnasiumConfig(env_id="toy", max_episode_steps=6)
    return GymnasiumEnv(config, num_rows=num_rows, factory=lambda: Toy(**kwargs))


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_it_equals_stepping_the_env_itself(env_id):
    env = make(env_id, num_rows=3)
    rows = np.arange(3)
    starts = env.starts("test", 3, seed=2)
    env.reset(starts, rows)
    raw = [gymnasium.make(env_id) for _ in rows]
    seen = np.stack([one.reset(seed=start.seed)[0] for one, start in zip(raw, starts, strict=True)])
    np.testing.assert_array_equal(env.observe(rows)["observation.state"], seen.astype(np.float32))
    random = np.random.default_rng(0)
    alive = rows
    for _ in range(60):
        if env.spec.action.kind == "discrete":
            action = random.integers(0, 2, (len(alive), 1))
            given = [int(a[0]) for a in action]
        else:
            action = random.uniform(-3, 3, (len(alive), 1)).astype(np.float32)
            given = list(np.clip(action, -2, 2))
        result = env.step(action, alive)
        told = [raw[row].step(a) for row, a in zip(alive, given, strict=True)]
        observed = env.observe(alive)["observation.state"]
        for place, (state, reward, terminated, truncated, _) in enumerate(told):
            np.testing.assert_array_equal(observed[place], state.astype(np.float32))
            assert result.reward[place] == np.float32(reward)
            assert (result.terminated[place], result.truncated[place]) == (terminated, truncated)
        alive = alive[~(result.terminated | result.truncated)]
        if not len(alive):
            break
    env.close()


def test_specs_of_known_envs():
    cart = make("CartPole-v1", num_rows=1)
    assert cart.spec.action.num_classes == 2
    assert cart.spec.control_dt == pytest.approx(0.02)
    assert cart.spec.max_episode_steps == 500
    pendulum = make("Pendulum-v1", num_rows=1, max_episode_steps=33, g=9.81)
    assert pendulum.spec.control_dt == pytest.approx(0.05)
    assert pendulum.spec.action.low == (-2.0,)
    assert pendulum.spec.max_episode_steps == 33
    cart.close()
    pendulum.close()


def test_dict_spaces_become_features_by_name():
    env = toy()
    assert {name: (spec.shape, spec.dtype) for name, spec in env.spec.observation.items()} == {
        "observation.images.pixels": ((4, 6, 3), "uint8"),
        "observation.arm.joints": ((2,), "float32"),
        "observation.arm.grip": ((1,), "int64"),
    }
    assert env.spec.action.names == ("move_0", "move_1", "turn_0")
    assert env.spec.control_dt == 0.04
    rows = np.arange(2)
    env.reset(env.starts("train", 2), rows)
    env.step(np.array([[0.5, -3.0, 1.5]], dtype=np.float32), rows[1:])
    seen = env.observe(rows)
    assert seen["observation.images.pixels"][:, 0, 0, 0].tolist() == [0, 1]
    assert seen["observation.arm.grip"].tolist() == [[5], [6]], "the env's own numbers"
    grip = env.spec.observation["observation.arm.grip"]
    assert (grip.num_classes, grip.start, grip.classes) == (3, 5, range(5, 8))
    np.testing.assert_allclose(seen["observation.arm.joints"][1], [0.25, -0.5])
    last = env._envs[1].last
    np.testing.assert_allclose(last["move"], [0.5, -1.0])
    assert last["turn"].dtype == np.float64
    for name, spec in env.spec.observation.items():
        spec.check(seen[name], name=name)


def test_a_row_that_has_ended_is_not_stepped():
    env = toy(1)
    rows = np.arange(1)
    env.reset(env.starts("train", 1), rows)
    action = np.zeros((1, 3), dtype=np.float32)
    results = [env.step(action, rows) for _ in range(4)]
    assert [bool(result.terminated[0]) for result in results] == [False, False, False, True]
    with pytest.raises(SpecError, match="ended"):
        env.step(action, rows)


def test_starts_are_disjoint_blocks_of_seeds():
    env = toy(1)
    seeds = {family: {s.seed for s in env.starts(family, 200)} for family in ("train", "validation", "test")}
    assert max(seeds["train"]) < min(seeds["validation"]) <= max(seeds["validation"]) < min(seeds["test"])
    assert max(seeds["test"]) < 2**31
    assert env.starts("train", 5, seed=1) == env.starts("train", 9, seed=1)[:5]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"observation_space": spaces.Tuple((spaces.Discrete(2),))},
        {"observation_space": spaces.Dict({"text": spaces.Text(5)})},
        {"action_space": spaces.MultiBinary(3)},
        {"action_space": spaces.Dict({"grip": spaces.Discrete(2)})},
        {"action_space": spaces.Box(0, 5, (2,), np.int64)},
    ],
)
def test_spaces_that_no_feature_can_hold_are_refused(kwargs):
    with pytest.raises(SpecError, match="space"):
        toy(1, **kwargs)


def test_what_an_adapter_lacks_is_said():
    env = make("Pendulum-v1", num_rows=1)
    rows = np.arange(1)
    env.reset(env.starts("train", 1), rows)
    for ask in (
        lambda: env.position(rows),
        lambda: env.state(rows),
        lambda: env.render(0),
        lambda: env.observe(rows, view_offset={"lateral": np.zeros(1, dtype=np.float32)}),
    ):
        with pytest.raises(CapabilityError, match="Pendulum"):
            ask()
    env.close()


def test_unknown_names_are_met_with_suggestions():
    with pytest.raises(ConfigError, match="CartPole-v1"):
        make("CartPol-v1", num_rows=1)
    with pytest.raises(ConfigError, match="'car'"):
        make("cra", num_rows=1)
    with pytest.raises(ConfigError, match="cannot make Pendulum-v1"):
        make("Pendulum-v1", num_rows=1, gravity=3.0)
    with pytest.raises(ConfigError, match="JSON"):
        GymnasiumConfig(env_id="X", kwargs={"reward": print})


OWN = """
import gymnasium
import numpy as np


class Own(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}


gymnasium.register("Own-v0", entry_point=Own, max_episode_steps=3)
"""


def test_an_env_in_a_file_is_named_by_its_id_and_says_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_env.py").write_text(OWN)
    env = make("own_env.py:Own-v0", num_rows=1, control_dt=0.1)
    assert (env.spec.env_id, env.spec.control_dt) == ("own_env:Own-v0", 0.1)
    with pytest.raises(SpecError, match=r"--set env\.control_dt"):
        make("own_env:Own-v0", num_rows=1)
    with pytest.raises(ConfigError, match=r'gymnasium\.register\("Own-v0"'):
        make("own_env:Own", num_rows=1)


@dataclass(frozen=True, kw_only=True)
class Holder:
    env: EnvConfig


def test_configs_are_a_closed_union_in_json():
    config = GymnasiumConfig(env_id="Pendulum-v1", kwargs={"g": 9.81, "render_mode": None})
    data = to_data(Holder(env=config))
    assert data["env"]["type"] == "GymnasiumConfig"
    assert from_data(data, Holder).env == config
    car = CarConfig(speed=2.0)
    assert from_data(to_data(Holder(env=car)), Holder).env == car
    with pytest.raises(ConfigError, match="CarConfig"):
        from_data({"env": {"type": "Boat"}}, Holder)
