"""Arrow columns <-> NumPy arrays of one declared shape and dtype."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa

from steadyhand.core.errors import DataError
from steadyhand.data.formats.arrow import ArrowArray, ArrowType

_FAMILIES = {"f": "a number", "i": "an integer", "u": "an integer", "b": "a bool"}


def to_array(column: ArrowArray, *, shape: tuple[int, ...], dtype: str, name: str, path: Path) -> np.ndarray:
    """Return an arrow column as (rows, *shape), or (rows,) for the shape (1,) of a scalar column kept flat.

    Args:
        column: Scalars, or lists nested to any depth.
        shape: Declared shape of one entry.
        dtype: Declared NumPy dtype.
        name: Name of the column, for errors.
        path: File it came from, for errors.

    Raises:
        DataError: Missing values, another shape, another kind of value, or NaN.
    """
    rows = len(column)
    values = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    while isinstance(values.type, pa.BaseExtensionType):
        values = values.storage
    while _is_list(values.type):
        if values.null_count:
            raise DataError(f"{name} in {path} has missing entries.", got=f"{values.null_count} nulls")
        _check_lengths(values, rows, name=name, path=path)
        values = values.flatten()
    if values.null_count:
        raise DataError(f"{name} in {path} has missing values.", got=f"{values.null_count} nulls")
    if len(values) != rows * math.prod(shape):
        raise DataError(
            f"{name} in {path} has another shape than info.json declares.",
            got=f"{len(values) / max(rows, 1):g} values a row",
            expected=f"{math.prod(shape)}, shape {shape}",
        )
    return _converted(values, dtype, name=name, path=path).reshape(rows, *shape)


def _is_list(kind: ArrowType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind)


def _check_lengths(values: ArrowArray, rows: int, *, name: str, path: Path) -> None:
    if not len(values) or pa.types.is_fixed_size_list(values.type):
        return
    sizes = np.unique(np.diff(values.offsets.to_numpy(zero_copy_only=False)))
    if len(sizes) > 1:
        raise DataError(
            f"{name} in {path} has rows of different lengths.", got=sizes[:5].tolist(), expected=rows
        )


def _converted(values: ArrowArray, dtype: str, *, name: str, path: Path) -> np.ndarray:
    kind = values.type
    numeric = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    array = values.to_numpy(zero_copy_only=False) if numeric else None
    wanted = np.dtype(dtype).kind
    same = array is not None and ("i" if array.dtype.kind == "u" else array.dtype.kind) == (
        "i" if wanted == "u" else wanted
    )
    if array is None or not same:
        raise DataError(
            f"{name} in {path} has another dtype than info.json declares.",
            got=kind,
            expected=f"{dtype}, {_FAMILIES.get(wanted, 'a value')}",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        raise DataError(
            f"{name} in {path} holds NaN or infinity.",
            got=f"first at value {row} of {len(array)}",
            hint="drop the episode or repair the value",
        )
    return array.astype(dtype, copy=False)


def to_column(array: np.ndarray, shape: tuple[int, ...]) -> ArrowArray:
    """Return (rows, *shape) as LeRobot stores it.

    Shape (1,) becomes a plain column, (n,) a list of fixed size, more axes nested lists.
    """
    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    if shape == (1,):
        return flat
    if len(shape) == 1:
        return pa.FixedSizeListArray.from_arrays(
            flat, type=pa.list_(pa.field("element", flat.type), shape[0])
        )
    column = flat
    for size in reversed(shape):
        offsets = np.arange(0, len(column) + 1, size, dtype=np.int32)
        column = pa.ListArray.from_arrays(offsets, column, type=pa.list_(pa.field("element", column.type)))
    return column
