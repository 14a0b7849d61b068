"""Episodes end to end, the unit in which files are written: not each by itself, which would cost too much."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from steadyhand.core.specs import ACTION
from steadyhand.data.episode import TaskRun
from steadyhand.data.formats.schema import DEFAULT_FEATURES, EXPERT_ACTION
from steadyhand.data.stats import QUANTILES, quantile_of_sorted


@dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeBlock:
    """E episodes of N steps in all.

    Attributes:
        lengths: (E,) number of steps of each episode.
        observation: Feature name -> (N, *feature shape).
        steps: Step column, as in `Episode` -> (N, ...).
        terminated: (E,) whether each episode ended by its own rules.
        truncated: (E,) whether it was cut.
        succeeded: (E,) whether it is known to have succeeded.
        task_runs: The tasks of each episode, and how many steps each took.
    """

    lengths: Int64[np.ndarray, " E"]
    observation: Mapping[str, np.ndarray]
    steps: Mapping[str, np.ndarray]
    terminated: Bool[np.ndarray, " E"]
    truncated: Bool[np.ndarray, " E"]
    succeeded: Bool[np.ndarray, " E"]
    task_runs: Sequence[tuple[TaskRun, ...]]

    @property
    def ends(self) -> Int64[np.ndarray, " E"]:
        """Exclusive cumulative ends of the episodes."""
        return np.cumsum(self.lengths)

    def columns(
        self, *, fps: int, first_episode: int, first_index: int, task_index: Mapping[str, int]
    ) -> dict[str, np.ndarray]:
        """Return every column of numbers of LeRobot's data files, and the pictures.

        Args:
            fps: Steps a second.
            first_episode: Number of the first episode in the data set.
            first_index: Number of its first step.
            task_index: Number of each task.
        """
        total = int(self.lengths.sum())
        steps = np.arange(total) - np.repeat(self.ends - self.lengths, self.lengths)
        at_end = np.zeros(total, dtype=bool)
        at_end[self.ends - 1] = True
        runs = [run for one in self.task_runs for run in one]
        columns: dict[str, np.ndarray] = {
            **self.observation,
            ACTION: self.steps["action"],
            EXPERT_ACTION: self.steps["expert_action"],
            **{name: self.steps[name] for name in ("expert_action_valid", "actor", "intervention", "weight")},
            "next.reward": self.steps["reward"],
            "next.done": at_end & np.repeat(self.terminated | self.truncated, self.lengths),
            "next.success": at_end & np.repeat(self.succeeded, self.lengths),
            "next.truncated": at_end & np.repeat(self.truncated, self.lengths),
            "timestamp": steps / fps,
            "frame_index": steps,
            "episode_index": np.repeat(first_episode + np.arange(len(self.lengths)), self.lengths),
            "index": first_index + np.arange(total),
            "task_index": np.repeat([task_index[text] for text, _ in runs], [count for _, count in runs]),
        }
        for name, dtype in DEFAULT_FEATURES.items():
            columns[name] = columns[name].astype(dtype)
        return columns


def episode_stats(
    values: np.ndarray, lengths: Int64[np.ndarray, " E"]
) -> dict[str, Float64[np.ndarray, "E ..."]]:
    """Return `array_stats` of each episode, all of one length at once.

    Args:
        values: (N, *shape) of all episodes, end to end.
        lengths: Number of steps of each.

    Returns:
        min, max, mean, std and each quantile -> (E, *shape).
    """
    names = ("min", "max", "mean", "std", *QUANTILES)
    out = {name: np.empty((len(lengths), *values.shape[1:])) for name in names}
    starts = np.cumsum(lengths) - lengths
    for length in np.unique(lengths):
        chosen = np.flatnonzero(lengths == length)
        wide = values[starts[chosen, None] + np.arange(length)].astype(np.float64)
        out["mean"][chosen], out["std"][chosen] = wide.mean(axis=1), wide.std(axis=1)
        ordered = np.moveaxis(np.sort(wide, axis=1), 1, 0)
        out["min"][chosen], out["max"][chosen] = ordered[0], ordered[-1]
        for name, q in QUANTILES.items():
            out[name][chosen] = quantile_of_sorted(ordered, q)
    return out
