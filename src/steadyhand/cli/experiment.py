"""The command line of an experiment that is a script of its own: `python SCRIPT run | table | list`.

if __name__ == "__main__":
main(cells(), page=Path("results.md"), tables=TABLES, describe=describe, doc=__doc__)
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadyhand.cli import terminal

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from steadyhand.recipes.cells import StoredCell
    from steadyhand.recipes.experiment import Cell


def main(
    cells: "Sequence[Cell[Any]]",
    *,
    page: Path,
    tables: Mapping[str, Callable[[], str]],
    describe: Callable[[Mapping[str, Any]], str],
    doc: str | None,
) -> None:
    """Compute cells, write tables into a page, or list what is there.

    Args:
        cells: The cells.
        page: The page with places for the tables; see `recipes.experiment.fill`.
        tables: Makers of the tables, by the names of their places.
        describe: Says a result in a few words.
        doc: What `--help` says.
    """
    from steadyhand.recipes.experiment import compute_cells, fill

    chosen = _parsed(doc)
    wanted = [cell for cell in cells if chosen.only in cell.name]
    if chosen.action == "table":
        page.write_text(fill(page.read_text(), tables))
        terminal.say(str(page))
        return
    if chosen.action == "list":
        for cell in wanted:
            terminal.say(f"{_state(cell)} {cell.name}")
        return

    def on_cell(cell: "Cell[Any]", row: "StoredCell") -> None:
        terminal.say(f"{cell.name}: {describe(row.result)}, {row.wall_s} s")

    shard, of = (int(part) for part in chosen.shard.split("/"))
    with executor_of(jobs=chosen.jobs, ray=chosen.ray) as executor:
        compute_cells(wanted[shard::of], executor=executor, on_cell=on_cell, stale=chosen.stale)


def executor_of(*, jobs: int, ray: str | None) -> "Executor | nullcontext[None]":
    """Return who computes: this process, `jobs` processes, or the Ray cluster at an address."""
    from steadyhand.recipes.workers import RayExecutor, processes

    if ray is not None:
        return RayExecutor("" if ray == "local" else ray)
    return processes(jobs) if jobs > 1 else nullcontext()


def _state(cell: "Cell[Any]") -> str:
    row = cell.stored()
    if row is None:
        return "missing"
    if row.provenance is None:
        return "before "
    return "stale  " if row.provenance.is_stale else "done   "


def _parsed(doc: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "table", "list"))
    parser.add_argument("--only", default="", help="part of a cell's name")
    parser.add_argument("--jobs", type=int, default=1, help="processes of this machine")
    parser.add_argument("--ray", metavar="ADDRESS", help="a Ray cluster: an address, auto, or local")
    parser.add_argument("--shard", default="0/1", help="i/n: every n-th cell, from the i-th")
    parser.add_argument(
        "--stale",
        action="store_true",
        help="also what may be older than the last change that alters numbers",
    )
    return parser.parse_args()
