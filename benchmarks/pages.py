"""Where the experiments of this folder keep their cells, and the pages that their tables stand on.

Every experiment is a script with the command line of `steadyhand.cli.experiment`:
`python benchmarks/NAME.py run` computes what is missing (`--jobs 4` on four cores, `--ray ADDRESS` on a
cluster, `--shard 0/2` every second cell), `table` writes the tables, `list` says what is there and how old.
"""

from functools import cache
from pathlib import Path

from steadyhand.recipes.experiment import Experiment

PAGES = Path(__file__).parents[1] / "docs" / "results"


@cache
def experiment(name: str) -> Experiment:
    """Return the experiment of this name."""
    return Experiment(name=name, folder=PAGES / "cells")
