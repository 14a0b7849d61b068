"""The report says by which key success was counted, and where a time limit of the env's own hides it."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from steadyhand.envs.adapter import GymnasiumEnv
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.recipes.compare import NamedController, compete, report_of
from steadyhand.rollout.random_actions import RandomActions


class Told(gymnasium.Env):
    """Ends by itself after some steps, with an info."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, limit, info):
        self._limit, self._info = limit, info

    def reset(self, *, seed=None, options=None):
        self._time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self._time += 1
        return np.zeros(1, np.float32), 0.0, False, self._time >= self._limit, dict(self._info)


def reported(rule, *, limit=5, **info):
    config = GymnasiumConfig(env_id="Told-v0", control_dt=0.1, max_episode_steps=5, success=rule)
    env = GymnasiumEnv(config, num_rows=2, factory=lambda: Told(limit, info))
    drivers = [NamedController(name="random", controller=RandomActions(env.spec.action))]
    outcomes = compete(env, drivers, env.starts("test", 2), seed=0, num_films=0)
    report = report_of(env, outcomes, title="t", setting=(), seed=0, wall_s=0.0)
    return {fact.name: fact.value for fact in report.setting}["Success"], " ".join(report.caveats)


def test_of_two_keys_the_one_that_counted_is_named():
    words, caveats = reported("auto", is_success=False, success=True)
    assert 'info["is_success"] is true' in words
    assert 'info["success"]' not in words
    assert "hold is_success and beside it success, which did not count" in caveats
    assert "--success ever:success" in caveats


@pytest.mark.parametrize("key", ["is_success", "success"])
def test_one_key_alone_needs_no_caveat(key):
    words, caveats = reported("auto", **{key: True})
    assert words.startswith(f'info["{key}"] is true')
    assert not caveats


def test_a_limit_of_the_env_s_own_hides_who_survived():
    assert "truncated before the limit of 5 steps" in reported("survived", limit=3)[1]
    assert not reported("survived", limit=5)[1]
    assert not reported("ever", limit=3, success=True)[1]
