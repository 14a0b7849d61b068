"""Small data sets as LeRobot v2.1 and v3.0 lay them out, written by hand: no line of them is ours."""

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

STATE, CAMERA = "observation.state", "observation.images.top"
INDICES = ("timestamp", "frame_index", "episode_index", "index", "task_index")
VECTOR = {"dtype": "float32", "shape": [2], "names": None}
FEATURES: dict[str, dict[str, Any]] = {"action": VECTOR, STATE: VECTOR}
VIDEO = {"dtype": "video", "shape": [32, 32, 3], "names": ["height", "width", "channels"]}

Rows = dict[str, Any]
"""Column name -> (T, ...) values, or an Arrow array; tasks of the metadata under "tasks"."""


def rows(seed: int, length: int = 12, **columns: Any) -> Rows:
    """Return an episode with state and action of two values, and any other columns."""
    rng = np.random.default_rng(seed)
    draw = {name: rng.normal(size=(length, 2)).astype(np.float32) for name in ("action", STATE)}
    return {**draw, **columns}


def column_of(values: Any) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    array = np.asarray(values)
    return pa.array(array) if array.ndim == 1 else pa.array(array.tolist())


def _table(episode: Rows, number: int, first: int, fps: float, absent: Sequence[str]) -> pa.Table:
    length = len(episode["action"])
    plain = {
        "timestamp": (np.arange(length) / fps).astype(np.float32),
        "frame_index": np.arange(length),
        "episode_index": np.full(length, number),
        "index": first + np.arange(length),
        "task_index": np.zeros(length, dtype=np.int64),
    }
    columns = {name: value for name, value in {**plain, **episode}.items() if name not in ("tasks", *absent)}
    return pa.table({name: column_of(value) for name, value in columns.items()})


def _info(version: str, lengths: Sequence[int], features: Mapping[str, Any], fps: float) -> dict[str, Any]:
    indices = {name: {"dtype": "int64", "shape": [1], "names": None} for name in INDICES}
    indices["timestamp"]["dtype"] = "float32"
    return {
        "codebase_version": version,
        "fps": fps,
        "features": {**features, **indices},
        "total_episodes": len(lengths),
        "total_frames": sum(lengths),
        "chunks_size": 1000,
    }


def write_v21(
    root: Path,
    episodes: Sequence[Rows],
    features: Mapping[str, Any] = FEATURES,
    *,
    fps: float = 10,
    tasks: Sequence[str] = ("lift",),
    absent: Sequence[str] = (),
    **info: Any,
) -> Path:
    """Write a v2.1 folder; `absent` index columns are in no file, `info` changes keys of info.json."""
    (root / "meta").mkdir(parents=True)
    lines, first = [], 0
    for number, episode in enumerate(episodes):
        table = _table(episode, number, first, fps, absent)
        path = root / f"data/chunk-000/episode_{number:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        named = episode.get("tasks", list(tasks[:1]))
        lines.append({"episode_index": number, "tasks": named, "length": len(table)})
        first += len(table)
    described = {
        **_info("v2.1", [line["length"] for line in lines], features, fps),
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        **info,
    }
    (root / "meta/info.json").write_text(json.dumps(described))
    write_lines(root / "meta/episodes.jsonl", lines)
    write_lines(root / "meta/tasks.jsonl", [{"task_index": i, "task": text} for i, text in enumerate(tasks)])
    return root


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write JSON lines as LeRobot does: text as it is, not escaped."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def write_v30(
    root: Path,
    episodes: Sequence[Rows],
    features: Mapping[str, Any] = FEATURES,
    *,
    fps: float = 10,
    tasks: Sequence[str] = ("lift",),
    absent: Sequence[str] = (),
    starts: Sequence[float | None] = (),
    **info: Any,
) -> Path:
    """Write a v3.0 folder of one data file; `starts` is from_timestamp of each episode in one video."""
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    tables, meta, first = [], [], 0
    cameras = [name for name, feature in features.items() if feature["dtype"] == "video"]
    for number, episode in enumerate(episodes):
        table = _table(episode, number, first, fps, absent)
        place = {"data/chunk_index": 0, "data/file_index": 0}
        for name in cameras:
            place |= {f"videos/{name}/chunk_index": 0, f"videos/{name}/file_index": 0}
            place |= {f"videos/{name}/from_timestamp": starts[number] if starts else first / fps}
        ends = {"dataset_from_index": first, "dataset_to_index": first + len(table)}
        named = {
            "episode_index": number,
            "tasks": episode.get("tasks", list(tasks[:1])),
            "length": len(table),
        }
        meta.append({**named, **place, **ends})
        tables.append(table)
        first += len(table)
    pq.write_table(pa.concat_tables(tables), root / "data/chunk-000/file-000.parquet")
    pq.write_table(pa.Table.from_pylist(meta), root / "meta/episodes/chunk-000/file-000.parquet")
    pq.write_table(
        pa.table({"task_index": list(range(len(tasks))), "task": list(tasks)}), root / "meta/tasks.parquet"
    )
    described = {
        **_info("v3.0", [row["length"] for row in meta], features, fps),
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        **info,
    }
    (root / "meta/info.json").write_text(json.dumps(described))
    return root


def write_video(path: Path, levels: Sequence[int], *, fps: float = 10, size: int = 32) -> None:
    """Write a lossless grey video whose frame k has the brightness levels[k]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = Fraction(fps).limit_denominator(1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "0", "g": "5"})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv444p"
        for number, level in enumerate(levels):
            image = np.full((size, size, 3), level, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def v21_video(root: Path, episode: int) -> Path:
    """Return where a v2.1 folder keeps the video of an episode."""
    return root / f"videos/chunk-000/{CAMERA}/episode_{episode:06d}.mp4"


def v30_video(root: Path) -> Path:
    """Return where a v3.0 folder keeps its first video."""
    return root / f"videos/{CAMERA}/chunk-000/file-000.mp4"
