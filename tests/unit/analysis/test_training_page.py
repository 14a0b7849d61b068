"""The page of a training draws the lines of metrics.jsonl: losses, and the learning rate that made them."""

import math
import re
import xml.etree.ElementTree as ET

import pytest

from steadyhand.analysis.training_page import TrainingReport, learning_rate, losses, render_training

HISTORY = [
    {"step": 100, "loss": 1.0, "learning_rate": 1e-3},
    {"step": 200, "loss": 0.1, "learning_rate": 5e-4, "validation_loss": 0.2},
    {"step": 400, "loss": 0.01, "learning_rate": 0.0, "validation_loss": 0.4},
]


def drawings(history, *, best_step=None):
    page = render_training(
        TrainingReport(
            title="t",
            verdict="v",
            notes=(),
            curves=losses(history),
            learning_rate=learning_rate(history),
            best_step=best_step,
            comparison=None,
            facts=(),
            command="c",
        )
    )
    return [ET.fromstring(found) for found in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)], page


def heights(drawing):
    """Return how far up each point of each line is: 0 at the lower edge, 1 at the upper."""
    lines = [path.get("d")[1:] for path in drawing.iter("path") if path.get("class") == "line"]
    rows = [[float(point.split(",")[1]) for point in line.split(" ")] for line in lines]
    return [[(182 - row) / 170 for row in line] for line in rows]


def test_losses_are_drawn_on_a_logarithmic_axis_and_the_rate_from_zero():
    (loss, rate), page = drawings(HISTORY, best_step=200)
    training, held_out = heights(loss)
    assert training == pytest.approx([1.0, 0.5, 0.0], abs=1e-3)
    assert held_out == pytest.approx([(math.log10(v) + 2) / 2 for v in (0.2, 0.4)], abs=1e-3)
    assert heights(rate) == [pytest.approx([1.0, 0.5, 0.0], abs=1e-3)]
    assert "the dot is the lowest held-out loss, step 200" in page
    assert [circle.get("class") for circle in loss.iter("circle")] == ["dot"]
    assert rate.get("aria-label") == "Learning rate against gradient steps: learning rate ends at 0."


def test_a_rate_that_never_changes_is_a_level_line():
    (_, rate), _ = drawings([line | {"learning_rate": 1e-3} for line in HISTORY])
    assert heights(rate) == [pytest.approx([1.0] * 3, abs=1e-3)]


def test_what_is_solved_in_closed_form_has_no_rate():
    (loss,), _ = drawings(HISTORY[:1])
    assert [circle.get("class") for circle in loss.iter("circle")] == ["dot"]


def test_a_loss_below_zero_is_drawn_as_it_is():
    (loss, _), page = drawings([HISTORY[0], HISTORY[1] | {"loss": -1.0, "validation_loss": 0.5}])
    assert "logarithmic" not in page
    assert heights(loss)[0] == pytest.approx([1.0, 0.0], abs=1e-3)
