"""Rows of the data files behind episodes: columns of numbers, the clock of the steps, their tasks."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float64, Int64

from steadyhand.core.errors import DataError
from steadyhand.data.formats.arrow import ArrowTable
from steadyhand.data.formats.columns import as_float32, or_without, to_array, whole_numbers
from steadyhand.data.formats.files import ParquetSource, open_parquet
from steadyhand.data.formats.layout import EpisodeRef, Layout
from steadyhand.data.formats.schema import DEFAULT_FEATURES

Columns = dict[str, np.ndarray]
"""Column name -> (T, ...) of one episode."""


def read_columns(layout: Layout, refs: Sequence[EpisodeRef], wanted: Mapping[str, str]) -> list[Columns]:
    """Read columns of episodes under their declared dtype, then convert; every file is opened once.

    Args:
        layout: The data set.
        refs: Which episodes.
        wanted: Feature name -> the dtype that is wanted.

    Raises:
        DataError: Missing, short or damaged files, rows of other episodes, or values that cannot be.
    """
    out: list[Columns] = [{} for _ in refs]
    for path, places in _by_file(refs).items():
        source = open_parquet(path)
        names = list(wanted)
        _require_counted(source, refs[places[0]])
        if "episode_index" in source.columns and "episode_index" not in wanted:
            names.append("episode_index")
        owners = [refs[place] for place in places]
        starts = np.cumsum([0, *(ref.length for ref in owners)])
        table = _rows(source, [layout.column_of(name) for name in names], owners)

        def row_place(
            row: int, owners: list[EpisodeRef] = owners, starts: np.ndarray = starts
        ) -> tuple[int, int]:
            place = int(np.searchsorted(starts, row, side="right")) - 1
            return owners[place].index, int(row - starts[place])

        for name in names:
            shape, stored = _declared(layout, name)
            column = table.column(layout.column_of(name))
            array = to_array(column, shape=shape, dtype=stored, name=name, path=path, row_place=row_place)
            target = wanted.get(name, stored)
            if target == "int64" and array.dtype.kind == "f":
                array = whole_numbers(array, name=f"{name} in {path}")
            if target == "float32":
                array = as_float32(array, name=name)
            array = array.astype(target, copy=False)
            for place, start in zip(places, starts, strict=False):
                out[place][name] = array[start : start + refs[place].length]
        for place in places:
            _check_owner(out[place].get("episode_index"), refs[place], source)
            if "episode_index" not in wanted:
                out[place].pop("episode_index", None)
    return out


def _rows(source: ParquetSource, columns: list[str], refs: Sequence[EpisodeRef]) -> ArrowTable:
    """Return the rows of some episodes of one file, in their order; rows between them are left out."""
    absent = [name for name in columns if name not in source.columns]
    if absent:
        raise DataError(
            f"{source.path} lacks columns.",
            got=absent,
            available=source.columns,
            hint=f"restore the file, or correct the features in info.json{or_without(absent[0])}",
        )
    first = min(ref.first_row for ref in refs)
    last = max(ref.first_row + ref.length for ref in refs)
    table = source.read(columns, first=first, length=last - first)
    if all(one.first_row + one.length == two.first_row for one, two in pairwise(refs)):
        return table
    return pa.concat_tables([table.slice(ref.first_row - first, ref.length) for ref in refs])


def _declared(layout: Layout, name: str) -> tuple[tuple[int, ...], str]:
    """Return shape and dtype of a column; clock and indices are read in full whatever info.json says."""
    if name == "timestamp":
        return (1,), "float64"
    feature = layout.features.get(name)
    if feature is None or name in DEFAULT_FEATURES:
        return (1,), DEFAULT_FEATURES.get(name, "float32")
    return feature.shape, feature.dtype


def step_times(layout: Layout, refs: Sequence[EpisodeRef]) -> list[Float64[np.ndarray, " T"]]:
    """Return when each step of each episode was recorded [s], on the clock of its videos.

    That is the `timestamp` column; where no file has one, frame_index / fps, or the row number / fps.

    Raises:
        DataError: Missing, short or damaged files, or a time that is no number.
    """
    for name, unit in (("timestamp", 1.0), ("frame_index", 1.0 / layout.fps)):
        if has_column(refs, name):
            columns = read_columns(layout, refs, {name: _declared(layout, name)[1]})
            return [column[name].ravel().astype(np.float64) * unit for column in columns]
    return [np.arange(ref.length) / layout.fps for ref in refs]


def task_numbers(layout: Layout, refs: Sequence[EpisodeRef]) -> list[Int64[np.ndarray, " T"]] | None:
    """Return the `task_index` of each step of each episode, None where no file has that column.

    Raises:
        DataError: Missing, short or damaged files, or a number without a text.
    """
    if not has_column(refs, "task_index"):
        return None
    columns = read_columns(layout, refs, {"task_index": "int64"})
    numbers = [column["task_index"].ravel() for column in columns]
    last = max(len(layout.tasks), 1) - 1  # 0 stands for no text where there is none
    for ref, number in zip(refs, numbers, strict=True):
        wrong = np.flatnonzero((number < 0) | (number > last))
        if len(wrong):
            raise DataError(
                f"A step of {ref.data_path} has a task_index without a text.",
                got=f"{number[wrong[0]]} in step {wrong[0]} of episode {ref.index}",
                expected=f"0 to {last}, the tasks of meta/tasks",
                hint="add the text to meta/tasks, or leave the episode out",
            )
    return numbers


def has_column(refs: Sequence[EpisodeRef], name: str) -> bool:
    """Whether the file of the first episode has a column of this name."""
    return bool(refs) and name in open_parquet(refs[0].data_path).columns


def _require_counted(source: ParquetSource, ref: EpisodeRef) -> None:
    """Raise DataError if a file has rows that nothing counts, and no column tells whose rows they are."""
    if source.num_rows > ref.rows_of_file and "episode_index" not in source.columns:
        raise DataError(
            f"{source.path} has rows that the metadata do not count.",
            got=f"{source.num_rows} rows, no episode_index",
            expected=f"{ref.rows_of_file} rows, or an episode_index that tells which episode each belongs to",
            hint="metadata and data come from different copies; copy the whole folder again",
        )


def _by_file(refs: Sequence[EpisodeRef]) -> dict[Path, list[int]]:
    by_file: dict[Path, list[int]] = {}
    for place, ref in enumerate(refs):
        by_file.setdefault(ref.data_path, []).append(place)
    return by_file


def _check_owner(owner: np.ndarray | None, ref: EpisodeRef, source: ParquetSource) -> None:
    if owner is not None and (owner != ref.index).any():
        raise DataError(
            f"Rows of {source.path} belong to another episode than the metadata says.",
            got=f"episode {int(owner[owner != ref.index][0])}",
            expected=f"episode {ref.index} in rows {ref.first_row} to {ref.first_row + ref.length - 1}",
            hint="metadata and data come from different copies; copy the whole folder again",
        )
