"""Any controller as an expert: its action becomes the label."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64

from steadyhand.core.protocol import Actor, Controller, Decision, Observation
from steadyhand.core.seeding import RowStreams


class Labelled(Controller):
    """Takes what the wrapped controller does for the expert's intention.

    Args:
        controller: For example a trained policy in its executor.

    `num_queries` counts the steps it was asked about.

    Deviation: an executor of chunks answers from the chunk that it is in, so when another controller drives,
    a chunked policy labels a state with what it planned some steps ago. Use n_action_steps=1 for experts.
    """

    memory = ("num_queries",)

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.num_queries = 0

    def begin(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Forget what is remembered of `rows`."""
        self._controller.begin(rows)

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Return the wrapped controller's action, labelled with itself."""
        decision = self._controller.act(observation, privileged, rows, generator)
        self.num_queries += len(rows)
        return Decision.by(Actor.EXPERT, decision.action, label=decision.action)

    def state(self) -> dict[str, np.ndarray]:
        """Return the wrapped controller's memory."""
        return self._controller.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        self._controller.restore(state)
