"""Where the steps of each episode lie on disk: the one thing in which format versions differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from steadyhand.core.errors import DataError
from steadyhand.data.formats.files import check_feature_name, check_template, read_json_file, reading
from steadyhand.data.formats.schema import DEFAULT_FEATURES, Feature, parse_features

INFO = "meta/info.json"
_MAX_FPS = 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoRef:
    """Part of a video file: the frame of step t is shown at start + timestamp[t].

    Attributes:
        path: The video file.
        start: Where the clock of the episode starts in it [s]; NaN if the metadata do not say.
    """

    path: Path
    start: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeRef:
    """Rows of a parquet file that make one episode."""

    index: int
    length: int
    tasks: tuple[str, ...]
    data_path: Path
    first_row: int
    rows_of_file: int
    """How many rows the metadata count in that file, those of all episodes."""
    videos: Mapping[str, VideoRef] = field(default_factory=dict[str, VideoRef])


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A data set as its metadata describes it; no step has been read yet.

    Attributes:
        root: Folder of the data set.
        version: "v2.1" or "v3.0".
        fps: Steps a second, as the file says.
        robot_type: Which robot, if the file says so.
        features: All columns and cameras.
        tasks: Text of each task, by task_index.
        episodes: In order of episode index; those that are read, if some were chosen.
        is_whole: Whether they are all that there are.
        all_episodes: All that there are, where only some were chosen.
    """

    root: Path
    version: str
    fps: float
    robot_type: str | None
    features: Mapping[str, Feature]
    tasks: tuple[str, ...]
    episodes: tuple[EpisodeRef, ...]
    is_whole: bool = True
    all_episodes: tuple[EpisodeRef, ...] = ()

    @property
    def cameras(self) -> list[str]:
        """Names of the image features."""
        return [name for name, feature in self.features.items() if feature.is_image]

    def column_of(self, name: str) -> str:
        """Return what a feature is called in the files, where it was renamed on reading."""
        feature = self.features.get(name)
        return feature.column if feature is not None and feature.column else name

    def selected(self, numbers: Sequence[int] | np.ndarray) -> "Layout":
        """Return the layout of some of the episodes, in the given order."""
        kept = tuple(self.episodes[number] for number in numbers)
        every = self.all_episodes or self.episodes
        return replace(self, episodes=kept, is_whole=len(kept) == len(every), all_episodes=every)

    def renamed(self, rename: Mapping[str, str]) -> "Layout":
        """Return the layout with features under other names than in the files.

        Args:
            rename: Name in the files -> name here.

        Raises:
            DataError: No such feature, or a name that cannot be used or is taken.
        """
        for old, new in rename.items():
            check_feature_name(new)
            if old not in self.features or old in DEFAULT_FEATURES:
                raise DataError(
                    "There is no such feature to rename.",
                    got=old,
                    available=[name for name in self.features if name not in DEFAULT_FEATURES],
                )
        names = {name: rename.get(name, name) for name in self.features}
        taken = [new for new in rename.values() if list(names.values()).count(new) > 1]
        if taken:
            raise DataError(
                "Two features would have the same name.",
                got=taken[0],
                available=[name for name in self.features if name != taken[0]],
                hint=f"rename that one as well, such as {taken[0]}=other.{taken[0]}",
            )
        features = {
            names[old]: replace(feature, column=feature.column or old) if old in rename else feature
            for old, feature in self.features.items()
        }
        episodes = tuple(
            replace(ref, videos={names[key]: video for key, video in ref.videos.items()})
            for ref in self.episodes
        )
        return replace(self, features=features, episodes=episodes)


@dataclass(frozen=True, kw_only=True)
class Info:
    """The checked part of info.json that both versions share."""

    raw: Mapping[str, Any]
    fps: float
    features: Mapping[str, Feature]
    total_episodes: int
    total_frames: int
    robot_type: str | None
    chunks_size: int

    @property
    def videos(self) -> list[str]:
        """Names of the features that lie in videos."""
        return [name for name, feature in self.features.items() if feature.dtype == "video"]

    def templates(self, data: str, video: str, fields: tuple[str, ...]) -> tuple[str, str]:
        """Return the checked templates of the paths of data files and videos, these where none are named.

        Raises:
            DataError: One that may not be filled with these fields, or for videos "video_key".
        """
        data = check_template(self.raw.get("data_path", data), fields=fields, key="data_path")
        if self.videos:
            named = self.raw.get("video_path") or video
            video = check_template(named, fields=(*fields, "video_key"), key="video_path")
        return data, video


def read_info(root: Path) -> Info:
    """Return the checked content of meta/info.json.

    Raises:
        DataError: Missing keys, wrong types, or features that cannot be.
    """
    with reading(root / INFO):
        return _info(root / INFO)


def _info(path: Path) -> Info:
    raw = read_json_file(path)
    if not isinstance(raw, dict):
        raise DataError(f"{path} does not hold an object.", got=type(raw).__name__)
    absent = {"codebase_version", "fps", "features"} - set(raw)
    if absent:
        raise DataError(f"{path} lacks keys.", got=sorted(absent), expected="codebase_version, fps, features")
    fps = raw["fps"]
    if not isinstance(fps, int | float) or isinstance(fps, bool) or not 0 < fps < _MAX_FPS:
        raise DataError(f"fps in {path} is not a positive number.", got=repr(fps), expected="steps a second")
    features = parse_features(raw["features"])
    for name in DEFAULT_FEATURES:
        if name in features and not features[name].is_number:
            raise DataError(
                f"{name} in {path} has the wrong dtype.",
                got=features[name].dtype,
                expected=DEFAULT_FEATURES[name],
            )
    robot_type = raw.get("robot_type")
    return Info(
        raw=raw,
        fps=float(fps),
        features=features,
        total_episodes=_count(raw, "total_episodes", path),
        total_frames=_count(raw, "total_frames", path),
        robot_type=robot_type if isinstance(robot_type, str) else None,
        chunks_size=max(_count(raw, "chunks_size", path, default=1000), 1),
    )


def _count(raw: Mapping[str, Any], key: str, path: Path, default: int = 0) -> int:
    value = raw.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DataError(f"{key} in {path} is not a count.", got=value, expected="an integer >= 0")
    return value


def check_totals(info: Info, lengths: list[int], path: Path) -> None:
    """Raise DataError unless the episode lengths agree with each other and with info.json."""
    if any(length < 1 for length in lengths):
        number = next(i for i, length in enumerate(lengths) if length < 1)
        raise DataError(f"Episode {number} in {path} has no steps.", got=lengths[number], expected=">= 1")
    if "total_episodes" in info.raw and info.total_episodes != len(lengths):
        raise DataError(
            f"{path} and info.json differ in the number of episodes.",
            got=len(lengths),
            expected=f"total_episodes = {info.total_episodes}",
            hint="the copy is incomplete, or the recording was cut",
        )
    if "total_frames" in info.raw and info.total_frames != sum(lengths):
        raise DataError(
            f"Episode lengths in {path} do not add up to the steps of info.json.",
            got=sum(lengths),
            expected=f"total_frames = {info.total_frames}",
        )
