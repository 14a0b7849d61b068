"""Any controller as an expert: its action becomes the label."""

import numpy as np
from jaxtyping import Int64

from steadyhand.core.protocol import Actor, Controller, Decision, Observation, Wrapper
from steadyhand.core.seeding import RowStreams


class Labelled(Wrapper):
    """Takes what the wrapped controller does for the expert's intention.

    Args:
        controller: For example a trained policy in its executor.

    `num_queries` counts the steps it was asked about.

    Deviation: an executor of chunks answers from the chunk that it is in, so when another controller drives,
    a chunked policy labels a state with what it planned some steps ago. Use n_action_steps=1 for experts.
    """

    memory = ("num_queries",)

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.num_queries = 0

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Return the wrapped controller's action, labelled with itself."""
        decision = self._inner.act(observation, privileged, rows, generator)
        self.num_queries += len(rows)
        return Decision.by(Actor.EXPERT, decision.action, label=decision.action)
