"""What a LeRobot folder holds that neither its declared features nor this library speak of."""

from collections.abc import Iterable

from steadyhand.data.formats.files import ParquetSource, open_parquet, read_json_lines
from steadyhand.data.formats.layout import Layout, read_info
from steadyhand.data.formats.schema import DEFAULT_FEATURES

_INFO = {"codebase_version", "fps", "features", "robot_type", "chunks_size", "data_path", "video_path"} | {
    *("total_episodes", "total_frames", "total_tasks", "total_videos", "total_chunks", "splits"),
    *("data_files_size_in_mb", "video_files_size_in_mb"),
}
_EPISODE = {"episode_index", "tasks", "length", "dataset_from_index", "dataset_to_index"}
_EPISODE_PARTS = ("data/", "videos/", "stats/", "meta/episodes/")
_TASK = {"task", "task_index", "__index_level_0__"}
_META = {"info.json", "stats.json", "episodes_stats.jsonl", "steadyhand"} | {
    *("tasks.jsonl", "tasks.parquet", "episodes", "episodes.jsonl"),
}


def extras(layout: Layout) -> tuple[str, ...]:
    """Return by name what a copy made of episodes alone would not hold.

    That is: columns of the data files that info.json does not declare, further columns of meta/episodes and
    meta/tasks, keys of info.json, a division into splits, and files in meta.

    Raises:
        DataError: Damaged metadata.
    """
    meta = layout.root / "meta"
    tables = {
        "meta/episodes": _other(_names(layout, "episodes"), _EPISODE, _EPISODE_PARTS),
        "meta/tasks": _other(_names(layout, "tasks"), _TASK),
        "meta/info.json": _other(read_info(layout.root).raw, _INFO),
        "meta": _other((path.name for path in meta.iterdir() if not path.name.startswith(".")), _META),
    }
    found = [f"{name} of {table}" for table, names in tables.items() for name in names]
    splits = read_info(layout.root).raw.get("splits")
    total = len(layout.all_episodes or layout.episodes)
    if isinstance(splits, dict) and splits not in ({}, {"train": f"0:{total}"}):
        found.append(f"splits of meta/info.json ({', '.join(map(str, splits))})")
    declared = {layout.column_of(name) for name in layout.features} | set(DEFAULT_FEATURES)
    if layout.episodes:
        columns = open_parquet(layout.episodes[0].data_path).columns
        found += [f"{name} of the data files" for name in columns if name not in declared]
    return tuple(found)


def _names(layout: Layout, table: str) -> list[str]:
    """Return the columns of a table of metadata, in all of its files."""
    meta = layout.root / "meta"
    names: dict[str, None] = {}
    if (lines := meta / f"{table}.jsonl").is_file():
        for row in read_json_lines(lines):
            names |= dict.fromkeys(map(str, row))
    for path in sorted([*meta.glob(f"{table}.parquet"), *(meta / table).glob("*/*.parquet")]):
        names |= dict.fromkeys(ParquetSource(path).columns)
    return list(names)


def _other(names: Iterable[str], known: set[str], parts: tuple[str, ...] = ()) -> list[str]:
    return sorted(name for name in names if name not in known and not name.startswith(parts or ("\0",)))
