"""What a data set holds, in numbers that fit one screen."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from steadyhand.core.specs import FeatureSpec
from steadyhand.data.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class CameraInfo:
    """One camera.

    Attributes:
        name: Feature name.
        stored_as: "video" or "image".
        available: Number of episodes whose file is there.
    """

    name: str
    stored_as: str
    available: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What `steadyhand data info` shows.

    Attributes:
        root: Folder.
        version: Format version, such as "v3.0".
        robot_type: Robot, or None.
        env_id: Env, or "".
        control_dt: Time between steps [s].
        num_episodes: Number of episodes.
        num_frames: Number of steps.
        num_pending: Episodes that are still in the journal.
        num_branches: Synthetic one-step episodes.
        duration_s: Recorded time [s].
        length: Least, median and greatest number of steps of an episode.
        observation: Feature name -> spec.
        action: Spec of the action.
        cameras: Where the images are.
        tasks: Task text -> number of episodes.
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
    num_branches: int
    duration_s: float
    length: tuple[int, float, int]
    observation: dict[str, FeatureSpec]
    action: FeatureSpec
    cameras: tuple[CameraInfo, ...]
    tasks: dict[str, int]
    sources: dict[str, int]
    outcomes: dict[str, int]
    size_bytes: int


def summarise(dataset: Dataset) -> Summary:
    """Return the summary of a data set; reads metadata only."""
    lengths = dataset.lengths
    layout = dataset.layout
    origins = dataset.provenances
    cameras = tuple(
        CameraInfo(
            name=name,
            stored_as=layout.features[name].dtype,
            available=sum(dataset.stored.image_file(name, ref).is_file() for ref in layout.episodes),
        )
        for name in layout.cameras
    )
    return Summary(
        root=str(dataset.root),
        version=layout.version,
        robot_type=layout.robot_type,
        env_id=dataset.env_id,
        control_dt=dataset.control_dt,
        num_episodes=dataset.num_episodes,
        num_frames=dataset.num_frames,
        num_pending=dataset.num_pending,
        num_branches=int((dataset.branch[:, 0] >= 0).sum()),
        duration_s=dataset.num_frames * dataset.control_dt,
        length=(int(lengths.min()), float(np.median(lengths)), int(lengths.max()))
        if len(lengths)
        else (0, 0, 0),
        observation=dataset.observation,
        action=dataset.action,
        cameras=cameras,
        tasks=dict(Counter(dataset.task_of_episode)),
        sources=dict(Counter(origin.source for origin in origins)),
        outcomes=dict(Counter(origin.outcome for origin in origins)),
        size_bytes=sum(
            path.stat().st_size
            for path in dataset.root.rglob("*")
            if path.is_file() and ".cache" not in path.relative_to(dataset.root).parts
        ),
    )
