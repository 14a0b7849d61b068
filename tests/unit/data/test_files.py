"""Paths, names and tables of a data set: nothing leaves its folder, rows come back as they were written."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steadyhand.core.errors import DataError
from steadyhand.data.formats.files import (
    ParquetSource,
    check_feature_name,
    check_template,
    fill,
    inside,
    open_parquet,
    read_json_file,
    read_json_lines,
    whole,
)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "..", "a/../b", "../a", "a\\b", "a\0b"])
def test_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    with pytest.raises(DataError, match="leaves the folder"):
        inside(Path("root"), path)


@pytest.mark.parametrize("path", ["a", "a/b.parquet", "a..b/c", "./a", "a b"])
def test_a_path_within_the_folder_is_taken(path: str) -> None:
    assert inside(Path("root"), path) == Path("root") / path


@pytest.mark.parametrize("name", ["", "a/b", ".a", "-a", " a", "a..b", "..", "a\\b", "a\n", "ä", "a:b"])
def test_a_feature_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="name that cannot be used"):
        check_feature_name(name)


@pytest.mark.parametrize("name", ["a", "_a", "9", "observation.images.front", "next-done", "a b"])
def test_plain_feature_names_are_taken(name: str) -> None:
    check_feature_name(name)


@pytest.mark.parametrize(
    ("template", "what"),
    [
        (3, "is not text"),
        (None, "is not text"),
        ("{chunk", "is not a template"),
        ("{other}", "not allowed"),
        ("{chunk.x}", "not allowed"),
        ("{chunk[0]}", "not allowed"),
        ("{chunk!r}", "not allowed"),
        ("{}", "not allowed"),
        ("{chunk:0999d}", "not allowed"),
        ("{chunk:x}", "not allowed"),
        ("{chunk:{file}}", "not allowed"),
    ],
)
def test_a_template_of_anything_but_plain_numbers_is_refused(template: object, what: str) -> None:
    with pytest.raises(DataError, match=what):
        check_template(template, fields=("chunk", "file"), key="data_path")


def test_a_template_is_filled_below_the_folder() -> None:
    template = "data/{chunk:03d}/{file:2}-{chunk}.{{x}}"
    assert check_template(template, fields=("chunk", "file"), key="data_path") == template
    assert fill(Path("root"), template, {"chunk": 7, "file": 12}) == Path("root/data/007/12-7.{x}")
    with pytest.raises(DataError, match="leaves the folder"):
        fill(Path("root"), "{chunk}/a", {"chunk": ".."})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3),
        (0, 0),
        (-3, -3),
        (3.0, 3),
        (2**60, 2**60),
        (3.5, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        ("3", None),
        (None, None),
        ([3], None),
    ],
)
def test_only_whole_numbers_count(value: object, expected: int | None) -> None:
    found = whole(value)
    assert (found, type(found)) == (expected, type(expected))


def test_json_may_hold_what_python_writes(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"mean": NaN, "max": Infinity}')
    found = read_json_file(tmp_path / "a.json")
    assert np.isnan(found["mean"])
    assert found["max"] == np.inf
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n{"a": NaN}\n  \n')
    first, second = read_json_lines(tmp_path / "a.jsonl")
    assert first == {"a": 1}
    assert np.isnan(second["a"])


@pytest.mark.parametrize(
    ("text", "what"), [('{"a": 1}\n{\n', "Line 2 of"), ('\n{"a": 1}\n[1]\n', "Line 3 of")]
)
def test_a_line_that_is_no_object_is_named(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(DataError, match=what):
        read_json_lines(tmp_path / "a.jsonl")


@pytest.mark.parametrize("read", [read_json_file, read_json_lines, open_parquet, ParquetSource])
def test_a_file_that_is_not_there_is_missing(tmp_path: Path, read: Any) -> None:
    with pytest.raises(DataError, match="A file of the data set is missing"):
        read(tmp_path / "absent")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(DataError, match="is no file"):
        ParquetSource(path)


@pytest.mark.parametrize("sizes", [(2, 3, 5), (1,), (4, 1), ()])
def test_any_rows_of_any_row_groups_are_read(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    path = tmp_path / "a.parquet"
    total = sum(sizes)
    whole_table = pa.table({"a": np.arange(total), "b": 10.0 * np.arange(total)})
    with pq.ParquetWriter(path, whole_table.schema) as writer:
        for size, end in zip(sizes, np.cumsum(sizes).tolist(), strict=True):
            writer.write_table(whole_table.slice(end - size, size))
    source = open_parquet(path)
    assert source.num_rows == total
    for first in range(total + 1):
        for length in range(total - first + 1):
            assert source.read(["b"], first, length).equals(whole_table.select(["b"]).slice(first, length))
        with pytest.raises(DataError, match="fewer rows") as error:
            source.read(["a"], first, total - first + 1)
        assert error.value.rest["expected"] == f"at least {total + 1}"
    assert source.read(["b", "a"]).equals(whole_table.select(["b", "a"]))
    with pytest.raises(DataError, match="lacks columns") as error:
        source.read(["a", "c"])
    assert error.value.rest["got"] == ["c"]


def test_a_file_is_read_anew_when_another_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1, 2]}), path)
    first = open_parquet(path)
    assert open_parquet(path) is first
    pq.write_table(pa.table({"a": [3, 4, 5]}), path)
    assert open_parquet(path).read(["a"]).column("a").to_pylist() == [3, 4, 5]


def test_damage_within_one_row_group_is_seen_and_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"a": np.arange(300)})
    with pq.ParquetWriter(
        path, table.schema, compression="none", use_dictionary=False, write_page_checksum=True
    ) as writer:
        writer.write_table(table, row_group_size=100)
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size - 5] ^= (
        1  # another number, and no other sign of it
    )
    path.write_bytes(data)
    source = ParquetSource(path)
    for first in (0, 200):
        assert source.read(["a"], first, 100).column("a").to_pylist() == list(range(first, first + 100))
    for first, length in ((99, 2), (100, 100), (150, 100)):
        with pytest.raises(DataError, match="damaged"):
            source.read(["a"], first, length)
