"""What all experts share: they answer with their own action as the label, and count what they are asked."""

from abc import abstractmethod

import numpy as np
from jaxtyping import Int64, Shaped

from steadyhand.core.protocol import Actor, Controller, Decision, Observation
from steadyhand.core.seeding import RowStreams


class Expert(Controller):
    """A controller whose action is the label. `num_queries` counts the steps it was asked about."""

    memory = ("num_queries",)

    def __init__(self) -> None:
        self.num_queries = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, an expert: asked {self.num_queries} times>"

    @abstractmethod
    def action(self, observation: Observation, privileged: Observation) -> Shaped[np.ndarray, "B A"]:
        """Return the expert's action for each row.

        Args:
            observation: What a policy may see, feature -> (B, ...).
            privileged: What only experts see, feature -> (B, ...).
        """

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Return the expert's action, labelled with itself."""
        del generator
        action = self.action(observation, privileged)
        self.num_queries += len(rows)
        return Decision.by(Actor.EXPERT, action, label=action)
