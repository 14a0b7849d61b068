"""Finite MDPs against enumeration and hand computation."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyhand.envs.tabular import FiniteMDP
from steadyhand.envs.tabular.exact import (
    average_occupancy,
    backward_induction,
    disagreement,
    discounted_values,
    expected_cost,
    expected_return,
    occupancy,
    value_iteration,
    values,
)
from steadyhand.envs.tabular.layouts import MISTAKE, RIGHT_WAY, cliff, fall_once, grid, tight, tree
from steadyhand.envs.tabular.mdp import Contexts, one_hot

NORTH, EAST, SOUTH, WEST = range(4)


def random_mdp(seed, *, states=3, actions=2, horizon=3):
    random = np.random.default_rng(seed)
    return FiniteMDP(
        name="random",
        transition=random.dirichlet(np.ones(states), size=(actions, states)),
        reward=random.normal(size=(states, actions)),
        start=random.dirichlet(np.ones(states)),
        horizon=horizon,
        terminal=np.zeros(states, dtype=bool),
        place=np.zeros((states, 2)),
        state_names=tuple(map(str, range(states))),
        action_names=tuple(map(str, range(actions))),
    )


def random_policy(mdp, seed, *, by_step):
    lead = (mdp.horizon,) if by_step else ()
    return np.random.default_rng(seed + 1).dirichlet(np.ones(mdp.num_actions), size=(*lead, mdp.num_states))


def enumerated(mdp, policy):
    """Return the expected return and d_t(s) by walking every path."""
    steps = np.broadcast_to(policy, (mdp.horizon, mdp.num_states, mdp.num_actions))
    visited, total = np.zeros((mdp.horizon, mdp.num_states)), 0.0
    for states in product(range(mdp.num_states), repeat=mdp.horizon + 1):
        for actions in product(range(mdp.num_actions), repeat=mdp.horizon):
            probability, earned = mdp.start[states[0]], 0.0
            for t, action in enumerate(actions):
                probability *= steps[t, states[t], action] * mdp.transition[action, states[t], states[t + 1]]
                earned += mdp.reward[states[t], action]
            total += probability * earned
            for t in range(mdp.horizon):
                visited[t, states[t]] += probability
    return total, visited


@settings(max_examples=8)
@given(seed=st.integers(0, 1000), by_step=st.booleans())
def test_evaluation_equals_the_sum_over_all_paths(seed, by_step):
    mdp = random_mdp(seed)
    policy = random_policy(mdp, seed, by_step=by_step)
    total, visited = enumerated(mdp, policy)
    assert expected_return(mdp, policy) == pytest.approx(total)
    assert expected_cost(mdp, policy) == pytest.approx(-total)
    np.testing.assert_allclose(occupancy(mdp, policy), visited)
    np.testing.assert_allclose(average_occupancy(mdp, policy), visited.mean(axis=0))


@given(seed=st.integers(0, 1000))
def test_the_return_is_occupancy_times_reward_and_occupancy_adds_up(seed):
    mdp = random_mdp(seed, states=5, actions=3, horizon=7)
    policy = random_policy(mdp, seed, by_step=True)
    visited = occupancy(mdp, policy)
    np.testing.assert_allclose(visited.sum(axis=1), 1.0)
    earned = (visited[:, :, None] * policy * mdp.reward).sum()
    assert expected_return(mdp, policy) == pytest.approx(earned)


@settings(max_examples=5)
@given(seed=st.integers(0, 1000))
def test_backward_induction_beats_every_deterministic_policy(seed):
    mdp = random_mdp(seed, states=2, horizon=3)
    returns = []
    for actions in product(range(2), repeat=mdp.horizon * mdp.num_states):
        policy = one_hot(np.array(actions).reshape(mdp.horizon, mdp.num_states), 2)
        returns.append(expected_return(mdp, policy))
    plan = backward_induction(mdp)
    assert mdp.start @ plan.value[0] == pytest.approx(max(returns))
    assert expected_return(mdp, one_hot(plan.action, 2)) == pytest.approx(max(returns))


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), discount=st.sampled_from([0.0, 0.5, 0.95]))
def test_value_iteration_meets_bellman_and_beats_every_stationary_policy(seed, discount):
    mdp = random_mdp(seed)
    plan = value_iteration(mdp, discount=discount)
    best = np.full(mdp.num_states, -np.inf)
    for actions in product(range(2), repeat=mdp.num_states):
        best = np.maximum(best, discounted_values(mdp, one_hot(np.array(actions), 2), discount=discount))
    np.testing.assert_allclose(plan.value, best, atol=1e-8)
    own = discounted_values(mdp, one_hot(plan.action, 2), discount=discount)
    np.testing.assert_allclose(own, best, atol=1e-8)


def test_discounted_values_are_those_of_a_long_horizon():
    mdp = random_mdp(4, horizon=300)
    policy = random_policy(mdp, 4, by_step=False)
    long = values(mdp, policy, discount=0.9)[0]
    np.testing.assert_allclose(discounted_values(mdp, policy, discount=0.9), long, atol=1e-8)


def test_the_grid_has_its_walls_exits_and_slips():
    mdp = grid(slip=0.2)
    at = mdp.state
    assert [mdp.reward[at(cell)].tolist() for cell in ("(2, 2)", "(2, 4)")] == [[1.0] * 4, [10.0] * 4]
    for column in range(5):
        assert mdp.reward[at(f"(4, {column})")].tolist() == [-10.0] * 4
        assert (mdp.transition[:, at(f"(4, {column})"), at("end")] == 1.0).all()
    assert mdp.start[at("(3, 0)")] == 1.0
    row = mdp.transition[EAST, at("(3, 0)")]
    chances = {"(3, 1)": 0.8, "(2, 0)": 0.1, "(4, 0)": 0.1}
    assert {name: row[at(name)] for name in chances} == pytest.approx(chances)
    # North of (3, 1) is a wall, so that a move north stays there but for the slips to west and east.
    row = mdp.transition[NORTH, at("(3, 1)")]
    chances = {"(3, 1)": 0.8, "(3, 0)": 0.1, "(3, 2)": 0.1}
    assert {name: row[at(name)] for name in chances} == pytest.approx(chances)
    # In the corner two of the three ways end at the edge.
    row = mdp.transition[NORTH, at("(0, 0)")]
    assert row[at("(0, 0)")] == pytest.approx(0.9)
    assert row[at("(0, 1)")] == pytest.approx(0.1)
    for wall in ("(1, 1)", "(2, 1)", "(2, 3)"):
        others = np.delete(mdp.transition[:, :, at(wall)], at(wall), axis=1)
        assert (others == 0.0).all()


def test_an_exit_pays_once():
    mdp = grid(slip=0.0, horizon=30)
    # Without slips the +10 is 5 moves and one action away: east four times, north, act.
    way = np.full(mdp.num_states, EAST)
    way[mdp.state("(3, 4)")] = NORTH
    assert expected_return(mdp, one_hot(way, 4)) == 10.0
    assert expected_return(replace(mdp, horizon=6), one_hot(way, 4)) == 10.0
    assert expected_return(replace(mdp, horizon=5), one_hot(way, 4)) == 0.0
    assert backward_induction(mdp).value[0, mdp.state("(3, 0)")] == 10.0
    # Discounted: 10 gamma^5 for the +10 against gamma^3 for the +1.
    plan = value_iteration(mdp, discount=0.5)
    assert plan.value[mdp.state("(3, 0)")] == pytest.approx(10 * 0.5**5)
    assert value_iteration(mdp, discount=0.1).value[mdp.state("(3, 0)")] == pytest.approx(0.1**3)


@pytest.mark.parametrize(
    ("discount", "slip", "exit_cell", "along_the_cliff"),
    [(0.1, 0.0, "(2, 2)", True), (0.99, 0.0, "(2, 4)", True), (0.99, 0.5, "(2, 4)", False)],
)
def test_the_lectures_agents_on_the_grid(discount, slip, exit_cell, along_the_cliff):
    """Near-sighted agents take the near exit; a wind makes far-sighted ones go round by the north."""
    mdp = grid(slip=slip, horizon=200)
    policy = one_hot(value_iteration(mdp, discount=discount).action, 4)
    visits = occupancy(mdp, policy).sum(axis=0)
    assert visits[mdp.state(exit_cell)] > 0.8
    assert (visits[mdp.state("(0, 2)")] == 0.0) == along_the_cliff


def test_a_near_sighted_agent_in_the_wind_takes_no_chance_of_a_fall():
    mdp = grid(slip=0.5, horizon=200)
    policy = one_hot(value_iteration(mdp, discount=0.1).action, 4)
    visits = occupancy(mdp, policy).sum(axis=0)
    assert visits[mdp.state("(2, 2)")] > 0.8
    assert visits[[mdp.state(f"(4, {column})") for column in range(5)]].max() == 0.0


def mistaken(mdp, share, *, never=()):
    """Return the policy that errs with probability `share`, and always in the states `never`."""
    policy = np.zeros((mdp.num_states, 2))
    policy[:, MISTAKE] = share
    policy[[mdp.state(name) for name in never], MISTAKE] = 1.0
    policy[:, RIGHT_WAY] = 1.0 - policy[:, MISTAKE]
    return policy


@pytest.mark.parametrize("horizon", [10, 20, 40])
def test_the_tight_example_costs_epsilon_horizon_squared(horizon):
    """Wrong at the start with probability epsilon H, for ever in the state that was never shown."""
    mdp, epsilon = tight(horizon=horizon), 0.001
    policy = mistaken(mdp, 0.0, never=("never shown",))
    policy[0] = (epsilon * horizon, 1.0 - epsilon * horizon)
    expert = one_hot(np.full(3, RIGHT_WAY), 2)
    assert expected_cost(mdp, policy) == pytest.approx(epsilon * horizon**2)
    assert disagreement(mdp, policy, expert=expert) == pytest.approx(epsilon)
    assert disagreement(mdp, policy, expert=expert, under=policy) == pytest.approx(epsilon * horizon)
    assert expected_cost(mdp, expert) == 0.0


@pytest.mark.parametrize("recoverable", [True, False])
def test_the_cliff_costs_the_sum_over_its_steps(recoverable):
    """E[cost] = sum_t (1 - (1 - epsilon)^t) for a clone; epsilon H for one that knows the way back."""
    mdp, epsilon = cliff(horizon=30, recoverable=recoverable), 0.01
    expected = sum(1.0 - (1.0 - epsilon) ** t for t in range(1, 31))
    assert expected_cost(mdp, mistaken(mdp, epsilon, never=("below",))) == pytest.approx(expected)
    knows = mistaken(mdp, epsilon)
    knows[mdp.state("below")] = (0.0, 1.0)
    cost = expected_cost(mdp, knows)
    if recoverable:
        # Every second step at most can be a fall; to first order in epsilon it is epsilon a step.
        assert cost == pytest.approx(30 * epsilon, rel=0.02)
    else:
        assert cost == pytest.approx(expected)


def test_a_fall_that_is_paid_once_costs_its_probability():
    mdp = fall_once(horizon=30)
    cost = expected_cost(mdp, mistaken(mdp, 0.01))
    assert cost == pytest.approx(1.0 - 0.99**30)


def test_every_branch_of_the_tree_is_its_own():
    mdp = tree(horizon=4)
    never = [f"branch {depth}" for depth in range(4)]
    expected = sum(0.9**depth * 0.1 * (4 - depth) for depth in range(4))
    assert expected_cost(mdp, mistaken(mdp, 0.1, never=never)) == pytest.approx(expected)
    assert expected_cost(mdp, mistaken(mdp, 0.1, never=never[:1])) < expected
    visited = occupancy(mdp, mistaken(mdp, 0.1, never=never))
    assert visited[3, mdp.state("branch 1")] == pytest.approx(0.9 * 0.1)


def test_marginal_over_contexts_is_exact():
    """Against the MDP whose states are the pairs (state, context)."""
    mdp, looks = random_mdp(3), Contexts(probability=np.array([0.5, 0.3, 0.2]))
    policy = np.random.default_rng(0).dirichlet(np.ones(2), size=(3, 3))
    p, count = looks.probability, 9
    pairs = FiniteMDP(
        name="pairs",
        transition=np.einsum("asn,c,d->ascnd", mdp.transition, np.ones(3), p).reshape(2, count, count),
        reward=np.repeat(mdp.reward, 3, axis=0),
        start=np.kron(mdp.start, p),
        horizon=mdp.horizon,
        terminal=np.zeros(count, dtype=bool),
        place=np.zeros((count, 2)),
        state_names=tuple(map(str, range(count))),
        action_names=("0", "1"),
    )
    whole = expected_return(pairs, policy.reshape(count, 2))
    assert expected_return(mdp, looks.marginal(policy)) == pytest.approx(whole)


def test_missing_mass_of_geometric_contexts_falls_as_one_over_n():
    looks = Contexts.geometric(64, ratio=0.8)
    for count in (100, 1000, 10_000):
        assert looks.missing(count) * count * np.log(1 / 0.8) == pytest.approx(1.0, abs=0.05)
    random = np.random.default_rng(0)
    unseen = 1.0 - np.array(
        [(random.multinomial(50, looks.probability) > 0) @ looks.probability for _ in range(3000)]
    )
    assert unseen.mean() == pytest.approx(looks.missing(50), abs=4 * unseen.std() / np.sqrt(3000))
