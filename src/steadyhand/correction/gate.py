"""Gated control: a gate decides at every step whether the policy or the expert drives.

HG-DAgger, SafeDAgger, EnsembleDAgger, LazyDAgger, ThriftyDAgger, Diff-DAgger and CRSAIL differ in the gate
alone, and in what is kept of a drive.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from steadyhand.core.parts import Part, located
from steadyhand.core.protocol import (
    Actor,
    Controller,
    Decision,
    Observation,
    PerRow,
    Remembering,
    Switch,
)
from steadyhand.core.seeding import RowStreams

if TYPE_CHECKING:
    from steadyhand.correction.contract import Stage
    from steadyhand.correction.learner import Learner
    from steadyhand.envs.base import BatchEnv


class Asking:
    """The expert at one step of some rows; it is asked only about the rows whose answer is needed.

    An expert that remembers (`Controller.remembers`) is shown every row all the same, but only those that
    were asked about count as labelled.

    Args:
        expert: The expert.
        observation: What policies see, of all B rows.
        privileged: What only experts see, of all B rows.
        rows: (B,) env rows.
        generator: Streams of the rows, already forked for the expert.
    """

    def __init__(
        self,
        expert: Controller,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> None:
        self._expert = expert
        self._observation, self._privileged = observation, privileged
        self._rows, self._generator = rows, generator
        self._reply: Decision | None = None
        self._known = np.zeros(len(rows), dtype=bool)
        self.asked = np.zeros(len(rows), dtype=bool)
        if expert.remembers:
            self._fill(np.arange(len(rows)))

    def label(self, places: Int64[np.ndarray, " D"]) -> Shaped[np.ndarray, "D A"]:
        """Ask about rows[places], which counts as labels, and return the expert's actions.

        Without places the expert is not called; the result is (0, 0) if it has not answered before.
        """
        missing = places[~self._known[places]]
        if len(missing):
            self._fill(missing)
        self.asked[places] = True
        return np.zeros((0, 0)) if self._reply is None else self._reply.label[places]

    def peek(self) -> Shaped[np.ndarray, "B A"]:
        """Return what the expert would do in all rows, without counting labels: for a simulated human."""
        if not self._known.all():
            self._fill(np.flatnonzero(~self._known))
        return self.reply.label

    @property
    def reply(self) -> Decision:
        """What the expert answered so far; meaningless at rows that it was not asked about.

        To be read when somebody was asked.
        """
        assert self._reply is not None, "nobody was asked"
        return self._reply

    def _fill(self, places: np.ndarray) -> None:
        whole = len(places) == len(self._rows)
        answer = self._expert.act(
            self._observation if whole else {k: v[places] for k, v in self._observation.items()},
            self._privileged if whole else {k: v[places] for k, v in self._privileged.items()},
            self._rows[places],
            self._generator if whole else self._generator.take(places),
        )
        if self._reply is None:
            size = len(self._rows)
            self._reply = Decision(
                action=np.zeros((size, *answer.action.shape[1:]), dtype=answer.action.dtype),
                label=np.zeros((size, *answer.label.shape[1:]), dtype=answer.label.dtype),
                label_valid=np.zeros(size, dtype=bool),
                actor=np.full(size, Actor.EXPERT, dtype=np.uint8),
                intervention=np.zeros(size, dtype=bool),
            )
        for name in ("action", "label", "label_valid", "actor"):
            getattr(self._reply, name)[places] = getattr(answer, name)
        self._known[places] = True


@dataclass(frozen=True, kw_only=True, eq=False)
class GateInput:
    """What a gate may look at in one step.

    Attributes:
        observation: Feature -> (B, ...), what the policy sees.
        privileged: Feature -> (B, ...), what only experts see.
        rows: (B,) env rows.
        generator: Streams for the gate's own draws.
        proposal: (B, A) what the policy would execute.
        held: (B,) whether the expert drove the step before.
        expert: The expert at this step; asking it costs labels.
    """

    observation: Observation
    privileged: Observation
    rows: Int64[np.ndarray, " B"]
    generator: RowStreams
    proposal: Shaped[np.ndarray, "B A"]
    held: Bool[np.ndarray, " B"]
    expert: Asking


class Gate(Remembering):
    """Decides who drives; a gate keeps its memory by env row, as a controller does.

    Attributes:
        actor: The actor as whom steps after a takeover are recorded.
    """

    actor: Actor = Actor.EXPERT

    @abstractmethod
    def takes_over(self, inputs: GateInput) -> Bool[np.ndarray, " B"]:
        """Return which rows the expert drives at this step: those it takes over, and those it keeps."""

    def executed(self, inputs: GateInput, action: Shaped[np.ndarray, "B A"]) -> None:
        """Take note of what was executed; called once after each `takes_over`."""


class GateConfig(Part, ABC):
    """Settings of a gate; they build the gate of each round, with thresholds for that round's policy."""

    kind: ClassVar[str] = "gate"
    ours: ClassVar[Mapping[str, str]] = located("steadyhand.correction.human", "HumanGate") | located(
        "steadyhand.correction.gates.config",
        "SafeGate",
        "EnsembleGate",
        "LazyGate",
        "ThriftyGate",
        "LossGate",
        "NearestGate",
    )

    @abstractmethod
    def build(self, stage: "Stage") -> Gate:
        """Return the gate for a round."""

    def demonstrations_kept_out(self) -> int:
        """Return how many demonstrations no policy is trained on, so that thresholds can be set on them."""
        return 0

    def check(self, env: "BatchEnv", learner: "Learner") -> None:
        """Refuse an env or a learner that the gate cannot work with, before anything is collected.

        Raises:
            CapabilityError: It cannot.
        """


class Gated(Switch):
    """The policy drives unless the gate hands a row to the expert; the expert's action is then the label.

    A step is labelled where the expert drove, and where the gate asked it. When control goes back, the policy
    plans afresh from what it saw meanwhile.

    Args:
        policy: The learner.
        expert: The expert, which takes over and labels.
        gate: Decides who drives.
        end_after_intervention: End an episode when the gate hands back (RaC; Hu et al., 2025): the expert
            drives that step too, the last one.
    """

    def __init__(
        self, policy: Controller, expert: Controller, gate: Gate, *, end_after_intervention: bool = False
    ) -> None:
        super().__init__(policy=policy, expert=expert)
        self._policy, self._expert, self._gate = policy, expert, gate
        self._told["gate"] = gate
        self.sees_privileged = True  # A gate may look at everything.
        self._ends = end_after_intervention
        self._held = PerRow(fresh=False)  # the policy has control at first
        self._finished = PerRow(fresh=False)

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Let the policy propose, the gate decide, and the expert act where it is to."""
        held = self._held[rows]
        if held.any():
            self._policy.replan(rows[held])
        answer = self._policy.act(observation, privileged, rows, generator.fork("learner"))
        expert = Asking(self._expert, observation, privileged, rows, generator.fork("expert"))
        inputs = GateInput(
            observation=observation,
            privileged=privileged,
            rows=rows,
            generator=generator.fork("gate"),
            proposal=answer.action,
            held=held,
            expert=expert,
        )
        drives = self._gate.takes_over(inputs)
        if self._ends:
            done = held & ~drives
            self._finished[rows] = done
            drives = drives | done
        expert.label(np.flatnonzero(drives))
        decision = self._merge(answer, expert, drives)
        self._gate.executed(inputs, decision.action)
        self._held[rows] = drives
        return decision

    def finished(self, rows: Int64[np.ndarray, " B"]) -> Bool[np.ndarray, " B"]:
        """Return where the driver has finished, or an intervention is over, if episodes end with that."""
        done = super().finished(rows)
        return done | self._finished[rows] if self._ends else done

    def _driver(self, rows: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        return self._held[rows].astype(np.int64)

    def _merge(self, answer: Decision, expert: Asking, drives: np.ndarray) -> Decision:
        if not expert.asked.any():
            return replace(answer, label=answer.action, label_valid=np.zeros(len(drives), dtype=bool))
        action, actor, reply = answer.action.copy(), answer.actor.copy(), expert.reply
        action[drives] = reply.action[drives]
        actor[drives] = self._gate.actor
        valid = expert.asked & reply.label_valid
        label = action.copy()
        label[valid] = reply.label[valid]
        return Decision(action=action, label=label, label_valid=valid, actor=actor, intervention=drives)
