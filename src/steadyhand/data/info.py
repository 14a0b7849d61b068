"""What a data set holds, in numbers that fit one screen."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steadyhand.core.specs import FeatureSpec
from steadyhand.data.base import Dataset
from steadyhand.data.dataset import StoredDataset


@dataclass(frozen=True, kw_only=True)
class CameraInfo:
    """One camera.

    Attributes:
        name: Feature name.
        stored_as: "video", "image", or "array".
        available: Number of episodes whose file is there.
    """

    name: str
    stored_as: str
    available: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What `steadyhand data info` shows.

    Attributes:
        root: Folder or file.
        version: Format and version, such as "LeRobot v3.0", or "npz".
        robot_type: Robot, or None.
        env_id: Env, or "".
        control_dt: Time between steps [s].
        num_episodes: Number of episodes.
        num_frames: Number of steps.
        num_pending: Episodes that are still in the journal.
        num_damaged: Damaged records of the journal; what they held is missing.
        num_branches: Synthetic one-step episodes.
        duration_s: Recorded time [s].
        length: Least, median and greatest number of steps of an episode.
        observation: Feature name -> spec.
        action: Spec of the action.
        cameras: Where the images are.
        tasks: Task text -> number of episodes in which it occurs.
        depth: Name of each depth map -> (height, width); policies do not read them.
        sources: Source -> number of episodes.
        outcomes: Outcome -> number of episodes.
        size_bytes: Bytes on disk, caches excluded.
    """

    root: str
    version: str
    robot_type: str | None
    env_id: str
    control_dt: float
    num_episodes: int
    num_frames: int
    num_pending: int
    num_damaged: int
    num_branches: int
    duration_s: float
    length: tuple[int, float, int]
    observation: dict[str, FeatureSpec]
    action: FeatureSpec
    cameras: tuple[CameraInfo, ...]
    tasks: dict[str, int]
    depth: dict[str, tuple[int, int]]
    sources: dict[str, int]
    outcomes: dict[str, int]
    size_bytes: int


def summarise(dataset: Dataset, *, path: Path | None = None) -> Summary:
    """Return the summary of a data set; of one on disk only metadata are read.

    Args:
        dataset: What `open_any` returned.
        path: Where arrays came from; a data set on disk knows it.
    """
    lengths, origins = dataset.lengths, dataset.provenances
    stored = dataset if isinstance(dataset, StoredDataset) else None
    place = path if stored is None else stored.root
    return Summary(
        root=str(place or "arrays"),
        version="npz" if stored is None else f"LeRobot {stored.layout.version}",
        robot_type=dataset.robot_type,
        env_id=dataset.env_id,
        control_dt=dataset.control_dt,
        num_episodes=dataset.num_episodes,
        num_frames=dataset.num_frames,
        num_pending=0 if stored is None else stored.num_pending,
        num_damaged=0 if stored is None else len(stored.journal_damages),
        num_branches=int((dataset.branch[:, 0] >= 0).sum()),
        duration_s=dataset.num_frames * dataset.control_dt,
        length=(int(lengths.min()), float(np.median(lengths)), int(lengths.max()))
        if len(lengths)
        else (0, 0.0, 0),
        observation=dataset.observation,
        action=dataset.action,
        cameras=tuple(
            _camera(dataset, name) for name, spec in dataset.observation.items() if spec.kind == "image"
        ),
        tasks=dict(Counter(text for texts in dataset.tasks_of_episode for text in texts)),
        depth=dataset.depth,
        sources=dict(Counter(origin.source for origin in origins)),
        outcomes=dict(Counter(origin.outcome for origin in origins)),
        size_bytes=_size(place),
    )


def _camera(dataset: Dataset, name: str) -> CameraInfo:
    if not isinstance(dataset, StoredDataset):
        return CameraInfo(name=name, stored_as="array", available=dataset.num_episodes)
    stored_as = dataset.layout.features[name].dtype
    return CameraInfo(name=name, stored_as=stored_as, available=_available(dataset, name))


def _available(dataset: StoredDataset, camera: str) -> int:
    """Return how many episodes have their file; many share one, which is looked at once."""
    episodes = Counter(dataset.stored.image_files(camera))
    return sum(count for file, count in episodes.items() if file.is_file())


def _size(path: Path | None) -> int:
    """Return the bytes on disk, caches excluded."""
    if path is None:
        return 0
    if path.is_file():
        return path.stat().st_size
    files = (file for file in path.rglob("*") if ".cache" not in file.relative_to(path).parts)
    return sum(file.stat().st_size for file in files if file.is_file())
