"""Predict at every step; the action is a weighted mean of all that was predicted for this step."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64

from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Actor, Decision, Observation
from steadyhand.core.seeding import RowStreams
from steadyhand.policies.policy import PolicyModule
from steadyhand.rollout.executors.base import PolicyExecutor


class TemporalEnsemble(PolicyExecutor):
    """ACT's temporal ensemble (Zhao et al., 2023, section 4.2 and algorithm 2).

    With F predicted steps, up to F predictions were made for the step that is due, at t - F + 1 to t. Their
    mean is weighted by w_i = exp(-m i) / sum, i = 0 for the OLDEST, which therefore weighs most; m = 0 is the
    plain mean.

    Instead of all past chunks, two running sums are kept for each future step: of w_i times the prediction,
    and of w_i. A prediction that comes k-th has weight exp(-m k), known when it comes; with the newest
    heaviest, all earlier sums shrink by exp(-m) instead.

    Deviation: the original code takes an action with a zero in it for a slot that was never filled, and
    leaves it out. Here a prediction counts because it was made.

    Args:
        policy: The policy; it is put into evaluation mode and is itself without memory.
        num_rows: Rows of the env that will be driven.
        decay: Decay rate m of the weights for each step.
        newest_heaviest: Count i from the newest prediction instead.
        deterministic: Ask for the mode (True) or a sample (False); None does what the policy class does.
        num_threads: Threads of torch while predicting; small nets are many times faster with one.

    Raises:
        CapabilityError: The actions cannot be averaged.
    """

    def __init__(
        self,
        policy: PolicyModule,
        *,
        num_rows: int,
        decay: float = 0.01,
        newest_heaviest: bool = False,
        deterministic: bool | None = None,
        num_threads: int = 1,
    ) -> None:
        super().__init__(policy, num_rows=num_rows, deterministic=deterministic, num_threads=num_threads)
        action = policy.spec.action
        if action.kind != "continuous":
            raise CapabilityError(
                "A temporal ensemble averages actions; these have no mean.",
                got=f"{action.kind} actions",
                hint="use the receding-horizon executor",
            )
        self._decay = decay
        self._newest_heaviest = newest_heaviest
        self._num_steps = policy.config.num_future_steps
        self._sums = np.zeros((num_rows, self._num_steps, *action.shape))
        self._weights = np.zeros((num_rows, self._num_steps))
        self._counts = np.zeros((num_rows, self._num_steps), dtype=np.int64)

    def begin(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Forget history and predictions of `rows`."""
        super().begin(rows)
        self.replan(rows)

    def replan(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Forget the predictions for `rows`."""
        self._sums[rows] = 0.0
        self._weights[rows] = 0.0
        self._counts[rows] = 0

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Predict, add the prediction to the earlier ones and return the mean for this step."""
        del privileged
        self._observe(observation, rows)
        chunk = self._predict(observation, rows, np.arange(len(rows)), generator)
        sums, weights, counts = self._sums[rows], self._weights[rows], self._counts[rows]
        if self._newest_heaviest:
            shrink = math.exp(-self._decay)
            sums = sums * shrink + chunk
            weights = weights * shrink + 1.0
        else:
            weight = np.exp(-self._decay * counts)
            sums += weight[..., None] * chunk
            weights += weight
        counts += 1
        action = sums[:, 0] / weights[:, :1]
        # The next call is for the next step: everything moves up, and nothing is known of the last one.
        self._sums[rows] = _moved_up(sums)
        self._weights[rows] = _moved_up(weights)
        self._counts[rows] = _moved_up(counts)
        return Decision.by(Actor.POLICY, action.astype(self.policy.spec.action.dtype))

    def state(self) -> dict[str, np.ndarray]:
        """Return history and sums."""
        return {
            **super().state(),
            "sums": self._sums.copy(),
            "weights": self._weights.copy(),
            "counts": self._counts.copy(),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        super().restore(state)
        self._sums, self._weights = state["sums"].copy(), state["weights"].copy()
        self._counts = state["counts"].copy()


def _moved_up(values: np.ndarray) -> np.ndarray:
    """Return (B, F, ...) with step f + 1 in the place of step f, and zeros in the last."""
    moved = np.empty_like(values)
    moved[:, :-1] = values[:, 1:]
    moved[:, -1] = 0
    return moved
