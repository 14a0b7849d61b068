"""An experiment: cells that are computed once, wherever and whenever, and tables that are made from them.

    LAW = Experiment(name="law", folder=Path("results"))
    cell = LAW.cell("cliff cloning", settings=Settings(...), compute=compute)     # compute(settings) -> JSON
    compute_cells([cell])                                                         # what is missing
    cell.result()

A cell is found by its name and counts as done if its stored settings read back equal to what is asked for.
So a field that is added later, with a default, leaves old cells valid, and a changed setting does not.
"""

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError, SteadyhandError
from steadyhand.core.names import file_name
from steadyhand.core.provenance import Provenance
from steadyhand.core.question import NUMERICS
from steadyhand.recipes.cells import CellStore, StoredCell

S = TypeVar("S")
RENAMED: Mapping[str, str] = {"Exponential": "ExponentialDecay"}
"""Names of parts in cells that were computed before a renaming -> their names today."""
_looked_up: ContextVar[dict[str, StoredCell] | None] = ContextVar("looked_up", default=None)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Cells that are kept together.

    Attributes:
        name: Name of their file.
        folder: Where it lies.
    """

    name: str
    folder: Path

    @cached_property
    def store(self) -> CellStore:
        """The file."""
        return CellStore(self.folder / f"{file_name(self.name, what='The name of an experiment')}.parquet")

    def cell(self, words: str, *, settings: S, compute: Callable[[S], Mapping[str, Any]]) -> "Cell[S]":
        """Return one entry of the tables.

        Args:
            words: What tells it from the others; its name is made of them.
            settings: A frozen dataclass: everything that the result depends on but for the code.
            compute: A function of a module, given the settings; returns the result as JSON data.
        """
        name = words.replace(" ", "-").lower()
        return Cell(experiment=self, name=name, settings=settings, compute=compute)


@dataclass(frozen=True, kw_only=True)
class Cell(Generic[S]):
    """One entry of the tables; made by `Experiment.cell`."""

    experiment: Experiment
    name: str
    settings: S
    compute: Callable[[S], Mapping[str, Any]]

    def stored(self) -> StoredCell | None:
        """Return the row, or None if it is not there or belongs to other settings."""
        found = self.experiment.store.read().get(self.name)
        if found is None or not self._asks_for(found.settings):
            return None
        if (watched := _looked_up.get()) is not None:
            watched[f"{self.experiment.store.path}:{self.name}"] = found
        return found

    def result(self) -> dict[str, Any] | None:
        """Return the result, or None if it is not there or belongs to other settings."""
        found = self.stored()
        return None if found is None else dict(found.result)

    def _asks_for(self, settings: Mapping[str, Any]) -> bool:
        if settings == to_data(self.settings):
            return True
        try:
            return from_data(_renamed(settings), type(self.settings)) == self.settings
        except ConfigError:
            return False


def compute_cells(
    cells: Sequence[Cell[Any]],
    *,
    executor: Executor | None = None,
    on_cell: Callable[[Cell[Any], StoredCell], None] | None = None,
    stale: bool = False,
) -> None:
    """Compute the cells that are missing and keep each as soon as it is there.

    Args:
        cells: The cells.
        executor: Who computes, such as `workers.processes(4)`; this process, one after the other, if None.
        stale: Compute also what may be older than the last change that alters numbers.
        on_cell: Called with each cell that was computed.

    Raises:
        SteadyhandError: Some cells failed. All others were computed and kept; the same call tries again.
    """
    found = {cell.name: (cell, cell.stored()) for cell in cells}
    missing = {
        name: cell for name, (cell, row) in found.items() if row is None or (stale and row.may_be_stale)
    }
    failed: list[tuple[str, Exception]] = []
    for cell, future in _futures(list(missing.values()), executor):
        try:
            row = future.result()
        except Exception as error:  # whatever a cell raises must not lose the others
            failed.append((cell.name, error))
            continue
        cell.experiment.store.keep([row])
        if on_cell is not None:
            on_cell(cell, row)
    if failed:
        name, error = failed[0]
        raise SteadyhandError(
            f"{len(failed)} of {len(missing)} cells failed; the others are kept.",
            got=f"{name}: {type(error).__name__}: {error}",
            hint="mend the cause and run the same command again",
        ) from error


def computed(
    name: str, settings: S, compute: Callable[[S], Mapping[str, Any]], command: str | None = None
) -> StoredCell:
    """Compute one cell, in whatever process this is; `command` is that of the process that asked for it."""
    made, began = Provenance.of_this_process(), time.perf_counter()
    result = compute(settings)
    return StoredCell(
        name=name,
        settings=to_data(settings),
        result=result,
        wall_s=round(time.perf_counter() - began, 1),
        provenance=made if command is None else replace(made, command=command),
    )


def _futures(
    cells: Sequence[Cell[Any]], executor: Executor | None
) -> Generator[tuple[Cell[Any], Future[StoredCell]]]:
    """Yield cells and what became of them, in the order in which they are done."""
    if executor is None:
        for cell in cells:
            future: Future[StoredCell] = Future()
            try:
                future.set_result(computed(cell.name, cell.settings, cell.compute))
            except Exception as error:
                future.set_exception(error)
            yield cell, future
        return
    here = Provenance.of_this_process().command
    asked = {executor.submit(computed, cell.name, cell.settings, cell.compute, here): cell for cell in cells}
    try:
        for future in as_completed(asked):
            yield asked[future], future
    finally:
        for future in asked:
            future.cancel()


@contextmanager
def looking_up() -> Generator[dict[str, StoredCell]]:
    """Collect the rows that are looked up within the block, so that a table can say how old they are."""
    found: dict[str, StoredCell] = {}
    token = _looked_up.set(found)
    try:
        yield found
    finally:
        _looked_up.reset(token)


def staleness(rows: Iterable[StoredCell]) -> str:
    """Return a sentence where some rows may be older than the last change that alters numbers."""
    ages = [None if row.provenance is None else row.provenance.is_stale for row in rows]
    since = f"older than the last change that alters numbers (numerics {NUMERICS})."
    said: list[str] = []
    if stale := ages.count(True):
        said.append(f"{_share(stale, len(ages))} cells are {since}")
    if before := ages.count(None):
        share = _share(before, len(ages))
        said.append(f"{share} cells were computed before provenance was kept: they may be {since}")
    return " ".join(said)


def _share(part: int, whole: int) -> str:
    return f"All {whole}" if part == whole else f"{part} of {whole}"


def fill(page: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """Return a page with its tables made anew between `<!-- name -->` and `<!-- end name -->`.

    A line under a table says where its cells are stale; see `staleness`.

    Raises:
        ConfigError: The page has no place for a table.
    """
    for name, make in tables.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end {name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ConfigError(
                "The page has no place for a table.", expected=f"{begin.strip()} and {end.strip()}"
            )
        with looking_up() as rows:
            text = make()
        mark = staleness(rows.values())
        page = before + begin + text + (f"\n\n*{mark}*" if mark else "") + end + after
    return page


def _renamed(data: Any) -> Any:
    """Return settings with the names of their parts as they are today."""
    if isinstance(data, Mapping):
        body = {key: _renamed(value) for key, value in data.items()}
        kind = body.get("type")
        return body if kind is None else {**body, "type": RENAMED.get(kind, kind)}
    return [_renamed(value) for value in data] if isinstance(data, list) else data
