"""Which remedies have no meaning for which policy classes: the table of docs/results/remedies.md.

    python benchmarks/refusals.py   write the table into the page

There is nothing to compute: `tests/conformance/test_corrections.py` holds that just these pairs are refused.
"""

import grid

from steadyhand.testing.refusals import table

PAGE = grid.PAGES / "remedies.md"
TABLES = {"refusals": table}

if __name__ == "__main__":
    PAGE.write_text(grid.fill(PAGE.read_text(), TABLES))
