"""Writes episodes as new files of a LeRobotDataset v3.0, as LeRobot 0.6.1 lays them out."""

import io
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from steadyhand.core.specs import ACTION
from steadyhand.data.episode import Episode
from steadyhand.data.formats.arrow import ArrowArray, ArrowTable, ArrowType
from steadyhand.data.formats.columns import to_column
from steadyhand.data.formats.lerobot_v3 import DATA_PATH, EPISODES_PATH, VIDEO_PATH
from steadyhand.data.formats.png import encode_png
from steadyhand.data.formats.schema import DEFAULT_FEATURES, EXPERT_ACTION, huggingface_metadata
from steadyhand.data.formats.video import Mp4Writer, VideoCodec
from steadyhand.data.stats import FeatureStats, array_stats, histogram, histogram_stats, sample_indices

CHUNKS_SIZE = 1000
DATA_FILES_SIZE_MB = 100
VIDEO_FILES_SIZE_MB = 200
_EPISODES_PER_GROUP = 10
_MB = 1024 * 1024
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

FileNumber = tuple[int, int]
"""(chunk index, file index)."""


def next_file(folder: Path, pattern: str) -> FileNumber:
    """Return the number after the last file `chunk-*/file-*` of a folder."""
    found = [
        (int(path.parent.name.removeprefix("chunk-")), int(path.stem.removeprefix("file-")))
        for path in folder.glob(f"chunk-*/file-*.{pattern}")
    ]
    return _after(max(found)) if found else (0, 0)


def _after(number: FileNumber) -> FileNumber:
    chunk, file = number
    return (chunk, file + 1) if file + 1 < CHUNKS_SIZE else (chunk + 1, 0)


def open_writer(place: Path | io.BufferedWriter, schema: Any) -> pq.ParquetWriter:
    """Return a writer with LeRobot's options, and a checksum on every page, which reading verifies."""
    return pq.ParquetWriter(
        place, schema, compression="snappy", use_dictionary=True, write_page_checksum=True
    )


class _DataFiles:
    """Parquet files of steps, one row group an episode."""

    def __init__(self, stage: Callable[[str], Path], number: FileNumber, metadata: bytes) -> None:
        self._stage = stage
        self.number = number
        self._metadata = {b"huggingface": metadata}
        self._file: io.BufferedWriter | None = None
        self._writer: pq.ParquetWriter | None = None

    def add(self, table: ArrowTable) -> FileNumber:
        if self._file is not None and self._file.tell() + table.nbytes >= DATA_FILES_SIZE_MB * _MB:
            self.close()
            self.number = _after(self.number)
        table = table.replace_schema_metadata(self._metadata)
        if self._writer is None:
            relative = DATA_PATH.format(chunk_index=self.number[0], file_index=self.number[1])
            self._file = self._stage(relative).open("wb")
            self._writer = open_writer(self._file, table.schema)
        self._writer.write_table(table, row_group_size=len(table))
        return self.number

    def close(self) -> None:
        if self._writer is not None and self._file is not None:
            self._writer.close()
            self._file.close()
        self._writer = self._file = None


class _VideoFiles:
    """MP4 files of one camera, episodes end to end."""

    def __init__(
        self, stage: Callable[[str], Path], key: str, number: FileNumber, *, fps: int, codec: VideoCodec
    ) -> None:
        self._stage, self._key, self._fps = stage, key, fps
        self._codec: VideoCodec = codec
        self.number = number
        self._writer: Mp4Writer | None = None

    def add(self, images: np.ndarray) -> tuple[FileNumber, float, float]:
        """Append the images of an episode; return file and first and last time [s]."""
        writer = self._writer
        if writer is not None and writer.num_frames:
            expected = writer.size_bytes * (1 + len(images) / writer.num_frames)
            if expected >= VIDEO_FILES_SIZE_MB * _MB:
                self.close()
                self.number = _after(self.number)
        if self._writer is None:
            relative = VIDEO_PATH.format(
                video_key=self._key, chunk_index=self.number[0], file_index=self.number[1]
            )
            height, width = images.shape[1:3]
            path = self._stage(relative)
            self._writer = Mp4Writer(
                path, height=height, width=width, fps=self._fps, codec=self._codec, crf=30, gop=2
            )
        first = self._writer.num_frames
        for step, image in enumerate(images):
            self._writer.add(image, key=step == 0)
        return self.number, first / self._fps, (first + len(images)) / self._fps

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def discard(self) -> None:
        if self._writer is not None:
            self._writer.discard()
        self._writer = None


class EpisodeWriter:
    """Appends episodes to new data, video and episode files.

    Args:
        root: The data set, looked at for the next free file numbers.
        stage: Maps the relative path of a file to where it is to be written.
        features: "features" of info.json.
        fps: Steps a second.
        codec: Codec of videos.
        first_episode: Number of the first new episode.
        first_index: Number of its first step in the whole data set.
        tasks: Tasks so far; grows.
    """

    def __init__(
        self,
        root: Path,
        stage: Callable[[str], Path],
        *,
        features: Mapping[str, Mapping[str, Any]],
        fps: int,
        codec: VideoCodec,
        first_episode: int,
        first_index: int,
        tasks: list[str],
    ) -> None:
        self._features, self._fps, self._stage = features, fps, stage
        self.next_episode, self.next_index = first_episode, first_index
        self.tasks = tasks
        self._task_index = {task: number for number, task in enumerate(tasks)}
        self._data = _DataFiles(stage, next_file(root / "data", "parquet"), huggingface_metadata(features))
        self._videos = {
            name: _VideoFiles(stage, name, next_file(root / "videos" / name, "mp4"), fps=fps, codec=codec)
            for name, feature in features.items()
            if feature["dtype"] == "video"
        }
        self._episodes_file = next_file(root / "meta/episodes", "parquet")
        self._rows: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None
        self.values: dict[str, list[np.ndarray]] = {
            name: [] for name, feature in features.items() if feature["dtype"] not in ("image", "video")
        }
        self.histograms: dict[str, tuple[np.ndarray, int]] = {}

    def add(self, episode: Episode) -> None:
        """Write one episode."""
        length = len(episode)
        tasks = list(dict.fromkeys(text for text, _ in episode.task_runs))
        for text in tasks:
            if text not in self._task_index:
                self._task_index[text] = len(self.tasks)
                self.tasks.append(text)
        values = self._columns(episode)
        stats: dict[str, dict[str, Any]] = {}
        arrays: dict[str, ArrowArray] = {}
        row: dict[str, Any] = {"episode_index": self.next_episode, "tasks": tasks, "length": length}
        videos: dict[str, Any] = {}
        for name, feature in self._features.items():
            if feature["dtype"] in ("image", "video"):
                images = episode.observation[name]
                stats[name] = self._pixel_stats(name, images, channels=feature["shape"][2])
                if feature["dtype"] == "video":
                    number, first, last = self._videos[name].add(images)
                    place = (*number, first, last)
                    for part, value in zip(_VIDEO_COLUMNS, place, strict=True):
                        videos[f"videos/{name}/{part}"] = value
                else:
                    cells = [
                        {"bytes": encode_png(image), "path": f"frame-{step:06d}.png"}
                        for step, image in enumerate(images)
                    ]
                    arrays[name] = pa.array(cells, type=_IMAGE)
                continue
            array = values[name]
            array = array.reshape(length, *feature["shape"])
            self.values[name].append(array)
            stats[name] = array_stats(array).to_lerobot()
            arrays[name] = to_column(array, tuple(feature["shape"]))
        chunk, file = self._data.add(pa.table(arrays))
        row |= {"data/chunk_index": chunk, "data/file_index": file}
        row |= {"dataset_from_index": self.next_index, "dataset_to_index": self.next_index + length}
        row |= videos
        row |= {f"stats/{name}/{key}": value for name, entry in stats.items() for key, value in entry.items()}
        self._add_row(row)
        self.next_episode += 1
        self.next_index += length

    def close(self) -> None:
        """Finish all files."""
        self._data.close()
        for video in self._videos.values():
            video.close()
        self._flush_rows()
        if self._writer is not None:
            self._writer.close()

    def discard(self) -> None:
        """Close all files after a failure; what they hold is thrown away with the stage."""
        closes = [self._data.close, *(video.discard for video in self._videos.values())]
        closes += [] if self._writer is None else [self._writer.close]
        for close in closes:
            with suppress(Exception):  # closing writes a footer, perhaps onto the disk that is full
                close()

    def _columns(self, episode: Episode) -> dict[str, np.ndarray]:
        length = len(episode)
        steps = np.arange(length)
        at_end = steps == length - 1
        columns: dict[str, np.ndarray] = {
            **episode.observation,
            ACTION: episode.action,
            EXPERT_ACTION: episode.expert_action,
            "expert_action_valid": episode.expert_action_valid,
            "actor": episode.actor,
            "intervention": episode.intervention,
            "weight": episode.weight,
            "next.reward": episode.reward,
            "next.done": at_end & (episode.terminated or episode.truncated),
            "next.success": at_end & (episode.success is True),
            "next.truncated": at_end & episode.truncated,
            "timestamp": steps / self._fps,
            "frame_index": steps,
            "episode_index": np.full(length, self.next_episode),
            "index": self.next_index + steps,
            "task_index": np.repeat(
                [self._task_index[text] for text, _ in episode.task_runs],
                [count for _, count in episode.task_runs],
            ),
        }
        for name, dtype in DEFAULT_FEATURES.items():
            columns[name] = columns[name].astype(dtype)
        return columns

    def _pixel_stats(self, name: str, images: np.ndarray, *, channels: int) -> dict[str, Any]:
        sampled = images[sample_indices(len(images))]
        counts = histogram(sampled)
        if len(counts) < channels:
            counts = np.repeat(counts, channels, axis=0)
        before, frames = self.histograms.get(name, (np.zeros_like(counts), 0))
        self.histograms[name] = (before + counts, frames + len(sampled))
        return histogram_stats(counts, num_frames=len(sampled)).to_lerobot(image=True)

    def _add_row(self, row: dict[str, Any]) -> None:
        chunk, file = self._episodes_file
        self._rows.append(row | {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file})
        if len(self._rows) == _EPISODES_PER_GROUP:
            self._flush_rows()

    def _flush_rows(self) -> None:
        if not self._rows:
            return
        names = list(self._rows[0])
        table = pa.table(
            {name: pa.array([row[name] for row in self._rows], type=self._row_type(name)) for name in names}
        )
        if self._writer is None:
            chunk, file = self._episodes_file
            path = self._stage(EPISODES_PATH.format(chunk_index=chunk, file_index=file))
            self._writer = open_writer(path, table.schema)
        self._writer.write_table(table, row_group_size=_EPISODES_PER_GROUP)
        self._rows = []

    def _row_type(self, name: str) -> ArrowType:
        if name == "tasks":
            return pa.list_(pa.field("element", pa.string()))
        if not name.startswith("stats/"):
            return pa.float64() if name.endswith("_timestamp") else pa.int64()
        feature = self._features[name.split("/")[1]]
        if name.endswith("/count"):
            return pa.list_(pa.field("element", pa.int64()))
        kind = pa.float64()
        for _ in feature["shape"]:
            kind = pa.list_(pa.field("element", kind))
        return kind


_VIDEO_COLUMNS = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")


def tasks_table(tasks: list[str]) -> ArrowTable:
    """Return tasks.parquet: to pandas, the task text is the index of the frame."""
    table = pa.table(
        {"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())}
    )

    def column(name: str, kind: str, numpy_kind: str) -> dict[str, Any]:
        return {
            "name": name,
            "field_name": name,
            "pandas_type": kind,
            "numpy_type": numpy_kind,
            "metadata": None,
        }

    pandas = {
        "index_columns": ["task"],
        "column_indexes": [
            {
                "name": None,
                "field_name": None,
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": {"encoding": "UTF-8"},
            }
        ],
        "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
        "attributes": {},
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.3.3",
    }
    return table.replace_schema_metadata({b"pandas": json.dumps(pandas).encode()})


def info_json(
    features: Mapping[str, Mapping[str, Any]],
    *,
    fps: int,
    robot_type: str | None,
    num_episodes: int,
    num_frames: int,
    num_tasks: int,
) -> dict[str, Any]:
    """Return info.json, keys in LeRobot's order."""
    return {
        "codebase_version": "v3.0",
        "fps": fps,
        "features": dict(features),
        "total_episodes": num_episodes,
        "total_frames": num_frames,
        "total_tasks": num_tasks,
        "chunks_size": CHUNKS_SIZE,
        "data_files_size_in_mb": DATA_FILES_SIZE_MB,
        "video_files_size_in_mb": VIDEO_FILES_SIZE_MB,
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
        "robot_type": robot_type,
        "splits": {"train": f"0:{num_episodes}"},
    }


def stats_json(
    values: Mapping[str, FeatureStats], images: Mapping[str, FeatureStats]
) -> dict[str, dict[str, Any]]:
    """Return stats.json of exact statistics.

    Deviation: LeRobot stores the mean of the episodes' quantiles, which is not a quantile of the data set.
    """
    return {
        **{name: stats.to_lerobot() for name, stats in values.items()},
        **{name: stats.to_lerobot(image=True) for name, stats in images.items()},
    }
