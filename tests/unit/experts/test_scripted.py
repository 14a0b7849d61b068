"""Demonstrators: they succeed, cover all modes in the shares asked for, and answer off their path."""

import numpy as np
import pytest

from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.core.seeding import RowStreams
from steadyhand.envs.avoiding import Avoiding, AvoidingConfig
from steadyhand.envs.avoiding.layout import CENTRES, RADII
from steadyhand.envs.base import Start
from steadyhand.envs.forks import Forks, ForksConfig
from steadyhand.experts.scripted import AvoidingDemonstrator, ForksDemonstrator
from steadyhand.rollout.session import run


def demonstrate(env, expert, starts, *, seed=0):
    """Return success, mode and length of each start, and every position that was visited."""
    ends, visited = {}, []

    def listen(event):
        visited.append(env.position(event.rows))
        modes = env.mode(event.rows)
        for place in np.flatnonzero(event.ended).tolist():
            length = int(event.time[place]) + 1
            ends[int(event.start_index[place])] = (event.result.success[place], modes[place], length)

    run(env, expert, starts, seed=seed, listeners=[listen])
    success, modes, lengths = (
        np.array(column) for column in zip(*(ends[k] for k in sorted(ends)), strict=True)
    )
    return success, modes, lengths, np.concatenate(visited)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("share", [0.5, 0.3])
def test_forks_is_passed_on_either_side_in_the_share_asked_for(late, share):
    env = Forks(ForksConfig(late=late), num_rows=64)
    expert = ForksDemonstrator(env.config, left_share=share)
    success, modes, lengths, visited = demonstrate(env, expert, env.starts("train", 100))
    assert success.all()
    assert abs((modes == 0).mean() - share) <= 0.03
    assert set(modes.tolist()) == {0, 1}
    assert lengths.max() <= (50 if late else 34)
    away = np.linalg.norm(visited - (env.config.disc_x, 0.0), axis=1) - env.config.radius
    assert away.min() > 0.1
    if late:
        np.testing.assert_array_equal(visited[visited[:, 0] <= 1.0, 1], 0)
    assert expert.num_queries == lengths.sum()


def test_without_an_intent_the_side_is_drawn_from_the_row_s_stream():
    env = Forks(num_rows=64)
    starts = [Start(family="test", seed=k) for k in range(400)]
    _, modes, _, _ = demonstrate(env, ForksDemonstrator(left_share=0.3), starts)
    assert abs((modes == 0).mean() - 0.3) < 4 * np.sqrt(0.21 / 400)
    _, again, _, _ = demonstrate(Forks(num_rows=7), ForksDemonstrator(left_share=0.3), starts)
    np.testing.assert_array_equal(modes, again)
    _, other, _, _ = demonstrate(env, ForksDemonstrator(left_share=0.3), starts, seed=1)
    assert (modes != other).any()


def test_avoiding_is_solved_on_all_24_routes_equally_often():
    env = Avoiding(num_rows=96)
    success, modes, lengths, visited = demonstrate(env, AvoidingDemonstrator(), env.starts("train", 96))
    assert success.all()
    np.testing.assert_array_equal(np.bincount(modes, minlength=24), 4)
    assert lengths.min() >= 60
    assert 70 <= lengths.mean() <= 90
    assert lengths.max() <= 110
    assert (np.linalg.norm(visited[:, None] - CENTRES, axis=2) - RADII).min() > 0.025
    for index, start in enumerate(env.starts("train", 96)):
        assert modes[index] == start.options["route"]
    _, open_modes, _, _ = demonstrate(env, AvoidingDemonstrator(), [Start(family="test", seed=0)] * 300)
    assert len(set(open_modes.tolist())) == 24


def scattered(env, expert, place, count=400):
    """Put points anywhere, ask the expert from there on, and return who touched."""
    rows = np.arange(count)
    env.reset(env.starts("train", count), rows)
    streams, alive = RowStreams.from_seed(0, count), rows
    # One honest step first: the routes are chosen at the start, whatever happens afterwards.
    expert.act(env.observe(rows), env.privileged(rows), rows, streams)
    state = env.state(rows)
    state["values"] = place(np.random.default_rng(0), count).astype(np.float32)
    env.restore(state, rows)
    outcome = np.zeros(count, dtype=bool)
    while len(alive):
        action = expert.act(env.observe(alive), env.privileged(alive), alive, streams.take(alive)).action
        result = env.step(action, alive)
        outcome[alive] = result.success
        alive = alive[~(result.terminated | result.truncated)]
    return outcome


def test_forks_is_finished_from_anywhere_beside_the_disc():
    def place(random, count):
        points = random.uniform((-0.1, -0.7), (1.8, 0.7), (4 * count, 2))
        return points[np.linalg.norm(points - (1.0, 0.0), axis=1) > 0.28][:count]

    env = Forks(ForksConfig(max_episode_steps=100), num_rows=400)
    assert scattered(env, ForksDemonstrator(env.config), place).all()


def test_avoiding_is_finished_from_anywhere_between_the_cylinders():
    def place(random, count):
        points = random.uniform((0.3, -0.3), (0.7, 0.3), (6 * count, 2))
        away = np.linalg.norm(points[:, None] - CENTRES, axis=2) - RADII
        points = points[away.min(axis=1) > 0.02][:count]
        return np.concatenate([points, points], axis=1)

    env = Avoiding(AvoidingConfig(), num_rows=400)
    assert scattered(env, AvoidingDemonstrator(), place).mean() > 0.99


def test_memory_is_kept_in_snapshots_and_forgotten_at_the_start():
    env, rows = Forks(num_rows=8), np.arange(8)
    env.reset(env.starts("train", 8), rows)
    expert, streams = ForksDemonstrator(), RowStreams.from_seed(1, 8)
    expert.act(env.observe(rows), env.privileged(rows), rows, streams)
    other = ForksDemonstrator()
    other.restore(expert.state())
    middle = {"observation.state": np.tile(np.array([0.4, 0.0], dtype=np.float32), (8, 1))}
    asked = [
        one.act(middle, env.privileged(rows), rows, RowStreams.from_seed(5, 8)).action
        for one in (expert, other)
    ]
    np.testing.assert_array_equal(*asked)
    sides = np.sign(asked[0][:, 1])
    assert set(sides.tolist()) == {-1.0, 1.0}
    expert.begin(rows)
    nothing = {"privileged.intent": np.full((8, 1), -1.0, dtype=np.float32)}
    again = [expert.act(middle, nothing, rows, RowStreams.from_seed(k, 8)).action[:, 1] for k in (0, 1)]
    np.testing.assert_array_equal(*again)  # chosen once, not at every step
    assert (np.abs(asked[0][:, 1]) != np.abs(again[0])).all()


def test_who_is_pushed_to_the_other_side_goes_on_there():
    env, row = Forks(num_rows=1), np.array([0])
    env.reset([Start(family="test", seed=0, options={"choice": 0.0})], row)
    expert, streams = ForksDemonstrator(), RowStreams.from_seed(0, 1)

    def sideways(x, y):
        seen = {"observation.state": np.array([[x, y]], dtype=np.float32)}
        return expert.act(seen, env.privileged(row), row, streams).action[0, 1]

    assert sideways(0.5, 0.0) > 0
    assert sideways(0.5, -0.15) < 0
    assert sideways(0.5, 0.0) < 0


def test_bad_numbers_and_other_envs_are_named():
    with pytest.raises(SpecError, match="left_share"):
        ForksDemonstrator(left_share=1.5)
    with pytest.raises(SpecError, match="too near"):
        AvoidingDemonstrator(spread=0.04)
    with pytest.raises(CapabilityError, match=r"privileged\.intent"):
        ForksDemonstrator().act({}, {}, np.array([0]), RowStreams.from_seed(0, 1))
