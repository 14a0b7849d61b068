"""Success of Gymnasium envs: by the rule of the id or of the user, never guessed from an ending."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from steadyhand.core.errors import ConfigError, SpecError
from steadyhand.envs import make
from steadyhand.envs.adapter import GymnasiumEnv
from steadyhand.envs.gymnasium_config import GymnasiumConfig

LIMIT = 6


class Habit(gymnasium.Env):
    """Plays back, step by step, (reward, terminated, info); the episode's seed chooses the script."""

    metadata = {"render_modes": [], "render_fps": 10}  # noqa: RUF012
    observation_space = spaces.Box(-10, 10, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, scripts):
        self.scripts = scripts

    def reset(self, *, seed=None, options=None):
        self.script = iter(self.scripts[int((options or {}).get("script", 0))])
        return np.zeros(2, np.float32), {}

    def step(self, action):
        reward, terminated, info = next(self.script, (0.0, False, {}))
        return np.zeros(2, np.float32), reward, terminated, False, info


def last_of(success, *scripts):
    """Return (success, told) at the end of an episode of each script, driven at the same time."""
    config = GymnasiumConfig(env_id="habit", max_episode_steps=LIMIT, success=success)
    env = GymnasiumEnv(config, num_rows=len(scripts), factory=lambda: Habit(scripts))
    starts = [
        start.__class__(family=start.family, seed=start.seed, options={"script": float(number)})
        for number, start in enumerate(env.starts("test", len(scripts)))
    ]
    rows = np.arange(len(scripts))
    outcomes = []
    for _ in range(2):  # a second episode must not remember the first
        env.reset(starts, rows)
        found, alive = {}, rows
        while len(alive):
            result = env.step(np.zeros((len(alive), 1), np.float32), alive)
            ended = result.terminated | result.truncated
            assert not result.success[~ended].any()
            found |= {int(alive[place]): result.outcome(int(place)) for place in np.flatnonzero(ended)}
            alive = alive[~ended]
        outcomes.append([found[row] for row in rows.tolist()])
    assert outcomes[0] == outcomes[1]
    return outcomes[0]


def told(*values, key="success", end=False):
    """A script whose info says each value in turn; None says nothing."""
    infos = [{} if value is None else {key: value} for value in values]
    return [(0.0, end and step == len(infos) - 1, info) for step, info in enumerate(infos)]


FLICKER = told(0.0, 0.0, 1.0, 0.0, 0.0, 0.0)  # Meta-World: told step by step, does not stay on
HELD = told(*[False] * 5, np.True_)
NEVER = told(*[0] * 6)
SILENT = told(*[None] * 6)


def test_success_told_at_some_step_is_kept_until_the_end():
    assert last_of("ever", FLICKER, HELD, NEVER) == [True, True, False]
    assert last_of("last", FLICKER, HELD, NEVER) == [False, True, False]
    assert last_of("auto", FLICKER, HELD, NEVER) == [True, True, False]


def test_an_env_that_says_nothing_is_not_guessed_from_its_ending():
    lander, crash = [[(value, step == 3, {}) for step in range(4)] for value in (25.0, -25.0)]
    assert last_of("auto", SILENT, lander, crash) == [None, None, None]
    assert last_of("none", HELD, lander) == [None, None]
    assert last_of("ever", SILENT, lander) == [False, False]
    assert last_of("terminated", SILENT, lander, crash) == [False, True, True]
    assert last_of("survived", SILENT, lander, crash) == [True, False, False]
    assert last_of("return>=100", SILENT, lander, crash) == [False, True, False]
    assert last_of("return>=100.5", lander) == [False]
    assert last_of("mean_reward>=-1", SILENT, lander, crash) == [True, True, False]


def test_an_episode_is_open_where_the_env_tells_of_others_only():
    only_on_success = told(None, None, True, end=True)
    assert last_of("auto", only_on_success, SILENT) == [True, None]
    assert last_of("ever", only_on_success, SILENT) == [True, False]


def test_keys_and_values():
    both = [(0.0, step == 1, {"is_success": True, "success": False}) for step in range(2)]
    assert last_of("auto", both) == [True]
    assert last_of("ever:won", told(0, 1, 0, key="won"), told(1, 1, 1)) == [True, False]
    assert last_of("auto", told(np.array([1.0]), 0)) == [True]
    assert last_of("auto", told(None)) == [None]
    for value in (float("nan"), "yes", np.array([1, 0])):
        with pytest.raises(SpecError, match="habit does not say whether it succeeded"):
            last_of("auto", told(value))


@pytest.mark.parametrize(
    ("env_id", "kind"),
    [
        ("CartPole-v0", "survived"),
        ("CartPole-v1", "survived"),
        ("MountainCar-v0", "terminated"),
        ("MountainCarContinuous-v0", "terminated"),
        ("Acrobot-v1", "terminated"),
        ("Pendulum-v1", "unknown"),
        ("LunarLander-v3", "return"),
        ("LunarLanderContinuous-v3", "return"),
        ("BipedalWalker-v3", "return"),
        ("CarRacing-v3", "ever"),
        ("FrozenLake-v1", "return"),
        ("FrozenLake8x8-v1", "return"),
        ("CliffWalking-v1", "terminated"),
        ("Taxi-v3", "terminated"),
        ("HalfCheetah-v5", "unknown"),
        ("Hopper-v4", "unknown"),
        ("Walker2d-v5", "unknown"),
        ("Humanoid-v5", "unknown"),
        ("InvertedPendulum-v5", "survived"),
        ("gymnasium_robotics:FetchPush-v4", "last"),
        ("HandManipulateBlock-v1", "last"),
        ("AdroitHandDoor-v1", "ever"),
        ("PointMaze_UMaze-v3", "ever"),
        ("FrankaKitchen-v1", "terminated"),
        ("Meta-World/MT1", "ever"),
        ("phys2d/CartPole-v1", "survived"),
        ("my_package:Mine-v0", "ever"),
    ],
)
def test_known_ids_have_their_rule(env_id, kind):
    assert GymnasiumConfig(env_id=env_id).success_rule().kind == kind


def test_the_rule_of_a_known_id_gives_way_to_a_stated_one():
    assert GymnasiumConfig(env_id="LunarLander-v3").success_rule().threshold == 200.0
    assert GymnasiumConfig(env_id="LunarLander-v3", success="return>=100").success_rule().threshold == 100.0
    kwargs = {"terminate_on_tasks_completed": False}
    assert GymnasiumConfig(env_id="FrankaKitchen-v1", kwargs=kwargs).success_rule().kind == "unknown"
    with pytest.raises(ConfigError, match="no such success rule"):
        GymnasiumConfig(env_id="CartPole-v1", success="terminated_is_success")


def drive(env_id, action, **options):
    """Return the outcome of one episode in which `action` is repeated."""
    env = make(env_id, num_rows=1, **options)
    row = np.zeros(1, dtype=np.int64)
    env.reset(env.starts("test", 1), row)
    while True:
        result = env.step(action(env.observe(row)), row)
        if result.terminated[0] or result.truncated[0]:
            env.close()
            return result.outcome(0)


def push(observation):
    """Push the mountain car the way it is going, which takes it to the top."""
    return np.sign(observation["observation.state"][:, 1:]).astype(np.float32)


def lean(observation):
    """Push the cart under its pole, which keeps it up for a while."""
    state = observation["observation.state"]
    return (state[:, 2:3] + state[:, 3:] > 0).astype(np.int64)


def test_known_envs_themselves():
    assert drive("MountainCarContinuous-v0", push) is True
    assert drive("MountainCarContinuous-v0", lambda seen: np.zeros((1, 1), np.float32)) is False
    assert drive("CartPole-v1", lambda seen: np.zeros((1, 1), np.int64)) is False
    assert drive("CartPole-v1", lean, max_episode_steps=100) is True
    assert drive("Pendulum-v1", lambda seen: np.zeros((1, 1), np.float32)) is None
