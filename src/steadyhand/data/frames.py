"""All steps of a data set end to end in memory: what windows are cut from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Int64, Shaped, UInt8

from steadyhand.core.errors import DataError
from steadyhand.core.specs import ACTION, FeatureSpec
from steadyhand.data.episode import Episode, TaskRun, branch_rows
from steadyhand.data.pictures import Size, resized


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """N steps of E episodes as contiguous columns; images may be memory maps.

    Attributes:
        observation_spec: Feature name -> spec.
        action_spec: Spec of the action.
        control_dt: Time between steps [s].
        observation: Feature name -> (N, *feature shape); pictures may have been made smaller than their spec.
        action: (N, A) executed actions.
        expert_action: (N, A) training targets.
        weight: (N,) training weight; 0 where no expert was asked.
        episode_ends: (E,) exclusive cumulative ends; the last is N.
        branch: (E, 2) (parent episode, step) of synthetic one-step episodes, (-1, -1) for all others.
        tasks: Text of each task that occurs, once each; empty if unknown.
        task_index: (N,) which of `tasks` each step belongs to; None where there is at most one.
    """

    observation_spec: Mapping[str, FeatureSpec]
    action_spec: FeatureSpec
    control_dt: float
    observation: Mapping[str, Shaped[np.ndarray, "N ..."]]
    action: Shaped[np.ndarray, "N A"]
    expert_action: Shaped[np.ndarray, "N A"]
    weight: Float32[np.ndarray, " N"]
    episode_ends: Int64[np.ndarray, " E"]
    branch: Int64[np.ndarray, "E 2"]
    tasks: tuple[str, ...] = ()
    task_index: Int64[np.ndarray, " N"] | None = None

    def __post_init__(self) -> None:
        ends = self.episode_ends
        if len(ends) == 0 or (np.diff(ends, prepend=0) < 1).any() or ends[-1] != len(self.action):
            raise DataError(
                "Episode ends do not add up.",
                got=ends[-5:].tolist(),
                expected=f"rising, the last one {len(self.action)}",
            )
        if (self.task_index is None) != (len(self.tasks) < 2):
            raise DataError(
                "Steps of several tasks need a task_index, others none.",
                got=f"{len(self.tasks)} tasks, task_index {'absent' if self.task_index is None else 'given'}",
            )

    def __len__(self) -> int:
        return len(self.action)

    @property
    def num_episodes(self) -> int:
        """Number of episodes, branches included."""
        return len(self.episode_ends)

    @cached_property
    def episode_starts(self) -> Int64[np.ndarray, " E"]:
        """First step of each episode."""
        return np.concatenate([[0], self.episode_ends[:-1]]).astype(np.int64)

    @cached_property
    def episode_of(self) -> Int64[np.ndarray, " N"]:
        """Episode of each step."""
        return np.repeat(np.arange(self.num_episodes), self.episode_ends - self.episode_starts)

    @property
    def steps_by_task(self) -> dict[str, int]:
        """Number of steps of each task."""
        if self.task_index is None:
            return dict.fromkeys(self.tasks, len(self))
        counts = np.bincount(self.task_index, minlength=len(self.tasks))
        return dict(zip(self.tasks, counts.tolist(), strict=True))

    @classmethod
    def from_episodes(
        cls,
        episodes: Sequence[Episode],
        *,
        observation_spec: Mapping[str, FeatureSpec],
        action_spec: FeatureSpec,
    ) -> "Frames":
        """Lay episodes end to end.

        Args:
            episodes: At least one; a branch names its parent by position in this sequence.
            observation_spec: The features to keep; each must be in every episode.
            action_spec: Spec of the action.

        Raises:
            DataError: A feature is missing, or control_dt differs between episodes.
        """
        if not episodes:
            raise DataError("There are no episodes.", got=0, expected="at least one")
        steps = {episode.control_dt for episode in episodes}
        if len(steps) > 1:
            raise DataError("Episodes differ in control_dt [s].", got=sorted(steps), expected="one value")
        for number, episode in enumerate(episodes):
            missing = set(observation_spec) - set(episode.observation)
            if missing:
                raise DataError(
                    f"Episode {number} lacks observation features.",
                    got=sorted(missing),
                    available=sorted(episode.observation),
                )
        frames = cls.from_columns(
            [episode.columns for episode in episodes],
            observation_spec=observation_spec,
            action_spec=action_spec,
            control_dt=steps.pop(),
            branch=branch_rows(episode.branch for episode in episodes),
            task_runs=(run for episode in episodes for run in episode.task_runs),
        )
        for name, spec in observation_spec.items():
            spec.check(frames.observation[name], name=name)
        action_spec.check(frames.action, name="action")
        return frames

    @classmethod
    def from_columns(
        cls,
        columns: Sequence[Mapping[str, np.ndarray]],
        *,
        observation_spec: Mapping[str, FeatureSpec],
        action_spec: FeatureSpec,
        control_dt: float,
        branch: Int64[np.ndarray, "E 2"],
        task_runs: Iterable[TaskRun],
        pictures: Mapping[str, UInt8[np.ndarray, "N h w c"]] | None = None,
    ) -> "Frames":
        """Lay the columns of episodes end to end.

        Args:
            columns: What each episode holds, see `Episode.columns`; at least one.
            observation_spec: The features to keep.
            action_spec: Spec of the action.
            control_dt: Time between steps [s].
            branch: (E, 2) (parent episode, step) of branches, (-1, -1) for all others.
            task_runs: The task of all steps, end to end.
            pictures: Features that are end to end already.
        """

        def joined(name: str) -> np.ndarray:
            return np.concatenate([part[name] for part in columns])

        known = pictures or {}
        tasks, task_index = numbered_tasks(task_runs)
        return cls(
            observation_spec=dict(observation_spec),
            action_spec=action_spec,
            control_dt=control_dt,
            observation={name: known[name] if name in known else joined(name) for name in observation_spec},
            action=joined(ACTION),
            expert_action=joined("expert_action"),
            weight=(joined("weight") * joined("expert_action_valid")).astype(np.float32),
            episode_ends=np.cumsum([len(part[ACTION]) for part in columns]).astype(np.int64),
            branch=branch,
            tasks=tasks,
            task_index=task_index,
        )

    def with_pictures(self, size: Size | None) -> "Frames":
        """Return frames with pictures made (height, width), see `pictures.resized`; unchanged if None."""
        if size is None:
            return self
        observation = {
            name: resized(value, size) if self.observation_spec[name].kind == "image" else value
            for name, value in self.observation.items()
        }
        return replace(self, observation=observation)

    def steps_of(self, episodes: Int64[np.ndarray, " K"]) -> Int64[np.ndarray, " M"]:
        """Return the indices of all steps of the given episodes, in order."""
        chosen = np.zeros(self.num_episodes, dtype=bool)
        chosen[episodes] = True
        return np.flatnonzero(chosen[self.episode_of])


def numbered_tasks(
    runs: Iterable[TaskRun],
) -> tuple[tuple[str, ...], Int64[np.ndarray, " N"] | None]:
    """Return the tasks that occur, and which of them each step belongs to; None where there is only one.

    Args:
        runs: The task of all steps, end to end.
    """
    number: dict[str, int] = {}
    index: list[int] = []
    counts: list[int] = []
    for text, count in runs:
        index.append(number.setdefault(text, len(number)))
        counts.append(count)
    if len(number) < 2:
        return tuple(number), None
    return tuple(number), np.repeat(np.array(index, dtype=np.int64), counts)


@dataclass(frozen=True, kw_only=True)
class WindowSpec:
    """Which steps around step t make one training example.

    Attributes:
        obs_offsets: Observation steps relative to t, such as (-1, 0); positive ones are allowed.
        action_offsets: Action steps relative to t, such as (0, 1, ..., 15).
    """

    obs_offsets: tuple[int, ...] = (0,)
    action_offsets: tuple[int, ...] = (0,)


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Indices into `Frames` for B windows at once; padded entries repeat the nearest valid step."""

    obs_index: Int64[np.ndarray, "B O"]
    obs_is_pad: Bool[np.ndarray, "B O"]
    action_index: Int64[np.ndarray, "B H"]
    action_is_pad: Bool[np.ndarray, "B H"]


class Windower:
    """Cuts windows by index arithmetic: no per-sample Python, no crossing of episodes.

    A branch step stands in for step `step` of its parent: at offset 0 the branch itself is read, before and
    after it the parent.

    Once as many windows were asked for as there are steps, all of them are kept in a table, unless it would
    be large: looking a window up is four times faster than working it out.
    """

    _LARGEST_TABLE = 2**24  # entries: 128 MiB of indices

    def __init__(self, frames: Frames, spec: WindowSpec) -> None:
        self.spec = spec
        starts, ends, branch = frames.episode_starts, frames.episode_ends, frames.branch
        is_branch = branch[:, 0] >= 0
        host = np.where(is_branch, branch[:, 0], np.arange(frames.num_episodes))
        if (host >= frames.num_episodes).any() or is_branch[host].any():
            raise DataError(
                "A branch points at a parent that does not exist or is itself a branch.",
                available=f"episodes 0 to {frames.num_episodes - 1}",
            )
        beyond = is_branch & (branch[:, 1] >= (ends - starts)[host])
        if beyond.any():
            number = int(np.flatnonzero(beyond)[0])
            raise DataError(
                f"Branch episode {number} points past the end of its parent.",
                got=int(branch[number, 1]),
                expected=f"< {(ends - starts)[host][number]}",
            )
        episode = frames.episode_of
        self._first = starts[host][episode]
        self._last = ends[host][episode] - 1
        anchor = np.arange(len(frames))
        self._anchor = np.where(is_branch[episode], (starts[host] + branch[:, 1])[episode], anchor)
        self._has_branches = bool(is_branch.any())
        self._num_steps = len(frames)
        self._num_served = 0
        self._table: Windows | None = None

    def __call__(self, steps: Int64[np.ndarray, " B"]) -> Windows:
        """Return the windows around `steps`."""
        if self._table is None:
            self._num_served += len(steps)
            entries = self._num_steps * (len(self.spec.obs_offsets) + len(self.spec.action_offsets))
            if self._num_served < self._num_steps or entries > self._LARGEST_TABLE:
                return self._work_out(steps)
            self._table = self._work_out(np.arange(self._num_steps))
        return Windows(
            obs_index=self._table.obs_index.take(steps, axis=0),
            obs_is_pad=self._table.obs_is_pad.take(steps, axis=0),
            action_index=self._table.action_index.take(steps, axis=0),
            action_is_pad=self._table.action_is_pad.take(steps, axis=0),
        )

    def _work_out(self, steps: np.ndarray) -> Windows:
        obs_index, obs_is_pad = self._cut(steps, self.spec.obs_offsets)
        action_index, action_is_pad = self._cut(steps, self.spec.action_offsets)
        return Windows(
            obs_index=obs_index,
            obs_is_pad=obs_is_pad,
            action_index=action_index,
            action_is_pad=action_is_pad,
        )

    def _cut(self, steps: np.ndarray, offsets: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        wanted = self._anchor[steps][:, None] + np.array(offsets, dtype=np.int64)
        index = np.clip(wanted, self._first[steps][:, None], self._last[steps][:, None])
        is_pad = index != wanted
        if self._has_branches:
            index = np.where(np.array(offsets) == 0, steps[:, None], index)
        return index, is_pad
