"""Real-time chunking: the new chunk is computed while the old one plays, and made to agree with it.

step             t   t+1  t+2  t+3  t+4  t+5
old chunk        a    a    a    a              it was predicted s = 2 steps ago, H = 6
new chunk        a    a    a    a    a    a    from the observation at t, there at t + d, d = 1
agreement        1   .49  .19  .04   0    0    W
played           old  new                      then the next one is predicted
"""

import math

import numpy as np
import torch
from jaxtyping import Float32, Int64

from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Observation
from steadyhand.core.seeding import RowStreams
from steadyhand.policies.contract import Prefix
from steadyhand.policies.policy import PolicyModule
from steadyhand.rollout.executors.config import Schedule
from steadyhand.rollout.executors.receding import RecedingHorizon


class RealTimeChunking(RecedingHorizon):
    """Real-time chunking (Black, Galliker and Levine, 2025) with a simulated delay of whole control steps.

    Every s steps a chunk is predicted from the observation at t. It is there at t + d, and until then the old
    one plays on. The policy is told what the old one says for the steps t to t + H - 1 - s, and how firmly to
    agree with it: wholly for the first d steps, which are executed whatever it answers, less and less after
    that (`prefix_weights`). So the new chunk carries on the way that the old one had chosen.

    The first chunk of an episode is predicted without a prefix and comes at once, as if the robot had waited
    for it.

    Args:
        policy: The policy; its head must honour a prefix (`Head.inpaints`).
        num_rows: Rows of the env that will be driven.
        delay: d, control steps that a prediction takes.
        execution_horizon: s, steps from one prediction to the next; the policy's n_action_steps if None.
        schedule: How agreement falls off between d and H - s.
        deterministic: Ask for the mode (True) or a sample (False); None does what the policy class does.
        num_threads: Threads of torch while predicting; small nets are many times faster with one.

    Raises:
        CapabilityError: The head cannot honour a prefix.
        SpecError: Not d <= s <= H - d, or s is not positive; H counts the steps from the current one on.
    """

    def __init__(
        self,
        policy: PolicyModule,
        *,
        num_rows: int,
        delay: int,
        execution_horizon: int | None = None,
        schedule: Schedule = "exponential",
        deterministic: bool | None = None,
        num_threads: int = 1,
    ) -> None:
        if not policy.head.inpaints:
            raise CapabilityError(
                "Real-time chunking needs a head that honours a prefix.",
                got=type(policy.head).__name__,
                hint="use diffusion, flow or a joint mixture; or receding horizon with the same delay",
            )
        self._horizon = policy.config.num_future_steps
        super().__init__(
            policy,
            num_rows=num_rows,
            n_action_steps=execution_horizon,
            delay=delay,
            deterministic=deterministic,
            num_threads=num_threads,
        )
        self._overlap = self._horizon - self._n_action_steps
        self._agreement = prefix_weights(
            delay=delay, overlap=self._overlap, horizon=self._horizon, schedule=schedule
        )

    @property
    def _num_kept(self) -> int:
        return self._horizon

    def _renew(
        self,
        observation: Observation,
        rows: Int64[np.ndarray, " B"],
        places: Int64[np.ndarray, " D"],
        generator: RowStreams,
    ) -> None:
        # Asked apart, always: what a row is answered may not depend on whether a neighbour has an old chunk.
        later = self._used[rows[places]] < self._none
        for some, has_old in ((places[~later], False), (places[later], True)):
            if len(some):
                prefix = self._prefix(rows[some]) if has_old else None
                self._put(rows[some], self._predict(observation, rows, some, generator, prefix))

    def _prefix(self, rows: Int64[np.ndarray, " D"]) -> Prefix:
        """Return what the old chunks say from now on; where they end, their last action with weight 0."""
        step = np.minimum(np.arange(self._horizon) + self._n_action_steps, self._horizon - 1)
        actions = torch.as_tensor(self._chunks[rows[:, None], step], device=self.policy.device)
        weight = torch.as_tensor(self._agreement, device=self.policy.device).expand(len(rows), -1)
        return Prefix(actions=actions, weight=weight)


def prefix_weights(
    *, delay: int, overlap: int, horizon: int, schedule: Schedule = "exponential"
) -> Float32[np.ndarray, " H"]:
    """Return how firmly each step of a new chunk is to agree with the old one (RTC, equation 5).

    With c_i = (overlap - i) / (overlap - delay + 1): 1 for i < delay; then c_i (e^c_i - 1) / (e - 1), or c_i
    if "linear"; 0 from i = overlap on.

    Args:
        delay: d, steps that are executed whatever the new chunk says.
        overlap: H - s, steps of which the old chunk says anything.
        horizon: Number H of predicted steps.
        schedule: How it falls off.
    """
    step = np.arange(horizon)
    share = np.clip((overlap - step) / (overlap - delay + 1), 0.0, 1.0)
    weight = share if schedule == "linear" else share * np.expm1(share) / math.expm1(1.0)
    weight = np.where(step < delay, 1.0, weight)
    return np.where(step < overlap, weight, 0.0).astype(np.float32)
