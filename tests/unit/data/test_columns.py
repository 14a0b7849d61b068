"""Columns of Parquet as arrays and back: every number or a refusal that names the place."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from steadyhand.core.errors import DataError
from steadyhand.data.formats.columns import as_float32, listed, to_array, to_column, whole_numbers

FILE = Path("data.parquet")


def read(values: Any, shape: tuple[int, ...] = (2,), dtype: str = "float32", **more: Any) -> np.ndarray:
    column = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([pa.array(values)])
    return to_array(column, shape=shape, dtype=dtype, name="action", path=FILE, **more)


def refusal(call: Callable[[], object]) -> DataError:
    with pytest.raises(DataError) as error:
        call()
    return error.value


def test_a_column_of_several_pieces_is_read_whole() -> None:
    pieces = [pa.array([[1.0, 2.0]]), pa.array([[3.0, 4.0], [5.0, 6.0]])]
    assert read(pa.chunked_array(pieces)).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert read(pa.chunked_array(pieces[:1])).tolist() == [[1, 2]]
    assert read(pa.chunked_array([], type=pa.list_(pa.float32()))).shape == (0, 2)
    assert read(pa.chunked_array([pa.array([], type=pa.list_(pa.float32()))])).shape == (0, 2)


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 2)]
)
def test_lists_of_any_kind_are_rows(kind: pa.DataType) -> None:
    assert read(pa.chunked_array([pa.array([[1, 2], [3, 4], [5, 6]], type=kind)])).tolist() == [
        [1, 2],
        [3, 4],
        [5, 6],
    ]


def test_what_is_missing_or_infinite_is_named_by_its_row() -> None:
    absent = refusal(lambda: read([[1.0, 2.0], [3.0, 4.0], [5.0, None], [None, 8.0]]))
    assert "has missing values" in absent.what
    assert absent.rest["got"] == "2 values, the first in row 2"
    wrong = refusal(lambda: read([[1.0, 2.0], [3.0, 4.0], [5.0, np.inf], [np.nan, 8.0], [9.0, np.nan]]))
    assert "holds NaN or infinity" in wrong.what
    assert wrong.rest["got"] == "3 values, the first in row 2"
    assert wrong.rest["hint"] == "repair the value"
    placed = refusal(lambda: read([[1.0, 2.0], [np.nan, 4.0]], row_place=lambda row: (7, row + 30)))
    assert placed.rest["got"] == "1 values, the first in step 31 of episode 7"
    assert "--episodes '!7'" in placed.rest["hint"]
    assert "1 nulls" in refusal(lambda: read([[1.0, 2.0], None])).rest["got"]
    short = refusal(lambda: read([[1.0], [None]]))
    assert (short.what, short.rest["got"]) == ("action in data.parquet has missing values.", "1 nulls")


def test_another_shape_than_declared_is_told_with_both() -> None:
    wide = refusal(lambda: read([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    assert wide.rest["got"] == "3 values a row"
    assert wide.rest["expected"] == "2, shape (2,)"
    ragged = refusal(lambda: read([[1.0], [2.0, 3.0, 4.0]]))
    assert "rows of different lengths" in ragged.what
    assert ragged.rest["got"] == [1, 3]
    inner = refusal(lambda: read([[[1.0], [2.0, 3.0, 4.0]]], shape=(2, 2)))
    assert "rows of different lengths" in inner.what


@pytest.mark.parametrize(
    ("stored", "dtype", "fits"),
    [
        (np.array([0.1, 1e-3]), "float32", True),  # floats are rounded
        (np.array([1, -7], dtype=np.int64), "float32", True),
        (np.array([2**24, 2**24 + 1]), "float32", False),
        (np.array([3.0, -4.0]), "int64", True),
        (np.array([3.0, 4.5]), "int64", False),
        (np.array([3, 300]), "int8", False),
        (np.array([5, -1]), "uint64", False),
        (np.array([1, 2**53 + 1]), "float64", False),
        (np.array([0, 1]), "bool", True),
        (np.array([0, 2]), "bool", False),
        (np.array([True, False]), "uint8", True),
    ],
)
def test_numbers_of_another_kind_are_taken_where_none_of_them_changes(
    stored: np.ndarray, dtype: str, *, fits: bool
) -> None:
    if fits:
        found = read(stored, shape=(1,), dtype=dtype)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found[:, 0], stored.astype(dtype))
    else:
        assert "another dtype" in refusal(lambda: read(stored, shape=(1,), dtype=dtype)).what


def test_text_is_no_number() -> None:
    wrong = refusal(lambda: read(["a", "b"], shape=(1,)))
    assert wrong.rest["expected"] == "float32, a number"


def steps(*values: float) -> np.ndarray:
    return 2.0**24 + np.array(values)  # where float32 tells even numbers alone


@pytest.mark.parametrize(
    ("values", "is_told"),
    [
        (steps(0, 1, 1, 0, 1, 2, 2, 3, 4, 3, 5, 5, 0), True),
        (steps(*np.repeat(2 * np.arange(5), 4)), False),  # rests are no changes
        (steps(0, 1, 2, 4, 5), False),  # 0 to 1 and 4 to 5 of four: half are lost
        (steps(0, 1, 2, 4, 5).astype(np.int64), False),
        (steps(0, 1, 0, 2, 0).astype(np.int64), False),
        (steps(0, 1, 0, 1, 2).astype(np.int64), True),
        (np.r_[920 + 1e-7 * np.arange(9), 1000.0], True),  # rounds to more than a millionth of the range
        (40 * np.r_[0.5, 1.5, 0.5 + 1e-12 * np.arange(9)], False),  # to less
        (steps(0, 1, 0, 1).astype(np.float32), False),
    ],
)
def test_a_warning_counts_the_changes_that_float32_loses(
    caplog: pytest.LogCaptureFixture, values: np.ndarray, *, is_told: bool
) -> None:
    pairs = [(a, b) for a, b in pairwise(values) if a != b]
    lost = sum(np.float32(a) == np.float32(b) for a, b in pairs)
    name = f"column {values.dtype} {values.tolist()}"  # said once for each
    table = np.stack([np.arange(len(values)), values], axis=1).astype(values.dtype)
    np.testing.assert_array_equal(as_float32(table, name=name), table.astype(np.float32))
    low, high = min(values), max(values)
    said = (
        f"{name}, entry 1, is read as float32, which makes {lost} of {len(pairs)} changes from step to step"
    )
    assert (said in caplog.text) == is_told
    assert (f"between {low:.10g} and {high:.10g}" in caplog.text) == is_told
    assert "entry 0" not in caplog.text


def test_a_column_without_rows_has_nothing_to_lose() -> None:
    assert as_float32(np.empty((0, 3)), name="x").shape == (0, 3)


def test_classes_are_whole_numbers_and_the_first_that_is_not_is_named() -> None:
    assert whole_numbers(np.array([[2.0], [-1.0]]), name="action").tolist() == [[2], [-1]]
    assert whole_numbers(np.array([[2], [-1]], dtype=np.int8), name="action").dtype == np.int64
    values = np.array([[0.0], [1.0], [0.5], [1.0], [1.5]])
    assert refusal(lambda: whole_numbers(values, name="action")).rest["got"] == "[0.5], first in row 2"


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((1,), "float"),
        ((3,), "fixed_size_list<element: float>[3]"),
        ((2, 3), "list<element: list<element: float>>"),
        ((3, 1), "list<element: list<element: float>>"),
        ((2, 1, 3), "list<element: list<element: list<element: float>>>"),
    ],
)
def test_columns_are_laid_out_as_lerobot_does_and_come_back(shape: tuple[int, ...], kind: str) -> None:
    values = np.arange(4 * np.prod(shape), dtype=np.float32).reshape(4, *shape)
    column = to_column(values)
    assert str(column.type) == kind
    assert column.to_pylist() == (values[:, 0].tolist() if shape == (1,) else values.tolist())
    assert listed(values).to_pylist() == values.tolist()
    np.testing.assert_array_equal(read(pa.chunked_array([column]), shape=shape), values)
