"""Nobody changes what is stored, and who breaks is named: env, expert and step."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from steadyhand.core.errors import ConfigError, EnvError, SpecError, Stopped
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.envs.adapter import GymnasiumEnv
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.experts.network import CallableExpert
from steadyhand.rollout.recorder import EpisodeRecorder
from steadyhand.rollout.session import run

ACTION = FeatureSpec(shape=(1,), low=(-1.0,), high=(1.0,))


class Counter(gymnasium.Env):
    """Shows the number of the step; `says` is what step adds to its five parts."""

    observation_space = spaces.Box(-10.0, 10.0, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, *, terminated=False, truncated=False, info=None, raises=None):
        self._flags, self._info, self._raises = (terminated, truncated), info or {}, raises

    def reset(self, *, seed=None, options=None):
        self._time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self._time += 1
        if self._raises is not None and self._time == 3:
            raise self._raises
        return np.full(1, self._time, np.float32), 0.0, *self._flags, dict(self._info)


def counter(success="auto", **says):
    config = GymnasiumConfig(env_id="Counter-v0", control_dt=0.1, max_episode_steps=4, success=success)
    return GymnasiumEnv(config, num_rows=1, factory=lambda: Counter(**says))


def drive(env, controller):
    starts = env.starts("train", 1)
    recorder = EpisodeRecorder(env, starts, source="test", seed=0)
    run(env, controller, starts, seed=0, listeners=[recorder])
    (episode,) = recorder.finish()
    return episode


def still(seen):
    return np.zeros((len(seen), 1), np.float32)


def expert(function):
    return CallableExpert(function, action=ACTION)


def test_a_function_may_change_its_copy_and_what_is_stored_stays():
    def careless(seen):
        seen -= 0.5
        return np.clip(seen, -1.0, 1.0)

    episode = drive(counter(), expert(careless))
    assert episode.observation[STATE][:, 0].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert episode.action[:, 0].tolist() == [-0.5, 0.5, 1.0, 1.0]


class Careless(Controller):
    def act(self, observation, privileged, rows, generator):
        observation[STATE][:] = 0.0
        return Decision.by(Actor.POLICY, still(rows))


def test_a_controller_that_changes_what_it_sees_is_named():
    with pytest.raises(SpecError, match=r"Counter-v0, step 0: Careless changes") as caught:
        drive(counter(), Careless())
    assert "copy" in str(caught.value)


def test_a_function_that_raises_is_named_with_env_and_step():
    def clumsy(seen):
        if seen[0, 0] == 2.0:
            raise KeyError("gain")
        return still(seen)

    with pytest.raises(SpecError, match="Counter-v0, step 2: The expert clumsy broke") as caught:
        drive(counter(), expert(clumsy))
    assert "KeyError: 'gain'" in str(caught.value)


def test_a_controller_that_raises_keeps_its_error_and_says_where():
    class Clumsy(Controller):
        def act(self, observation, privileged, rows, generator):
            raise KeyError("gain")

    with pytest.raises(KeyError) as caught:
        drive(counter(), Clumsy())
    assert caught.value.__notes__ == ["Clumsy raised this (Counter-v0, step 0)."]


@pytest.mark.parametrize("answer", [np.array([[1.0 + 2.0j]]), np.array([["left"]]), np.array([[None]])])
def test_an_answer_that_is_no_real_number_is_refused(answer):
    with pytest.raises(SpecError, match="no real number"):
        drive(counter(), expert(lambda seen: answer))


@pytest.mark.parametrize("value", [0.3, -1, 2, float("nan"), "yes", [1, 1]])
def test_a_degree_of_success_is_no_success(value):
    with pytest.raises(SpecError, match=r"Counter-v0.*step 1") as caught:
        drive(counter("ever", info={"success": value}), expert(still))
    assert "info['success']" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "truth"), [(True, True), (np.False_, False), (1, True), (0.0, False), (np.array([1.0]), True)]
)
def test_true_and_false_have_several_forms(value, truth):
    assert drive(counter("ever", info={"success": value}), expert(still)).success is truth


@pytest.mark.parametrize("flags", [{"terminated": "no"}, {"truncated": 0.5}, {"terminated": None}])
def test_a_flag_that_is_neither_true_nor_false_is_refused(flags):
    with pytest.raises(EnvError, match=r"Counter-v0 broke in step 1 .*t(erminated|runcated) is neither"):
        drive(counter(**flags), expert(still))


def test_an_env_that_exits_is_named_but_a_stopped_process_stops():
    with pytest.raises(EnvError, match="Counter-v0 broke in step 3") as caught:
        drive(counter(raises=SystemExit(7)), expert(still))
    assert "SystemExit: 7" in str(caught.value)
    with pytest.raises(Stopped):
        drive(counter(raises=Stopped(143)), expert(still))


@pytest.mark.parametrize("time", [float("inf"), float("nan"), 0.0, -1.0])
def test_the_time_between_steps_is_finite(time):
    with pytest.raises(ConfigError, match="control_dt"):
        GymnasiumConfig(env_id="Pendulum-v1", control_dt=time)
