"""A policy whose actions spell out when and from what they were predicted, and an env that is a clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from steadyhand.core.protocol import Actor
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec
from steadyhand.envs.base import BatchEnv, Family, Start, StepResult
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Encoder, Head, Loss, Prefix
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.rollout.executors.base import PolicyExecutor
from steadyhand.rollout.session import Session, StepEvent


@dataclass(frozen=True, kw_only=True)
class Case:
    n_obs_steps: int
    horizon: int
    n_action_steps: int
    chunk_start: int
    history: Literal["sliding", "reset"] = "sliding"

    @property
    def num_future_steps(self) -> int:
        return self.horizon + self.chunk_start


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

    num_extra = 2

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


class Agreeing(Repeating):
    """Also spells out the prefix: whether there is one, its weight, and its first and last number."""

    num_extra = 6
    inpaints = True

    def __init__(self, chunk: ChunkSpec) -> None:
        super().__init__(chunk)
        self.asked: list[tuple[np.ndarray, Prefix | None]] = []

    def sample(self, context, noise, prefix=None):
        self.asked.append((context.flat().numpy().copy(), prefix))
        if prefix is None:
            chunk = super().sample(context, noise)
            return torch.cat([chunk, torch.zeros(*chunk.shape[:2], 4)], dim=2)
        noise.normal(len(context.tokens), 3)  # as one that first looks for a noise that suits the prefix
        chunk = super().sample(context, noise)
        width = chunk.shape[2]
        seen = prefix.actions[:, :, [width - 3, width - 2]]  # padded steps, number of the step
        there = torch.ones(*chunk.shape[:2], 1)
        return torch.cat([chunk, there, prefix.weight[:, :, None], seen], dim=2)


def spelling_policy(case: Case, *, head: type[Repeating] = Repeating) -> PolicyModule:
    config = PolicyConfig(
        n_obs_steps=case.n_obs_steps,
        horizon=case.horizon,
        n_action_steps=case.n_action_steps,
        chunk_start=case.chunk_start,
        normalisation={STATE: "identity", "action": "identity"},
        history=case.history,
    )
    action = FeatureSpec(shape=(case.n_obs_steps + 2 + head.num_extra,))
    spec = PolicySpec(observation={STATE: FeatureSpec(shape=(2,))}, action=action, control_dt=0.1)
    chunk = ChunkSpec(horizon=case.horizon, action_dim=action.size)
    policy = PolicyModule(config, spec, Spelling(case.n_obs_steps), head(chunk))
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


def drive(
    executor: PolicyExecutor, lengths: Sequence[int], num_rows: int, *, max_steps: int | None = None
) -> list[np.ndarray]:
    """Return the executed actions of each episode, (length, A); episode i is number 100 + i."""
    env = Clock(num_rows, action_dim=executor.policy.spec.action.size)
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

    session = Session(env, executor, starts, seed=5, max_steps=max_steps, listeners=[log])
    while session.step() is not None:
        pass
    return [np.array(episode) for episode in actions]


def spelled(case: Case, number: int, *, predicted_at: int, time: int) -> list[float]:
    """Say what `Repeating` predicts for `time` in episode `number`, from the history at `predicted_at`."""
    since = predicted_at - predicted_at % case.n_obs_steps if case.history == "reset" else 0
    times = [predicted_at - back for back in reversed(range(case.n_obs_steps))]
    window = [max(since, step) for step in times]
    padded = sum(step < since for step in times)
    return [100 + number, *window, padded, time - predicted_at - case.chunk_start, 0.0]


def assert_continues_exactly(build: Callable[[], PolicyExecutor], cut: int, *, num_rows: int = 4) -> None:
    """Snapshot an executor before step `cut` and let another go on; rows join late, one starts afresh."""
    num_steps = 10
    values = np.random.default_rng(1).normal(size=(num_steps, num_rows, 2)).astype(np.float32)
    original, copy = build(), build()
    streams, again = RowStreams.from_seed(3, num_rows), RowStreams.from_seed(0, num_rows)

    def act(executor: PolicyExecutor, streams: RowStreams, step: int) -> np.ndarray:
        rows = np.flatnonzero(np.arange(num_rows) <= step)
        if step == 0:
            executor.begin(np.arange(num_rows))
        if step == 5:
            executor.begin(rows[:1])
        view = streams.take(rows)
        action = executor.act({STATE: values[step, rows]}, {}, rows, view).action
        view.advance()
        return action

    for step in range(cut):
        act(original, streams, step)
    copy.restore(original.state())
    again.restore(streams.state())
    expected = [act(original, streams, step) for step in range(cut, num_steps)]
    for step in range(cut, num_steps):
        np.testing.assert_array_equal(act(copy, again, step), expected[step - cut])
