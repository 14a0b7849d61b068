"""Executors against brute force: lists of past predictions, walked step by step in the order of time.

The policy spells out in its actions when and from what they were predicted (tests/spelling.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spelling import (
    Agreeing,
    Case,
    Repeating,
    assert_continues_exactly,
    drive,
    spelled,
    spelling_policy,
)
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.rollout.executors.ensemble import TemporalEnsemble
from steadyhand.rollout.executors.realtime import RealTimeChunking, prefix_weights
from steadyhand.rollout.executors.receding import RecedingHorizon

LENGTHS = st.lists(st.integers(1, 11), min_size=1, max_size=5)
ROWS = st.integers(1, 4)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """d and s of an asynchronous executor, and the policy."""

    case: Case
    delay: int
    steps: int


@st.composite
def policies(draw: st.DrawFn, *, least: int = 1) -> Case:
    n_obs_steps = draw(st.integers(1, 3))
    chunk_start = -draw(st.integers(0, n_obs_steps - 1))
    return Case(
        n_obs_steps=n_obs_steps,
        horizon=draw(st.integers(least, 6)) - chunk_start,
        n_action_steps=1,
        chunk_start=chunk_start,
        history=draw(st.sampled_from(["sliding", "reset"])),
    )


@st.composite
def timings(draw: st.DrawFn) -> Timing:
    case = draw(policies())
    delay = draw(st.integers(0, case.num_future_steps // 2))
    steps = draw(st.integers(max(1, delay), case.num_future_steps - delay))
    return Timing(case=case, delay=delay, steps=steps)


def delayed(timing: Timing, num_rows: int, *, deterministic: bool = True) -> RecedingHorizon:
    return RecedingHorizon(
        spelling_policy(timing.case),
        num_rows=num_rows,
        n_action_steps=timing.steps,
        delay=timing.delay,
        deterministic=deterministic,
    )


def real_time(timing: Timing, num_rows: int, *, deterministic: bool = True) -> RealTimeChunking:
    return RealTimeChunking(
        spelling_policy(timing.case, head=Agreeing),
        num_rows=num_rows,
        execution_horizon=timing.steps,
        delay=timing.delay,
        deterministic=deterministic,
    )


def ensemble(
    case: Case, num_rows: int, *, decay: float = 0.3, newest: bool = False, deterministic: bool = True
) -> TemporalEnsemble:
    return TemporalEnsemble(
        spelling_policy(case),
        num_rows=num_rows,
        decay=decay,
        newest_heaviest=newest,
        deterministic=deterministic,
    )


def ensembled(case: Case, number: int, length: int, *, decay: float, newest: bool) -> np.ndarray:
    """Average over a list of all predictions made so far, those that still reach this step."""
    made: list[int] = []
    actions: list[np.ndarray] = []
    for time in range(length):
        made.append(time)
        reaching = [then for then in made if time - then < case.num_future_steps]
        if newest:
            reaching.reverse()
        weights = np.array([math.exp(-decay * place) for place in range(len(reaching))])
        weights /= weights.sum()
        said = np.array([spelled(case, number, predicted_at=then, time=time) for then in reaching])
        actions.append(weights @ said)
    return np.array(actions)


def played_at(timing: Timing, time: int) -> int:
    """Return when the chunk was predicted that plays at `time`: the latest one that is there by then."""
    ready = {0: 0} | {then: then + timing.delay for then in range(timing.steps, time + 1, timing.steps)}
    return max(then for then, moment in ready.items() if moment <= time)


@settings(max_examples=40)
@given(
    case=policies(),
    lengths=LENGTHS,
    num_rows=ROWS,
    decay=st.sampled_from([0.0, 0.01, 0.5, 3.0]),
    newest=st.booleans(),
)
def test_an_ensemble_is_the_weighted_mean_of_all_predictions_that_reach_the_step(
    case, lengths, num_rows, decay, newest
):
    driven = drive(ensemble(case, num_rows, decay=decay, newest=newest), lengths, num_rows)
    for number, length in enumerate(lengths):
        expected = ensembled(case, number, length, decay=decay, newest=newest)
        np.testing.assert_allclose(driven[number], expected, rtol=1e-6, atol=1e-6)


class WhenPredicted(Repeating):
    """Every action is a one-hot vector of the time at which it was predicted."""

    num_extra = 5

    def sample(self, context, noise, prefix=None):
        time = context.flat()[:, 1].long() % self.chunk.action_dim
        hot = torch.nn.functional.one_hot(time, self.chunk.action_dim).float()
        return hot[:, None].expand(-1, self.chunk.horizon, -1)


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.01, 1.0])
def test_weights_sum_to_one_and_the_oldest_is_heaviest_unless_reversed(decay, newest):
    """Five predictions reach a step, in five dimensions: the action is the list of their weights."""
    case = Case(n_obs_steps=1, horizon=5, n_action_steps=1, chunk_start=0)
    executor = TemporalEnsemble(
        spelling_policy(case, head=WhenPredicted), num_rows=1, decay=decay, newest_heaviest=newest
    )
    (driven,) = drive(executor, [20], 1)
    np.testing.assert_allclose(driven.sum(1), 1.0, rtol=1e-6)
    weight = np.exp(-decay * np.arange(5)) / np.exp(-decay * np.arange(5)).sum()
    for time in range(4, 20):
        oldest_first = driven[time][np.arange(time - 4, time + 1) % 8]
        np.testing.assert_allclose(oldest_first, weight[::-1] if newest else weight, rtol=1e-6)


@settings(max_examples=40)
@given(timing=timings(), lengths=LENGTHS, num_rows=ROWS)
def test_with_a_delay_the_chunk_that_plays_is_the_latest_that_is_there(timing, lengths, num_rows):
    driven = drive(delayed(timing, num_rows), lengths, num_rows)
    for number, length in enumerate(lengths):
        for time in range(length):
            expected = spelled(timing.case, number, predicted_at=played_at(timing, time), time=time)
            np.testing.assert_array_equal(driven[number][time], expected)


@settings(max_examples=40)
@given(timing=timings(), lengths=LENGTHS, num_rows=ROWS)
def test_real_time_chunking_plays_old_chunks_while_new_ones_are_made_to_agree_with_them(
    timing, lengths, num_rows
):
    case, delay, steps = timing.case, timing.delay, timing.steps
    overlap = case.num_future_steps - steps
    weight = prefix_weights(delay=delay, overlap=overlap, horizon=case.num_future_steps)
    driven = drive(real_time(timing, num_rows), lengths, num_rows)
    for number, length in enumerate(lengths):
        for time in range(length):
            then = played_at(timing, time)
            plain = spelled(case, number, predicted_at=then, time=time)
            if then == 0:
                agreed = [0.0] * 4
            else:
                # Where the old chunk has ended, its last action stands there with weight 0.
                old = spelled(case, number, predicted_at=then - steps, time=min(time, then + overlap - 1))
                agreed = [1.0, weight[time - then], old[-3], old[-2]]
            if then > 0 and overlap == 0:
                agreed = agreed[:2] + driven[number][time][-2:].tolist()
            np.testing.assert_allclose(driven[number][time], [*plain, *agreed], rtol=1e-6)


def test_the_prefix_is_what_the_old_chunk_says_of_every_step_that_is_left():
    """H = 6, s = 2: predicted at 0 (no prefix), 2 and 4; four steps are left of the old chunk."""
    case = Case(n_obs_steps=2, horizon=7, n_action_steps=1, chunk_start=-1)
    executor = real_time(Timing(case=case, delay=1, steps=2), 1)
    drive(executor, [5], 1)
    head = executor.policy.head
    assert isinstance(head, Agreeing)
    assert [window[0, 2] for window, _ in head.asked] == [0, 2, 4]
    assert head.asked[0][1] is None
    for window, prefix in head.asked[1:]:
        assert prefix is not None
        now = int(window[0, 2])
        np.testing.assert_allclose(
            prefix.weight[0], [0, *prefix_weights(delay=1, overlap=4, horizon=6)], rtol=1e-6
        )
        for step in range(4):  # the first one lies in the past
            expected = spelled(case, 0, predicted_at=now - 2, time=now + step)
            np.testing.assert_array_equal(prefix.actions[0, 1 + step, : len(expected)], expected)


BUILDERS = {
    "delayed": lambda timing, rows: delayed(timing, rows, deterministic=False),
    "real time": lambda timing, rows: real_time(timing, rows, deterministic=False),
    "ensemble": lambda timing, rows: ensemble(timing.case, rows, deterministic=False),
}


@pytest.mark.parametrize("kind", BUILDERS)
@settings(max_examples=10)
@given(timing=timings(), lengths=LENGTHS, num_rows=st.integers(2, 4), others=LENGTHS)
def test_what_a_row_does_depends_on_neither_neighbours_nor_batch_size(
    kind, timing, lengths, num_rows, others
):
    def driven(lengths: Sequence[int], num_rows: int) -> list[np.ndarray]:
        return drive(BUILDERS[kind](timing, num_rows), lengths, num_rows)

    alone, crowd = driven(lengths, 1), driven([*lengths, *others], num_rows)
    for one, other in zip(alone, crowd, strict=False):
        np.testing.assert_array_equal(one, other)
    noise = np.concatenate([episode[:, timing.case.n_obs_steps + 3] for episode in crowd])
    assert len(np.unique(noise)) == len(noise), "no two steps may share their noise"


@pytest.mark.parametrize("kind", BUILDERS)
@settings(max_examples=10)
@given(timing=timings(), cut=st.integers(0, 9))
def test_an_executor_restored_in_the_middle_of_a_chunk_continues_exactly(kind, timing, cut):
    assert_continues_exactly(lambda: BUILDERS[kind](timing, 4), cut)


def flow_policy() -> PolicyModule:
    config = PolicyConfig(
        head=Flow(net=DenoisingMLP()),
        horizon=8,
        n_action_steps=4,
        normalisation={"action": "z_score", STATE: "z_score"},
    )
    spec = PolicySpec(
        observation={STATE: FeatureSpec(shape=(2,))}, action=FeatureSpec(shape=(2,)), control_dt=0.1
    )
    policy = PolicyModule.build(config, spec)
    draws = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    policy.normaliser["action"].fit(draws)
    policy.normaliser[STATE.replace(".", "/")].fit(draws * [2, 9] + [104, 15])  # what the clock shows
    return policy


def mean_jump(executor: RecedingHorizon) -> float:
    """Return the mean jump from one action to the next where a new chunk takes over, 2 steps after 4 k."""
    actions = np.array(drive(executor, [30] * 8, 8))
    jumps = np.linalg.norm(np.diff(actions, axis=1), axis=-1)
    return float(jumps[:, 5::4].mean())


def test_a_flow_policy_that_agrees_with_its_old_chunk_jumps_less_between_chunks():
    policy = flow_policy()
    naive = mean_jump(RecedingHorizon(policy, num_rows=8, delay=2))
    joined = mean_jump(RealTimeChunking(policy, num_rows=8, delay=2))
    assert joined < naive
