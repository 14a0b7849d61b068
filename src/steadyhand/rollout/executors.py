"""The one place that wraps a policy into a controller: it owns history, chunks and timing.

step            t-1   t   t+1  t+2  t+3  t+4
observed         o    o                         n_obs_steps = 2
predicted             a    a    a    a    a     horizon = 5
executed              a    a    a               n_action_steps = 3, then a new chunk is predicted
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64

from steadyhand.core.errors import SpecError
from steadyhand.core.protocol import Actor, Controller, Decision, Observation
from steadyhand.core.seeding import RowStreams
from steadyhand.policies.noise import RowNoise
from steadyhand.policies.policy import Policy
from steadyhand.policies.threads import use_threads


class RecedingHorizon(Controller):
    """Predicts a chunk, executes its first `n_action_steps`, predicts again (Chi et al., 2023, section 3).

    Args:
        policy: The policy; it is put into evaluation mode and is itself without memory.
        num_rows: Rows of the env that will be driven.
        n_action_steps: Executed steps of each chunk; the policy's own number if None.
        deterministic: Ask for the mode rather than a sample.
        num_threads: Threads of torch while predicting; small nets are many times faster with one.
    """

    sees_privileged = False

    def __init__(
        self,
        policy: Policy,
        *,
        num_rows: int,
        n_action_steps: int | None = None,
        deterministic: bool = True,
        num_threads: int = 1,
    ) -> None:
        config = policy.config
        self.policy = policy.eval()
        self.deterministic = deterministic
        self._num_threads = num_threads
        self._n_obs_steps = config.n_obs_steps
        self._n_action_steps = config.n_action_steps if n_action_steps is None else n_action_steps
        if not 1 <= self._n_action_steps <= config.num_future_steps:
            raise SpecError(
                "n_action_steps must lie within what the policy predicts from the current step on.",
                got=self._n_action_steps,
                expected=f"1 to {config.num_future_steps}",
            )
        self._num_rows = num_rows
        self._features = policy.features
        self._history: dict[str, np.ndarray] = {}
        self._seen = np.zeros(num_rows, dtype=np.int64)
        action = policy.spec.action
        self._chunks = np.zeros((num_rows, self._n_action_steps, *action.shape), dtype=action.dtype)
        self._used = np.full(num_rows, self._n_action_steps, dtype=np.int64)

    def begin(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Forget history and chunks of `rows`."""
        self._seen[rows] = 0
        self._used[rows] = self._n_action_steps

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Return the next action of each row's chunk, predicting new chunks where they are used up."""
        del privileged
        self._remember(observation, rows)
        due = self._used[rows] >= self._n_action_steps
        if due.any():
            some = rows[due]
            noise = None
            if not self.deterministic:
                streams = generator.fork("policy")
                noise = RowNoise(streams if due.all() else streams.take(np.flatnonzero(due)))
            self._chunks[some] = self._predict(some, noise)
            self._used[some] = 0
        action = self._chunks[rows, self._used[rows]]
        self._used[rows] += 1
        return Decision.by(Actor.POLICY, action)

    def state(self) -> dict[str, np.ndarray]:
        """Return history, chunks and counters."""
        return {
            "seen": self._seen.copy(),
            "used": self._used.copy(),
            "chunks": self._chunks.copy(),
            **{f"history/{name}": value.copy() for name, value in self._history.items()},
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        self._seen, self._used = state["seen"].copy(), state["used"].copy()
        self._chunks = state["chunks"].copy()
        self._history = {
            name.removeprefix("history/"): value.copy()
            for name, value in state.items()
            if name.startswith("history/")
        }

    def _remember(self, observation: Observation, rows: np.ndarray) -> None:
        missing = [name for name in self._features if name not in observation]
        if missing:
            raise SpecError(
                "The env does not offer what the policy was trained on.",
                got=sorted(observation),
                expected=list(self._features),
                hint=f"add {', '.join(missing)} to the env's observation",
            )
        fresh = self._seen[rows] == 0
        for name in self._features:
            value = observation[name]
            past = self._history.get(name)
            if past is None:
                past = np.zeros((self._num_rows, self._n_obs_steps, *value.shape[1:]), dtype=value.dtype)
                self._history[name] = past
            if self._n_obs_steps > 1:
                past[rows, :-1] = np.where(
                    fresh.reshape(-1, 1, *[1] * (value.ndim - 1)), value[:, None], past[rows, 1:]
                )
            past[rows, -1] = value
        self._seen[rows] += 1

    def _predict(self, rows: np.ndarray, noise: RowNoise | None) -> np.ndarray:
        window = {name: past[rows] for name, past in self._history.items()}
        age = np.arange(self._n_obs_steps)[::-1]
        is_pad = age >= self._seen[rows][:, None]
        with use_threads(self._num_threads):
            chunk = self.policy.predict_chunk(window, is_pad, noise=noise)
        return chunk[:, : self._n_action_steps].cpu().numpy()
