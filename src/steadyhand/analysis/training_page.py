"""A training run on one page: losses, held-out errors beside trivial answers, what to beware of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from steadyhand.analysis.axes import Axes, ceiling, drawing, ticks
from steadyhand.analysis.markup import Markup, group, tag
from steadyhand.analysis.page import shell
from steadyhand.analysis.report import HTML_NAME
from steadyhand.analysis.results import Fact
from steadyhand.analysis.sections import section, table
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
class HeldOutTable:
    """A table of the policy beside answers that need no learning.

    Attributes:
        caption: What it compares.
        headers: Headers of the columns; the first is that of the names.
        rows: Name and cells.
    """

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


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
    comparison: HeldOutTable | None
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
    head = tag(
        "header",
        tag("p", "steadyhand training", class_="eyebrow"),
        tag("h1", report.title),
        tag("p", report.verdict, class_="verdict"),
    )
    parts = [head]
    if report.notes:
        notes = tag("ul", [tag("li", note) for note in report.notes], class_="caveats")
        parts.append(section("What to beware of", notes))
    best = f"; the dot is the lowest held-out loss, step {report.best_step}" if report.best_step else ""
    figures = [_curves("Loss", report.curves, caption=best, dot=report.best_step)]
    if report.learning_rate is not None:
        figures.append(_curves("Learning rate", [report.learning_rate], caption="", with_zero=True))
    parts.append(section("Training", tag("div", figures, class_="pair")))
    if (compared := report.comparison) is not None:
        parts.append(
            section("On held-out episodes", table(compared.caption, compared.headers, compared.rows))
        )
    facts = [group(tag("dt", fact.name), tag("dd", fact.value)) for fact in report.facts]
    command = tag("pre", tag("code", report.command), tabindex="0")
    parts.append(section("How this was trained", command, tag("dl", facts, class_="facts")))
    return shell(report.title, group(parts))


def _curves(
    title: str, curves: Sequence[Curve], *, caption: str, dot: int | None = None, with_zero: bool = False
) -> Markup:
    """Draw curves against gradient steps, on a logarithmic axis where all values are above 0.

    Args:
        title: What they show.
        curves: One or two.
        caption: Follows what is said of the axes.
        dot: Gradient steps at which the last curve gets a dot.
        with_zero: Keep the axis linear, and begin it at 0.
    """
    values = [value for curve in curves for value in curve.values]
    is_log = min(values) > 0.0 and not with_zero

    def scaled(value: float) -> float:
        return math.log10(value) if is_log else value

    low, high = (0.0 if with_zero else scaled(min(values))), scaled(max(values))
    if high - low < 1e-12:
        low, high = (low, 1.0) if with_zero else (low - 0.5, high + 0.5)
    end = float(max(step for curve in curves for step in curve.steps))
    axes = Axes(x=(0.0, end), y=(low, high if is_log else max(high, ceiling(high))))
    frame = axes.frame(
        x_ticks=ticks(0.0, end),
        y_ticks=ticks(*axes.y),
        y_text=lambda y: f"{10**y:.2g}" if is_log else f"{y:g}",
    )
    shapes: list[Markup] = []
    for curve, colour in zip(curves, _COLOURS, strict=False):
        stride = -(-len(curve.steps) // _MOST_POINTS)
        xs = [float(step) for step in curve.steps[::stride]]
        ys = [scaled(value) for value in curve.values[::stride]]
        drawn = [axes.line(xs, ys)] if len(xs) > 1 else [axes.dot(xs[0], ys[0])]
        if dot in curve.steps and curve is curves[-1]:
            drawn.append(axes.dot(float(dot), scaled(curve.values[curve.steps.index(dot)])))
        shapes.append(tag("g", drawn, class_=colour))
    said = "; ".join(f"{curve.name} ends at {curve.values[-1]:.4g}" for curve in curves)
    label = f"{title} against gradient steps: {said}."
    chart = drawing(frame, *shapes, height=axes.bottom + 26, label=label)
    named = zip(curves, _COLOURS, strict=False)
    legend = tag("ul", [tag("li", tag("i", class_=c), curve.name) for curve, c in named], class_="legend")
    caption = f"Against gradient steps{', on a logarithmic axis' if is_log else ''}{caption}."
    heading = tag("figcaption", tag("strong", title), " ", tag("span", caption, class_="quiet"))
    return tag("figure", heading, chart, legend)


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
