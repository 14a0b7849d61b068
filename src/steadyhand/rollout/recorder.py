"""Listeners of a session that turn steps into episodes, in memory or in a store."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from steadyhand.core.codec import to_data
from steadyhand.core.protocol import Decision
from steadyhand.data.episode import Episode, EpisodeOrigin
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.rollout.session import StepEvent

if TYPE_CHECKING:
    from steadyhand.data.store import EpisodeStore

DECISION_COLUMNS = ("action", "expert_action", "expert_action_valid", "actor", "intervention")


class _Column:
    """A growing (rows, time, ...) buffer."""

    def __init__(self, num_rows: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.values = np.zeros((num_rows, 64, *shape), dtype=dtype)

    def put(self, rows: Int64[np.ndarray, " B"], time: Int64[np.ndarray, " B"], value: np.ndarray) -> None:
        if time.max() >= self.values.shape[1]:
            self.values = np.concatenate([self.values, np.zeros_like(self.values)], axis=1)
        self.values[rows, time] = value

    def take(self, row: int, length: int) -> np.ndarray:
        return self.values[row, :length].copy()


class EpisodeRecorder:
    """Collects whole episodes; pass it to a session as a listener.

    Args:
        env: The env of the session, asked for final observations.
        starts: The session's starts, stored with each episode.
        source: "demonstration", "rollout" or "correction".
        seed: Seed of the session.
        round: Round of an iterative correction.
        label_budget: Recording stops, and `full` is set, as soon as this many labels are stored.
        sink: Receives every step as it happens; whole episodes are then not kept in memory.

    `finish` closes episodes of rows that are still alive.

    Attributes:
        num_episodes: Finished episodes.
        num_steps: Their steps.
        num_labels: Labels recorded so far.
        num_outside: Labels that were meant to lie outside the action's bounds.
        num_cut: Finished episodes that were cut before the env ended them.
        num_judged: Finished episodes that the env judged.
        num_success: Finished episodes that succeeded.
    """

    def __init__(
        self,
        env: BatchEnv,
        starts: tuple[Start, ...],
        *,
        source: str,
        seed: int,
        round: int = 0,
        label_budget: int | None = None,
        sink: "EpisodeStore | None" = None,
    ) -> None:
        self._env = env
        self._starts = starts
        self._source, self._seed, self._round = source, seed, round
        self._budget = label_budget
        self._sink = sink
        self._columns: dict[str, _Column] = {}
        self._length = np.zeros(env.num_rows, dtype=np.int64)
        self._start_of = np.zeros(env.num_rows, dtype=np.int64)
        self._done: dict[int, Episode] = {}
        self.num_episodes = self.num_steps = self.num_labels = self.num_judged = self.num_success = 0
        self.num_outside = self.num_cut = 0

    @property
    def outcome(self) -> str:
        """How many episodes succeeded, or why that is not known, in words."""
        ended = self.num_episodes - self.num_cut
        cut = f"{self.num_cut} cut before their end" if self.num_cut else ""
        if not self._env.spec.success.is_told:
            return "nothing tells success"
        if not ended:
            return "all cut before their end, so that success is open"
        told = f"{self.num_success} of {self.num_judged} succeeded"
        if not self.num_judged:
            told = "the env did not tell success"
        return ", ".join(part for part in (told, cut) if part)

    @property
    def full(self) -> bool:
        """Whether the label budget is spent."""
        return self._budget is not None and self.num_labels >= self._budget

    @property
    def episodes(self) -> list[Episode]:
        """Finished episodes, in the order of their starts; empty with a sink."""
        return [self._done[number] for number in sorted(self._done)]

    @property
    def numbers(self) -> list[int]:
        """Position in the list of starts of each of `episodes`, in the same order."""
        return sorted(self._done)

    def __call__(self, event: StepEvent) -> None:
        """Record one step of every living row; rows beyond the label budget are dropped."""
        keep = self._within_budget(event.decision)
        rows, time = event.rows[keep], event.time[keep]
        self.num_outside += int((event.outside & keep).sum())
        columns = _columns(event)
        for name, value in columns.items():
            column = self._columns.get(name)
            if column is None:
                column = _Column(self._env.num_rows, value.shape[1:], value.dtype)
                self._columns[name] = column
            if len(rows) and self._sink is None:
                column.put(rows, time, value[keep])
        self._length[rows] = time + 1
        self._start_of[rows] = event.start_index[keep]
        if self._sink is not None:
            self._write_steps(self._sink, event, columns, np.flatnonzero(keep))
        for position in np.flatnonzero(event.ended & keep):
            terminated = bool(event.result.terminated[position])
            by_env = terminated or bool(event.result.truncated[position])
            self.num_cut += not by_env
            self._finish_row(
                int(event.rows[position]),
                final=self._observe(int(event.rows[position])),
                terminated=terminated,
                success=event.result.outcome(int(position)) if by_env else None,
            )
        for position in np.flatnonzero(~keep & (self._length[event.rows] > 0)):
            self.num_cut += 1
            final = {name: value[position] for name, value in event.observation.items()}
            self._finish_row(int(event.rows[position]), final=final, terminated=False, success=None)

    def finish(self) -> list[Episode]:
        """Close episodes that are still open, as truncated, and return all episodes."""
        for row in np.flatnonzero(self._length):
            self.num_cut += 1
            final = self._observe(int(row))
            self._finish_row(int(row), final=final, terminated=False, success=None)
        return self.episodes

    def _observe(self, row: int) -> dict[str, np.ndarray]:
        return {name: value[0] for name, value in self._env.observe(np.array([row])).items()}

    def _task(self, row: int) -> str:
        return self._env.tasks(np.array([row]))[0]

    def _within_budget(self, decision: Decision) -> np.ndarray:
        valid = decision.label_valid
        if self._budget is None:
            keep = np.ones(len(valid), dtype=bool)
        else:
            keep = self.num_labels + np.cumsum(valid) <= self._budget
        self.num_labels += int((valid & keep).sum())
        return keep

    def _write_steps(
        self, sink: "EpisodeStore", event: StepEvent, columns: Mapping[str, np.ndarray], kept: np.ndarray
    ) -> None:
        for position in kept:
            key = int(event.rows[position])
            if event.time[position] == 0:
                provenance = self._provenance(int(event.start_index[position]), "interrupted")
                sink.begin(key, task=self._task(key), provenance=provenance)
            step = {name: columns[name][position] for name in (*DECISION_COLUMNS, "reward")}
            observation = {name: value[position] for name, value in event.observation.items()}
            sink.record(key, observation=observation, weight=1.0, **step)

    def _finish_row(
        self, row: int, *, final: Mapping[str, np.ndarray], terminated: bool, success: bool | None
    ) -> None:
        number, length = int(self._start_of[row]), int(self._length[row])
        open_end = "unknown" if terminated else "time"
        provenance = self._provenance(number, {True: "success", False: "failure", None: open_end}[success])
        if self._sink is not None:
            self._sink.end(
                row,
                final_observation=final,
                terminated=terminated,
                truncated=not terminated,
                success=success,
                task=self._task(row),
                provenance=provenance,
            )
        else:
            data = {name: column.take(row, length) for name, column in self._columns.items()}
            self._done[number] = Episode(
                observation={name: data[f"observation/{name}"] for name in final},
                action=data["action"],
                expert_action=data["expert_action"],
                expert_action_valid=data["expert_action_valid"],
                actor=data["actor"],
                intervention=data["intervention"],
                reward=data["reward"],
                weight=np.ones(length, dtype=np.float32),
                final_observation=final,
                terminated=terminated,
                truncated=not terminated,
                success=success,
                task=self._task(row),
                control_dt=self._env.spec.control_dt,
                provenance=provenance,
            )
        self._length[row] = 0
        self.num_episodes += 1
        self.num_steps += length
        self.num_judged += success is not None
        self.num_success += success is True

    def _provenance(self, number: int, outcome: str) -> EpisodeOrigin:
        return EpisodeOrigin(
            source=self._source,
            seed=self._seed,
            start=json.dumps(to_data(self._starts[number]), sort_keys=True),
            round=self._round,
            outcome=outcome,
        )


def _columns(event: StepEvent) -> dict[str, np.ndarray]:
    decision = event.decision
    return {
        "action": decision.action,
        "expert_action": decision.label,
        "expert_action_valid": decision.label_valid,
        "actor": decision.actor,
        "intervention": decision.intervention,
        "reward": event.result.reward,
        **{f"observation/{name}": value for name, value in event.observation.items()},
    }
