"""Episodes in the files of a data set and in the journal of a store, as one sequence."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from steadyhand.core.errors import DataError
from steadyhand.core.specs import FeatureSpec, full_names
from steadyhand.data.base import Dataset
from steadyhand.data.episode import Branch, Episode, EpisodeOrigin, TaskRun, branch_rows, texts_of
from steadyhand.data.formats.layout import Layout
from steadyhand.data.frames import Frames
from steadyhand.data.journal import JournalReader
from steadyhand.data.pictures import Size, resized
from steadyhand.data.records import Damage
from steadyhand.data.spec import StoreSpec
from steadyhand.data.stored import StoredEpisodes

T = TypeVar("T")
_logger = logging.getLogger("steadyhand")


class StoredDataset(Dataset):
    """Episodes in the files of a data set, and those still in the journal of a store, as one sequence.

    Args:
        layout: What the metadata says.
        spec: The store's own spec, if it is a store.
        pending: Episodes that are not compacted yet; they follow those of `layout`.
        chosen: Which of them; all if None.
        observation: Features to read; all if None.
        cache_dir: Where decoded images are kept; if None inside the data set, or in the user's cache folder
            where that cannot be written.
        classes: Lowest and highest number of a discrete action, if the data do not say them.

    Raises:
        DataError: Features that are not there, or a branch episode without its parent.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        spec: StoreSpec | None = None,
        pending: JournalReader | None = None,
        chosen: np.ndarray | None = None,
        observation: Sequence[str] | None = None,
        cache_dir: Path | None = None,
        classes: tuple[int, int] | None = None,
    ) -> None:
        self.layout = layout
        self.stored = StoredEpisodes(layout, spec, classes=classes)
        self.observation: dict[str, FeatureSpec] = self.stored.observation
        self.action: FeatureSpec = self.stored.action
        self.control_dt = self.stored.control_dt
        self.env_id = "" if spec is None else spec.env_id
        self.robot_type = layout.robot_type
        self._pending = pending
        everything = range(0 if pending is None else len(pending))
        self._places: Sequence[int] = everything if chosen is None else chosen.tolist()
        self._cache_dir = cache_dir
        if observation is not None:
            self.observation = {name: self.observation[name] for name in self._names(observation)}
        if not self.is_whole:
            self._branches(range(self.num_episodes))  # whole families only

    @property
    def root(self) -> Path:
        """Folder of the data set."""
        return self.layout.root

    @property
    def fps(self) -> float:
        """Steps a second, as the files say; `control_dt` is exact."""
        return self.layout.fps

    @property
    def is_whole(self) -> bool:
        """Whether these are all episodes that there are."""
        return self.layout.is_whole and len(self._places) == (
            0 if self._pending is None else len(self._pending)
        )

    @property
    def where(self) -> str:
        """Where the data are, in words."""
        return f"in {self.root}"

    @property
    def numbers(self) -> Int64[np.ndarray, " E"]:
        """Number that each episode has in the files."""
        stored = [ref.index for ref in self.layout.episodes]
        first = 0 if self._pending is None else self._pending.first
        return np.array([*stored, *(first + place for place in self._places)], dtype=np.int64)

    @property
    def num_pending(self) -> int:
        """Number of episodes in the journal."""
        return len(self._places)

    @property
    def num_episodes(self) -> int:
        """Number of episodes, branches included."""
        return len(self.stored) + self.num_pending

    @property
    def lengths(self) -> Int64[np.ndarray, " E"]:
        """Number of steps of each episode."""
        pending = self._of_journal(lambda journal: journal.lengths)
        return np.array([*self.stored.lengths, *pending], dtype=np.int64)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Text of each task, once each."""
        pending = self._of_journal(lambda journal: journal.task_runs)
        return tuple(dict.fromkeys([*self.layout.tasks, *(text for runs in pending for text, _ in runs)]))

    @property
    def branch(self) -> Int64[np.ndarray, "E 2"]:
        """(parent episode, step) of branch episodes, (-1, -1) for all others."""
        return branch_rows(self._marks) if self.is_whole else self._branches(range(self.num_episodes))

    @property
    def provenances(self) -> list[EpisodeOrigin]:
        """Where each episode came from."""
        stored = [ending.provenance for ending in self.stored.endings]
        return stored + self._of_journal(lambda journal: journal.provenances)

    @property
    def tasks_of_episode(self) -> list[tuple[str, ...]]:
        """Texts of the tasks that occur in each episode, as the metadata list them."""
        stored = [ref.tasks or ("",) for ref in self.layout.episodes]
        pending = self._of_journal(lambda journal: journal.task_runs)
        return stored + [tuple(dict.fromkeys(text for text, _ in runs)) for runs in pending]

    def task_of_step(self, episode: int) -> tuple[str, ...]:
        """Return the text of the task of each step of an episode, which the rows say one by one.

        Raises:
            DataError: No such episode, or missing or damaged files.
        """
        return texts_of(self._task_runs(self._chosen([episode]))[0])

    @property
    def dropped_bytes(self) -> int:
        """Bytes at the end of the journal that a killed process left of the record it was writing."""
        return 0 if self._pending is None else self._pending.cut

    @property
    def journal_damages(self) -> list[Damage]:
        """Damaged records of the journal: what they held is missing, all the rest is read."""
        return [] if self._pending is None else self._pending.damages

    def episode(self, index: int, *, observation: Sequence[str] | None = None) -> Episode:
        """Return one episode, images decoded; a branch names its parent by its place here.

        Raises:
            DataError: No such episode or feature, or missing or damaged files.
        """
        names = self._names(observation)
        index = int(self._chosen([index])[0])
        if index >= len(self.stored):
            found = self._journaled(index).with_features(names)
        else:
            found = self.stored.episode(index, names)
        if found.branch is None or self.is_whole:
            return found
        return replace(found, branch=replace(found.branch, parent=int(self.branch[index, 0])))

    def image(self, key: str, episode: int, step: int) -> UInt8[np.ndarray, "h w c"]:
        """Return one image without reading the rest of its episode.

        Raises:
            DataError: No such camera, episode or step, or a missing or damaged file.
        """
        if key not in self.observation or self.observation[key].kind != "image":
            cameras = [name for name, spec in self.observation.items() if spec.kind == "image"]
            raise DataError("There is no such camera.", got=key, available=cameras)
        episode = int(self._chosen([episode])[0])
        self._check_step(np.array([step]), episode)
        if episode >= len(self.stored):
            return self._journaled(episode).observation[key][step]
        return self.stored.images(key, episode, np.array([step]))[0]

    @property
    def depth(self) -> dict[str, tuple[int, int]]:
        """Name of each depth map -> its (height, width); see `depth_maps`."""
        found = {name: feature for name, feature in self.layout.features.items() if feature.is_depth}
        return {name: (feature.shape[0], feature.shape[1]) for name, feature in found.items()}

    def depth_maps(
        self, key: str, episode: int, steps: Sequence[int] | np.ndarray | None = None
    ) -> Float32[np.ndarray, "n h w"]:
        """Return depth maps [m] of an episode, decoded without loss; no policy here reads them.

        Args:
            key: Name of the depth map.
            episode: Which episode.
            steps: At which steps; all of them if None.

        Raises:
            DataError: No such depth map or step, a scale that nobody told, or missing or damaged files.
        """
        if key not in self.depth:
            raise DataError("There is no such depth map.", got=key, available=self.depth)
        episode = int(self._chosen([episode])[0])
        every = range(self.lengths[episode])
        chosen = np.asarray(every if steps is None else steps, dtype=np.int64)
        self._check_step(chosen, episode)
        return self.stored.images(key, episode, chosen)

    def column(self, name: str) -> np.ndarray:
        """Return a column of the compacted episodes, (N, *shape), as it is stored.

        Raises:
            DataError: No such column, or it holds images or text.
        """
        return self.stored.column(name)

    def frames(
        self,
        observation: Sequence[str] | None = None,
        *,
        episodes: Sequence[int] | np.ndarray | None = None,
        picture_size: Size | None = None,
    ) -> Frames:
        """Lay episodes end to end in memory; images come memory mapped from a cache.

        Args:
            observation: Features to read; all of them if None. Cameras that are not named are never opened.
            episodes: Which episodes, rising; all of them if None. A branch needs its parent.
            picture_size: (height, width) that pictures are made, see `pictures.resized`; as they are if None.

        Raises:
            DataError: Unknown names, missing or damaged files, or a branch without its parent.
        """
        if self.journal_damages:
            _logger.warning(
                "%s: what %d damaged records of the journal held is missing; see steadyhand data check",
                self.root,
                len(self.journal_damages),
            )
        names = self._names(observation)
        chosen = self._chosen(episodes)
        if not len(chosen):
            raise DataError("There are no episodes.", got=0, hint=f"record some into {self.root}")
        if (np.diff(chosen) < 1).any():
            raise DataError("Episodes must be named once each, in rising order.", got=chosen[:10].tolist())
        is_stored = chosen < len(self.stored)
        refs = [self.layout.episodes[index] for index in chosen[is_stored]]
        cameras = [name for name in names if self.observation[name].kind == "image"]
        stored = self.stored.columns(refs, [name for name in names if name not in cameras])
        fresh = [self._journaled(int(index)).columns for index in chosen[~is_stored]]
        pictures: dict[str, np.ndarray] = {}
        for name in cameras if refs else ():
            images = self.stored.cached(name, refs, self._cache_dir, picture_size)
            sized = [one[name] if picture_size is None else resized(one[name], picture_size) for one in fresh]
            pictures[name] = np.concatenate([images, *sized]) if sized else images  # a map stays one
        return Frames.from_columns(
            [*stored, *fresh],
            observation_spec={name: self.observation[name] for name in names},
            action_spec=self.action,
            control_dt=self.control_dt,
            branch=self._branches(chosen),
            task_runs=(run for runs in self._task_runs(chosen) for run in runs),
            pictures=pictures,
        ).with_pictures(picture_size)

    def _check_step(self, steps: np.ndarray, episode: int) -> None:
        last = int(self.lengths[episode]) - 1
        bad = steps[(steps < 0) | (steps > last)]
        if len(bad):
            raise DataError(f"Episode {episode} has no such step.", got=int(bad[0]), expected=f"0 to {last}")

    def _of_journal(self, read: Callable[[JournalReader], list[T]]) -> list[T]:
        """Return something of each chosen episode of the journal."""
        if self._pending is None:
            return []
        values = read(self._pending)
        return [values[place] for place in self._places]

    def _journaled(self, index: int) -> Episode:
        assert self._pending is not None, "only a journal has episodes behind the stored ones"
        return self._pending[self._places[index - len(self.stored)]]

    def _task_runs(self, chosen: np.ndarray) -> list[tuple[TaskRun, ...]]:
        is_stored = chosen < len(self.stored)
        stored = self.stored.task_runs([self.layout.episodes[index] for index in chosen[is_stored]])
        pending = self._of_journal(lambda journal: journal.task_runs)
        return stored + [pending[int(index) - len(self.stored)] for index in chosen[~is_stored]]

    def _names(self, observation: Sequence[str] | None) -> list[str]:
        if observation is None:
            return list(self.observation)
        names: dict[str, None] = {}
        for name in observation:
            there = [full for full in full_names(name) if full in self.observation]
            if not there:
                is_depth = any(full in self.depth for full in full_names(name))
                raise DataError(
                    "No policy here reads depth maps."
                    if is_depth
                    else "The data set has no such observation.",
                    got=name,
                    available=sorted(self.observation),
                    hint="leave it out; dataset.depth_maps(...) returns metres" if is_depth else None,
                )
            names[there[0]] = None
        return list(names)

    def _chosen(self, episodes: Sequence[int] | np.ndarray | None) -> Int64[np.ndarray, " K"]:
        chosen = np.ravel(range(self.num_episodes) if episodes is None else episodes).astype(np.int64)
        bad = chosen[(chosen < 0) | (chosen >= self.num_episodes)]
        if len(bad):
            expected = f"0 to {self.num_episodes - 1}" if self.num_episodes else "none: the data set is empty"
            raise DataError("There is no such episode.", got=int(bad[0]), expected=expected)
        return chosen

    @property
    def _marks(self) -> list[Branch | None]:
        """What each episode continues, in the numbers of the files."""
        stored: list[Branch | None] = [ending.branch for ending in self.stored.endings]
        return stored + self._of_journal(lambda journal: journal.branches)

    def _branches(self, chosen: Sequence[int] | np.ndarray) -> Int64[np.ndarray, "K 2"]:
        """Return (parent, step) of chosen episodes, a parent by its place among them."""
        numbers, every = self.numbers[chosen].tolist(), self._marks
        marks = [every[index] for index in chosen]
        place = {number: at for at, number in enumerate(numbers)}
        for at, mark in enumerate(marks):
            if mark is None:
                continue
            if mark.parent not in place:
                raise DataError(
                    "A branch episode was chosen without its parent.",
                    got=f"episode {numbers[at]}",
                    hint="choose whole families: split_episodes(..., branch=dataset.branch)",
                )
            marks[at] = Branch(parent=place[mark.parent], step=mark.step)
        return branch_rows(marks)
