"""What all executors share: the history, and asking the policy."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64, Shaped

from steadyhand.core.protocol import Controller, Observation
from steadyhand.core.seeding import RowStreams
from steadyhand.policies.contract import Prefix
from steadyhand.policies.noise import RowNoise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.threads import use_threads
from steadyhand.rollout.executors.history import History
from steadyhand.rollout.executors.memory import StepMemory


class PolicyExecutor(Controller):
    """A policy as a controller; subclasses decide when it is asked and what is made of its chunks.

    Args:
        policy: The policy; it is put into evaluation mode and is itself without memory.
        num_rows: Rows of the env that will be driven.
        deterministic: Ask for the mode (True) or a sample (False); None does what the policy class does.
        num_threads: Threads of torch while predicting; small nets are many times faster with one.

    Attributes:
        policy: The policy.
        deterministic: Whether the mode is asked for.
    """

    sees_privileged = False

    def __init__(
        self, policy: PolicyModule, *, num_rows: int, deterministic: bool | None = None, num_threads: int = 1
    ) -> None:
        self.policy = policy.eval()
        self.deterministic = not policy.head.draws if deterministic is None else deterministic
        self._num_threads = num_threads
        self._history = (StepMemory if StepMemory.fits(policy) else History)(policy, num_rows)

    def begin(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Forget what is known of `rows`."""
        self._history.forget(rows)

    def _observe(self, observation: Observation, rows: Int64[np.ndarray, " B"]) -> None:
        """Take in the current step of `rows`; once a step, before any prediction."""
        with use_threads(self._num_threads):
            self._history.add(observation, rows)

    def state(self) -> dict[str, np.ndarray]:
        """Return the history."""
        return self._history.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        self._history.restore(state)

    def _predict(
        self,
        observation: Observation,
        rows: Int64[np.ndarray, " B"],
        places: Int64[np.ndarray, " D"],
        generator: RowStreams,
        prefix: Prefix | None = None,
    ) -> Shaped[np.ndarray, "D F A"]:
        """Return chunks for rows[places] from their histories; the streams of `rows` are not advanced."""
        noise = None
        if not self.deterministic:
            streams = generator.fork("policy")
            if len(places) < len(rows):
                streams = streams.take(places)
            noise = RowNoise(streams, device=self.policy.device)
        with use_threads(self._num_threads):
            chunk = self._history.predict(observation, rows, places, noise=noise, prefix=prefix)
        return chunk.cpu().numpy()
