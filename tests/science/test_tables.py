"""Tables in docs/results are made from cells, and stay what the cells say."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"bench_{name}", ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_first_loop_are_those_of_its_cells():
    page = load("first_loop")
    text = page.PAGE.read_text()
    assert page.fill(text) == text, "run: python benchmarks/first_loop.py table"


def test_every_headline_cell_belongs_to_the_settings_of_the_tour():
    page = load("first_loop")
    cells = [
        page.Cell(learner="MLP on pixels", factor=1, method=m, seed=s)
        for m in page.METHODS
        for s in page.SEEDS
    ]
    stale = [cell.path.name for cell in cells if not cell.is_done()]
    assert not stale, "the tour's settings changed; run: python benchmarks/first_loop.py run"


@pytest.mark.parametrize("method", ["cloning", "DAgger"])
def test_the_headline_is_a_difference_in_medians(method):
    """The gate of the prototype: medians over five seeds, not single seeds."""
    page = load("first_loop")
    kept = sorted(page.successes("MLP on pixels", 1, method).sum(axis=1))
    if method == "cloning":
        assert kept[2] <= 32
    else:
        assert kept[2] >= 60
