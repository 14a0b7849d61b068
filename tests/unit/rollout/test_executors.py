"""The receding-horizon executor against a brute-force oracle.

The policy here spells its window out in its actions: which steps it saw, how many were padded, and which
predicted step each action is. So every executed action tells exactly when and from what it was predicted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyhand.core.errors import SpecError
from steadyhand.core.protocol import Actor
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec
from steadyhand.envs.base import BatchEnv, Family, Start, StepResult
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Encoder, Head, Loss
from steadyhand.policies.policy import Policy
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.rollout.executors import RecedingHorizon
from steadyhand.rollout.session import Session, StepEvent


class Spelling(Encoder):
    """Context: episode number, observed times, number of padded steps."""

    def __init__(self, n_obs_steps: int) -> None:
        super().__init__()
        self.spec = ContextSpec(num_tokens=1, width=n_obs_steps + 2)

    def forward(self, observation, is_pad, noise):
        state = observation[STATE]
        padded = is_pad.sum(1, keepdim=True).float()
        return Context.single(torch.cat([state[:, -1, :1], state[:, :, 1], padded], dim=1))


class Repeating(Head):
    """Chunk: the context at every step, then the number of the predicted step, then the noise."""

    def __init__(self, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk

    def loss(self, context, target, noise) -> Loss:
        raise NotImplementedError

    def sample(self, context, noise, prefix=None):
        steps = self.chunk.horizon
        window = context.flat()[:, None].expand(-1, steps, -1)
        number = torch.arange(steps).float()[None, :, None].expand(len(window), -1, 1)
        return torch.cat([window, number, noise.normal(len(window), steps, 1)], dim=2)


class Climbing(Repeating):
    """Needs a gradient to answer, as an energy-based head does."""

    def sample(self, context, noise, prefix=None):
        with torch.enable_grad():
            leaf = context.tokens.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(leaf.square().sum() / 2, leaf)
        return super().sample(Context(tokens=gradient), noise, prefix)


@dataclass(frozen=True, kw_only=True)
class Case:
    n_obs_steps: int
    horizon: int
    n_action_steps: int
    chunk_start: int


def spelling_policy(case: Case, *, head: type[Repeating] = Repeating) -> Policy:
    config = PolicyConfig(
        n_obs_steps=case.n_obs_steps,
        horizon=case.horizon,
        n_action_steps=case.n_action_steps,
        chunk_start=case.chunk_start,
        normalisation={STATE: "identity", "action": "identity"},
    )
    action = FeatureSpec(shape=(case.n_obs_steps + 4,))
    spec = PolicySpec(observation={STATE: FeatureSpec(shape=(2,))}, action=action, control_dt=0.1)
    chunk = ChunkSpec(horizon=case.horizon, action_dim=action.size)
    policy = Policy(config, spec, Spelling(case.n_obs_steps), head(chunk))
    for affine in policy.normaliser.values():
        affine.fit(np.zeros((2, affine.scale.numel()), dtype=np.float32))
    return policy


class Clock(BatchEnv):
    """Shows (episode number, time); an episode ends after the number of steps that its start names."""

    def __init__(self, num_rows: int, *, action_dim: int) -> None:
        self.num_rows = num_rows
        self.spec = EnvSpec(
            env_id="clock",
            observation={STATE: FeatureSpec(shape=(2,))},
            privileged={},
            action=FeatureSpec(shape=(action_dim,)),
            control_dt=0.1,
            max_episode_steps=100,
            task="",
        )
        self.seen = np.zeros((num_rows, 2), dtype=np.float32)
        self.length = np.zeros(num_rows)

    def starts(self, family: Family, count: int, *, seed: int = 0) -> tuple[Start, ...]:
        raise NotImplementedError

    def reset(self, starts: Sequence[Start], rows: np.ndarray) -> None:
        self.seen[rows, 0] = [start.seed for start in starts]
        self.seen[rows, 1] = 0
        self.length[rows] = [start.options["length"] for start in starts]

    def step(self, actions: np.ndarray, rows: np.ndarray) -> StepResult:
        self.seen[rows, 1] += 1
        ended = self.seen[rows, 1] >= self.length[rows]
        return StepResult(
            reward=np.zeros(len(rows), dtype=np.float32),
            terminated=ended,
            truncated=np.zeros(len(rows), dtype=bool),
            success=np.zeros(len(rows), dtype=bool),
        )

    def observe(
        self, rows: np.ndarray, *, view_offset: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        return {STATE: self.seen[rows].copy()}


def drive(case: Case, lengths: Sequence[int], num_rows: int, *, deterministic: bool) -> list[np.ndarray]:
    """Return the executed actions of each episode, (length, A)."""
    policy = spelling_policy(case)
    env = Clock(num_rows, action_dim=policy.spec.action.size)
    starts = [
        Start(family="test", seed=100 + number, options={"length": float(length)})
        for number, length in enumerate(lengths)
    ]
    actions: list[list[np.ndarray]] = [[] for _ in lengths]

    def log(event: StepEvent) -> None:
        assert (event.decision.actor == Actor.POLICY).all()
        assert not event.decision.label_valid.any()
        for place, number in enumerate(event.start_index.tolist()):
            assert len(actions[number]) == event.time[place]
            actions[number].append(event.decision.action[place].copy())

    executor = RecedingHorizon(policy, num_rows=num_rows, deterministic=deterministic)
    session = Session(env, executor, starts, seed=5, listeners=[log])
    while session.step() is not None:
        pass
    return [np.array(episode) for episode in actions]


def oracle(case: Case, number: int, length: int) -> np.ndarray:
    """Say what a chunk that was predicted every n_action_steps steps must have seen, one step at a time."""
    rows: list[list[float]] = []
    for time in range(length):
        predicted_at = (time // case.n_action_steps) * case.n_action_steps
        window = [max(0, predicted_at - back) for back in reversed(range(case.n_obs_steps))]
        padded = sum(predicted_at - back < 0 for back in range(case.n_obs_steps))
        step_of_chunk = time - predicted_at - case.chunk_start
        rows.append([100 + number, *window, padded, step_of_chunk, 0.0])
    return np.array(rows, dtype=np.float32)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n_obs_steps = draw(st.integers(1, 4))
    chunk_start = -draw(st.integers(0, n_obs_steps - 1))
    n_action_steps = draw(st.integers(1, 4))
    horizon = n_action_steps - chunk_start + draw(st.integers(0, 2))
    return Case(
        n_obs_steps=n_obs_steps, horizon=horizon, n_action_steps=n_action_steps, chunk_start=chunk_start
    )


many_lengths = st.lists(st.integers(1, 9), min_size=1, max_size=7)


@given(case=cases(), lengths=many_lengths, num_rows=st.integers(1, 4))
def test_every_action_was_predicted_when_and_from_what_it_should(case, lengths, num_rows):
    driven = drive(case, lengths, num_rows, deterministic=True)
    for number, length in enumerate(lengths):
        np.testing.assert_array_equal(driven[number], oracle(case, number, length))


@settings(max_examples=20)
@given(case=cases(), lengths=many_lengths, num_rows=st.integers(2, 4), others=many_lengths)
def test_what_a_row_samples_depends_on_neither_neighbours_nor_batch_size(case, lengths, num_rows, others):
    alone = drive(case, lengths, 1, deterministic=False)
    together = drive(case, lengths, num_rows, deterministic=False)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    crowd = drive(case, [*lengths, *others], num_rows, deterministic=False)
    for one, other in zip(alone, crowd, strict=False):
        np.testing.assert_array_equal(one, other)
    noise = np.concatenate([episode[:, -1] for episode in crowd])
    assert len(np.unique(noise)) == len(noise), "no two steps may share their noise"


def history_of(case: Case, num_steps: int, num_rows: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (rows alive, observation) at each step; a row joins late and one starts afresh."""
    generator = np.random.default_rng(1)
    values = generator.normal(size=(num_steps, num_rows, 2)).astype(np.float32)
    return [(np.flatnonzero(np.arange(num_rows) <= step), values[step]) for step in range(num_steps)]


@pytest.mark.parametrize("cut", range(8))
def test_a_restored_executor_continues_exactly(cut):
    case = Case(n_obs_steps=3, horizon=5, n_action_steps=3, chunk_start=-1)
    num_rows = 4
    original = RecedingHorizon(spelling_policy(case), num_rows=num_rows, deterministic=False)
    copy = RecedingHorizon(spelling_policy(case), num_rows=num_rows, deterministic=False)
    streams = RowStreams.from_seed(3, num_rows)
    kept: tuple[dict, dict] | None = None
    expected: list[np.ndarray] = []
    history = history_of(case, 9, num_rows)

    def act(executor: RecedingHorizon, streams: RowStreams, step: int) -> np.ndarray:
        rows, values = history[step]
        if step in (0, 5):
            executor.begin(rows[:1])
        view = streams.take(rows)
        action = executor.act({STATE: values[rows]}, {}, rows, view).action
        view.advance()
        return action

    for step in range(9):
        if step == cut:
            kept = (original.state(), streams.state())
        answer = act(original, streams, step)
        if step >= cut:
            expected.append(answer)
    assert kept is not None
    copy.restore(kept[0])
    again = RowStreams.from_seed(0, num_rows)
    again.restore(kept[1])
    for step, answer in zip(range(cut, 9), expected, strict=True):
        np.testing.assert_array_equal(act(copy, again, step), answer)


def test_a_head_may_take_gradients_while_it_answers():
    case = Case(n_obs_steps=2, horizon=1, n_action_steps=1, chunk_start=0)
    executor = RecedingHorizon(spelling_policy(case, head=Climbing), num_rows=1)
    observation = {STATE: np.array([[7.0, 3.0]], dtype=np.float32)}
    rows = np.array([0])
    action = executor.act(observation, {}, rows, RowStreams.from_seed(0, 1)).action
    np.testing.assert_array_equal(action, [[7.0, 3.0, 3.0, 1.0, 0.0, 0.0]])


@pytest.mark.parametrize("n_action_steps", [0, 4])
def test_more_steps_than_are_predicted_cannot_be_executed(n_action_steps):
    policy = spelling_policy(Case(n_obs_steps=2, horizon=4, n_action_steps=1, chunk_start=-1))
    with pytest.raises(SpecError, match="1 to 3"):
        RecedingHorizon(policy, num_rows=1, n_action_steps=n_action_steps)


def test_an_env_that_lacks_a_feature_is_told_so():
    executor = RecedingHorizon(
        spelling_policy(Case(n_obs_steps=1, horizon=1, n_action_steps=1, chunk_start=0)), num_rows=1
    )
    with pytest.raises(SpecError, match=r"add observation\.state"):
        executor.act({"observation.x": np.zeros((1, 2))}, {}, np.array([0]), RowStreams.from_seed(0, 1))


def test_a_rollout_thinks_with_one_thread_and_gives_the_others_back():
    """Small nets ran tens of times slower with two threads on a busy machine; a rollout must not forget."""
    seen: list[int] = []

    class Counting(Repeating):
        def sample(self, context, noise, prefix=None):
            seen.append(torch.get_num_threads())
            return super().sample(context, noise, prefix)

    policy = spelling_policy(Case(n_obs_steps=1, horizon=1, n_action_steps=1, chunk_start=0), head=Counting)
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
