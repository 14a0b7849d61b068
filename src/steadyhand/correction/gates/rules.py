"""The gates at run time: rules on scores, with the memory that they need."""

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float64, Int64

from steadyhand.core.protocol import PerRow
from steadyhand.correction.gate import Gate, GateInput
from steadyhand.correction.gates.calibration import ScoreRecorder
from steadyhand.policies.scores import ActionScale

Scores = Mapping[str, Float64[np.ndarray, " B"]]


class ScoreGate(Gate):
    """A gate that decides by scores; subclasses say how."""

    def __init__(self, watch: ScoreRecorder) -> None:
        self._watch = watch

    def takes_over(self, inputs: GateInput) -> Bool[np.ndarray, " B"]:
        """Score the step and decide."""
        return self.decide(inputs, self._watch(inputs))

    @abstractmethod
    def decide(self, inputs: GateInput, scores: Scores) -> Bool[np.ndarray, " B"]:
        """Return which rows the expert drives."""

    def begin(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Forget `rows`."""
        super().begin(rows)
        self._watch.begin(rows)

    def state(self) -> dict[str, np.ndarray]:
        """Return the windows, and what else is remembered."""
        return {**super().state(), **self._watch.state()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        super().restore(state)
        self._watch.restore(state)


class Above(ScoreGate):
    """The expert drives exactly while one score lies above a threshold: control may change at every step.

    Args:
        watch: Gives the score "score".
        threshold: Score above which the expert drives.
        asks_only: Ask the expert there and let the policy drive on.
    """

    def __init__(self, watch: ScoreRecorder, *, threshold: float, asks_only: bool = False) -> None:
        super().__init__(watch)
        self.threshold, self._asks_only = threshold, asks_only

    def decide(self, inputs: GateInput, scores: Scores) -> Bool[np.ndarray, " B"]:
        """Compare."""
        above = scores["score"] > self.threshold
        if not self._asks_only:
            return above
        inputs.expert.label(np.flatnonzero(above))
        return np.zeros_like(above)


class Disagreeing(ScoreGate):
    """The expert drives while it differs from the policy, or the ensemble from itself; it is always asked.

    Args:
        watch: Gives the score "doubt".
        scale: Scale in which differences of actions are measured.
        tau: Largest discrepancy that the policy is left with.
        chi: Largest doubt.
    """

    def __init__(self, watch: ScoreRecorder, scale: ActionScale, *, tau: float, chi: float) -> None:
        super().__init__(watch)
        self._scale, self.tau, self.chi = scale, tau, chi

    def decide(self, inputs: GateInput, scores: Scores) -> Bool[np.ndarray, " B"]:
        """Ask about every row, and compare."""
        label = inputs.expert.label(np.arange(len(inputs.rows)))
        discrepancy = self._scale.discrepancy(inputs.proposal, label)
        return (discrepancy > self.tau) | (scores["doubt"] > self.chi)


class Hysteresis(ScoreGate):
    """One threshold to hand over, another to hand back; the second one is on the true discrepancy.

    The expert drove the step before where it is asked for it, so the label costs nothing new, but for the one
    step at which control goes back.

    Args:
        watch: Gives the scores.
        scale: Scale in which differences of actions are measured.
        enter: Name of a score -> threshold: the expert takes over where any is exceeded.
        leave: Discrepancy at or below which it hands back.
        calm: Name of a score -> threshold: it hands back only where none is exceeded.
    """

    def __init__(
        self,
        watch: ScoreRecorder,
        scale: ActionScale,
        *,
        enter: Mapping[str, float],
        leave: float,
        calm: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(watch)
        self._scale, self.enter, self.leave, self.calm = scale, dict(enter), leave, dict(calm or {})

    def decide(self, inputs: GateInput, scores: Scores) -> Bool[np.ndarray, " B"]:
        """Enter by the scores, leave by what the expert would do."""
        held = inputs.held
        drives = ~held & _any_above(scores, self.enter)
        keeps = held & _any_above(scores, self.calm)
        # Asked about only where the answer decides: rows that are kept anyway are labelled by being driven.
        open_rows = np.flatnonzero(held & ~keeps)
        if len(open_rows):
            label = inputs.expert.label(open_rows)
            keeps[open_rows] = self._scale.discrepancy(inputs.proposal[open_rows], label) > self.leave
        return drives | keeps


class Patient(ScoreGate):
    """The expert takes over after `patience` steps in a row above the threshold, and hands back likewise.

    Args:
        watch: Gives the score "score".
        threshold: Score above which a step counts.
        patience: Steps in a row.
    """

    def __init__(self, watch: ScoreRecorder, *, threshold: float, patience: int) -> None:
        super().__init__(watch)
        self.threshold, self._patience = threshold, patience
        self._run = PerRow(0)

    def decide(self, inputs: GateInput, scores: Scores) -> Bool[np.ndarray, " B"]:
        """Count the steps on the other side of the threshold, and change sides when they are enough."""
        rows, held = inputs.rows, inputs.held
        is_above = scores["score"] > self.threshold
        run = np.where(is_above != held, self._run[rows] + 1, 0)
        turns = run >= self._patience
        self._run[rows] = np.where(turns, 0, run)
        return held ^ turns


def _any_above(scores: Scores, thresholds: Mapping[str, float]) -> Bool[np.ndarray, " B"]:
    above = np.zeros(len(next(iter(scores.values()))), dtype=bool)
    for name, threshold in thresholds.items():
        above |= scores[name] > threshold
    return above
