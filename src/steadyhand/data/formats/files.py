"""Reading files of a data set with errors that name the file, and never leaving its folder."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from steadyhand.core.digests import unsealed
from steadyhand.core.errors import DataError
from steadyhand.core.strict import load_json, parse_json, read_text, require_file
from steadyhand.data.formats.arrow import ArrowTable

MOST_LINES = 1 << 31
"""Largest file of JSON lines that is read [bytes]: 10^6 episodes with all their statistics."""

_INTEGER_FORMAT = re.compile(r"(0?\d{1,2}d?)?")


def inside(root: Path, relative: str) -> Path:
    """Return `root / relative`.

    Raises:
        DataError: `relative` is absolute or climbs out of `root`.
    """
    path = PurePosixPath(relative)
    if not relative or path.is_absolute() or ".." in path.parts or "\\" in relative or "\0" in relative:
        raise DataError(
            "A path in the metadata leaves the folder of the data set.",
            got=repr(relative),
            expected="a relative path without '..' and backslashes",
            hint="do not use this data set unless you trust where it came from",
        )
    return root / path


def check_feature_name(name: str) -> None:
    """Raise DataError unless `name` may be used as a column and a folder name."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\- ]*", name) or ".." in name:
        raise DataError(
            "A feature has a name that cannot be used.",
            got=repr(name),
            expected="letters, digits, '_', '-' and single dots, such as observation.images.front",
        )


def check_template(template: object, *, fields: tuple[str, ...], key: str) -> str:
    """Return `template` if it is text with only the named fields, plain integers at most.

    Raises:
        DataError: It is no text, leaves the folder, or uses other fields, attributes or conversions.
    """
    if not isinstance(template, str):
        raise DataError(f"{key} in info.json is not text.", got=repr(template))
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise DataError(f"{key} in info.json is not a template.", got=repr(template)) from error
    for _, name, spec, conversion in parsed:
        if name is not None and (
            name not in fields or conversion or not _INTEGER_FORMAT.fullmatch(spec or "")
        ):
            raise DataError(
                f"{key} in info.json has a field that is not allowed.",
                got=repr(template),
                available=fields,
            )
    return template


def fill(root: Path, template: str, values: Mapping[str, int | str]) -> Path:
    """Return the path of a checked template."""
    return inside(root, template.format(**values))


def whole(value: object) -> int | None:
    """Return a number that is whole as an int, as pandas makes floats of integers; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


def read_json_file(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: Missing, no regular file, not JSON, or with a key that stands there twice.
    """
    if not path.exists():
        raise missing(path)
    return load_json(path, error=DataError, allows_nan=True)


def read_sealed(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file that carries its own digest, without it; see `core.digests.sealed`.

    Raises:
        DataError: `read_json_file` raises one, or the file holds something else than was written.
    """
    return unsealed(read_json_file(path), path=path, error=DataError)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file with one JSON object a line.

    Raises:
        DataError: Missing, or a line that is not a JSON object.
    """
    if not path.exists():
        raise missing(path)
    # Not splitlines: a text may hold U+2028 and other characters that it takes for the end of a line.
    lines = read_text(path, error=DataError, most=MOST_LINES).split("\n")
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = parse_json(line, source=f"Line {number} of {path}", error=DataError, allows_nan=True)
        if not isinstance(row, dict):
            raise DataError(f"Line {number} of {path} is not a JSON object.", got=repr(row)[:80])
        rows.append(row)
    return rows


@contextmanager
def reading(path: Path, *, hint: str = "restore it from a copy, or correct it by hand") -> Generator[None]:
    """Complete every DataError of the block by the file it is about and by what to do."""
    try:
        yield
    except DataError as error:
        raise error.completed(path, hint=hint) from error


def missing(path: Path) -> DataError:
    """Return the error for a file that is not there."""
    return DataError(
        "A file of the data set is missing.",
        got=f"no {path}",
        hint="copy the whole data set again, or leave out what needs this file",
    )


def open_parquet(path: Path) -> "ParquetSource":
    """Return the parquet file at `path`; a few of the last ones stay open.

    A footer is as long as its file has episodes: reading it again for every episode would be quadratic.

    Raises:
        DataError: Missing or not readable as parquet.
    """
    if not path.exists():
        raise missing(path)
    state = path.stat()
    return _kept_open(path, state.st_ino, state.st_mtime_ns, state.st_size)


class ParquetSource:
    """One parquet file, opened once; reads only the row groups that it needs.

    Raises:
        DataError: Missing or not readable as parquet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists():
            require_file(path, error=DataError)
        try:
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
        except FileNotFoundError as error:
            raise missing(path) from error
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._unreadable(error) from error
        metadata = self._file.metadata
        self.num_rows = int(metadata.num_rows)
        self.columns: list[str] = list(self._file.schema_arrow.names)
        self._group_ends: list[int] = []
        end = 0
        for group in range(metadata.num_row_groups):
            end += int(metadata.row_group(group).num_rows)
            self._group_ends.append(end)

    def read(self, columns: list[str], first: int = 0, length: int | None = None) -> ArrowTable:
        """Return `length` rows from `first` on.

        Raises:
            DataError: A column is missing, the file is too short, or damaged.
        """
        absent = [name for name in columns if name not in self.columns]
        if absent:
            raise DataError(
                f"{self.path} lacks columns.",
                got=absent,
                available=self.columns,
                hint="restore it from a copy, or take what it lacks out of meta/info.json",
            )
        end = self.num_rows if length is None else first + length
        if end > self.num_rows:
            raise DataError(
                f"{self.path} has fewer rows than the metadata says.",
                got=self.num_rows,
                expected=f"at least {end}",
                hint="the copy is incomplete or the recording was cut; restore the file",
            )
        ends = self._group_ends
        low, high = bisect_right(ends, first), bisect_left(ends, end)
        groups = list(range(low, min(high + 1, len(ends))))
        try:
            table = self._file.read_row_groups(groups, columns=columns, use_threads=False)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._unreadable(error) from error
        return table.slice(first - (ends[low - 1] if low else 0), end - first)

    def _unreadable(self, error: Exception) -> DataError:
        return DataError(
            f"{self.path} is damaged or not a parquet file.",
            got=str(error).splitlines()[0][:200],
            hint="restore it from a copy; a recording that was never finished has no footer",
        )


@lru_cache(maxsize=8)
def _kept_open(path: Path, inode: int, modified: int, size: int) -> ParquetSource:
    del inode, modified, size  # another file of that name is another entry
    return ParquetSource(path)
