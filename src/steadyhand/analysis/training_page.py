"""A training run on one page: losses, held-out errors beside trivial answers, what to beware of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from steadyhand.analysis.axes import Axes, ceiling, drawing, tag, ticks
from steadyhand.analysis.page import page
from steadyhand.analysis.report import HTML_NAME
from steadyhand.analysis.results import Fact
from steadyhand.analysis.tables import Table
from steadyhand.core.strict import replacing

Line = Mapping[str, float | int]
_MOST_POINTS = 400
"""Points of a curve that are drawn; more are thinned evenly."""
_COLOURS = ("s1", "s2")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A figure against gradient steps."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """Everything that the page shows.

    Attributes:
        title: Heading.
        verdict: One sentence: what came out.
        notes: What to beware of; empty if nothing.
        curves: At most two losses, such as on training and on held-out episodes.
        learning_rate: That of every step; None where nothing was trained by gradients.
        best_step: Gradient steps at the lowest held-out loss; None if there is none.
        comparison: Held-out errors; None without held-out episodes.
        facts: What the policy sees and is made of, data, device, versions.
        command: The command that makes the run again.
    """

    title: str
    verdict: str
    notes: tuple[str, ...]
    curves: tuple[Curve, ...]
    learning_rate: Curve | None
    best_step: int | None
    comparison: Table | None
    facts: tuple[Fact, ...]
    command: str


def write_training_report(report: TrainingReport, folder: Path) -> Path:
    """Write `report.html`, whole or not at all, and return its path."""
    path = folder / HTML_NAME
    with replacing(path) as temporary:
        temporary.write_text(render_training(report), encoding="utf-8")
    return path


def render_training(report: TrainingReport) -> str:
    """Return the page; the same report gives the same bytes."""
    return page("training.html", title=report.title, report=report, curves=curves)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A chart of curves; `legend` are their names and colours, `is_log` whether the axis is logarithmic."""

    drawing: Markup
    legend: tuple[tuple[str, str], ...]
    is_log: bool


def curves(title: str, shown: Sequence[Curve], *, dot: int | None = None, with_zero: bool = False) -> Drawn:
    """Draw curves against gradient steps, on a logarithmic axis where all values are above 0.

    Args:
        title: What they show.
        shown: One or two.
        dot: Gradient steps at which the last curve gets a dot.
        with_zero: Keep the axis linear, and begin it at 0.
    """
    values = [value for curve in shown for value in curve.values]
    is_log = min(values) > 0.0 and not with_zero

    def scaled(value: float) -> float:
        return math.log10(value) if is_log else value

    def text(y: float) -> str:
        return f"{10**y:.2g}" if is_log else f"{y:g}"

    low, high = (0.0 if with_zero else scaled(min(values))), scaled(max(values))
    if high - low < 1e-12:
        low, high = (low, 1.0) if with_zero else (low - 0.5, high + 0.5)
    end = float(max(step for curve in shown for step in curve.steps))
    axes = Axes(x=(0.0, end), y=(low, high if is_log else max(high, ceiling(high))))
    parts = [axes.frame(x_ticks=ticks(0.0, end), y_ticks=ticks(*axes.y), y_text=text)]
    for curve, colour in zip(shown, _COLOURS, strict=False):
        stride = -(-len(curve.steps) // _MOST_POINTS)
        xs, ys = [*map(float, curve.steps[::stride])], [*map(scaled, curve.values[::stride])]
        line = axes.line(xs, ys) if len(xs) > 1 else axes.dot(xs[0], ys[0])
        at = [curve.steps.index(dot)] if dot in curve.steps and curve is shown[-1] else []
        dots = [axes.dot(float(curve.steps[index]), scaled(curve.values[index])) for index in at]
        parts.append(tag("g", line, dots, class_=colour))
    said = "; ".join(f"{curve.name} ends at {curve.values[-1]:.4g}" for curve in shown)
    label = f"{title} against gradient steps: {said}."
    return Drawn(
        drawing=drawing(*parts, height=axes.bottom + 26, label=label),
        legend=tuple(zip([curve.name for curve in shown], _COLOURS, strict=False)),
        is_log=is_log,
    )


def losses(history: Sequence[Line]) -> tuple[Curve, ...]:
    """Return the losses in the lines of metrics.jsonl, those on held-out episodes last if there are any."""
    named = (("training", "loss"), ("held-out episodes", "validation_loss"))
    return tuple(curve for name, key in named if (curve := _curve(name, history, key)) is not None)


def learning_rate(history: Sequence[Line]) -> Curve | None:
    """Return the learning rate; None where it steered nothing, as for a policy in closed form."""
    return _curve("learning rate", history, "learning_rate") if len(history) > 1 else None


def _curve(name: str, history: Sequence[Line], key: str) -> Curve | None:
    lines = [line for line in history if key in line]
    if not lines:
        return None
    steps = tuple(int(line["step"]) for line in lines)
    return Curve(name=name, steps=steps, values=tuple(float(line[key]) for line in lines))
