"""Writes episodes as new files of a LeRobotDataset v3.0, as LeRobot 0.6.1 lays them out."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64

from steadyhand.data.formats.arrow import ArrowArray, ArrowTable
from steadyhand.data.formats.blocks import EpisodeBlock, episode_stats
from steadyhand.data.formats.columns import listed, to_column
from steadyhand.data.formats.lerobot_v3 import DATA_PATH, EPISODES_PATH, VIDEO_PATH
from steadyhand.data.formats.png import encode_png
from steadyhand.data.formats.schema import huggingface_metadata
from steadyhand.data.formats.video import Mp4Writer, VideoCodec
from steadyhand.data.stats import QUANTILES, FeatureStats, histogram, histogram_stats, sample_indices

CHUNKS_SIZE = 1000
DATA_FILES_SIZE_MB = 100
VIDEO_FILES_SIZE_MB = 200
_EPISODES_PER_GROUP = 1000
_STEPS_PER_GROUP = 200
"""Shorter episodes share a row group: one for each, as in LeRobot, makes a footer as long as the data."""
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
    """Parquet files of steps; an episode lies in one row group, short ones share it."""

    def __init__(self, stage: Callable[[str], Path], number: FileNumber, metadata: bytes) -> None:
        self._stage = stage
        self._number = number
        self._metadata = {b"huggingface": metadata}
        self._open: tuple[io.BufferedWriter, pq.ParquetWriter] | None = None
        self.paths: list[Path] = []

    def add(self, table: ArrowTable, lengths: Int64[np.ndarray, " E"]) -> list[FileNumber]:
        """Write the episodes of a table, and return the file of each."""
        table = table.replace_schema_metadata(self._metadata)
        step_bytes = table.nbytes / len(table)
        numbers: list[FileNumber] = []
        first = rows = 0
        for length in lengths.tolist():
            if rows and (rows >= _STEPS_PER_GROUP or self._fills((rows + length) * step_bytes)):
                self._write(table.slice(first, rows))
                first, rows = first + rows, 0
            if self._open is not None and not rows and self._fills(length * step_bytes):
                self.close()
                self._number = _after(self._number)
            rows += length
            numbers.append(self._number)
        self._write(table.slice(first, rows))
        return numbers

    def close(self) -> None:
        if self._open is not None:
            file, writer = self._open
            writer.close()
            file.close()
        self._open = None

    def _fills(self, more: float) -> bool:
        written = 0 if self._open is None else self._open[0].tell()
        return written + more >= DATA_FILES_SIZE_MB * _MB

    def _write(self, group: ArrowTable) -> None:
        if self._open is None:
            path = self._stage(DATA_PATH.format(chunk_index=self._number[0], file_index=self._number[1]))
            self.paths.append(path)
            file = path.open("wb")
            self._open = file, open_writer(file, group.schema)
        self._open[1].write_table(group, row_group_size=len(group))


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
        if writer is not None:
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
        self._rows: list[ArrowTable] = []
        self._writer: pq.ParquetWriter | None = None
        self.histograms: dict[str, tuple[np.ndarray, int]] = {}

    @property
    def data_paths(self) -> list[Path]:
        """The new files of steps, in order."""
        return self._data.paths

    def add(self, block: EpisodeBlock) -> None:
        """Write some episodes."""
        texts = [list(dict.fromkeys(text for text, _ in runs)) for runs in block.task_runs]
        for text in dict.fromkeys(text for one in texts for text in one):
            if text not in self._task_index:
                self._task_index[text] = len(self.tasks)
                self.tasks.append(text)
        columns = block.columns(
            fps=self._fps,
            first_episode=self.next_episode,
            first_index=self.next_index,
            task_index=self._task_index,
        )
        arrays: dict[str, ArrowArray] = {}
        videos: dict[str, ArrowArray] = {}
        stats: dict[str, ArrowArray] = {}
        for name, feature in self._features.items():
            values = columns[name]
            if feature["dtype"] not in ("image", "video"):
                values = values.reshape(len(values), *feature["shape"])
                arrays[name] = to_column(values)
                stats |= _stats_columns(name, episode_stats(values, block.lengths), block.lengths)
                continue
            episodes = np.split(values, block.ends[:-1])
            stats |= self._pixel_stats(name, episodes, channels=feature["shape"][2])
            if feature["dtype"] == "video":
                videos |= self._add_videos(name, episodes)
            else:
                arrays[name] = pa.array([cell for one in episodes for cell in _cells(one)], type=_IMAGE)
        places = np.array(self._data.add(pa.table(arrays), block.lengths), dtype=np.int64)
        self._add_rows(block, texts, places, {**videos, **stats})
        self.next_episode += len(block.lengths)
        self.next_index += len(next(iter(columns.values())))

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

    def _add_videos(self, name: str, episodes: Sequence[np.ndarray]) -> dict[str, ArrowArray]:
        added = [self._videos[name].add(images) for images in episodes]
        rows = zip(*((*number, first, last) for number, first, last in added), strict=True)
        return {
            f"videos/{name}/{part}": pa.array(values)
            for part, values in zip(_VIDEO_COLUMNS, rows, strict=True)
        }

    def _pixel_stats(
        self, name: str, episodes: Sequence[np.ndarray], *, channels: int
    ) -> dict[str, ArrowArray]:
        found: list[dict[str, Any]] = []
        for images in episodes:
            sampled = images[sample_indices(len(images))]
            counts = histogram(sampled)
            if len(counts) < channels:
                counts = np.repeat(counts, channels, axis=0)
            before, frames = self.histograms.get(name, (np.zeros_like(counts), 0))
            self.histograms[name] = (before + counts, frames + len(sampled))
            found.append(histogram_stats(counts, num_frames=len(sampled)).to_lerobot(image=True))
        return {f"stats/{name}/{key}": listed(np.array([one[key] for one in found])) for key in found[0]}

    def _add_rows(
        self,
        block: EpisodeBlock,
        texts: list[list[str]],
        places: Int64[np.ndarray, "E 2"],
        rest: Mapping[str, ArrowArray],
    ) -> None:
        count = len(block.lengths)
        ends = self.next_index + block.ends
        chunk, file = self._episodes_file
        columns = {
            "episode_index": self.next_episode + np.arange(count),
            "tasks": pa.array(texts, type=pa.list_(pa.field("element", pa.string()))),
            "length": block.lengths,
            "data/chunk_index": places[:, 0],
            "data/file_index": places[:, 1],
            "dataset_from_index": ends - block.lengths,
            "dataset_to_index": ends,
            **rest,
            "meta/episodes/chunk_index": np.full(count, chunk),
            "meta/episodes/file_index": np.full(count, file),
        }
        self._rows.append(pa.table(columns))
        if sum(map(len, self._rows)) >= _EPISODES_PER_GROUP:
            self._flush_rows()

    def _flush_rows(self) -> None:
        if not self._rows:
            return
        table = pa.concat_tables(self._rows)
        if self._writer is None:
            chunk, file = self._episodes_file
            path = self._stage(EPISODES_PATH.format(chunk_index=chunk, file_index=file))
            self._writer = open_writer(path, table.schema)
        self._writer.write_table(table, row_group_size=len(table))
        self._rows = []


def _stats_columns(
    name: str, stats: Mapping[str, np.ndarray], lengths: Int64[np.ndarray, " E"]
) -> dict[str, ArrowArray]:
    columns = {f"stats/{name}/{key}": listed(stats[key]) for key in ("min", "max", "mean", "std")}
    columns[f"stats/{name}/count"] = listed(lengths[:, None])
    return columns | {f"stats/{name}/{key}": listed(stats[key]) for key in QUANTILES}


def _cells(images: np.ndarray) -> list[dict[str, Any]]:
    return [{"bytes": encode_png(image), "path": f"frame-{t:06d}.png"} for t, image in enumerate(images)]


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
