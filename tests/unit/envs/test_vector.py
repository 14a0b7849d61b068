"""Gymnasium's vector envs as batched envs: the episodes are those of single copies, or they are refused."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

import steadyhand.envs.gym  # noqa: F401  registers the envs
from steadyhand.core.errors import CapabilityError, ConfigError, EnvError, SpecError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.envs import make
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.envs.vector import VectorGymnasiumEnv, around
from steadyhand.face.envs import make as face_make
from steadyhand.rollout.evaluate import evaluate

LIMIT = 12
ROWS = np.arange(3)


class Corridor(gymnasium.Env):
    """Each seed has its own start and its own length; ends by itself, and says so in its info."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode=None, broken=False):
        self.render_mode = render_mode
        self._broken = broken
        self.observation_space = spaces.Dict(
            {"place": spaces.Box(-100, 100, (2,), np.float32), "door": spaces.Discrete(3, start=5)}
        )
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = float(self.np_random.uniform(-5, 5))
        self.length = int(self.np_random.integers(3, 9))
        self.time = 0
        return self._see(), {"fresh": True}

    def step(self, action):
        if self._broken and self.time == 2:
            raise ZeroDivisionError("the motor is gone")
        self.time += 1
        self.place += float(action[0]) + 0.1 * float(self.np_random.normal())
        over = self.time == self.length
        info = {"is_success": self.place > 0} if over else {}
        return self._see(), self.place, over, False, info

    def render(self):
        picture = np.zeros((20, 30, 3), dtype=np.uint8)
        picture[:, : 1 + self.time] = 200
        return picture

    def _see(self):
        return {"place": np.array([self.place, self.time], np.float32), "door": 5 + self.time % 3}


gymnasium.register(id="vector-test/Corridor-v0", entry_point=Corridor, max_episode_steps=LIMIT)


class Steer(Controller):
    """Goes by what it sees alone, so that an episode is what its start and the env make of it."""

    sees_privileged = False

    def act(self, observation, privileged, rows, generator):
        action = np.clip(np.sin(observation["observation.place"][:, :1]), -1, 1).astype(np.float32)
        return Decision.by(Actor.EXPERT, action)


def outcome(env, count=9):
    found = evaluate(env, Steer(), env.starts("test", count), name="steer", seed=0)
    env.close()
    success = None if found.success is None else found.success.tolist()
    return found.returns.tolist(), found.lengths.tolist(), success, found.terminated.tolist()


@pytest.fixture(scope="module")
def alone():
    return outcome(make("vector-test/Corridor-v0", num_rows=3))


def vector(kind=SyncVectorEnv, num=3, **options):
    make_one = lambda: gymnasium.make("vector-test/Corridor-v0", disable_env_checker=True)  # noqa: E731
    return kind([make_one] * num, **options)


def wrapped(*args, **options):
    return around(vector(*args, **options), max_episode_steps=LIMIT)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_episodes_are_those_of_single_copies(mode, alone):
    assert outcome(make("vector-test/Corridor-v0", num_rows=3, vectorization_mode=mode)) == alone
    assert len(set(alone[1])) > 2
    assert {True, False} == set(alone[2])


def test_the_limit_of_the_settings_cuts_every_mode_alike():
    cut = [
        outcome(make("vector-test/Corridor-v0", num_rows=2, max_episode_steps=4, vectorization_mode=mode))
        for mode in ("loop", "sync")
    ]
    assert cut[0] == cut[1]
    assert max(cut[0][1]) == 4


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_one_start_a_copy_is_right_in_every_mode(kind, mode, alone):
    env = wrapped(kind, autoreset_mode=mode)
    starts = env.starts("test", 3)
    for _ in range(2):  # The second time most copies have reset themselves meanwhile.
        found = evaluate(env, Steer(), starts, name="steer", seed=0)
        assert found.returns.tolist() == alone[0][:3]
        assert found.lengths.tolist() == alone[1][:3]
        assert list(found.success) == alone[2][:3]
    env.close()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_what_resets_itself_takes_no_start_while_others_run(mode):
    env = wrapped(autoreset_mode=mode)
    with pytest.raises(CapabilityError, match="all copies get a start"):
        evaluate(env, Steer(), env.starts("test", 9), name="steer", seed=0)


def test_copies_that_can_be_reset_one_by_one_take_any_number_of_starts(alone):
    assert outcome(wrapped(autoreset_mode=AutoresetMode.DISABLED)) == alone
    assert outcome(face_make(vector(autoreset_mode="Disabled"), max_episode_steps=LIMIT)) == alone


def test_the_last_observation_stays_until_the_reset():
    for mode in AutoresetMode:
        env = wrapped(autoreset_mode=mode)
        env.reset(env.starts("train", 3), ROWS)
        alive, last = ROWS, {}
        while len(alive):
            result = env.step(np.zeros((len(alive), 1), np.float32), alive)
            seen = env.observe(alive)["observation.place"]
            for place in np.flatnonzero(result.terminated):
                last[int(alive[place])] = seen[place]
                assert seen[place][1] == env._steps[alive[place]]  # The last step, and no reset.
            alive = alive[~result.terminated]
        for row, place in last.items():
            np.testing.assert_array_equal(env.observe(np.array([row]))["observation.place"][0], place)


def test_a_row_that_was_left_out_is_not_stepped_on():
    env = wrapped(autoreset_mode="Disabled")
    env.reset(env.starts("train", 3), ROWS)
    env.step(np.zeros((2, 1), np.float32), ROWS[:2])
    with pytest.raises(SpecError, match="moved on"):
        env.step(np.zeros((3, 1), np.float32), ROWS)
    env.reset(env.starts("train", 3)[2:], ROWS[2:])
    env.step(np.zeros((3, 1), np.float32), ROWS)


class Mute(VectorEnv):
    """Has the interface, and does not say how it resets itself."""

    num_envs = 2
    metadata = {"render_fps": 10}  # noqa: RUF012
    single_observation_space = spaces.Box(-1, 1, (1,))
    single_action_space = spaces.Box(-1, 1, (1,))
    observation_space = spaces.Box(-1, 1, (2, 1))


def test_what_cannot_be_right_is_refused():
    with pytest.raises(SpecError, match="does not say how its copies are reset"):
        around(Mute(), max_episode_steps=5)
    with pytest.raises(SpecError, match="no vector env"):
        face_make(object())
    unshared = vector(AsyncVectorEnv, 1, shared_memory=False)
    with pytest.raises(SpecError, match="without shared memory"):
        around(unshared, max_episode_steps=5)
    unshared.close()
    assert around(vector()).spec.max_episode_steps == LIMIT
    processes = vector(AsyncVectorEnv, 1)
    with pytest.raises(SpecError, match="no time limit"):
        around(processes)
    processes.close()
    with pytest.raises(ConfigError, match="vectorization_mode"):
        make("CartPole-v1", num_rows=1, vectorization_mode="threads")
    with pytest.raises(SpecError, match="at least one row"):
        make("CartPole-v1", num_rows=0, vectorization_mode="sync")
    # Gymnasium's own vectorised CartPole takes one seed for all copies.
    cart = make("CartPole-v1", num_rows=2, vectorization_mode="vector_entry_point")
    with pytest.raises(EnvError, match="reset"):
        cart.reset(cart.starts("train", 2), np.arange(2))


def test_our_own_vector_envs_come_back_as_batched_envs():
    env = make(
        "steadyhand/Forks-v0", num_rows=2, vectorization_mode="vector_entry_point", max_episode_steps=9
    )
    env.reset(env.starts("test", 2), np.arange(2))
    result = env.step(np.array([[1.0, 0.0], [0.0, 0.0]], np.float32), np.arange(2))
    np.testing.assert_allclose(result.reward, [0.1, 0.0], atol=1e-6)


def test_a_copy_that_breaks_is_named():
    env = make("vector-test/Corridor-v0", num_rows=2, vectorization_mode="sync", broken=True)
    env.reset(env.starts("test", 2), np.arange(2))
    push = np.zeros((2, 1), np.float32)
    env.step(push, np.arange(2))
    env.step(push, np.arange(2))
    with pytest.raises(EnvError, match="Corridor-v0 broke in step") as error:
        env.step(push, np.arange(2))
    assert "the motor is gone" in str(error.value)


def test_settings_survive_and_draw_when_they_are_filmed():
    env = make("vector-test/Corridor-v0", num_rows=3, vectorization_mode="sync", max_episode_steps=7)
    assert env.config == GymnasiumConfig(
        env_id="vector-test/Corridor-v0", max_episode_steps=7, vectorization_mode="sync"
    )
    with pytest.raises(CapabilityError, match="without pictures"):
        env.render(0)
    stage = env.filmed(2)
    assert (stage.num_rows, stage.spec) == (2, env.spec)
    stage.reset(stage.starts("test", 2), np.arange(2))
    assert stage.render(1, width=60, height=40).shape == (40, 60, 3)
    assert stage.filmed(2) is stage
    drawing = around(SyncVectorEnv([lambda: Corridor(render_mode="rgb_array")] * 2), max_episode_steps=5)
    drawing.reset(drawing.starts("test", 2), np.arange(2))
    assert drawing.filmed(1) is drawing
    assert drawing.render(1, width=6, height=4).max() == 200
    assert isinstance(drawing, VectorGymnasiumEnv)
