"""The env around finite MDPs: chance, contexts, snapshots, expert, pictures."""

from dataclasses import replace

import numpy as np
import pytest

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import CapabilityError, ConfigError, SpecError
from steadyhand.core.specs import STATE
from steadyhand.correction.collect import collect
from steadyhand.envs import make
from steadyhand.envs.base import Start
from steadyhand.envs.tabular import TabularConfig
from steadyhand.envs.tabular.config import CONTEXT, STEP
from steadyhand.envs.tabular.exact import (
    expected_return,
    value_iteration,
    values,
)
from steadyhand.envs.tabular.layouts import MISTAKE, RIGHT_WAY, grid, tight
from steadyhand.experts.tabular import DynamicProgramming

NORTH, EAST, SOUTH, WEST = range(4)


def random_policy(mdp, seed, *, by_step):
    lead = (mdp.horizon,) if by_step else ()
    return np.random.default_rng(seed + 1).dirichlet(np.ones(mdp.num_actions), size=(*lead, mdp.num_states))


@pytest.mark.parametrize("layout", ["grid", "tight", "cliff", "unrecoverable_cliff", "fall_once", "tree"])
def test_steps_of_the_env_follow_the_mdp(layout):
    """Monte Carlo: the mean return of a time-dependent random policy is the exact one, to four errors."""
    count, config = 3000, TabularConfig(layout=layout, horizon=6, slip=0.3)
    env, mdp = config.build(count), config.mdp()
    policy = random_policy(mdp, 5, by_step=True)
    rows, random = np.arange(count), np.random.default_rng(1)
    env.reset(env.starts("train", count), rows)
    returns, alive = np.zeros(count), rows
    for step in range(mdp.horizon):
        state = env.observe(alive)[STATE][:, 0]
        draw = random.random(len(alive))[:, None]
        action = (policy[step, state].cumsum(axis=1) < draw).sum(axis=1)
        result = env.step(action[:, None], alive)
        returns[alive] += result.reward
        ended = result.terminated | result.truncated
        np.testing.assert_array_equal(result.success[ended], returns[alive[ended]] >= mdp.par)
        alive = alive[~ended]
    assert len(alive) == 0
    error = returns.std() / np.sqrt(count)
    assert returns.mean() == pytest.approx(expected_return(mdp, policy), abs=4 * error + 1e-9)


def test_contexts_are_shown_by_their_frequencies_at_every_step():
    env = make("tabular", num_rows=4000, layout="cliff", horizon=3, num_contexts=4, context_ratio=0.5)
    rows = np.arange(4000)
    env.reset(env.starts("test", 4000), rows)
    for _ in range(2):
        seen = np.bincount(env.observe(rows)[CONTEXT][:, 0], minlength=4) / 4000
        np.testing.assert_allclose(seen, env.contexts.probability, atol=0.03)
        env.step(np.ones((4000, 1), dtype=np.int64), rows)


def test_a_row_does_not_depend_on_its_neighbours_and_chance_is_part_of_a_snapshot():
    config = TabularConfig(horizon=12, slip=0.6, num_contexts=3)
    env = config.build(6)
    # From the top line, going north: the slips move it east and west, and nothing ends it.
    starts = [replace(start, options={"state": 2.0}) for start in env.starts("train", 6)]
    rows = np.arange(6)
    env.reset(starts, rows)
    action = np.full((6, 1), NORTH)
    together = []
    snapshot = None
    for step in range(8):
        if step == 3:
            snapshot = env.state(rows)
        env.step(action, rows)
        together.append(np.concatenate(list(env.observe(rows).values()), axis=1))
    alone = config.build(2)
    alone.reset([starts[4]], np.array([1]))
    for step in range(8):
        alone.step(action[:1], np.array([1]))
        seen = np.concatenate(list(alone.observe(np.array([1])).values()), axis=1)
        np.testing.assert_array_equal(seen[0], together[step][4])
    other = config.build(6)
    other.restore(snapshot, rows)
    for step in range(3, 8):
        other.step(action, rows)
        seen = np.concatenate(list(other.observe(rows).values()), axis=1)
        np.testing.assert_array_equal(seen, together[step])
    mine, its = env.state(rows), other.state(rows)
    assert all(np.array_equal(mine[key], its[key]) for key in mine)


def test_starts_are_prefix_stable_and_disjoint():
    env = make("tabular", num_rows=1)
    assert env.starts("test", 50, seed=3)[:20] == env.starts("test", 20, seed=3)
    seeds = [{start.seed for start in env.starts(family, 100)} for family in ("train", "validation", "test")]
    assert len(set.union(*seeds)) == 300


def test_what_is_shown_fits_the_spec_and_a_start_may_name_its_state():
    env = make("tabular", num_rows=3, num_contexts=2, horizon=4, slip=0.0)
    rows = np.arange(3)
    env.reset([Start(family="train", seed=n, options={"state": 7.0}) for n in range(3)], rows)
    np.testing.assert_array_equal(env.observe(rows)[STATE][:, 0], 7)
    np.testing.assert_array_equal(env.position(rows), [[2, -1]] * 3)
    for _ in range(4):
        for shown, spec in (
            (env.observe(rows), env.spec.observation),
            (env.privileged(rows), env.spec.privileged),
        ):
            assert set(shown) == set(spec)
            for name, value in shown.items():
                spec[name].check(value, name=name)
                assert value.max() < spec[name].num_classes
        env.step(np.full((3, 1), WEST), rows)
    assert env.privileged(rows)[STEP].tolist() == [[3]] * 3


def test_the_expert_earns_the_optimal_value_and_the_error_counts_what_is_lost():
    env = make("tabular", num_rows=1, layout="unrecoverable_cliff", horizon=5)
    expert = DynamicProgramming(env.mdp)
    rows = np.arange(1)
    env.reset(env.starts("train", 1), rows)
    action = expert.action(env.observe(rows), env.privileged(rows))
    assert action.tolist() == [[RIGHT_WAY]]
    env.step(action, rows)
    assert env.error(rows)[0] == 0.0
    env.step(np.array([[MISTAKE]]), rows)
    # One for the fall, and one for each of the three steps that are left.
    assert env.error(rows)[0] == 4.0
    np.testing.assert_array_equal(env.position(rows), [[2, -1]])
    episodes = collect(
        make("tabular", num_rows=4), DynamicProgramming(grid()), env.starts("train", 4), source="x", seed=0
    )
    assert all(episode.num_labels == len(episode) for episode in episodes)


def test_a_discount_makes_the_expert_near_sighted():
    mdp = grid(slip=0.0)
    crossing = {STATE: np.array([[mdp.state("(3, 2)")]])}
    step = {STEP: np.array([[0]])}
    assert DynamicProgramming(mdp).action(crossing, step).tolist() == [[EAST]]
    assert DynamicProgramming(mdp, discount=0.1).action(crossing, step).tolist() == [[NORTH]]


@pytest.mark.parametrize("layout", ["grid", "cliff"])
def test_pictures_show_where_the_row_is(layout):
    env = make("tabular", num_rows=1, layout=layout, horizon=6)
    rows = np.arange(1)
    env.reset(env.starts("train", 1), rows)
    first = env.render(0, width=160, height=120)
    env.step(np.array([[1]]), rows)
    second = env.render(0, width=160, height=120)
    assert first.shape == (120, 160, 3)
    assert 0 < (first != second).any(axis=2).sum() < 0.3 * 160 * 120


def test_bad_calls_are_named():
    env = make("tabular", num_rows=2)
    rows = np.arange(2)
    with pytest.raises(SpecError, match="ended was stepped"):
        env.step(np.zeros((2, 1), dtype=np.int64), rows)
    with pytest.raises(SpecError, match="one start"):
        env.reset(env.starts("train", 1), rows)
    with pytest.raises(SpecError, match="no such option"):
        env.reset([Start(family="train", seed=0, options={"y": 1.0})], rows[:1])
    with pytest.raises(SpecError, match="cannot begin"):
        env.reset([Start(family="train", seed=0, options={"state": 25.0})], rows[:1])
    env.reset(env.starts("train", 2), rows)
    with pytest.raises(SpecError, match="wrong shape"):
        env.step(np.zeros((2, 2), dtype=np.int64), rows)
    with pytest.raises(SpecError, match="no such row"):
        env.observe(np.array([2]))
    with pytest.raises(CapabilityError, match="displaced"):
        env.observe(rows, view_offset={"lateral": np.zeros(2, dtype=np.float32)})
    with pytest.raises(CapabilityError, match="closed form"):
        env.dynamics(0, 0, params={}, xp=np)
    with pytest.raises(ConfigError, match="Probability"):
        make("tabular", num_rows=1, slip=1.5)
    with pytest.raises(SpecError, match="add up to 1"):
        replace(tight(horizon=3), start=np.array([0.5, 0.0, 0.0]))
    with pytest.raises(SpecError, match="keep to itself"):
        replace(tight(horizon=3), terminal=np.array([True, False, False]))
    with pytest.raises(SpecError, match="wrong shape"):
        values(tight(horizon=3), np.ones((2, 3, 2)) / 2)
    with pytest.raises(SpecError, match="discount below 1"):
        value_iteration(tight(horizon=3), discount=1.0)


def test_configs_round_trip_through_json():
    config = TabularConfig(layout="tree", horizon=5, num_contexts=8)
    assert from_data(to_data(config), TabularConfig) == config
    assert config.build(1).config == config
