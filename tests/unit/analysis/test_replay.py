"""Data of an env replayed in it: as recorded, paired one step apart, and of another world."""

import json
from dataclasses import replace as changed

import gymnasium
import numpy as np
import pytest

from steadyhand.analysis.replay import Replay, replay
from steadyhand.core.codec import to_data
from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.specs import STATE
from steadyhand.data.dataset import open_dataset
from steadyhand.data.episode import EpisodeOrigin, demonstration
from steadyhand.data.formats.arrays import ArrayDataset, episodes_from_arrays
from steadyhand.data.store import EpisodeStore
from steadyhand.envs.adapter import GymnasiumEnv
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.catalogue import make
from steadyhand.envs.forks.config import ForksConfig
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.envs.pendulum.config import PendulumConfig

EPISODES, STEPS = 6, 40


def driven(env: BatchEnv, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return what six rows saw, (E, T, D), and random actions that were carried out, (E, T, A)."""
    random = np.random.default_rng(seed)
    rows = np.arange(env.num_rows)
    env.reset(env.starts("train", env.num_rows, seed=seed), rows)
    seen, done = [], []
    for _ in range(STEPS):
        seen.append(env.observe(rows)[STATE].copy())
        spec = env.spec.action
        if spec.kind == "discrete":
            action = random.integers(spec.num_classes or 2, size=(len(rows), 1))
        else:
            low, high = np.array(spec.low or (-1.0,)), np.array(spec.high or (1.0,))
            action = random.uniform(low, high, (len(rows), spec.size)).astype(np.float32)
        done.append(action)
        result = env.step(action, rows)
        if (result.terminated | result.truncated).any():
            break
    return np.stack(seen, axis=1), np.stack(done, axis=1)


def arrays(seen: np.ndarray, action: np.ndarray) -> ArrayDataset:
    count, length = action.shape[:2]
    return episodes_from_arrays(
        {STATE: seen.reshape(-1, seen.shape[-1])},
        action.reshape(-1, action.shape[-1]),
        np.arange(1, count + 1) * length,
        control_dt=0.02,
    )


WORLDS = {
    "pendulum": lambda: PendulumConfig().build(EPISODES),
    "forks": lambda: ForksConfig().build(EPISODES),
    "linear": lambda: make("linear", num_rows=EPISODES),
    "CartPole": lambda: make("CartPole-v1", num_rows=EPISODES),
    "Pendulum": lambda: make("Pendulum-v1", num_rows=EPISODES),
    "Acrobot": lambda: make("Acrobot-v1", num_rows=EPISODES),
    "Hopper": lambda: make("Hopper-v5", num_rows=EPISODES, terminate_when_unhealthy=False),
    "HalfCheetah": lambda: make("HalfCheetah-v5", num_rows=EPISODES),
}


@pytest.mark.parametrize("world", WORLDS)
def test_pairing(world: str) -> None:
    env = WORLDS[world]()
    seen, action = driven(env)
    if action.shape[1] < 6:
        pytest.fail(f"{world} ended after {action.shape[1]} steps")
    right = replay(arrays(seen, action), env)
    assert (right.verdict, right.pairing, right.method) == ("follows", 0, "stored states")
    assert right.errors[0] < 1e-4 < right.errors[1]
    # Observation t + 1 stored beside action t: what follows it came of the action one step later.
    late = replay(arrays(seen[:, 1:], action[:, :-1]), env)
    assert (late.verdict, late.pairing) == ("shifted", 1)
    # Observation t stored beside action t + 1: what follows it came of the action one step before.
    early = replay(arrays(seen[:, :-1], action[:, 1:]), env)
    assert (early.verdict, early.pairing) == ("shifted", -1)
    (problem,) = early.problems()
    assert problem.severity == "error"
    assert "action and observation are paired one step apart" in problem.what
    assert "one step before" in problem.what


@pytest.mark.parametrize("change", [{"length": 0.9}, {"gravity": 9.0}, {"control_dt": 0.04}])
def test_another_world(change: dict[str, float]) -> None:
    data = arrays(*driven(PendulumConfig(**change).build(EPISODES)))
    found = replay(data, PendulumConfig().build(EPISODES))
    assert found.verdict == "other"
    (problem,) = found.problems()
    assert problem.severity == "warning"
    assert "these data follow other dynamics" in problem.what
    assert replay(data, PendulumConfig(**change).build(EPISODES)).verdict == "follows"


def test_another_mass_in_mujoco() -> None:
    env = make("Hopper-v5", num_rows=1, terminate_when_unhealthy=False)

    def heavy() -> "gymnasium.Env":
        made = gymnasium.make("Hopper-v5", terminate_when_unhealthy=False)
        made.unwrapped.model.body_mass[1] *= 1.05
        return made

    config = GymnasiumConfig(env_id="Hopper-v5")
    seen, action = driven(GymnasiumEnv(config, num_rows=EPISODES, factory=heavy))
    assert replay(arrays(seen, action), env).verdict == "other"


def test_single_episodes_of_another_world_are_named() -> None:
    seen, action = driven(PendulumConfig().build(EPISODES))
    other, _ = driven(PendulumConfig(length=0.8).build(EPISODES))
    seen[4] = other[4]
    found = replay(arrays(seen, action), PendulumConfig().build(EPISODES))
    assert (found.verdict, found.off) == ("follows", (4,))
    assert [problem.where for problem in found.problems()][1] == "episodes 4"


def recorded(tmp_path, config: CarConfig, *, shift: int = 0):
    env = config.build(3)
    starts = env.starts("train", 3, seed=0)
    rows = np.arange(3)
    random = np.random.default_rng(0)
    env.reset(starts, rows)
    seen, done = [env.observe(rows)], []
    for _ in range(30):
        action = random.uniform(-0.2, 0.2, (3, env.spec.action.size)).astype(np.float32)
        done.append(action)
        result = env.step(action, rows)
        seen.append(env.observe(rows))
        if result.terminated.any():
            break
    with EpisodeStore.create(
        tmp_path / "d",
        observation=env.spec.observation,
        action=env.spec.action,
        control_dt=env.spec.control_dt,
        env_id="car",
    ) as store:
        for row in rows:
            columns = {
                name: np.stack([one[name][row] for one in seen[shift : shift + len(done)]])
                for name in seen[0]
            }
            origin = EpisodeOrigin(start=json.dumps(to_data(starts[row])))
            action = np.stack([one[row] for one in done])
            store.append(demonstration(columns, action, control_dt=env.spec.control_dt, provenance=origin))
    return open_dataset(tmp_path / "d")


CAR = CarConfig(observation=("state",), num_tracks=2, num_held_out_tracks=1)


def test_whole_episodes_from_their_seeds(tmp_path) -> None:
    found = replay(recorded(tmp_path, CAR), CAR.build(1))
    assert (found.method, found.verdict) == ("seeds", "follows")


def test_a_shift_is_seen_from_seeds_too(tmp_path) -> None:
    found = replay(recorded(tmp_path, CAR, shift=1), CAR.build(1))
    assert (found.method, found.verdict, found.pairing) == ("seeds", "shifted", 1)


def test_another_car_is_seen_from_seeds(tmp_path) -> None:
    data = recorded(tmp_path, changed(CAR, control_dt=CAR.control_dt / 2))
    assert replay(data, CAR.build(1)).verdict == "other"


def test_what_does_not_fit_together_is_refused() -> None:
    seen, action = driven(PendulumConfig().build(EPISODES))
    with pytest.raises(ConfigError, match="no vector feature in common"):
        replay(arrays(seen[..., :2], action), PendulumConfig().build(1))
    with pytest.raises(ConfigError, match="another action"):
        replay(arrays(seen, np.repeat(action, 2, axis=2)), PendulumConfig().build(1))
    with pytest.raises(ConfigError, match="too few steps"):
        replay(arrays(seen[:, :3], action[:, :3]), PendulumConfig().build(1))


def test_numbers_are_choices_where_the_env_says_so_and_only_its_own() -> None:
    env = make("CartPole-v1", num_rows=EPISODES)
    seen, action = driven(env)
    for wrong in (action + 1, action - 0.5):
        with pytest.raises(ConfigError, match=r"(?s)no choice in CartPole-v1.*from 0 to 1"):
            replay(arrays(seen, wrong), env)


def test_an_env_that_takes_no_state_needs_seeds() -> None:
    env = CAR.build(1)
    width = env.spec.observation[STATE].size
    random = np.random.default_rng(0)
    seen = random.normal(size=(2, 20, width)).astype(np.float32)
    action = random.normal(size=(2, 20, env.spec.action.size)).astype(np.float32)
    with pytest.raises(CapabilityError, match="keeps starts"):
        replay(arrays(seen, action), env)


def test_the_verdict_is_that_of_the_errors() -> None:
    def verdict(before: float, now: float, after: float) -> str:
        errors = {-1: before, 0: now, 1: after}
        found = Replay(
            env_id="x", control_dt=0.1, method="seeds", num_steps=9, errors=errors, worst="y", off=()
        )
        return found.verdict

    assert verdict(1.0, 1e-6, 1.0) == "follows"
    assert verdict(1e-6, 1.0, 1.0) == "shifted"
    assert verdict(0.05, 1.0, 1.0) == "shifted"
    assert verdict(0.5, 1.0, 0.5) == "other"


def test_actions_outside_the_bounds_of_the_env_are_counted() -> None:
    env = PendulumConfig().build(EPISODES)
    seen, done = driven(env)
    bound = env.spec.action.high[0]
    done[:, ::2] = 2 * bound
    ends = STEPS * np.arange(1, EPISODES + 1)
    data = episodes_from_arrays(
        {STATE: seen.reshape(-1, seen.shape[-1])}, done.reshape(-1, 1), ends, control_dt=0.02
    )
    found = replay(data, env)
    assert found.outside == pytest.approx(0.5, abs=0.05)
    assert "action-outside" in {problem.code for problem in found.problems()}


def test_pictures_alone_are_said_not_to_be_compared() -> None:
    pictures = np.zeros((40, 8, 8, 3), np.uint8)
    actions = np.zeros((40, 1), np.float32)
    data = episodes_from_arrays(
        {"observation.images.front": pictures}, actions, np.array([40]), control_dt=0.02
    )
    with pytest.raises(CapabilityError, match="Pictures are not compared"):
        replay(data, PendulumConfig().build(1))


def test_what_is_not_compared_is_named() -> None:
    seen, action = driven(PendulumConfig().build(EPISODES))
    data = arrays(seen, action)
    assert replay(data, PendulumConfig().build(EPISODES)).unseen == ()
    flat = {
        name: np.concatenate([episode.observation[name] for episode in data.all_episodes])
        for name in (STATE,)
    }
    rows = len(flat[STATE])
    more = {
        "observation.images.top": np.zeros((rows, 24, 24, 3), np.uint8),
        "observation.touch": np.ones((rows, 2)),
    }
    commands = np.concatenate([episode.action for episode in data.all_episodes])
    both = episodes_from_arrays(flat | more, commands, np.cumsum(data.lengths), control_dt=data.control_dt)
    found = replay(both, PendulumConfig().build(EPISODES))
    assert found.verdict == "follows"
    assert found.unseen == ("observation.images.top", "observation.touch")
    told = found.problems()[-1]
    assert told.what.startswith("not compared by replay")
    assert "observation.images.top" in told.where
