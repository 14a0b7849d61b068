"""An expert that reacts late, as people do."""

from collections.abc import Mapping
from typing import get_args

import numpy as np
from jaxtyping import Int64

from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller, Decision, Observation, PerRow, Wrapper
from steadyhand.core.seeding import RowStreams
from steadyhand.experts.config import Labels


class Delayed(Wrapper):
    """Executes what the wrapped expert wanted `delay` steps ago; before that, what it wanted first.

    Args:
        expert: Who decides. It must be shown every step.
        delay: Reaction time [steps].
        labels: "driven": the label is what was executed, as a record of driving has it, late by the reaction.
            "hindsight": the label is what the expert wants at the present step, as somebody has it who looks
            through the record afterwards, without haste.
    """

    def __init__(self, expert: Controller, *, delay: int, labels: Labels = "driven") -> None:
        if delay < 0:
            raise ConfigError("delay counts steps.", got=delay, expected=">= 0")
        if labels not in get_args(Labels):
            raise ConfigError("There are no such labels.", got=labels, available=get_args(Labels))
        super().__init__(expert)
        self.remembers = True
        self._delay = delay
        self._labels: Labels = labels
        self._queue: PerRow | None = None
        self._fresh = PerRow(fresh=True)

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Ask the expert now, execute its older answer."""
        now = self._inner.act(observation, privileged, rows, generator)
        if self._delay == 0:
            return now
        if self._queue is None:
            self._queue = PerRow(np.zeros((self._delay, *now.action.shape[1:]), dtype=now.action.dtype))
        queue, fresh = self._queue[rows], self._fresh[rows]
        queue[fresh] = now.action[fresh, None]
        late = queue[:, 0]
        self._queue[rows] = np.concatenate([queue[:, 1:], now.action[:, None]], axis=1)
        self._fresh[rows] = False
        return Decision(
            action=late,
            label=late if self._labels == "driven" else now.label,
            label_valid=now.label_valid,
            actor=now.actor,
            intervention=now.intervention,
        )

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        queue = state.get("queue")
        self._queue = None if queue is None else PerRow(np.zeros(queue.shape[1:], dtype=queue.dtype))
        super().restore(state)
