"""meta/steadyhand/*.parquet: one row an episode, for what LeRobot's format has no place for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from steadyhand.core.errors import DataError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.episode import Branch, EpisodeOrigin
from steadyhand.data.formats.arrow import ArrowArray, ArrowTable, ArrowType
from steadyhand.data.formats.columns import to_array, to_column
from steadyhand.data.formats.files import ParquetSource, reading
from steadyhand.data.formats.png import encode_png

FOLDER = "meta/steadyhand"

_COLUMNS: dict[str, ArrowType] = {
    "episode_index": pa.int64(),
    "terminated": pa.bool_(),
    "truncated": pa.bool_(),
    "success": pa.bool_(),
    "source": pa.string(),
    "seed": pa.int64(),
    "start": pa.string(),
    "round": pa.int64(),
    "outcome": pa.string(),
    "branch_parent": pa.int64(),
    "branch_step": pa.int64(),
}
_REQUIRED = [name for name in _COLUMNS if name != "success"]
_ORIGIN = ("source", "seed", "start", "round", "outcome")
_ROWS_AT_ONCE = 1000
_WITHOUT = "restore it from a copy; without meta/steadyhand the rest can be read as foreign data"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How one episode ended and where it came from."""

    terminated: bool = False
    truncated: bool = False
    success: bool | None = None
    provenance: EpisodeOrigin = field(default_factory=EpisodeOrigin)
    branch: Branch | None = None


class Sidecar:
    """Reads the rows of all files in meta/steadyhand.

    Raises:
        DataError: Damaged files, or rows that do not number the episodes from 0.
    """

    def __init__(self, root: Path, observation: Mapping[str, FeatureSpec]) -> None:
        self._observation = observation
        self._sources = [ParquetSource(path) for path in sorted((root / FOLDER).glob("episodes-*.parquet"))]
        self._origins: dict[EpisodeOrigin, EpisodeOrigin] = {}
        self.endings: list[Ending] = []
        self._starts: list[int] = []
        for source in self._sources:
            self._starts.append(len(self.endings))
            with reading(source.path, hint=_WITHOUT):
                table = source.read(list(_COLUMNS))
                _check_types(table)
                for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
                    for row in batch.to_pylist():
                        self.endings.append(self._ending(row, source.path))

    def _ending(self, row: dict[str, Any], path: Path) -> Ending:
        number = len(self.endings)
        if row["episode_index"] != number or any(row[name] is None for name in _REQUIRED):
            raise DataError(
                f"A row of {path} does not belong to episode {number}.",
                got={name: row[name] for name in _REQUIRED},
                expected=f"episode_index = {number}, and no empty entries",
            )
        origin = EpisodeOrigin(**{name: row[name] for name in _ORIGIN})
        parent = row["branch_parent"]
        return Ending(
            terminated=row["terminated"],
            truncated=row["truncated"],
            success=row["success"],
            provenance=self._origins.setdefault(origin, origin),  # many share one
            branch=Branch(parent=parent, step=row["branch_step"]) if parent >= 0 else None,
        )

    def final_observation(self, episode: int) -> dict[str, np.ndarray] | None:
        """Return what was seen after the last action, if it was recorded."""
        place = int(np.searchsorted(self._starts, episode, side="right")) - 1
        source = self._sources[place]
        columns = [f"final/{name}" for name in self._observation]
        table = source.read(columns, first=episode - self._starts[place], length=1)
        if any(table.column(column)[0].as_py() is None for column in columns):
            return None
        return {
            name: _final_value(table.column(f"final/{name}"), spec, name=name, path=source.path)
            for name, spec in self._observation.items()
        }


def _check_types(table: ArrowTable) -> None:
    wrong = [name for name, kind in _COLUMNS.items() if table.column(name).type != kind]
    if wrong:
        raise DataError(
            "Columns about how episodes ended have other types than were written.",
            got=", ".join(f"{name} ({table.column(name).type})" for name in wrong),
            expected=", ".join(f"{name} ({_COLUMNS[name]})" for name in wrong),
        )


def _final_value(column: ArrowArray, spec: FeatureSpec, *, name: str, path: Path) -> np.ndarray:
    if spec.kind == "image":
        from steadyhand.data.formats.images import decode_image

        height, width, channels = spec.shape
        data = column[0].as_py()["bytes"]
        return decode_image(data, shape=(height, width, channels), name=f"final {name} in {path}")
    return to_array(column, shape=spec.shape, dtype=spec.dtype, name=f"final/{name}", path=path)[0]


SidecarRow = tuple[Ending, Mapping[str, np.ndarray] | None]
"""How an episode ended, and its final observation."""


def sidecar_table(
    episodes: Sequence[SidecarRow], *, first: int, observation: Mapping[str, FeatureSpec]
) -> ArrowTable:
    """Return the rows of episodes `first`, `first` + 1, ..."""
    rows: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    for number, (ending, _) in enumerate(episodes, start=first):
        source = ending.provenance
        branch = ending.branch or Branch(parent=-1, step=-1)
        values = (
            *(number, ending.terminated, ending.truncated, ending.success),
            *(source.source, source.seed, source.start, source.round, source.outcome),
            *(branch.parent, branch.step),
        )
        for name, value in zip(_COLUMNS, values, strict=True):
            rows[name].append(value)
    table = pa.table({name: pa.array(rows[name], type=kind) for name, kind in _COLUMNS.items()})
    for name, spec in observation.items():
        finals = [None if final is None else final[name] for _, final in episodes]
        table = table.append_column(f"final/{name}", _final_column(finals, spec))
    return table


def _final_column(finals: list[np.ndarray | None], spec: FeatureSpec) -> ArrowArray:
    if spec.kind == "image":
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        images = [None if f is None else {"bytes": encode_png(f), "path": None} for f in finals]
        return pa.array(images, type=kind)
    kind = to_column(np.zeros((1, *spec.shape), dtype=spec.dtype)).type
    return pa.array([None if final is None else _plain(final, spec) for final in finals], type=kind)


def _plain(final: np.ndarray, spec: FeatureSpec) -> Any:
    return final[0].item() if spec.shape == (1,) else final.tolist()
