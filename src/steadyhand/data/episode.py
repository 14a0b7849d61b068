"""One episode: what was seen, what was done, what the expert would have done, and how it ended."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
from jaxtyping import Bool, Float32, Int64, Shaped, UInt8

from steadyhand.core.errors import DataError
from steadyhand.core.protocol import Actor

STEP_COLUMNS = (
    *("action", "expert_action", "expert_action_valid", "actor"),
    *("intervention", "weight", "reward"),
)
"""What an episode holds of each step beside what was seen."""

TaskRun = tuple[str, int]
"""Text of a task, and for how many steps on end it holds."""


def runs_of(tasks: Sequence[str]) -> tuple[TaskRun, ...]:
    """Return the text of each step as runs."""
    return tuple((text, sum(1 for _ in group)) for text, group in groupby(tasks))


def texts_of(runs: Sequence[TaskRun]) -> tuple[str, ...]:
    """Return runs as the text of each step."""
    return tuple(text for text, count in runs for _ in range(count))


@dataclass(frozen=True, kw_only=True)
class EpisodeOrigin:
    """Where an episode came from.

    Attributes:
        source: "demonstration", "rollout", "correction" or the name of an imported data set.
        seed: Seed of the run that recorded it, or -1 if unknown.
        start: JSON text of the env's `Start`, or "".
        round: Round of an iterative correction; 0 before the first.
        outcome: How it ended in a word: "success", "failure", "time", "interrupted", "unknown".
    """

    source: str = "unknown"
    seed: int = -1
    start: str = ""
    round: int = 0
    outcome: str = "unknown"


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Marks a synthetic step that continues in step `step` + 1 of episode `parent` of the same data set."""

    parent: int
    step: int


def branch_rows(marks: Iterable[Branch | None]) -> Int64[np.ndarray, "E 2"]:
    """Return (parent, step) of each episode, (-1, -1) where it is no branch."""
    rows = [(-1, -1) if mark is None else (mark.parent, mark.step) for mark in marks]
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Episode:
    """T steps; observation[t] is what was seen before action[t] was executed.

    Attributes:
        observation: Feature name -> (T, *feature shape).
        action: (T, A) executed actions.
        expert_action: (T, A) the expert's intended action. Training targets are read from here.
        expert_action_valid: (T,) False where no expert was asked; `expert_action` repeats `action` there.
        actor: (T,) an `Actor` for each step.
        intervention: (T,) whether someone had taken over from the policy.
        weight: (T,) training weight of each step.
        reward: (T,) reward of each step.
        final_observation: What was seen after the last action, if recorded; feature -> (*feature shape).
        terminated: The task ended by its own rules.
        truncated: The episode was cut by time or by its recorder.
        success: Whether the task was done, or None if unknown.
        task: Text of the task; where it changes within the episode, that of the first step.
        step_tasks: Text of the task of each step, T of them; empty where `task` holds for all.
        control_dt: Time between steps [s].
        provenance: Where the episode came from.
        branch: Set for one-step synthetic episodes (corrective labels, displaced views).

    Raises:
        DataError: Lengths that differ, NaN, wrong dtypes, or an invalid label that differs from the action.
    """

    observation: Mapping[str, Shaped[np.ndarray, "T ..."]]
    action: Shaped[np.ndarray, "T A"]
    expert_action: Shaped[np.ndarray, "T A"]
    expert_action_valid: Bool[np.ndarray, " T"]
    actor: UInt8[np.ndarray, " T"]
    intervention: Bool[np.ndarray, " T"]
    weight: Float32[np.ndarray, " T"]
    reward: Float32[np.ndarray, " T"]
    final_observation: Mapping[str, np.ndarray] | None = None
    terminated: bool = False
    truncated: bool = False
    success: bool | None = None
    task: str = ""
    step_tasks: tuple[str, ...] = ()
    control_dt: float
    provenance: EpisodeOrigin = field(default_factory=EpisodeOrigin)
    branch: Branch | None = None

    def __post_init__(self) -> None:
        length = len(self.action)
        if length < 1:
            raise DataError("An episode has no steps.", hint="drop it before building an Episode")
        columns = self.columns
        for name, column in columns.items():
            if len(column) != length:
                raise DataError(
                    f"{name} does not have one entry for each action.",
                    got=len(column),
                    expected=length,
                    hint="T actions need T observations; put observation T in final_observation",
                )
        for name, column in columns.items():
            if column.dtype.kind == "f" and not np.isfinite(column).all():
                step = int(np.argwhere(~np.isfinite(column))[0][0])
                raise DataError(
                    f"{name} holds NaN or infinity.",
                    got=f"first at step {step} of {length}",
                    expected="finite numbers",
                )
        if self.expert_action.shape != self.action.shape or self.expert_action.dtype != self.action.dtype:
            raise DataError(
                "expert_action must look like action.",
                got=f"{self.expert_action.dtype} {self.expert_action.shape}",
                expected=f"{self.action.dtype} {self.action.shape}",
            )
        unlabelled = ~self.expert_action_valid
        if not np.array_equal(self.expert_action[unlabelled], self.action[unlabelled]):
            raise DataError("expert_action must repeat action where expert_action_valid is False.")
        if self.step_tasks and (len(self.step_tasks) != length or self.step_tasks[0] != self.task):
            raise DataError(
                "step_tasks needs a text for each step, the first of them equal to task.",
                got=f"{len(self.step_tasks)} texts, the first {self.step_tasks[0]!r}",
                expected=f"{length}, the first {self.task!r}",
            )
        if not 0.0 < self.control_dt < math.inf:
            raise DataError(
                "control_dt must be positive.", got=self.control_dt, expected="a finite number > 0 [s]"
            )
        if self.final_observation is not None and set(self.final_observation) != set(self.observation):
            raise DataError(
                "final_observation has other features than observation.",
                got=sorted(self.final_observation),
                expected=sorted(self.observation),
            )
        if self.branch is not None and length != 1:
            raise DataError("A branch episode is one step long.", got=length, expected=1)

    def __len__(self) -> int:
        return len(self.action)

    def __repr__(self) -> str:
        shapes = {**self.observation, "action": self.action}
        parts = ", ".join(f"{name} {list(value.shape[1:])}" for name, value in shapes.items())
        return f"<Episode of {len(self)} steps, {self.provenance.outcome}: {parts}>"

    @property
    def columns(self) -> dict[str, Shaped[np.ndarray, "T ..."]]:
        """Everything with one entry a step: `STEP_COLUMNS`, then what was seen."""
        return {name: getattr(self, name) for name in STEP_COLUMNS} | dict(self.observation)

    @property
    def task_runs(self) -> tuple[TaskRun, ...]:
        """The tasks one after the other, and how many steps each took."""
        return runs_of(self.step_tasks) if self.step_tasks else ((self.task, len(self)),)

    def task_at(self, step: int) -> str:
        """Return the text of the task of a step."""
        return self.step_tasks[step] if self.step_tasks else self.task

    def with_features(self, names: Sequence[str]) -> "Episode":
        """Return the episode with only the named observation features, in their order."""
        if list(self.observation) == list(names):
            return self
        final = self.final_observation
        return replace(
            self,
            observation={name: self.observation[name] for name in names},
            final_observation=None if final is None else {name: final[name] for name in names},
        )

    @property
    def num_labels(self) -> int:
        """Number of steps at which an expert was asked."""
        return int(self.expert_action_valid.sum())


def demonstration(
    observation: Mapping[str, np.ndarray],
    action: np.ndarray,
    *,
    control_dt: float,
    reward: np.ndarray | None = None,
    final_observation: Mapping[str, np.ndarray] | None = None,
    terminated: bool = False,
    truncated: bool = False,
    success: bool | None = None,
    task: str = "",
    actor: Actor = Actor.EXPERT,
    provenance: EpisodeOrigin | None = None,
    weight: float = 1.0,
    branch: Branch | None = None,
) -> Episode:
    """Return an episode whose every executed action is the expert's own.

    Args:
        observation: Feature name -> (T, ...).
        action: (T, A), or (T,) for a discrete action.
        control_dt: Time between steps [s].
        reward: (T,), zeros if None.
        final_observation: What was seen after the last action.
        terminated: The task ended by its own rules.
        truncated: The episode was cut.
        success: Whether the task was done, if known.
        task: Text of the task.
        actor: EXPERT or HUMAN.
        provenance: Where it came from.
        weight: Training weight of every step.
        branch: The step of a recorded episode that this one stands in for.
    """
    action = action[:, None] if action.ndim == 1 else action
    length = len(action)
    return Episode(
        observation=dict(observation),
        action=action,
        expert_action=action,
        expert_action_valid=np.ones(length, dtype=bool),
        actor=np.full(length, actor, dtype=np.uint8),
        intervention=np.zeros(length, dtype=bool),
        weight=np.full(length, weight, dtype=np.float32),
        reward=np.zeros(length, dtype=np.float32) if reward is None else reward.astype(np.float32),
        final_observation=final_observation,
        terminated=terminated,
        truncated=truncated,
        success=success,
        task=task,
        control_dt=control_dt,
        provenance=provenance or EpisodeOrigin(source="demonstration"),
        branch=branch,
    )
