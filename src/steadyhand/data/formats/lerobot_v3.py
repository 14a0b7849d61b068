"""LeRobotDataset v3.0: many episodes a file, metadata in parquet."""

import math
from pathlib import Path
from typing import Any

from steadyhand.core.errors import DataError
from steadyhand.data.formats.arrow import ArrowTable
from steadyhand.data.formats.files import ParquetSource, fill, inside, missing, reading, whole
from steadyhand.data.formats.layout import INFO, EpisodeRef, Info, Layout, VideoRef, check_totals, read_info

VERSION = "v3.0"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
TASKS_PATH = "meta/tasks.parquet"

_COLUMNS = [
    "episode_index",
    "tasks",
    "length",
    "data/chunk_index",
    "data/file_index",
    "dataset_from_index",
    "dataset_to_index",
]
_VIDEO_COLUMNS = ("chunk_index", "file_index", "from_timestamp")


def locate(root: Path) -> Layout:
    """Read the metadata of a v3.0 folder.

    Raises:
        DataError: Missing or damaged metadata, or episodes that do not add up.
    """
    info = read_info(root)
    rows = _episode_rows(root, info)
    rows.sort(key=lambda row: row["episode_index"])
    path = _episodes_path(root)
    with reading(path):
        _check_rows(rows, path)
        check_totals(info, [row["length"] for row in rows], path)
    with reading(root / INFO):
        refs = _refs(root, info, rows)
    return Layout(
        root=root,
        version=VERSION,
        fps=info.fps,
        robot_type=info.robot_type,
        features=info.features,
        tasks=read_tasks(root) if rows else (),
        episodes=refs,
    )


def read_tasks(root: Path) -> tuple[str, ...]:
    """Return the task texts in the order of their task_index.

    Raises:
        DataError: Missing or malformed tasks.parquet.
    """
    with reading(root / TASKS_PATH):
        return _task_texts(root / TASKS_PATH)


def _task_texts(path: Path) -> tuple[str, ...]:
    source = ParquetSource(path)
    column = "task" if "task" in source.columns else "__index_level_0__"
    table = source.read([column, "task_index"])
    numbers = [whole(number) for number in _values(table, "task_index")]
    pairs = zip(numbers, _values(table, column), strict=True)
    tasks = dict(sorted((number, text) for number, text in pairs if number is not None))
    if (
        len(tasks) < len(numbers)
        or list(tasks) != list(range(len(tasks)))
        or not all(isinstance(text, str) for text in tasks.values())
    ):
        raise DataError(f"{path} does not number its tasks from 0.", got=list(tasks)[:10])
    return tuple(tasks.values())


def _values(table: ArrowTable, column: str) -> list[Any]:
    return table.column(column).to_pylist()


def _episode_rows(root: Path, info: Info) -> list[dict[str, Any]]:
    """Return the rows of meta/episodes; where a row does not say where a video lies, its entry is None."""
    folder = root / "meta/episodes"
    files = sorted(folder.glob("*/*.parquet"))
    video_columns = [f"videos/{key}/{part}" for key in info.videos for part in _VIDEO_COLUMNS]
    rows: list[dict[str, Any]] = []
    for path in files:
        with reading(path):
            rows += _rows_of(path, video_columns)
    if not files and info.total_episodes:
        raise missing(folder / "chunk-000/file-000.parquet")
    return rows


def _rows_of(path: Path, video_columns: list[str]) -> list[dict[str, Any]]:
    source = ParquetSource(path)
    there = [name for name in video_columns if name in source.columns]
    absent = dict.fromkeys(set(video_columns) - set(there))
    rows = [{**absent, **row} for row in source.read([*_COLUMNS, *there]).to_pylist()]
    for row in rows:
        counts = {name: whole(row[name]) for name in _COLUMNS if name != "tasks"}
        wrong = [name for name, value in counts.items() if value is None]
        tasks = row["tasks"]
        if wrong or not isinstance(tasks, list) or not all(isinstance(text, str) for text in tasks):
            raise DataError(
                f"An episode in {path} lacks entries.",
                got=f"{wrong or 'tasks'} of episode {row['episode_index']}",
                expected="whole numbers, and a list of texts",
            )
        row.update(counts)
    return rows


def _video(root: Path, template: str, key: str, row: dict[str, Any]) -> VideoRef:
    chunk, file, start = (row[f"videos/{key}/{part}"] for part in _VIDEO_COLUMNS)
    place = {"chunk_index": whole(chunk), "file_index": whole(file)}
    start = float(start) if isinstance(start, int | float) else math.nan
    if place["chunk_index"] is None or place["file_index"] is None:
        return VideoRef(path=inside(root, f"videos/{key}"), start=math.nan)  # no file is named
    numbers = {name: number for name, number in place.items() if number is not None}
    return VideoRef(path=fill(root, template, {**numbers, "video_key": key}), start=start)


def _episodes_path(root: Path) -> Path:
    """Return the file with the rows of the episodes, or the folder where there are several."""
    files = list((root / "meta/episodes").glob("*/*.parquet"))
    return files[0] if len(files) == 1 else root / "meta/episodes"


def _check_rows(rows: list[dict[str, Any]], path: Path) -> None:
    end = 0
    for number, row in enumerate(rows):
        found = (row["episode_index"], row["dataset_from_index"], row["dataset_to_index"])
        expected = (number, end, end + row["length"])
        if found != expected:
            raise DataError(
                f"Episodes in {path} do not follow one another.",
                got="episode {}: steps {} to {}".format(*found),
                expected="episode {}: steps {} to {}".format(*expected),
                hint="the metadata was cut or edited by hand: restore it from a copy",
            )
        end += row["length"]


def _refs(root: Path, info: Info, rows: list[dict[str, Any]]) -> tuple[EpisodeRef, ...]:
    fields = ("chunk_index", "file_index")
    data_template, video_template = info.templates(DATA_PATH, VIDEO_PATH, fields)
    cameras = info.videos
    paths: dict[tuple[int, int], Path] = {}
    used: dict[Path, int] = {}
    total: dict[tuple[int, int], int] = {}
    for row in rows:
        number = row["data/chunk_index"], row["data/file_index"]
        total[number] = total.get(number, 0) + row["length"]
    refs: list[EpisodeRef] = []
    for row in rows:
        number = row["data/chunk_index"], row["data/file_index"]
        if number not in paths:  # thousands of short episodes share a file
            paths[number] = fill(root, data_template, dict(zip(fields, number, strict=True)))
        path = paths[number]
        first = used.get(path, 0)
        refs.append(
            EpisodeRef(
                index=row["episode_index"],
                length=row["length"],
                tasks=tuple(row["tasks"]),
                data_path=path,
                first_row=first,
                rows_of_file=total[number],
                videos={key: _video(root, video_template, key, row) for key in cameras},
            )
        )
        used[path] = first + row["length"]
    return tuple(refs)
