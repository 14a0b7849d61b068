"""What every data set offers, whether it lies in files or in memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import Int64

from steadyhand.core.specs import ACTION, FeatureSpec, table_of_shapes
from steadyhand.data.episode import Episode, EpisodeOrigin, branch_rows
from steadyhand.data.frames import Frames
from steadyhand.data.pictures import Size


class Dataset(ABC):
    """Episodes in order, with the specs of what was seen and done.

    Attributes:
        observation: Feature name -> spec.
        action: Spec of the action.
        control_dt: Time between steps [s].
        unread: Names of further columns of the data, which are not read.
        env_id: Env that was recorded, or "".
        robot_type: Robot that was recorded, if the data say so.
    """

    observation: dict[str, FeatureSpec]
    action: FeatureSpec
    control_dt: float
    unread: tuple[str, ...] = ()
    env_id: str = ""
    robot_type: str | None = None

    @property
    @abstractmethod
    def lengths(self) -> Int64[np.ndarray, " E"]:
        """Number of steps of each episode."""

    @property
    @abstractmethod
    def numbers(self) -> Int64[np.ndarray, " E"]:
        """(E,) number that each episode has in the data that it comes from."""

    @property
    @abstractmethod
    def where(self) -> str:
        """Where the data are, in words."""

    @abstractmethod
    def episode(self, index: int, *, observation: Sequence[str] | None = None) -> Episode:
        """Return one episode.

        Args:
            index: Position of the episode, from 0.
            observation: Features to read; all of them if None.

        Raises:
            DataError: There is no such episode or feature.
        """

    @abstractmethod
    def frames(self, observation: Sequence[str] | None = None, *, picture_size: Size | None = None) -> Frames:
        """Lay all episodes end to end.

        Args:
            observation: Features to read; all of them if None.
            picture_size: (height, width) to resize pictures to, see `pictures.resized`; None leaves them.

        Raises:
            DataError: There are no such features, or no episodes.
        """

    @property
    def tasks(self) -> tuple[str, ...]:
        """Text of each task, once each."""
        return tuple(dict.fromkeys(text for texts in self.tasks_of_episode for text in texts))

    @property
    def tasks_of_episode(self) -> list[tuple[str, ...]]:
        """Texts of the tasks that occur in each episode."""
        return [tuple(dict.fromkeys(text for text, _ in episode.task_runs)) for episode in self]

    @property
    def provenances(self) -> list[EpisodeOrigin]:
        """Where each episode came from."""
        return [episode.provenance for episode in self]

    @property
    def branch(self) -> Int64[np.ndarray, "E 2"]:
        """(parent episode, step) of branch episodes, (-1, -1) for all others."""
        return branch_rows(episode.branch for episode in self)

    @property
    def depth(self) -> dict[str, tuple[int, int]]:
        """Name of each depth map -> its (height, width); no policy here reads them."""
        return {}

    @property
    def num_episodes(self) -> int:
        """Number of episodes, branches included."""
        return len(self.lengths)

    @property
    def num_frames(self) -> int:
        """Number of steps."""
        return int(self.lengths.sum())

    def episodes(self, indices: Sequence[int] | np.ndarray | None = None) -> list[Episode]:
        """Return episodes, all of them if `indices` is None."""
        chosen = range(self.num_episodes) if indices is None else indices
        return [self.episode(int(index)) for index in chosen]

    def save(self, folder: str | Path) -> Path:
        """Store the data as a new data set in LeRobot's format, pictures without loss; return its folder.

        Raises:
            DataError: The folder holds something already.
        """
        from steadyhand.data.store import EpisodeStore

        path = Path(folder)
        with EpisodeStore.create(
            path, observation=self.observation, action=self.action, control_dt=self.control_dt
        ) as store:
            for episode in self:
                store.append(episode)
            store.compact()
        return path

    def __len__(self) -> int:
        return self.num_episodes

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(index) for index in range(self.num_episodes))

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> list[Episode]: ...
    def __getitem__(self, index: int | slice) -> Episode | list[Episode]:
        numbers = range(self.num_episodes)
        if isinstance(index, slice):
            return self.episodes(numbers[index])
        if not -self.num_episodes <= index < self.num_episodes:
            raise IndexError(f"There is no episode {index}: there are {self.num_episodes}.")
        return self.episode(numbers[index])

    def __repr__(self) -> str:
        steps = f"{self.num_episodes} episodes, {self.num_frames} steps of {self.control_dt:g} s"
        title = f"<{type(self).__name__} {self.where}: {steps}>"
        return table_of_shapes(title, {**self.observation, ACTION: self.action})
