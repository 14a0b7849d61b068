"""One episode of a journal: where it lies, and what its header says of how it began or ended."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from steadyhand.core.codec import to_data
from steadyhand.data.episode import STEP_COLUMNS, Branch, Episode, EpisodeOrigin, TaskRun, texts_of
from steadyhand.data.formats.sidecar import Ending
from steadyhand.data.spec import StoreSpec


@dataclass(slots=True)
class Entry:
    """Where one episode, or one piece of an episode that lost a step, lies in the journal.

    Attributes:
        number: Number of the episode in its journal.
        header: How it ended; for an open episode how it began.
        start: Number of its first step in the episode; 0 but for a piece behind a gap.
        blocks: Offset of each packed step.
        length: Number of steps.
        final: Offset of the packed final observation, if there is one.
        records: Offset of each record, so that an open episode can be moved to a new journal.
        branch: What it continues, in the numbers of the data set, or None.
    """

    number: int
    header: dict[str, Any]
    start: int = 0
    blocks: range | list[int] = field(default_factory=list[int])
    length: int = 0
    final: int | None = None
    records: list[int] = field(default_factory=list[int])
    branch: Branch | None = None


def outcome_header(
    ending: Ending | Episode, *, task: str, task_runs: Sequence[TaskRun] = ()
) -> dict[str, Any]:
    """Return how an episode ended, but for its branch, as JSON data; runs only where tasks follow."""
    return {
        "terminated": bool(ending.terminated),
        "truncated": bool(ending.truncated),
        "success": None if ending.success is None else bool(ending.success),
        "task": task,
        **({"task_runs": [list(run) for run in task_runs]} if task_runs else {}),
        "provenance": to_data(ending.provenance),
    }


def task_runs_of(header: dict[str, Any], length: int) -> tuple[TaskRun, ...]:
    """Return the tasks of an episode; "task_runs" is only there where several follow one another."""
    runs = header.get("task_runs")
    return ((header.get("task", ""), length),) if runs is None else tuple((t, int(n)) for t, n in runs)


def provenance_of(header: dict[str, Any]) -> EpisodeOrigin:
    """Return where an episode came from; one without an end was interrupted."""
    provenance = EpisodeOrigin(**header.get("provenance", {}))
    return provenance if "terminated" in header else replace(provenance, outcome="interrupted")


def ending_of(entry: Entry) -> Ending:
    """Return how an episode ended; without an end in its header it counts as interrupted."""
    header = entry.header
    return Ending(
        terminated=header.get("terminated", False),
        truncated=header.get("truncated", True),
        success=header.get("success"),
        provenance=provenance_of(header),
        branch=entry.branch,
    )


def unpacked(
    spec: StoreSpec, steps: np.ndarray, entry: Entry, final: dict[str, np.ndarray] | None
) -> Episode:
    """Return the episode of packed steps; without an end in its header it counts as interrupted."""
    header, ending = entry.header, ending_of(entry)
    return Episode(
        observation={name: np.ascontiguousarray(steps["observation"][name]) for name in spec.observation},
        **{name: np.ascontiguousarray(steps[name]) for name in STEP_COLUMNS},
        final_observation=final,
        terminated=ending.terminated,
        truncated=ending.truncated,
        success=ending.success,
        task=header.get("task", ""),
        step_tasks=texts_of(task_runs_of(header, len(steps))) if "task_runs" in header else (),
        control_dt=spec.control_dt,
        provenance=ending.provenance,
        branch=ending.branch,
    )
