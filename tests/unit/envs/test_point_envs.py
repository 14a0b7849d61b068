"""What forks and avoiding share: the env contract, rows on their own, snapshots, pictures."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import CapabilityError, ConfigError, SpecError
from steadyhand.envs import make
from steadyhand.envs.avoiding import AvoidingConfig
from steadyhand.envs.base import Start
from steadyhand.envs.catalogue import BUILT_IN, EnvConfig
from steadyhand.envs.forks import ForksConfig
from steadyhand.envs.points import touches

NAMES = ("forks", "avoiding")
COUNT, STEPS = 7, 30
SCALE = {"forks": 1.7, "avoiding": 0.025}
UP = {"forks": np.array((0.3, 0.0)), "avoiding": np.array((0.0, 0.008))}


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A run that stores an env."""

    env: EnvConfig


def started(name, num_rows=COUNT, family="train", **options):
    env = make(name, num_rows=num_rows, **options)
    rows = np.arange(num_rows)
    env.reset(env.starts(family, num_rows), rows)
    return env, rows


def actions_of(name):
    wild = np.random.default_rng(0).uniform(-1, 1, (STEPS, COUNT, 2)) * SCALE[name]
    return (0.5 * wild + UP[name]).astype(np.float32)


def driven(name, places, num_rows, order):
    """Drive start i of `order` in row places[i]; return what each start saw until its end."""
    env = make(name, num_rows=num_rows, **({"start_std": 0.05} if name == "forks" else {}))
    starts, actions = env.starts("train", COUNT), actions_of(name)
    by_row = sorted(order, key=lambda i: places[i])
    rows = np.array([places[i] for i in by_row])
    env.reset([starts[i] for i in by_row], rows)
    seen = {i: [] for i in by_row}
    alive = np.ones(len(by_row), dtype=bool)
    for step in range(STEPS):
        if not alive.any():
            break
        now, who = rows[alive], np.array(by_row)[alive]
        result = env.step(actions[step, who], now)
        state, mode = env.observe(now)["observation.state"], env.mode(now)
        for place, start in enumerate(who.tolist()):
            seen[start].append((*state[place], result.reward[place], mode[place], result.terminated[place]))
        alive[np.flatnonzero(alive)[result.terminated | result.truncated]] = False
    return seen


REFERENCE = {name: driven(name, list(range(COUNT)), COUNT, range(COUNT)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, deadline=None)
@given(places=st.permutations(range(COUNT)), some=st.sets(st.integers(0, COUNT - 1), min_size=1))
def test_a_row_does_not_depend_on_its_neighbours(name, places, some):
    moved = driven(name, places, COUNT, sorted(some))
    assert moved == {start: REFERENCE[name][start] for start in some}
    assert any(len(path) > 3 for path in REFERENCE[name].values())


@pytest.mark.parametrize("name", NAMES)
def test_starts_are_prefix_stable_deterministic_and_disjoint(name):
    env = make(name, num_rows=1)
    long, short = env.starts("test", 50, seed=3), env.starts("test", 20, seed=3)
    assert long[:20] == short == env.starts("test", 20, seed=3)
    assert env.starts("test", 20, seed=4) != short
    seeds = [{start.seed for start in env.starts(family, 200)} for family in ("train", "validation", "test")]
    assert len(set.union(*seeds)) == 600
    assert [start.options for start in env.starts("train", 20)] != [s.options for s in env.starts("test", 20)]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shown_fits_the_spec(name):
    env, rows = started(name, family="validation")
    for shown, spec in (
        (env.observe(rows), env.spec.observation),
        (env.privileged(rows), env.spec.privileged),
    ):
        assert set(shown) == set(spec)
        for feature, value in shown.items():
            assert len(value) == COUNT
            spec[feature].check(value, name=feature)
    assert env.position(rows).shape == (COUNT, 2)
    assert env.error(rows[:0]).shape == env.mode(rows[:0]).shape == (0,)
    np.testing.assert_array_equal(env.mode(rows), -1)


@pytest.mark.parametrize("name", NAMES)
def test_closed_form_dynamics_is_what_step_does_and_torch_agrees(name):
    torch = pytest.importorskip("torch")
    env, rows = started(name)
    for action in actions_of(name)[:2]:
        before = env.observe(rows)["observation.state"]
        predicted = env.dynamics(before, action, params={}, xp=np)
        env.step(action, rows)
        np.testing.assert_array_equal(env.observe(rows)["observation.state"], predicted)
        other = env.dynamics(torch.tensor(before), torch.tensor(action), params={}, xp=torch)
        np.testing.assert_allclose(other.numpy(), predicted, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_clipped_to_their_bounds(name):
    env, rows = started(name, 2)
    bound = np.array(env.spec.action.high, dtype=np.float32)
    env.step(np.stack([-bound, -50 * bound]), rows)
    one, other = env.observe(rows)["observation.state"]
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_a_snapshot_repeats_the_future_in_another_env(name):
    env, rows = started(name)
    actions = actions_of(name)
    for step in range(3):
        env.step(actions[step], rows)
    some = np.array([1, 4])
    snapshot = env.state(some)
    other = make(name, num_rows=3)
    other.restore(snapshot, np.array([0, 2]))
    for step in range(3, 6):
        ours = env.step(actions[step, some], some)
        theirs = other.step(actions[step, some], np.array([0, 2]))
        np.testing.assert_array_equal(ours.reward, theirs.reward)
    mine, its = env.state(some), other.state(np.array([0, 2]))
    assert all(np.array_equal(mine[key], its[key]) for key in mine)
    env.restore(snapshot, some)
    assert all(np.array_equal(value, snapshot[key]) for key, value in env.state(some).items())


@pytest.mark.parametrize("name", NAMES)
def test_the_time_limit_ends_without_success_and_an_ended_row_is_refused(name):
    env, rows = started(name, 3, max_episode_steps=4)
    still = np.zeros((3, 2), dtype=np.float32)
    results = [env.step(still, rows) for _ in range(4)]
    assert [result.truncated.all() for result in results] == [False, False, False, True]
    assert not any((result.success | result.terminated).any() for result in results)
    with pytest.raises(SpecError, match="ended was stepped"):
        env.step(still[:1], np.array([1]))
    env.reset(env.starts("train", 1), np.array([1]))
    assert not env.step(still[:1], np.array([1])).truncated[0]


@pytest.mark.parametrize("name", NAMES)
def test_pictures_show_the_way_and_change_with_it(name):
    env, rows = started(name, 2)
    first = env.render(0, width=320, height=240)
    assert first.shape == (240, 320, 3)
    assert first.dtype == np.uint8
    assert first.std() > 10
    env.step(np.tile(UP[name], (2, 1)).astype(np.float32), rows)
    second = env.render(0, width=320, height=240)
    changed = np.argwhere((first != second).any(axis=2))
    assert 0 < len(changed) < 0.2 * 320 * 240
    assert env.render(1, width=40, height=30).shape == (30, 40, 3)


@pytest.mark.parametrize("name", NAMES)
def test_bad_calls_are_named(name):
    env, rows = started(name, 2)
    with pytest.raises(SpecError, match="no such option"):
        env.reset([Start(family="train", seed=0, options={"lateral": 0.4})], np.array([0]))
    with pytest.raises(SpecError, match="wrong shape"):
        env.step(np.zeros((2, 3), dtype=np.float32), rows)
    with pytest.raises(SpecError, match="no such row"):
        env.observe(np.array([2]))
    with pytest.raises(SpecError, match="one start"):
        env.reset(env.starts("train", 1), rows)
    with pytest.raises(SpecError, match="at least one row"):
        make(name, num_rows=0)
    with pytest.raises(CapabilityError, match="displaced"):
        env.observe(rows, view_offset={"lateral": np.zeros(2, dtype=np.float32)})
    with pytest.raises(ConfigError, match="colour"):
        make(name, num_rows=1, colour="red")
    with pytest.raises(ConfigError, match="control_dt"):
        make(name, num_rows=1, control_dt=3.0)


@pytest.mark.parametrize("config", [ForksConfig(late=True, start_std=0.02), AvoidingConfig(lag=0.1)])
def test_configs_round_trip_through_json(config):
    assert from_data(to_data(config), type(config)) == config
    assert config.build(1).config == config
    assert from_data({"env": to_data(Holder(env=config))["env"]}, Holder).env == config


def test_the_catalogue_names_them():
    assert list(BUILT_IN[:4]) == ["car", "forks", "avoiding", "pendulum"]
    assert all(make(name, num_rows=1).spec.env_id == name for name in BUILT_IN)


@settings(max_examples=100)
@given(st.integers(0, 2**32))
def test_touching_equals_a_fine_walk_along_the_move(seed):
    random = np.random.default_rng(seed)
    here, there = random.uniform(-1, 1, (2, 5, 2)).astype(np.float32)
    centres, radii = random.uniform(-1, 1, (3, 2)).astype(np.float32), np.full(3, 0.4, dtype=np.float32)
    share = np.linspace(0, 1, 2001)[:, None, None, None]
    walked = (1 - share) * here[None, :, None] + share * there[None, :, None]
    nearest = np.linalg.norm(walked - centres, axis=-1).min(axis=0)
    clear = np.abs(nearest - 0.4) > 1e-3
    np.testing.assert_array_equal(touches(here, there, centres, radii)[clear], (nearest < 0.4)[clear])
