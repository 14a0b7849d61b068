"""One stepper for everything that drives an env: evaluation, demonstration, correction, the studio.

A session owns the rows of a batched env, a list of starts and one controller. `step` asks the controller,
steps the env and tells its listeners. Ended rows are refilled from the list of starts, in order: a list
of starts means the same for every controller and every batch size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64

from steadyhand.core.description import running
from steadyhand.core.errors import SpecError
from steadyhand.core.protocol import Controller, Decision, OutsideLabels
from steadyhand.core.seeding import RowStreams, derive
from steadyhand.envs.base import BatchEnv, Start, StepResult
from steadyhand.envs.faults import observed, read_only, restart, stepped


@dataclass(frozen=True, kw_only=True)
class StepEvent:
    """What happened in one step, for the B rows that were alive.

    Attributes:
        rows: (B,) env rows.
        start_index: (B,) position of each row's start in the session's list.
        time: (B,) number of steps since the row's reset, before this one.
        observation: Feature -> (B, ...), what the controller saw.
        privileged: Feature -> (B, ...), what the controller saw beside it; empty if it looks at nothing.
        decision: What the controller decided: the action as the env received it, within its bounds, and the
            label as the session's `outside_labels` says.
        result: What the env returned.
        outside: (B,) whether a label lay outside the action's bounds, as it was meant.
        ended: (B,) whether the row's episode ended with this step: by the env, by the session's limit, or
            because the controller had finished.
    """

    rows: Int64[np.ndarray, " B"]
    start_index: Int64[np.ndarray, " B"]
    time: Int64[np.ndarray, " B"]
    observation: Mapping[str, np.ndarray]
    privileged: Mapping[str, np.ndarray]
    decision: Decision
    result: StepResult
    outside: Bool[np.ndarray, " B"]
    ended: Bool[np.ndarray, " B"]


Listener = Callable[[StepEvent], None]


class Session:
    """Drives a controller through a list of starts.

    Args:
        env: The env; its rows are all used, or as many as there are starts.
        controller: The controller that decides.
        starts: Initial conditions, taken in order.
        seed: Seed of the controller's random streams; each start has its own, whatever the batch size.
        num_rows: Episodes that run at the same time; all rows of the env if None.
        max_steps: Steps after which a row's episode is cut, if fewer than the env's own limit.
        listeners: Called after every env step, before ended rows are reset.
        outside_labels: What becomes of labels outside the action's bounds.

    Raises:
        EnvError: The env raises, or shows what its spec does not declare, such as NaN.
    """

    def __init__(
        self,
        env: BatchEnv,
        controller: Controller,
        starts: Sequence[Start],
        *,
        seed: int,
        num_rows: int | None = None,
        max_steps: int | None = None,
        listeners: Sequence[Listener] = (),
        outside_labels: OutsideLabels = "clipped",
    ) -> None:
        if not starts:
            raise SpecError("A session needs at least one start.", got=0, expected=">= 1")
        self.env = env
        self.controller = controller
        self.starts = tuple(starts)
        self.listeners = list(listeners)
        self.num_steps = 0
        self._seed = seed
        self._beyond: OutsideLabels = outside_labels
        self._max_steps = max_steps or env.spec.max_episode_steps
        num_rows = min(env.num_rows if num_rows is None else num_rows, env.num_rows, len(self.starts))
        self._streams = RowStreams(np.zeros(env.num_rows, dtype=np.uint64))
        self._start_of = np.full(env.num_rows, -1, dtype=np.int64)
        self._time = np.zeros(env.num_rows, dtype=np.int64)
        self._next_start = 0
        self._alive = np.zeros(env.num_rows, dtype=bool)
        self._refill(np.arange(num_rows))

    @property
    def finished(self) -> bool:
        """Whether every start has been run to its end."""
        return not self._alive.any()

    def step(self) -> StepEvent | None:
        """Advance every living row by one control step; None when the session is finished.

        Raises:
            SpecError: The controller's decision does not fit the env's action, or it changed what it saw.
        """
        rows = np.flatnonzero(self._alive)
        if len(rows) == 0:
            return None
        observation = observed(self.env, rows)
        privileged = read_only(self.env.privileged(rows)) if self.controller.sees_privileged else {}
        streams = self._streams.take(rows)
        try:
            decision = self.controller.act(observation, privileged, rows, streams)
        except Exception as error:
            refusal = self._refusal(error, rows)
            if refusal is None:
                raise
            raise refusal from error
        self._check(decision, len(rows))
        decision, outside = self._received(decision)
        result = stepped(self.env, decision.action, rows)
        streams.advance()
        time = self._time[rows]
        self._time[rows] += 1
        self.num_steps += len(rows)
        ended = result.terminated | result.truncated | (self._time[rows] >= self._max_steps)
        ended |= self.controller.finished(rows)
        event = StepEvent(
            rows=rows,
            start_index=self._start_of[rows],
            time=time,
            observation=observation,
            privileged=privileged,
            decision=decision,
            result=result,
            outside=outside,
            ended=ended,
        )
        for listener in self.listeners:
            listener(event)
        if ended.any():
            self._alive[rows[ended]] = False
            self._refill(rows[ended])
        return event

    def stop(self) -> None:
        """End the session where it is: no row is alive any more, no start is taken any more."""
        self._alive[:] = False
        self._next_start = len(self.starts)

    def _refill(self, rows: Int64[np.ndarray, " R"]) -> None:
        rows = rows[: len(self.starts) - self._next_start]
        if len(rows) == 0:
            return
        numbers = np.arange(self._next_start, self._next_start + len(rows))
        self._next_start += len(rows)
        restart(self.env, [self.starts[number] for number in numbers], rows)
        keys = np.array([derive(self._seed, "start", int(number)) for number in numbers], dtype=np.uint64)
        self._streams.begin(rows, keys)
        self._start_of[rows] = numbers
        self._time[rows] = 0
        self._alive[rows] = True
        self.controller.begin(rows)

    def _received(self, decision: Decision) -> tuple[Decision, np.ndarray]:
        """Return the decision as the env receives it and as it is stored, and whose labels lay outside."""
        action, label, valid = decision.action, decision.label, decision.label_valid
        spec = self.env.spec.action
        if spec.holds(action) and (label is action or spec.holds(label)):
            return decision, np.zeros(len(action), dtype=bool)
        self._refuse(action)
        self._refuse(label)
        received = spec.clipped(action)
        outside = spec.outside(label) & valid
        if self._beyond == "clipped":
            label = spec.clipped(label)
        else:
            label = np.where(valid.reshape(-1, *[1] * (label.ndim - 1)), label, received)
        return replace(decision, action=received, label=label), outside

    def _refusal(self, error: Exception, rows: Int64[np.ndarray, " B"]) -> SpecError | None:
        """Return what a controller raised, with its place; None where that is nothing of ours, but noted."""
        first, last = int(self._time[rows].min()), int(self._time[rows].max())
        steps = f"step {first}" if first == last else f"steps {first} to {last}"
        place, name = f"{self.env.spec.env_id}, {steps}", type(self.controller).__name__
        if isinstance(error, SpecError):
            return error.within(place)
        if isinstance(error, ValueError) and "read-only" in str(error):
            return SpecError(
                f"{place}: {name} changes what it was shown in place.",
                got=f"{type(error).__name__}: {error}",
                expected="observations that stay as they are: the same arrays are stored",
                hint="work on a copy, such as observation[name].copy(); the error's __cause__ shows the line",
            )
        error.add_note(f"{name} raised this ({place}).")
        return None

    def _check(self, decision: Decision, num_rows: int) -> None:
        spec = self.env.spec.action
        if decision.action.shape != (num_rows, *spec.shape) or decision.action.dtype != np.dtype(spec.dtype):
            raise SpecError(
                f"{type(self.controller).__name__} decided on an action that does not fit the env.",
                got=f"{decision.action.dtype} {decision.action.shape}",
                expected=f"{spec.dtype} {(num_rows, *spec.shape)}",
            )

    def _refuse(self, action: np.ndarray) -> None:
        """Raise SpecError if an action, or a label, is not finite or none of the env's choices."""
        spec = self.env.spec.action
        if spec.num_classes is not None and not spec.holds(action):
            raise SpecError(
                f"{type(self.controller).__name__} decided on an action that the env does not offer.",
                got=action[~spec.is_class(action)][0],
                expected=spec.describe(),
                hint="actions are the env's own numbers, not counted from 0",
            )
        if spec.dtype == "float32" and not np.isfinite(action).all():
            bad = int(np.argwhere(~np.isfinite(action))[0][0])
            raise SpecError(
                f"{type(self.controller).__name__} decided on an action that is not finite.",
                got=action[bad].tolist(),
                hint="a diverged network or a normaliser with wrong statistics does this",
            )


@running()
def run(
    env: BatchEnv,
    controller: Controller,
    starts: Sequence[Start],
    *,
    seed: int,
    max_steps: int | None = None,
    listeners: Sequence[Listener] = (),
) -> int:
    """Run a session to its end and return the number of env steps; see `Session` for the arguments."""
    session = Session(env, controller, starts, seed=seed, max_steps=max_steps, listeners=listeners)
    while session.step() is not None:
        pass
    return session.num_steps
