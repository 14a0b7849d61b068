"""Envs with the faults that people report: each ends in an error that names env, feature and step."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from steadyhand.core.errors import EnvError, SpecError
from steadyhand.core.specs import discrete_spec, image_spec
from steadyhand.data.formats.arrays import episodes_from_arrays
from steadyhand.envs.adapter import GymnasiumEnv
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.envs.spaces import feature_space


class Sound(gymnasium.Env):
    """A sound env, from which one habit is taken away at a time."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = spaces.Box(-10, 10, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)
    render_mode = "rgb_array"

    def see(self):
        return np.array([0.5, self.time], dtype=np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.see(), {}

    def step(self, action):
        self.time += 1
        self.given = action
        return self.see(), 1.0, False, False, {}

    def render(self):
        return np.zeros((8, 8, 3), dtype=np.uint8)


class OldStep(Sound):
    def step(self, action):
        self.time += 1
        return self.see(), 1.0, False, {}


class OldReset(Sound):
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.see()


class NoSeed(Sound):
    def reset(self):
        return super().reset()


class NanLater(Sound):
    def see(self):
        return np.array([np.nan if self.time > 2 else 0.0, 0.0], dtype=np.float32)


class Diverges(Sound):
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def see(self):
        return np.array([0.0, 1e300 if self.time > 2 else 0.0])


class NanReward(Sound):
    def step(self, action):
        return super().step(action)[0], np.nan if self.time == 3 else 0.0, False, False, {}


class WrongShape(Sound):
    def see(self):
        return np.zeros(3, dtype=np.float32)


class Transposed(Sound):
    def see(self):
        return np.zeros((2, 1), dtype=np.float32)


class Words(Sound):
    def see(self):
        return np.array(["a", "b"])


class Crashes(Sound):
    def step(self, action):
        if self.time == 2:
            raise ZeroDivisionError("the solver gave up")
        return super().step(action)


class NoPicture(Sound):
    def render(self):
        return None


class FloatPicture(Sound):
    observation_space = spaces.Box(0, 255, (20, 20, 3), np.uint8)

    def see(self):
        return np.full((20, 20, 3), 0.5)


class UnknownClass(Sound):
    observation_space = spaces.Discrete(3, start=1)

    def see(self):
        return self.time + 1  # 1, 2, 3, then 4


class MissingKey(Sound):
    observation_space = spaces.Dict({"arm": spaces.Box(-1, 1, (2,)), "gripper": spaces.Box(-1, 1, (1,))})

    def see(self):
        return {"arm": np.zeros(2, dtype=np.float32)}


def build(kind, *, num_rows=2):
    config = GymnasiumConfig(env_id=kind.__name__, max_episode_steps=20)
    return GymnasiumEnv(config, num_rows=num_rows, factory=kind)


def drive(env, *, steps=6):
    rows = np.arange(env.num_rows)
    env.reset(env.starts("train", len(rows)), rows)
    action = np.zeros((len(rows), *env.spec.action.shape), dtype=env.spec.action.dtype)
    for _ in range(steps):
        env.step(action + env.spec.action.start, rows)


@pytest.mark.parametrize(
    ("kind", "messages"),
    [
        (OldStep, ["step 1 of row 0", "got 4", "shimmy"]),
        (OldReset, ["reset of row 0", "(observation, info)", "shimmy"]),
        (NoSeed, ["reset of row 0", "'seed'", "shimmy"]),
        (NanLater, ["step 3 of row 0", "observation.state", "nan at entry [0]"]),
        (Diverges, ["step 3 of row 0", "observation.state", "inf at entry [1]"]),
        (NanReward, ["step 3 of row 0", "reward", "nan"]),
        (WrongShape, ["reset of row 0", "observation.state", "(3,)", "(2,)"]),
        (Transposed, ["reset of row 0", "(2, 1)", "(2,)"]),
        (Words, ["reset of row 0", "observation.state", "float32"]),
        (Crashes, ["step 3 of row 0", "ZeroDivisionError: the solver gave up"]),
        (FloatPicture, ["reset of row 0", "observation.images.main", "float64", "uint8"]),
        (UnknownClass, ["step 3 of row 0", "observation.state", "4", "1 to 3"]),
        (MissingKey, ["reset of row 0", "'gripper'"]),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_a_broken_env_is_named_with_feature_and_step(kind, messages):
    env = build(kind)
    with pytest.raises(EnvError) as caught:
        drive(env)
    text = str(caught.value)
    for message in [kind.__name__, f"seed {env.starts('train', 1)[0].seed}", "do this", *messages]:
        assert message in text, text


def test_the_same_faults_are_met_with_discrete_actions():
    class Discrete(NanLater):
        action_space = spaces.Discrete(3, start=4)

    with pytest.raises(EnvError, match=r"step 3 of row 0 .* observation.state is not finite"):
        drive(build(Discrete))


def test_a_row_that_broke_leaves_the_others_usable():
    class Second(NanLater):
        count = 0

        def __init__(self):
            Second.count += 1
            self.number = Second.count

        def see(self):
            return super().see() if self.number == 2 else np.zeros(2, dtype=np.float32)

    env = build(Second)
    with pytest.raises(EnvError, match="of row 1"):
        drive(env)
    alive = np.array([0])
    env.step(np.zeros((1, 1), dtype=np.float32), alive)


def test_a_render_that_returns_nothing_is_named():
    env = build(NoPicture)
    drive(env, steps=1)
    with pytest.raises(EnvError, match=r"NoPicture broke in render of row 1"):
        env.render(1)
    assert build(Sound).spec.env_id == "Sound"


def test_an_env_without_spaces_is_named():
    class Bare(Sound):
        @property
        def action_space(self):
            raise AttributeError("no action_space")

    with pytest.raises(SpecError, match="Bare declares no spaces"):
        build(Bare)


@pytest.mark.parametrize(
    ("space", "wanted"),
    [
        (spaces.Box(0, 255, (3, 24, 32), np.uint8), image_spec(24, 32, 3)),
        (spaces.Box(0, 1, (3, 24, 32), np.float32), image_spec(24, 32, 3)),
        (spaces.Box(0, 1, (24, 32, 3), np.float64), image_spec(24, 32, 3)),
        (spaces.Box(0, 255, (24, 32, 4), np.uint8), image_spec(24, 32, 3)),
        (spaces.Box(0, 255, (24, 32), np.uint8), image_spec(24, 32, 1)),
    ],
)
def test_live_pictures_are_those_of_the_data(space, wanted):
    """The same arrays, shown by an env and laid into a file, must reach a policy as the same pictures."""

    class Shows(Sound):
        observation_space = space

        def see(self):
            value = np.random.default_rng(self.time).uniform(0, 1, space.shape)
            if space.shape[-1] == 4:
                value[..., 3] = 1
            top = space.high.max()
            return (value if top == 1 else np.rint(value * 255)).astype(space.dtype)

    env = build(Shows, num_rows=1)
    assert env.spec.observation == {"observation.images.main": wanted}
    drive(env, steps=1)
    live = env.observe(np.arange(1))["observation.images.main"]
    shows = Shows()
    shows.time = 1
    data = episodes_from_arrays(
        {"observation.state": shows.see()[None]}, np.zeros((1, 1)), np.array([1]), control_dt=0.1
    )
    np.testing.assert_array_equal(data.frames().observation["observation.images.main"], live)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(0, 255, (4, 84, 84), np.uint8),
        spaces.Box(0, 255, (4, 84, 84, 3), np.uint8),
        spaces.Box(-np.inf, np.inf, (3, 84, 84), np.float32),
        spaces.Dict({"camera": spaces.Box(0, 255, (84, 84, 12), np.uint8)}),
    ],
)
def test_stacks_and_pictures_of_unknown_range_are_refused_when_the_env_is_made(space):
    class Shows(Sound):
        observation_space = space

    with pytest.raises(SpecError, match=r"Shows: observation\..*pictures"):
        build(Shows)


def test_actions_and_observations_are_the_numbers_of_the_env():
    class Counts(Sound):
        action_space = spaces.Discrete(3, start=-1)
        observation_space = spaces.Discrete(30, start=7)

        def see(self):
            return 7 + self.time

    env = build(Counts, num_rows=1)
    assert env.spec.action == discrete_spec(3, start=-1)
    rows = np.arange(1)
    env.reset(env.starts("train", 1), rows)
    for number in (-1, 0, 1):
        env.step(np.array([[number]]), rows)
        assert env._envs[0].given == number
    assert env.observe(rows)["observation.state"].tolist() == [[10]]
    with pytest.raises(EnvError, match=r"none of the env's"):
        env.step(np.array([[2]]), rows)
    space = feature_space(env.spec.action)
    assert {int(space.sample()[0]) for _ in range(60)} == {-1, 0, 1}


def test_a_half_bounded_box_keeps_its_finite_side():
    class Half(Sound):
        action_space = spaces.Box(np.array([-np.inf], np.float32), np.array([1], np.float32))

    env = build(Half, num_rows=1)
    assert (env.spec.action.low, env.spec.action.high) == (None, (1.0,))
    rows = np.arange(1)
    env.reset(env.starts("train", 1), rows)
    for asked, given in ((-50.0, -50.0), (3.0, 1.0)):
        env.step(np.array([[asked]], dtype=np.float32), rows)
        assert env._envs[0].given.tolist() == [given]
