"""Simulators of others: any world as an env, and each of those that come along."""

import os
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
import pytest

from steadyhand.core.errors import CapabilityError, ConfigError, EnvError, SpecError
from steadyhand.core.specs import FeatureSpec, image_spec
from steadyhand.core.success import SuccessRule
from steadyhand.data.store import EpisodeStore
from steadyhand.envs import make
from steadyhand.envs.base import Start
from steadyhand.envs.worlds.config import WorldConfig
from steadyhand.envs.worlds.world import Facts, Turn, World
from steadyhand.policies.encoders.image import FlatImage
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.recipes.experts import default_expert
from steadyhand.recipes.policies import check_fits


class Counter(World):
    """A number that starts at its seed modulo ten, to which actions are added until it reaches twenty."""

    OPTIONS = ("at",)

    def __init__(self) -> None:
        self.facts = Facts(
            env_id="counter",
            senses={"state": FeatureSpec(shape=(1,)), "double": FeatureSpec(shape=(1,))},
            cameras=("front",),
            privileged={"privileged.number": FeatureSpec(shape=(1,))},
            action=FeatureSpec(shape=(1,), low=(-1.0,), high=(2.0,)),
            control_dt=0.1,
            success=SuccessRule(said="twenty is reached"),
            task="Count to twenty.",
        )
        self.number = 0.0

    def reset(self, start):
        self.number = start.options.get("at", start.seed % 10)

    def step(self, action):
        self.number += float(action[0])
        done = self.number >= 20
        return Turn(reward=self.number, terminated=done, success=done)

    def numbers(self):
        number = np.array([self.number])
        return {"state": number, "double": 2 * number, "privileged.number": number}

    def draw(self, camera, *, height, width):
        return np.full((height, width, 3), int(self.number), dtype=np.uint8)

    def snapshot(self):
        return {"number": np.array([self.number])}

    def put_back(self, snapshot):
        self.number = float(snapshot["number"][0])


@dataclass(frozen=True, kw_only=True)
class CounterConfig(WorldConfig):
    """Count to twenty."""

    package: ClassVar[str] = "numpy"
    step_limit: ClassVar[int] = 12

    def world(self):
        return Counter()


@dataclass(frozen=True, kw_only=True)
class AbsentConfig(CounterConfig):
    """Count with what nobody has."""

    package: ClassVar[str] = "no_such_simulator"


ROWS = np.arange(3)


def counters(**options):
    env = CounterConfig(**options).build(3)
    env.reset(env.starts("test", 3), ROWS)
    return env


def test_a_world_shows_the_senses_and_cameras_that_are_named_and_no_other():
    env = counters(observation=("double", "front"), picture_height=16, picture_width=20)
    assert list(env.spec.observation) == ["observation.double", "observation.images.front"]
    seen = env.observe(ROWS)
    number = env.privileged(ROWS)["privileged.number"]
    np.testing.assert_array_equal(seen["observation.double"], 2 * number)
    assert seen["observation.images.front"].shape == (3, 16, 20, 3)
    np.testing.assert_array_equal(seen["observation.images.front"][:, 0, 0, 0], number[:, 0])
    assert env.config.showing(["observation.images.front", "state"]).observation == ("front", "state")
    with pytest.raises(ConfigError, match=r"no such sense or camera[\s\S]*back[\s\S]*front"):
        counters(observation=("back",))
    with pytest.raises(ConfigError, match="twice"):
        CounterConfig(observation=("state", "state"))


def test_actions_are_clipped_to_the_bounds_and_episodes_end_by_the_rules_or_the_limit():
    env = counters()
    env.reset([Start(family="test", seed=0, options={"at": 17.0})], ROWS[:1])
    before = env.observe(ROWS)["observation.state"]
    result = env.step(np.array([[9.0], [-9.0], [0.5]]), ROWS)
    np.testing.assert_array_equal(env.observe(ROWS)["observation.state"] - before, [[2], [-1], [0.5]])
    assert not result.success.any()
    result = env.step(np.array([[2.0]]), ROWS[:1])
    assert result.terminated[0]
    assert result.success[0]
    with pytest.raises(SpecError, match="ended"):
        env.step(np.zeros((1, 1)), ROWS[:1])
    for _ in range(11):
        result = env.step(np.zeros((2, 1)), ROWS[1:])
    assert result.truncated.all()
    assert not result.success.any()


def test_a_snapshot_goes_on_alike_in_another_env():
    env, other = counters(), CounterConfig().build(3)
    env.step(np.ones((3, 1)), ROWS)
    other.restore(env.state(ROWS), ROWS)
    for _ in range(11):
        mine, theirs = env.step(np.ones((3, 1)), ROWS), other.step(np.ones((3, 1)), ROWS)
        np.testing.assert_array_equal(mine.reward, theirs.reward)
        np.testing.assert_array_equal(mine.truncated, theirs.truncated)


def test_families_share_no_seed_and_a_longer_list_begins_with_the_shorter_one():
    env = counters()
    seeds = {family: {s.seed for s in env.starts(family, 300)} for family in ("train", "validation", "test")}
    assert all(len(some) == 300 for some in seeds.values())
    assert not seeds["train"] & seeds["test"]
    assert not seeds["train"] & seeds["validation"]
    assert env.starts("test", 5) == env.starts("test", 9)[:5]


def test_a_simulator_that_is_not_installed_is_named_with_the_line_that_installs_it():
    with pytest.raises(CapabilityError, match=r"no_such_simulator[\s\S]*pip install \"steadyhand\[sim\]\""):
        AbsentConfig().build(1)


needs_metaworld = pytest.mark.skipif(find_spec("metaworld") is None, reason="metaworld is not installed")


needs_fetch = pytest.mark.skipif(
    find_spec("gymnasium_robotics") is None, reason="gymnasium-robotics is not installed"
)
REAL = [
    pytest.param("metaworld", {"task": "drawer-open"}, marks=needs_metaworld),
    pytest.param("fetch", {"task": "pick-and-place"}, marks=needs_fetch),
    pytest.param("fetch", {"task": "push"}, marks=needs_fetch),
]


RUNNERS = [
    pytest.param(
        "locomotion",
        {"task": "HalfCheetah-v5"},
        marks=pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed"),
    )
]


@pytest.mark.parametrize(("name", "options"), [*REAL, *RUNNERS])
def test_a_start_is_the_same_whatever_happened_before(name, options):
    env = make(name, num_rows=2, **options)
    rows = np.arange(2)
    starts = env.starts("test", 2)

    def seen():
        return np.concatenate([values.reshape(2, -1) for values in env.privileged(rows).values()], axis=1)

    env.reset(starts, rows)
    first = seen()
    still = np.zeros((2, env.spec.action.size))
    env.step(still, rows)
    then = seen()
    assert not np.array_equal(first[0], first[1])
    for _ in range(5):
        env.step(np.random.default_rng(0).uniform(-1, 1, still.shape), rows)
    env.reset(starts[::-1], rows)
    np.testing.assert_array_equal(seen(), first[::-1])
    env.step(still, rows)
    np.testing.assert_array_equal(seen(), then[::-1])


@pytest.mark.parametrize(("name", "options"), REAL)
def test_a_script_succeeds_and_a_snapshot_of_its_way_goes_on_bit_for_bit(name, options):
    env = make(name, num_rows=2, **options)
    rows = np.arange(2)
    expert = default_expert(env.config).build(env)
    env.reset(env.starts("test", 2), rows)

    def drive(alive):
        trace = []
        success = np.zeros(2, dtype=bool)
        while len(alive):
            result = env.step(expert.action({}, env.privileged(alive)), alive)
            success[alive] = result.success
            trace += [result.reward, *env.observe(alive).values()]
            alive = alive[~(result.terminated | result.truncated)]
        return trace, success

    for _ in range(20):
        env.step(expert.action({}, env.privileged(rows)), rows)
    snapshot = env.state(rows)
    first, success = drive(rows)
    assert success.all()
    env.restore(snapshot, rows)
    again, _ = drive(rows)
    assert len(first) == len(again)
    for mine, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(("name", "options"), RUNNERS)
def test_a_trained_expert_runs_in_the_env_that_gymnasium_makes_and_sees_past_the_camera(name, options):
    env = make(name, num_rows=1, observation=("track",), **options)
    plain = make(options["task"], num_rows=1)
    rows = np.arange(1)
    expert = default_expert(env.config).build(env)
    for one in (env, plain):
        one.reset(env.starts("test", 1), rows)
    for _ in range(30):
        seen = {**env.privileged(rows)}
        action = expert.action({}, seen)
        result, same = env.step(action, rows), plain.step(action, rows)
        np.testing.assert_array_equal(result.reward, same.reward)
    assert result.outcome(0) is None
    np.testing.assert_array_equal(
        env.privileged(rows)["privileged.observed"], plain.observe(rows)["observation.state"]
    )


@needs_metaworld
def test_metaworld_says_what_is_to_be_done():
    env = make("metaworld", num_rows=1, task="drawer-open")
    assert env.tasks(np.arange(1)) == ("Open the drawer.",)


@needs_fetch
def test_a_task_without_a_script_is_told():
    env = make("fetch", num_rows=1, task="slide")
    with pytest.raises(CapabilityError, match=r"slide[\s\S]*pick-and-place"):
        default_expert(env.config).build(env)


class Broken(Counter):
    """A counter of which one copy breaks once its number has grown by three, in the way that it is told."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.first = 0.0

    def reset(self, start):
        super().reset(start)
        self.first = self.number

    @property
    def is_broken(self):
        return self.number >= self.first + 3

    def step(self, action):
        turn = super().step(action)
        if not self.is_broken:
            return turn
        if self.way == "raises":
            raise IndexError("joint 7 of 6")
        reward = np.nan if self.way == "reward" else turn.reward
        return Turn(reward=reward, terminated=turn.terminated, success=turn.success)

    def numbers(self):
        told = super().numbers()
        if self.is_broken and self.way == "missing":
            del told["double"]
        if self.is_broken and self.way in ("not finite", "long"):
            told["state"] = np.full(2 if self.way == "long" else 1, np.inf)
        return told

    def draw(self, camera, *, height, width):
        picture = super().draw(camera, height=height, width=width)
        return picture[:-1] if self.is_broken and self.way == "small" else picture

    def fault(self):
        return "The simulation diverged." if self.is_broken and self.way == "diverged" else ""


@dataclass(frozen=True, kw_only=True)
class BrokenConfig(CounterConfig):
    """Count until it breaks."""

    way: str = ""

    def world(self):
        return Broken(self.way)


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("raises", r"broke in step 2 of row 1 \(reset with seed 42\)[\s\S]*IndexError: joint 7 of 6"),
        ("reward", r"broke in step 2 of row 1 \(reset with seed 42\)[\s\S]*not finite[\s\S]*nan"),
        ("diverged", r"broke in step 2 of row 1 \(reset with seed 42\)[\s\S]*The simulation diverged"),
        ("missing", r"broke in observe of row 1 \(reset with seed 42\)[\s\S]*double is missing"),
        ("long", r"broke in observe of row 1 [\s\S]*state has the wrong form[\s\S]*\(2,\)[\s\S]*\(1,\)"),
        ("not finite", r"broke in observe of row 1 [\s\S]*observation.state is not finite[\s\S]*inf"),
        ("small", r"broke in observe of row 1 [\s\S]*front has the wrong form[\s\S]*\(15, 16, 3\)"),
    ],
)
def test_a_broken_simulator_is_told_by_its_row_its_step_and_its_seed(way, said):
    env = BrokenConfig(way=way, observation=("state", "front"), picture_height=16, picture_width=16).build(2)
    rows = np.arange(2)
    env.reset([Start(family="test", seed=seed) for seed in (41, 42)], rows)
    slow_and_fast = np.array([[0.1], [1.0]])

    def drive():
        for _ in range(3):
            env.step(slow_and_fast, rows)
            env.observe(rows)

    with pytest.raises(EnvError, match=said):
        drive()


def test_a_snapshot_of_something_else_is_refused_and_closing_twice_closes_once():
    env = counters()
    shot = env.state(ROWS)
    for wrong in (
        {name: value for name, value in shot.items() if name != "number"},
        {**shot, "more": shot["number"]},
        {name: value[:2] for name, value in shot.items()},
        {**shot, "number": np.zeros((3, 2))},
    ):
        with pytest.raises(SpecError, match="no snapshot of 3 rows of counter"):
            env.restore(wrong, ROWS)
    closed = []
    for world in env.worlds:
        world.close = lambda world=world: closed.append(world)
    env.close()
    env.close()
    assert closed == env.worlds


def test_how_pictures_were_drawn_is_kept_with_the_data_and_another_way_is_refused(tmp_path):
    fast, full = (CounterConfig(observation=("front",), quality=q).build(1) for q in ("fast", "full"))
    spec = fast.spec
    EpisodeStore.create(tmp_path, observation=spec.observation, action=spec.action, control_dt=0.1).close()
    stored = EpisodeStore.open(tmp_path).spec.observation

    def trained_on(observation):
        config = PolicyConfig(encoder=FlatImage())
        return PolicyModule.build(config, replace(PolicySpec.of_env(spec), observation=observation))

    policy = trained_on(stored)
    check_fits(policy, fast.spec, name="Ours")
    with pytest.raises(SpecError, match=r"differs[\s\S]*drawn full[\s\S]*drawn fast[\s\S]*env.quality=fast"):
        check_fits(policy, full.spec, name="Ours")
    elsewhere = {"observation.images.front": image_spec(96, 96, 3)}
    check_fits(trained_on(elsewhere), full.spec, name="One of which nobody knows how its pictures were drawn")


@pytest.mark.parametrize(("name", "options"), RUNNERS)
def test_a_simulation_that_diverges_is_noticed_though_mujoco_goes_on_from_its_start(
    name, options, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log where it is
    env = make(name, num_rows=2, **options)
    rows = np.arange(2)
    env.reset(env.starts("test", 2), rows)
    still = np.zeros((2, env.spec.action.size))
    shot = env.state(rows)
    bad = {**shot, "physics": shot["physics"].copy()}
    bad["physics"][1, 1:4] = 1e12
    env.restore(bad, rows)
    with pytest.raises(EnvError, match=r"step 0 of row 1 [\s\S]*diverged"):
        env.step(still, rows)
    env.restore(shot, rows)
    assert np.isfinite(env.step(still, rows).reward).all()


@pytest.mark.parametrize(("name", "options"), RUNNERS)
def test_a_fork_of_a_process_that_draws_is_told_that_it_cannot(name, options):
    env = make(name, num_rows=1, observation=("track",), **options)
    env.reset(env.starts("test", 1), np.arange(1))
    try:
        env.observe(np.arange(1))
    except CapabilityError as error:
        pytest.skip(str(error))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            env.observe(np.arange(1))
        except CapabilityError as error:
            code = 7 if "forked" in str(error) else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert env.observe(np.arange(1))["observation.images.track"].std() > 0
