"""Two right answers are no ignorance: an ensemble's variance takes them for it, the own loss does not.

The experiment of benchmarks/bimodal_gate.py at toy size; docs/results/gates.md has it over seeds.
"""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bimodal_gate(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("bimodal_gate")
    for name in ("pages", "bimodal_gate"):
        sys.modules.pop(name, None)


def test_an_ensembles_variance_asks_at_the_fork_and_the_own_loss_off_the_demonstrations(bimodal_gate):
    classes = {"diffusion": bimodal_gate.CLASSES["diffusion"]}
    settings = bimodal_gate.Settings(demonstrations=20, held_out=30, classes=classes, members=2, off=300)
    found = bimodal_gate.compute(settings)
    doubt, loss = found["doubt, diffusions"], found["loss, diffusion"]
    assert doubt["one"] < 0.1
    assert loss["one"] < 0.1  # Both are calibrated to 5 % where one answer is right.
    assert doubt["two"] > 2 * 0.05
    assert loss["two"] < doubt["two"]
    assert loss["off"] > 0.3
    assert doubt["off"] < 0.5 * loss["off"]
