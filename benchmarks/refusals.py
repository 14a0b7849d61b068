"""Which remedies have no meaning for which policy classes: the table of docs/results/pairs.md.

    python benchmarks/refusals.py   write the table into the page

There is nothing to compute: `tests/conformance/test_corrections.py` holds that just these pairs are refused.
"""

from pages import PAGES

from steadyhand.recipes.experiment import fill
from steadyhand.testing.refusals import table

PAGE = PAGES / "pairs.md"
TABLES = {"refusals": table}

if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text(), TABLES))
