"""LeRobotDataset v2.1: one parquet file and one video a camera for each episode, metadata in JSON lines."""

from pathlib import Path
from typing import Any

from steadyhand.core.errors import DataError
from steadyhand.data.formats.files import fill, read_json_lines, reading, whole
from steadyhand.data.formats.layout import INFO, EpisodeRef, Info, Layout, VideoRef, check_totals, read_info

VERSION = "v2.1"
DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def locate(root: Path) -> Layout:
    """Read the metadata of a v2.1 folder.

    Raises:
        DataError: Missing or damaged metadata, or episodes that do not add up.
    """
    info = read_info(root)
    path = root / "meta/episodes.jsonl"
    with reading(path):
        rows = _rows(path)
        check_totals(info, [row["length"] for row in rows], path)
    with reading(root / "meta/tasks.jsonl"):
        tasks = _tasks(root / "meta/tasks.jsonl")
    with reading(root / INFO):
        refs = tuple(_refs(root, info, rows))
    return Layout(
        root=root,
        version=str(info.raw["codebase_version"]),
        fps=info.fps,
        robot_type=info.robot_type,
        features=info.features,
        tasks=tasks,
        episodes=refs,
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the episodes in order."""
    rows = read_json_lines(path)
    for row in rows:
        counts = {key: whole(row.get(key)) for key in ("episode_index", "length")}
        if None in counts.values():
            raise DataError(f"An episode in {path} lacks entries.", got=row, expected="episode_index, length")
        row.update(counts)
    rows.sort(key=lambda row: row["episode_index"])
    numbers = [row["episode_index"] for row in rows]
    if numbers != list(range(len(rows))):
        gap = next(i for i, number in enumerate(numbers) if number != i)
        raise DataError(f"{path} does not number its episodes from 0.", got=numbers[gap], expected=gap)
    return rows


def _tasks(path: Path) -> tuple[str, ...]:
    tasks: dict[int, str] = {}
    for row in read_json_lines(path):
        number = whole(row.get("task_index"))
        if number is None or not isinstance(row.get("task"), str):
            raise DataError(f"A task in {path} lacks entries.", got=row, expected="task_index, task")
        tasks[number] = row["task"]
    if sorted(tasks) != list(range(len(tasks))):
        raise DataError(f"{path} does not number its tasks from 0.", got=sorted(tasks)[:10])
    return tuple(tasks[number] for number in sorted(tasks))


def _refs(root: Path, info: Info, rows: list[dict[str, Any]]) -> list[EpisodeRef]:
    fields = ("episode_chunk", "episode_index", "chunk_index", "file_index")
    data_template, video_template = info.templates(DATA_PATH, VIDEO_PATH, fields)
    cameras = info.videos
    refs: list[EpisodeRef] = []
    for row in rows:
        number = row["episode_index"]
        chunk = number // info.chunks_size
        # The names of v3.0 mean the same here, where every episode is a file of its own.
        place = {"episode_chunk": chunk, "chunk_index": chunk, "episode_index": number, "file_index": number}
        tasks = row.get("tasks")
        refs.append(
            EpisodeRef(
                index=number,
                length=row["length"],
                tasks=tuple(str(text) for text in tasks) if isinstance(tasks, list) else (),
                data_path=fill(root, data_template, place),
                first_row=0,
                rows_of_file=row["length"],
                videos={
                    key: VideoRef(path=fill(root, video_template, {**place, "video_key": key}), start=0.0)
                    for key in cameras
                },
            )
        )
    return refs
