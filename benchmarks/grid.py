"""Tables from cells: one cell is one trained and evaluated (method, setting, seed), kept as a JSON file.

A cell file holds the settings in full. It counts as done if they read back equal to what is asked for, so a
field that the library gains later (with a default) leaves old cells valid, and a changed setting does not.
Cells can be computed on several machines and days: `python benchmarks/NAME.py run --shard 0/2` takes every
second one. Tables are written into a page between `<!-- name -->` and `<!-- end name -->`.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steadyhand.core.codec import from_data, read_json, to_data
from steadyhand.core.errors import ConfigError

ROOT = Path(__file__).parents[1]
CELLS = ROOT / "docs" / "results" / "cells"
PAGES = ROOT / "docs" / "results"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One entry of the tables.

    Attributes:
        experiment: Folder of the cells.
        name: File name, readable.
        settings: A frozen dataclass: everything that the result depends on but for the code.
        compute: Returns the result as JSON data.
    """

    experiment: str
    name: str
    settings: Any
    compute: Callable[[], Mapping[str, Any]]

    @property
    def path(self) -> Path:
        """Where the result is kept."""
        return CELLS / self.experiment / f"{self.name.replace(' ', '-').lower()}.json"

    def result(self) -> dict[str, Any] | None:
        """Return the result, or None if it is not there or belongs to other settings."""
        if not self.path.is_file():
            return None
        found = read_json(self.path)
        try:
            stored = from_data(found["settings"], type(self.settings), source=str(self.path))
        except ConfigError:
            return None
        return found if stored == self.settings else None

    def run(self) -> dict[str, Any]:
        """Compute the result and keep it."""
        began = time.perf_counter()
        result = {**self.compute(), "wall_s": round(time.perf_counter() - began, 1)}
        self.keep(result)
        return result

    def keep(self, result: Mapping[str, Any]) -> None:
        """Write the file: settings on one line, each figure on its own."""
        lines = {"settings": to_data(self.settings), **result}
        body = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in lines.items())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("{\n" + body + "\n}\n")
        temporary.replace(self.path)


def fill(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """Return a page with its tables made anew from the cells."""
    for name, make in tables.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end {name} -->"
        before, rest = text.split(begin, 1)
        text = before + begin + make() + end + rest.split(end, 1)[1]
    return text


def main(
    cells: Sequence[Cell],
    *,
    page: str,
    tables: Mapping[str, Callable[[], str]],
    describe: Callable[[Mapping[str, Any]], str],
    doc: str | None,
) -> None:
    """Run the command line of an experiment: `run`, `table` or `list`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "table", "list"))
    parser.add_argument("--only", default="", help="part of a cell's file name")
    parser.add_argument("--shard", default="0/1", help="i/n: every n-th cell, from the i-th")
    chosen = parser.parse_args()
    shard, of = (int(part) for part in chosen.shard.split("/"))
    wanted = [cell for cell in cells if chosen.only in cell.path.name]
    if chosen.action == "table":
        (PAGES / page).write_text(fill((PAGES / page).read_text(), tables))
        print(PAGES / page)
        return
    for index, cell in enumerate(wanted):
        found = cell.result()
        if chosen.action == "list":
            print("done   " if found else "missing", cell.path.stem)
        elif found is None and index % of == shard:
            result = cell.run()
            print(f"{cell.path.stem}: {describe(result)}, {result['wall_s']} s", flush=True)
