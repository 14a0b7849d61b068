"""The receding-horizon executor against a brute-force oracle, and what all executors refuse.

The policy here spells its window out in its actions: which steps it saw, how many were padded, and which
predicted step each action is. So every executed action tells exactly when and from what it was predicted.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spelling import Agreeing, Case, Repeating, assert_continues_exactly, drive, spelled, spelling_policy
from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE, FeatureSpec, discrete_spec
from steadyhand.policies.contract import Context
from steadyhand.policies.heads.categorical import Categorical
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.rollout.executors.ensemble import TemporalEnsemble
from steadyhand.rollout.executors.realtime import RealTimeChunking, prefix_weights
from steadyhand.rollout.executors.receding import RecedingHorizon

ONE = Case(n_obs_steps=1, horizon=1, n_action_steps=1, chunk_start=0)


class Climbing(Repeating):
    """Needs a gradient to answer, as an energy-based head does."""

    def sample(self, context, noise, prefix=None):
        with torch.enable_grad():
            leaf = context.tokens.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(leaf.square().sum() / 2, leaf)
        return super().sample(Context(tokens=gradient), noise, prefix)


class Drawing(Repeating):
    """Of a class that drives with samples."""

    draws = True


def oracle(case: Case, number: int, length: int) -> np.ndarray:
    """Say what a chunk that was predicted every n_action_steps steps must have seen, one step at a time."""
    rows: list[list[float]] = []
    for time in range(length):
        predicted_at = (time // case.n_action_steps) * case.n_action_steps
        rows.append(spelled(case, number, predicted_at=predicted_at, time=time))
    return np.array(rows, dtype=np.float32)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n_obs_steps = draw(st.integers(1, 4))
    chunk_start = -draw(st.integers(0, n_obs_steps - 1))
    n_action_steps = draw(st.integers(1, 4))
    horizon = n_action_steps - chunk_start + draw(st.integers(0, 2))
    return Case(
        n_obs_steps=n_obs_steps,
        horizon=horizon,
        n_action_steps=n_action_steps,
        chunk_start=chunk_start,
        history=draw(st.sampled_from(["sliding", "reset"])),
    )


many_lengths = st.lists(st.integers(1, 9), min_size=1, max_size=7)


def receding(case: Case, num_rows: int, *, deterministic: bool) -> RecedingHorizon:
    return RecedingHorizon(spelling_policy(case), num_rows=num_rows, deterministic=deterministic)


@given(case=cases(), lengths=many_lengths, num_rows=st.integers(1, 4))
def test_every_action_was_predicted_when_and_from_what_it_should(case, lengths, num_rows):
    driven = drive(receding(case, num_rows, deterministic=True), lengths, num_rows)
    for number, length in enumerate(lengths):
        np.testing.assert_array_equal(driven[number], oracle(case, number, length))


def test_a_history_that_resets_grows_from_one_step_to_all_of_them_and_is_emptied():
    case = Case(n_obs_steps=3, horizon=1, n_action_steps=1, chunk_start=0, history="reset")
    (driven,) = drive(receding(case, 1, deterministic=True), [8], 1)
    windows = [[0, 0, 0], [0, 0, 1], [0, 1, 2], [3, 3, 3], [3, 3, 4], [3, 4, 5], [6, 6, 6], [6, 6, 7]]
    np.testing.assert_array_equal(driven[:, 1:4], windows)
    np.testing.assert_array_equal(driven[:, 4], [2, 1, 0, 2, 1, 0, 2, 1])


@settings(max_examples=20)
@given(case=cases(), lengths=many_lengths, num_rows=st.integers(2, 4), others=many_lengths)
def test_what_a_row_samples_depends_on_neither_neighbours_nor_batch_size(case, lengths, num_rows, others):
    alone = drive(receding(case, 1, deterministic=False), lengths, 1)
    together = drive(receding(case, num_rows, deterministic=False), lengths, num_rows)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    crowd = drive(receding(case, num_rows, deterministic=False), [*lengths, *others], num_rows)
    for one, other in zip(alone, crowd, strict=False):
        np.testing.assert_array_equal(one, other)
    noise = np.concatenate([episode[:, -1] for episode in crowd])
    assert len(np.unique(noise)) == len(noise), "no two steps may share their noise"


@pytest.mark.parametrize("history", ["sliding", "reset"])
@pytest.mark.parametrize("cut", range(8))
def test_a_restored_executor_continues_exactly(cut, history):
    case = Case(n_obs_steps=3, horizon=5, n_action_steps=3, chunk_start=-1, history=history)
    assert_continues_exactly(lambda: receding(case, 4, deterministic=False), cut)


@pytest.mark.parametrize(("head", "draws"), [(Repeating, False), (Drawing, True)])
@pytest.mark.parametrize("executor", [RecedingHorizon, TemporalEnsemble])
def test_unless_told_otherwise_a_policy_answers_as_its_class_does(executor, head, draws):
    for deterministic, sampled in ((None, draws), (True, False), (False, True)):
        made = executor(spelling_policy(ONE, head=head), num_rows=3, deterministic=deterministic)
        noise = np.concatenate([episode[:, -1] for episode in drive(made, [2, 2, 2], 3)])
        assert made.deterministic != sampled
        assert (noise != 0.0).all() if sampled else (noise == 0.0).all()


def test_a_head_may_take_gradients_while_it_answers():
    case = Case(n_obs_steps=2, horizon=1, n_action_steps=1, chunk_start=0)
    executor = RecedingHorizon(spelling_policy(case, head=Climbing), num_rows=1)
    observation = {STATE: np.array([[7.0, 3.0]], dtype=np.float32)}
    rows = np.array([0])
    action = executor.act(observation, {}, rows, RowStreams.from_seed(0, 1)).action
    np.testing.assert_array_equal(action, [[7.0, 3.0, 3.0, 1.0, 0.0, 0.0]])


def test_an_observation_that_may_not_be_written_to_is_read_in_silence():
    executor = RecedingHorizon(spelling_policy(ONE), num_rows=2)
    state = np.broadcast_to(np.array([7.0, 3.0], dtype=np.float32), (2, 2))
    rows = np.arange(2)
    action = executor.act({STATE: state}, {}, rows, RowStreams.from_seed(0, 2)).action
    np.testing.assert_array_equal(action, [[7.0, 3.0, 0.0, 0.0, 0.0]] * 2)


@pytest.mark.parametrize("n_action_steps", [0, 4])
def test_more_steps_than_are_predicted_cannot_be_executed(n_action_steps):
    policy = spelling_policy(Case(n_obs_steps=2, horizon=4, n_action_steps=1, chunk_start=-1))
    with pytest.raises(SpecError, match="1 to 3"):
        RecedingHorizon(policy, num_rows=1, n_action_steps=n_action_steps)


@pytest.mark.parametrize(
    ("steps", "delay", "expected"), [(1, 2, "2 to 5"), (6, 2, "2 to 5"), (3, 4, "0 to 3")]
)
@pytest.mark.parametrize("kind", [RecedingHorizon, RealTimeChunking])
def test_steps_between_predictions_lie_between_the_delay_and_what_the_old_chunk_lasts(
    kind, steps, delay, expected
):
    """d <= s <= H - d; the H here are the 7 steps from the current one on."""
    policy = spelling_policy(Case(n_obs_steps=2, horizon=8, n_action_steps=1, chunk_start=-1), head=Agreeing)
    name = "n_action_steps" if kind is RecedingHorizon else "execution_horizon"
    with pytest.raises(SpecError, match=expected):
        kind(policy, num_rows=1, delay=delay, **{name: steps})


def test_a_delay_is_not_negative():
    with pytest.raises(SpecError, match="delay = -1"):
        RecedingHorizon(spelling_policy(ONE), num_rows=1, delay=-1)


def test_an_env_that_lacks_a_feature_is_told_so():
    executor = RecedingHorizon(spelling_policy(ONE), num_rows=1)
    with pytest.raises(SpecError, match=r"add observation\.state"):
        executor.act({"observation.x": np.zeros((1, 2))}, {}, np.array([0]), RowStreams.from_seed(0, 1))


def test_an_ensemble_refuses_actions_without_a_mean():
    spec = PolicySpec(observation={STATE: FeatureSpec(shape=(2,))}, action=discrete_spec(3), control_dt=0.1)
    discrete = PolicyModule.build(PolicyConfig(head=Categorical()), spec)
    with pytest.raises(CapabilityError, match="discrete actions"):
        TemporalEnsemble(discrete, num_rows=1)


def test_real_time_chunking_needs_a_head_that_honours_a_prefix():
    case = replace(ONE, horizon=4)
    with pytest.raises(CapabilityError, match="Repeating"):
        RealTimeChunking(spelling_policy(case), num_rows=1, delay=1)


def test_agreement_with_the_old_chunk_falls_off_as_published():
    """d = 2, H - s = 6, H = 10: linearly 1 1 4/5 3/5 2/5 1/5 0 0 0 0 (Black et al., 2025, equation 5)."""
    linear = prefix_weights(delay=2, overlap=6, horizon=10, schedule="linear")
    np.testing.assert_allclose(linear, [1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0, 0], rtol=1e-6)
    exponential = prefix_weights(delay=2, overlap=6, horizon=10)
    expected = [c * (np.e**c - 1) / (np.e - 1) for c in (1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0, 0)]
    np.testing.assert_allclose(exponential, expected, rtol=1e-6)
    np.testing.assert_array_equal(prefix_weights(delay=3, overlap=3, horizon=5), [1, 1, 1, 0, 0])


def test_a_rollout_thinks_with_one_thread_and_gives_the_others_back():
    """Small nets ran tens of times slower with two threads on a busy machine; a rollout must not forget."""
    seen: list[int] = []

    class Counting(Repeating):
        def sample(self, context, noise, prefix=None):
            seen.append(torch.get_num_threads())
            return super().sample(context, noise, prefix)

    policy = spelling_policy(ONE, head=Counting)
    observation = {STATE: np.zeros((1, 2), dtype=np.float32)}
    streams = RowStreams.from_seed(0, 1)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        RecedingHorizon(policy, num_rows=1).act(observation, {}, np.array([0]), streams)
        RecedingHorizon(policy, num_rows=1, num_threads=2).act(observation, {}, np.array([0]), streams)
        assert seen == [1, 2]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
