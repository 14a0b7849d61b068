"""What follows from the declared state of an array env, whatever the env is."""

import numpy as np
import pytest

from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.envs import BUILT_IN, make
from steadyhand.envs.arrays import ArrayEnv

NAMES = list(BUILT_IN)
ROWS = np.arange(4)


@pytest.fixture(params=NAMES)
def env(request) -> ArrayEnv:
    env = make(request.param, num_rows=len(ROWS))
    assert isinstance(env, ArrayEnv)
    env.reset(env.starts("train", len(ROWS), seed=3), ROWS)
    return env


def actions(env, seed, rows=ROWS):
    random = np.random.default_rng(seed)
    spec = env.spec.action
    if spec.num_classes is not None:
        return random.integers(0, spec.num_classes, (len(rows), *spec.shape)) + spec.start
    return random.uniform(-0.3, 0.3, (len(rows), *spec.shape)).astype(np.float32)


def drive(env, steps=5, rows=ROWS):
    trace = []
    for step in range(steps):
        result = env.step(actions(env, step, rows), rows)
        trace += [result.reward, result.terminated, *env.observe(rows).values(), *env.state(rows).values()]
        rows = rows[~(result.terminated | result.truncated)]
        if len(rows) == 0:
            break
    return trace


def test_a_snapshot_is_a_copy_that_restores_every_array_of_the_state(env):
    drive(env, 2)
    before = env.state(ROWS)
    kept = {name: value.copy() for name, value in before.items()}
    alive = ROWS[~before["ended"]]
    first = drive(env, 5, alive)
    for name, value in before.items():
        np.testing.assert_array_equal(value, kept[name], err_msg=f"{name} changed with the env")
    env.restore(before, ROWS)
    for name, value in env.state(ROWS).items():
        np.testing.assert_array_equal(value, kept[name], err_msg=name)
    for one, two in zip(first, drive(env, 5, alive), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_reset_leaves_nothing_of_what_was_before(env):
    used = make(env.spec.env_id, num_rows=len(ROWS))
    used.reset(used.starts("test", len(ROWS), seed=9), ROWS)
    drive(used, 4)
    used.reset(used.starts("train", len(ROWS), seed=3), ROWS)
    for one, two in zip(drive(env), drive(used), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_row_does_not_depend_on_the_others(env):
    alone = make(env.spec.env_id, num_rows=len(ROWS))
    alone.reset(env.starts("train", len(ROWS), seed=3)[2:3], ROWS[2:3])
    moves = actions(env, 0)
    together, single = env.step(moves, ROWS), alone.step(moves[2:3], ROWS[2:3])
    assert together.reward[2] == single.reward[0]
    for name, value in env.observe(ROWS[2:3]).items():
        np.testing.assert_array_equal(value, alone.observe(ROWS[2:3])[name])


def test_what_it_shows_is_not_what_it_keeps(env):
    seen = {**env.observe(ROWS), **env.privileged(ROWS)}
    kept = {name: value.copy() for name, value in seen.items()}
    drive(env, 1)
    for name, value in seen.items():
        np.testing.assert_array_equal(value, kept[name], err_msg=name)


def test_rows_and_snapshots_of_others_are_refused(env):
    with pytest.raises(SpecError, match="no such row"):
        env.observe(np.array([len(ROWS)]))
    with pytest.raises(SpecError, match="no such row"):
        env.step(actions(env, 0, ROWS[:1]), np.array([-1]))
    state = env.state(ROWS)
    state.pop("steps")
    with pytest.raises(SpecError, match="no snapshot"):
        env.restore(state, ROWS)


def test_a_start_with_an_unknown_option_changes_nothing(env):
    from dataclasses import replace

    before = env.state(ROWS)
    start = replace(env.starts("train", 1)[0], options={"colour": 1.0})
    with pytest.raises(SpecError, match="no such option"):
        env.reset([start], ROWS[:1])
    for name, value in env.state(ROWS).items():
        np.testing.assert_array_equal(value, before[name])


def test_ended_rows_are_not_stepped(env):
    state = env.state(ROWS)
    state["ended"][1] = True
    env.restore(state, ROWS)
    with pytest.raises(SpecError, match="row 1"):
        env.step(actions(env, 0), ROWS)


def test_capabilities_are_asked_for_by_calling_them():
    car, forks = make("car", num_rows=1), make("forks", num_rows=1)
    assert car.road_width == pytest.approx(0.6)
    start = car.starts("train", 1)[0]
    left, right = car.outline(start)
    assert np.linalg.norm(left[0] - right[0]) == pytest.approx(car.road_width, abs=1e-5)
    for ask in (lambda: forks.road_width, lambda: forks.outline(0), lambda: car.num_modes):
        with pytest.raises(CapabilityError, match="does not offer"):
            ask()
    assert forks.num_modes == 2
