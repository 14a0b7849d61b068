"""The results of an experiment: one Parquet file, one row a cell, with the code that made it.

    name         text, readable; what the row is found by
    settings     JSON: everything that the result depends on but for the code
    result       JSON
    wall_s       seconds that it took
    provenance   "recorded", or "before provenance" where nothing says which code made the row
    commit, version, numerics, python, platform, torch, numpy, command      as in `core.provenance`

A row is written as soon as it is computed, under a lock, and the file is replaced as a whole: whoever is
killed loses the cell that they were computing and nothing else. Pages carry checksums, which are verified on
reading.
"""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from steadyhand.core.errors import ArtifactError, ConfigError
from steadyhand.core.lock import FileLock
from steadyhand.core.provenance import Provenance
from steadyhand.core.strict import parse_json, replacing, require_file

RECORDED, BEFORE = "recorded", "before provenance"
_CODE = [
    pa.field(field.name, pa.int64() if field.name == "numerics" else pa.string())
    for field in fields(Provenance)
]
SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in ("name", "settings", "result")),
        pa.field("wall_s", pa.float64()),
        pa.field("provenance", pa.string(), nullable=False),
        *_CODE,
    ]
)
_PATIENCE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class StoredCell:
    """One row.

    Attributes:
        name: What it is found by.
        settings: What it was computed from, as JSON data.
        result: What came out, as JSON data.
        wall_s: How long it took [s]; None where nobody wrote it down.
        provenance: Which code made it; None for rows from before this was kept.
    """

    name: str
    settings: Mapping[str, Any]
    result: Mapping[str, Any]
    wall_s: float | None = None
    provenance: Provenance | None = None

    @property
    def may_be_stale(self) -> bool:
        """Whether numbers have been altered since, as far as one can tell."""
        return self.provenance is None or self.provenance.is_stale


class CellStore:
    """The rows of one file.

    Args:
        path: The file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None
        self._rows: dict[str, StoredCell] = {}

    def read(self) -> Mapping[str, StoredCell]:
        """Return all rows by name; the file is read again only when it has changed.

        Raises:
            ArtifactError: The file is damaged, or no file of cells.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return {}
        if (now := (found.st_mtime_ns, found.st_size)) != self._seen:
            self._rows = {row.name: row for row in _rows(self.path)}
            self._seen = now
        return self._rows

    def keep(self, rows: Iterable[StoredCell]) -> None:
        """Write rows, in the place of those of the same names.

        Raises:
            ConfigError: A number is NaN or infinite, or somebody else holds the file for over a minute.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self._lock()
        try:
            whole = {**self.read(), **{row.name: row for row in rows}}
            table = pa.Table.from_pylist([_to_row(whole[name]) for name in sorted(whole)], schema=SCHEMA)
            with replacing(self.path) as temporary:
                pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        finally:
            lock.release()

    def _lock(self) -> FileLock:
        patience = time.monotonic() + _PATIENCE_S
        path = self.path.with_name(f".{self.path.stem}.lock")
        while True:
            try:
                return FileLock(path)
            except BlockingIOError as error:
                if time.monotonic() > patience:
                    raise ConfigError(
                        f"Somebody has been writing {self.path} for a minute.",
                        hint=f"see who holds {path}",
                    ) from error


def _to_row(cell: StoredCell) -> dict[str, Any]:
    try:
        settings = json.dumps(cell.settings, allow_nan=False)
        result = json.dumps(cell.result, allow_nan=False)
    except ValueError as error:
        raise ConfigError(
            f"The result of cell {cell.name} cannot be kept.",
            got=error,
            expected="finite numbers, or None where there is none",
        ) from error
    made = {} if cell.provenance is None else asdict(cell.provenance)
    return {
        "name": cell.name,
        "settings": settings,
        "result": result,
        "wall_s": cell.wall_s,
        "provenance": BEFORE if cell.provenance is None else RECORDED,
        **made,
    }


def _rows(path: Path) -> Iterable[StoredCell]:
    require_file(path, error=ArtifactError)
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(
            f"{path} is damaged, or no Parquet file.", got=error, hint="restore it from a copy"
        ) from error
    if table.schema.names != SCHEMA.names:
        raise ArtifactError(
            f"{path} is no file of cells.",
            got=table.schema.names,
            expected=SCHEMA.names,
            hint="check the path",
        )
    for row in table.to_pylist():
        source = f"Cell {row['name']} in {path}"
        code = {field.name: row[field.name] for field in fields(Provenance)}
        yield StoredCell(
            name=row["name"],
            settings=parse_json(row["settings"], source=source, error=ArtifactError),
            result=parse_json(row["result"], source=source, error=ArtifactError),
            wall_s=row["wall_s"],
            provenance=Provenance(**code) if row["provenance"] == RECORDED else None,
        )
