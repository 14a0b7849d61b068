"""Play a chunk, predict again.

step            t-1   t   t+1  t+2  t+3  t+4
observed         o    o                         n_obs_steps = 2
predicted             a    a    a    a    a     horizon = 5
executed              a    a    a               n_action_steps = 3: then a new chunk is predicted
executed                   a    a    a          likewise, with delay = 1: step t still plays the old chunk
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64

from steadyhand.core.errors import SpecError
from steadyhand.core.protocol import Actor, Decision, Observation
from steadyhand.core.seeding import RowStreams
from steadyhand.policies.policy import PolicyModule
from steadyhand.rollout.executors.base import PolicyExecutor


class RecedingHorizon(PolicyExecutor):
    """Predicts a chunk, executes its first `n_action_steps`, predicts again (Chi et al., 2023, section 3).

    With a `delay` it predicts every `n_action_steps` steps as well, but the answer to the observation at t
    comes at t + delay: until then the old chunk plays on, and the new one's first `delay` actions, whose time
    has passed, are dropped. This is the naive asynchronous execution that real-time chunking is measured
    against. The first chunk of an episode comes at once, as if the robot had waited for it, as in the
    simulator that RTC was published with.

    Args:
        policy: The policy; it is put into evaluation mode and is itself without memory.
        num_rows: Rows of the env that will be driven.
        n_action_steps: Steps from one prediction to the next; the policy's own number if None.
        delay: Control steps that a prediction takes; at most n_action_steps, since one is made at a time.
        deterministic: Ask for the mode (True) or a sample (False); None does what the policy class does.
        num_threads: Threads of torch while predicting; small nets are many times faster with one.

    Raises:
        SpecError: The chunk is too short for these numbers.
    """

    def __init__(
        self,
        policy: PolicyModule,
        *,
        num_rows: int,
        n_action_steps: int | None = None,
        delay: int = 0,
        deterministic: bool | None = None,
        num_threads: int = 1,
    ) -> None:
        super().__init__(policy, num_rows=num_rows, deterministic=deterministic, num_threads=num_threads)
        self._n_action_steps = policy.config.n_action_steps if n_action_steps is None else n_action_steps
        self._delay = delay
        self._check_timing(policy.config.num_future_steps)
        action = policy.spec.action
        self._chunks = np.zeros((num_rows, self._num_kept, *action.shape), dtype=action.dtype)
        self._used = np.full(num_rows, self._none, dtype=np.int64)

    @property
    def _num_kept(self) -> int:
        """Steps of a chunk that are kept: what is played, until the next one is there."""
        return self._n_action_steps + self._delay

    @property
    def _none(self) -> int:
        """What `_used` says of a row without a chunk: one more than of a chunk that has been played."""
        return self._n_action_steps + 1

    def begin(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Forget history and chunks of `rows`."""
        super().begin(rows)
        self._used[rows] = self._none

    def replan(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Predict afresh at the next step of `rows`."""
        self._used[rows] = self._none

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Return the next action of each row's chunk, predicting new chunks where it is time to."""
        del privileged
        self._observe(observation, rows)
        used = self._used[rows]
        due = np.flatnonzero(used >= self._n_action_steps)
        if len(due):
            self._renew(observation, rows, due, generator)
            used[due] = 0
        self._used[rows] = used + 1
        return Decision.by(Actor.POLICY, self._chunks[rows, used])

    def state(self) -> dict[str, np.ndarray]:
        """Return history, chunks and counters."""
        return {**super().state(), "used": self._used.copy(), "chunks": self._chunks.copy()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        super().restore(state)
        self._used, self._chunks = state["used"].copy(), state["chunks"].copy()

    def _renew(
        self,
        observation: Observation,
        rows: Int64[np.ndarray, " B"],
        places: Int64[np.ndarray, " D"],
        generator: RowStreams,
    ) -> None:
        """Predict for rows[places], whose `_used` is still the old one, and put the chunks in place."""
        self._put(rows[places], self._predict(observation, rows, places, generator))

    def _put(self, rows: Int64[np.ndarray, " D"], chunk: np.ndarray) -> None:
        """Store chunks for the steps from now on: the old one during the delay, then the new one.

        No prediction is due before the delay is over, so old and new need not be kept apart.
        """
        chunk = chunk[:, : self._num_kept]
        if self._delay == 0:
            self._chunks[rows] = chunk
            return
        later = self._used[rows] < self._none
        first = self._n_action_steps
        still = self._chunks[rows[later], first : first + self._delay]
        self._chunks[rows] = chunk
        self._chunks[rows[later], : self._delay] = still

    def _check_timing(self, num_future_steps: int) -> None:
        least, most = max(1, self._delay), num_future_steps - self._delay
        if self._delay < 0 or least > most:
            raise SpecError(
                "The delay does not fit into the chunk: the old one must last until the new one is there.",
                got=f"delay = {self._delay}, {num_future_steps} steps predicted from the current one on",
                expected=f"0 to {num_future_steps // 2}",
                hint="use a policy with a longer horizon",
            )
        if not least <= self._n_action_steps <= most:
            what = "n_action_steps must lie within what the policy predicts from the current step on."
            if self._delay:
                what = "Steps from one prediction to the next: delay <= n_action_steps <= predicted - delay."
            raise SpecError(what, got=self._n_action_steps, expected=f"{least} to {most}")
