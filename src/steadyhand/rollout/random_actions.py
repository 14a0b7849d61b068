"""Uniformly random actions: the lower end of a scale on which returns can be read."""

import numpy as np
from jaxtyping import Int64

from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Actor, Controller, Decision, Observation
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import FeatureSpec


class RandomActions(Controller):
    """Draws every action uniformly within its bounds, or among its classes.

    Args:
        action: The action of the env.

    Raises:
        CapabilityError: The action has no finite bounds, so that nothing is uniform over it.
    """

    sees_privileged = False

    def __init__(self, action: FeatureSpec) -> None:
        self._action = action
        low, high = np.array(action.low or np.nan), np.array(action.high or np.nan)
        self._low, self._width = low, high - low
        if action.num_classes is None and not np.isfinite(self._width).all():
            raise CapabilityError(
                "Random actions need bounds to be drawn within.",
                got=f"low={action.low}, high={action.high}",
                hint="give the action of the env finite bounds",
            )

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Draw; see `Controller.act`."""
        del observation, privileged, rows
        draw = generator.fork("random actions").uniform(self._action.size)
        if self._action.num_classes is not None:
            action = self._action.start + (draw * self._action.num_classes).astype(np.int64)
        else:
            action = (self._low + draw * self._width).astype(np.float32)
        return Decision.by(Actor.POLICY, action)
