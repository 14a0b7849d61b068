"""Arrow columns <-> NumPy arrays of one declared shape and dtype."""

import logging
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from steadyhand.core.errors import DataError
from steadyhand.data.formats.arrow import ArrowArray, ArrowType

_FAMILIES = {"f": "a number", "i": "an integer", "u": "an integer", "b": "a bool"}

_FLOAT32_STEP = float(np.finfo(np.float32).eps)
_logger = logging.getLogger("steadyhand")

RowPlace = Callable[[int], tuple[int, int]]
"""Returns the episode and step that a row of a column is."""


def to_array(
    column: ArrowArray,
    *,
    shape: tuple[int, ...],
    dtype: str,
    name: str,
    path: Path,
    row_place: RowPlace | None = None,
) -> np.ndarray:
    """Return an arrow column as (rows, *shape).

    Numbers of another kind than declared are converted where that changes none of them, as pandas turns
    integers into floats.

    Args:
        column: Scalars, or lists nested to any depth.
        shape: Declared shape of one entry.
        dtype: Declared NumPy dtype.
        name: Name of the column, for errors.
        path: File it came from, for errors.
        row_place: Episode and step of a row, for errors; None counts rows.

    Raises:
        DataError: Missing values, another shape, another kind of value, or NaN.
    """
    rows = len(column)
    values = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    while isinstance(values.type, pa.BaseExtensionType):
        values = values.storage
    while _is_list(values.type):
        if values.null_count:
            raise DataError(
                f"{name} in {path} has missing entries.",
                got=f"{values.null_count} nulls",
                hint=f"fill them in{or_without(name)}",
            )
        _check_lengths(values, name=name, path=path)
        values = values.flatten()
    size = math.prod(shape)
    if values.null_count and len(values) == rows * size:
        absent = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))
        raise _bad_value(name, f"{path} has missing values.", absent, size, row_place)
    if values.null_count:
        raise DataError(f"{name} in {path} has missing values.", got=f"{values.null_count} nulls")
    if len(values) != rows * size:
        raise DataError(
            f"{name} in {path} has another shape than info.json declares.",
            got=f"{len(values) / max(rows, 1):g} values a row",
            expected=f"{size}, shape {shape}",
            hint=f"correct the shape in info.json{or_without(name)}",
        )
    flat = _converted(values, dtype, name=name, path=path)
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        bad = np.flatnonzero(~np.isfinite(flat))
        raise _bad_value(name, f"{path} holds NaN or infinity.", bad, size, row_place)
    return flat.reshape(rows, *shape)


def _bad_value(name: str, what: str, bad: np.ndarray, size: int, row_place: RowPlace | None) -> DataError:
    row, hint = int(bad[0]) // size, f"repair the value{or_without(name)}"
    where = f"row {row}"
    if row_place is not None:
        episode, step = row_place(row)
        where = f"step {step} of episode {episode}"
        hint = f"leave the episode out (--episodes '!{episode}'), {hint}"
    return DataError(f"{name} in {what}", got=f"{len(bad)} values, the first in {where}", hint=hint)


def _is_list(kind: ArrowType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind)


def _check_lengths(values: ArrowArray, *, name: str, path: Path) -> None:
    if pa.types.is_fixed_size_list(values.type):
        return
    sizes = np.unique(np.diff(values.offsets.to_numpy()))
    if len(sizes) > 1:
        raise DataError(
            f"{name} in {path} has rows of different lengths.",
            got=sizes[:5].tolist(),
            expected="one length",
            hint=f"store it with one length{or_without(name)}",
        )


def _converted(values: ArrowArray, dtype: str, *, name: str, path: Path) -> np.ndarray:
    kind = values.type
    numeric = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    array = values.to_numpy(zero_copy_only=False) if numeric else None
    wanted = np.dtype(dtype)
    if array is not None and (array.dtype == wanted or array.dtype.kind == wanted.kind == "f"):
        return np.asarray(array, dtype=wanted)
    if array is not None:
        with np.errstate(invalid="ignore"):
            converted = array.astype(wanted)
            # Both ways: -1 made unsigned comes back as -1, and 2**53 + 1 equals the float it becomes.
            if (converted == array).all() and (converted.astype(array.dtype) == array).all():
                return converted
    raise DataError(
        f"{name} in {path} has another dtype than info.json declares, which cannot hold its values.",
        got=kind,
        expected=f"{dtype}, {_FAMILIES.get(wanted.kind, 'a value')}",
        hint=f"correct the dtype in info.json{or_without(name)}",
    )


def as_float32(array: np.ndarray, *, name: str) -> np.ndarray:
    """Return numbers (rows, ...) as float32, with a warning where that makes most of their changes none.

    Rounding of less than a millionth of a column's range is nothing: a network would not see it. A column
    whose range is lost in the rounding of float64 itself does not move, and is passed over.
    """
    narrow = np.asarray(array, dtype=np.float32)
    if array.dtype == np.float32 or not len(array):
        return narrow
    wide = array.reshape(len(array), -1)
    low, high = wide.min(axis=0).astype(np.float64), wide.max(axis=0).astype(np.float64)
    largest, width = np.maximum(np.abs(low), np.abs(high)), high - low
    still = 0.0 if array.dtype.kind in "iu" else 1e-12 * largest
    coarse = np.flatnonzero((_FLOAT32_STEP * largest > 1e-6 * width) & (width > still))
    for place in coarse.tolist():
        column = wide[:, place]
        moves = column[1:] != column[:-1]
        rounded = column.astype(np.float32)
        lost = int((moves & (rounded[1:] == rounded[:-1])).sum())
        if 2 * lost > int(moves.sum()):
            _warn(
                f"{name}, entry {place}, is read as float32, which makes {lost} of {int(moves.sum())} "
                f"changes from step to step none: it lies between {low[place]:.10g} and {high[place]:.10g}; "
                f"subtract its first value, or leave it out"
            )
    return narrow


@cache
def _warn(text: str) -> None:
    """Say the same thing once, however often a file is read."""
    _logger.warning("%s", text)


def whole_numbers(array: np.ndarray, *, name: str) -> np.ndarray:
    """Return numbers that are the classes of a discrete feature as int64.

    Raises:
        DataError: One of them is not whole.
    """
    if array.dtype.kind == "f" and not (whole := array == np.rint(array)).all():
        row = int(np.argwhere(~whole)[0][0])
        raise DataError(
            f"{name} is declared to be one of several classes, and is not a whole number.",
            got=f"{array[row].tolist()}, first in row {row}",
            hint="leave classes out: these are numbers",
        )
    return array.astype(np.int64)


def or_without(name: str) -> str:
    """Return the end of an advice: that an observation may be left out, where it is one."""
    return ", or train without it (--observation)" if name.startswith("observation") else ""


def to_column(array: np.ndarray) -> ArrowArray:
    """Return (rows, *shape) as LeRobot stores it.

    Shape (1,) becomes a plain column, (n,) a list of fixed size, more axes nested lists.
    """
    if array.ndim > 2:
        return listed(array)
    flat, size = listed(array.ravel()), array.shape[1]
    if size == 1:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(pa.field("element", flat.type), size))


def listed(values: np.ndarray) -> ArrowArray:
    """Return (rows, *shape) as lists of variable length, nested once for each axis of the shape."""
    column = pa.array(values.ravel())
    for size in reversed(values.shape[1:]):
        offsets = np.arange(0, len(column) + 1, size, dtype=np.int32)
        column = pa.ListArray.from_arrays(offsets, column, type=pa.list_(pa.field("element", column.type)))
    return column
