"""Every chart of a page as SVG. A name has one colour class throughout, and never colour alone tells it."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from steadyhand.analysis.axes import WIDTH, Axes, ceiling, drawing, nice_step, tag, ticks
from steadyhand.analysis.multimodality import ModeSummary
from steadyhand.analysis.notation import number, percent
from steadyhand.analysis.results import (
    Occupancy,
    OccupancyMaps,
    Paths,
    PolicyResult,
    Report,
    Rounds,
    Scene,
    Wording,
)
from steadyhand.analysis.tables import Colours
from steadyhand.core.statistics import Interval, wilson

LEVELS = 7
"""Shades of a map; each stands for twice the share of time of the one before."""

_METHODS = (
    ("dagger", "s2"),
    ("clon", "s1"),
    ("noise", "s3"),
    ("dart", "s3"),
    ("view", "s4"),
    ("camera", "s4"),
)
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SLOTS = ("s1", "s2", "s3", "s4", "s5", "s6", "s7")
_MAP_SIDE, _SCENE_WIDTH = 240.0, 320.0
_WAYS_ROW, _WAYS_BARS = 86.0, 40.0
_LABELLED = 12
"""Most ways that are numbered one by one under the bars."""


def colours(results: Sequence[PolicyResult]) -> dict[str, str]:
    """Return a colour class for each name: fixed for known methods, the next free one for others."""
    chosen: dict[str, str] = {}
    for result in results:
        if result.kind == "expert":
            chosen[result.name] = "s0"
            continue
        known = (slot for word, slot in _METHODS if word in result.name.lower())
        slot = next((slot for slot in known if slot not in chosen.values()), None)
        if slot is not None:
            chosen[result.name] = slot
    for result in results:
        free = [slot for slot in _SLOTS if slot not in chosen.values()]
        chosen.setdefault(result.name, free[0] if free else "s7")
    return chosen


def key(results: Iterable[PolicyResult], colour: Colours) -> list[tuple[str, str]]:
    """Return names and colours for a legend."""
    return [(result.name, colour[result.name]) for result in results]


@dataclass(frozen=True, kw_only=True)
class _Bar:
    name: str
    value: float
    interval: Interval | None
    text: str


def success_chart(results: Sequence[PolicyResult], colour: Colours) -> Markup:
    """Draw the success rate of each result as a bar with its interval; all of them must be told."""
    bars = [
        _Bar(
            name=one.name,
            value=(one.num_successes or 0) / one.num_starts,
            interval=one.success_interval,
            text=f"{one.num_successes} of {one.num_starts}",
        )
        for one in results
    ]
    axes = _bar_axes(bars, (0.0, 1.0))
    frame = axes.frame(x_ticks=_QUARTERS, y_ticks=[], x_text=_percent, flush=True)
    return _bars(bars, axes, frame, colour, title="Successful starts")


def return_chart(results: Sequence[PolicyResult], colour: Colours) -> Markup:
    """Draw the mean return of each result as a dot with its interval; bars would make the worst longest."""
    means = [(one.name, one.mean_return) for one in results]
    bars = [
        _Bar(name=name, value=mean.value, interval=mean.interval, text=number(mean.value))
        for name, mean in means
    ]
    ends = [bar.value for bar in bars]
    ends += [end for bar in bars if bar.interval is not None for end in (bar.interval.low, bar.interval.high)]
    low, high = min(ends), max(ends)
    step = nice_step(high - low, count=4)
    axes = _bar_axes(bars, (math.floor(low / step) * step, (math.floor(high / step) + 1) * step))
    frame = axes.frame(x_ticks=ticks(*axes.x), y_ticks=[], x_text=number, flush=True)
    return _bars(bars, axes, frame, colour, title="Mean return", dots=True)


def _bar_axes(bars: Sequence[_Bar], x: tuple[float, float]) -> Axes:
    return Axes(left=0.0, top=4.0, width=WIDTH, height=50.0 * len(bars), x=x, y=(float(len(bars)), 0.0))


def _bars(
    bars: Sequence[_Bar], axes: Axes, frame: Markup, colour: Colours, *, title: str, dots: bool = False
) -> Markup:
    parts = [frame]
    for index, bar in enumerate(bars):
        top = axes.top + 50.0 * index
        words = {"y": top + 15, "class_": "name"}
        parts += [
            tag("text", shorten(bar.name), x=axes.left, **words),
            tag("text", bar.text, x=axes.left + axes.width, text_anchor="end", **words),
            tag("g", _bar(bar, axes, top + 22, dots=dots), class_=colour[bar.name]),
        ]
    said = "; ".join(f"{bar.name}: {bar.text}" for bar in bars)
    return drawing(*parts, height=axes.bottom + 26, label=f"{title}. {said}.")


def _bar(bar: _Bar, axes: Axes, top: float, *, dots: bool) -> list[Markup]:
    height, (end, _) = 14.0, axes.place(bar.value, 0.0)
    middle = top + height / 2
    shapes = [tag("rect", x=axes.left, y=top, width=axes.width, height=height, rx=2, class_="track")]
    if not dots:
        shapes.append(tag("rect", x=axes.left, y=top, width=end - axes.left, height=height, class_="bar"))
    if bar.interval is not None:
        low, high = (axes.place(x, 0.0)[0] for x in (bar.interval.low, bar.interval.high))
        shapes.append(tag("line", x1=low, x2=high, y1=middle, y2=middle, class_="whisker"))
        shapes += [
            tag("line", x1=x, x2=x, y1=middle - 5, y2=middle + 5, class_="whisker") for x in (low, high)
        ]
    if dots:
        shapes.append(tag("circle", cx=end, cy=middle, r=5, class_="dot"))
    return shapes


def survival_chart(report: Report, colour: Colours) -> Markup:
    """Draw the share of starts that has not failed against time."""
    results, end = report.results, max(result.duration for result in report.results)
    axes = Axes(x=(0.0, end), y=(0.0, 1.0), height=50.0 * min(max(len(results), 3), 5))
    parts = [axes.frame(x_ticks=ticks(0.0, end), y_ticks=_QUARTERS, y_text=_percent, x_text=_seconds)]
    said: list[str] = []
    for result in _expert_last(results):
        times = sorted(time for time in result.first_failure if time is not None)
        xs = [0.0, *times, result.duration]
        left = [1 - count / result.num_starts for count in range(len(times) + 1)]
        parts.append(tag("g", axes.steps(xs, [*left, left[-1]]), class_=colour[result.name]))
        said.append(f"{result.name} ends at {_percent(left[-1])}")
    label = f"{report.wording.surviving}: {'; '.join(said)}."
    return drawing(*parts, height=axes.bottom + 26, label=label)


def error_chart(results: Sequence[PolicyResult], colour: Colours, wording: Wording) -> Markup:
    """Draw |error| along the episode with its 10 to 90 percent band, and below it how many still run."""
    curves = [(one, one.error_curve) for one in _expert_last(results) if one.error_curve is not None]
    end = max(result.duration for result, _ in curves)
    top = ceiling(max(max(curve.p90) for _, curve in curves))
    most = float(max(result.num_starts for result, _ in curves))
    upper = Axes(x=(0.0, end), y=(0.0, top), height=150.0)
    lower = Axes(x=(0.0, end), y=(0.0, most), top=upper.bottom + 34, height=44.0)
    parts = [
        upper.frame(x_ticks=[], y_ticks=ticks(0.0, top)),
        lower.frame(x_ticks=ticks(0.0, end), y_ticks=[0.0, most], x_text=_seconds),
        tag("text", "episodes still running", x=lower.left, y=lower.top - 10),
    ]
    for one, curve in curves:
        parts.append(tag("g", upper.band(curve.time, curve.p10, curve.p90), class_=colour[one.name]))
    for one, curve in curves:
        lines = upper.line(curve.time, curve.mean), lower.line(curve.time, [*map(float, curve.alive)])
        parts.append(tag("g", *lines, class_=colour[one.name]))
    said = "; ".join(
        f"{one.name} averages {one.error_curve.average:.3g}" for one in results if one.error_curve
    )
    unit = f" [{wording.error_unit}]" if wording.error_unit else ""
    label = f"{wording.error}{unit} along the episode: {said}."
    return drawing(*parts, height=lower.bottom + 26, label=label)


def validation_chart(rounds: Rounds, colour: str) -> Markup:
    """Draw success in validation (the return, if nothing tells it) of each round; ring the returned one."""
    told, starts = rounds.tells_success, rounds.validation_starts
    values = [one.validation_return for one in rounds.records]
    if told:
        values = [one.validation_success or 0.0 for one in rounds.records]
    axes = _round_axes(rounds, (0.0, 1.0) if told else _around_zero(values))
    write = _percent if told else number
    numbers = [float(one.round) for one in rounds.records]
    shapes = [axes.line(numbers, values)]
    for place, value in zip(numbers, values, strict=True):
        if told:
            interval = wilson(round(value * starts), starts)
            shapes.append(axes.whisker(place, interval.low, interval.high))
        shapes.append(axes.dot(place, value))
    x, y = axes.place(float(rounds.returned), values[numbers.index(rounds.returned)])
    shapes.append(tag("circle", cx=x, cy=y, r=8, class_="ring"))
    frame = _round_frame(axes, rounds, _QUARTERS if told else ticks(*axes.y), write)
    label = f"Validation {'success' if told else 'return'} by round: {', '.join(map(write, values))}; "
    label += f"round {rounds.returned} is returned."
    return drawing(frame, tag("g", shapes, class_=colour), height=axes.bottom + 26, label=label)


def loss_chart(rounds: Rounds, colour: str) -> Markup:
    """Draw online loss and regret of each round that has them."""
    numbers = [float(one.round) for one in rounds.scored]
    losses, regrets = (
        [getattr(one, name) or 0.0 for one in rounds.scored] for name in ("online_loss", "regret")
    )
    axes = _round_axes(rounds, _around_zero([*losses, *regrets]))
    parts = [_round_frame(axes, rounds, ticks(*axes.y), "{:g}".format)]
    for values, look in ((losses, colour), (regrets, "plain dashed")):
        dots = [axes.dot(x, y) for x, y in zip(numbers, values, strict=True)]
        parts.append(tag("g", axes.line(numbers, values), dots, class_=look))
    said = [", ".join(f"{value:.3g}" for value in values) for values in (losses, regrets)]
    return drawing(*parts, height=axes.bottom + 26, label=f"Online loss {said[0]}; regret {said[1]}.")


def _round_axes(rounds: Rounds, y: tuple[float, float]) -> Axes:
    first, last = rounds.records[0].round, rounds.records[-1].round
    return Axes(x=(first - 0.4, last + 0.4), y=y, left=46.0, width=WIDTH - 58, height=150.0)


def _round_frame(
    axes: Axes, rounds: Rounds, y_ticks: Sequence[float], y_text: Callable[[float], str]
) -> Markup:
    numbers = [float(record.round) for record in rounds.records]
    named = {numbers[0]: f"round {numbers[0]:g}"}
    return axes.frame(
        x_ticks=numbers, y_ticks=y_ticks, y_text=y_text, x_text=lambda place: named.get(place, f"{place:g}")
    )


def share_chart(shown: Sequence[PolicyResult], colour: Colours) -> Markup:
    """Draw for each controller one bar for each way, with the expert's share as a mark across it."""
    modes = [(one, one.modes) for one in shown if one.modes is not None]
    expert = next((ways for one, ways in modes if one.kind == "expert"), None)
    num_modes = modes[0][1].num_modes
    top = max([1.0 / num_modes, *(share for _, ways in modes for share in ways.shares)])
    place = {"left": 44.0, "width": WIDTH - 48, "height": _WAYS_BARS}
    parts: list[Markup] = []
    said: list[str] = []
    for index, (one, ways) in enumerate(modes):
        y = min(1.0, ceiling(top))
        axes = Axes(top=index * _WAYS_ROW + 32, x=(0.0, float(num_modes)), y=(0.0, y), **place)
        entropy = "no success" if ways.entropy is None else f"entropy {ways.entropy.value:.2f}"
        words = {"y": axes.top - 18, "class_": "name"}
        parts += [
            tag("text", shorten(one.name), x=0, **words),
            tag("text", entropy, x=WIDTH - 4, text_anchor="end", **words),
            axes.frame(x_ticks=[], y_ticks=[0.0, y], y_text=percent),
            tag("g", _shares(axes, ways), class_=colour[one.name]),
        ]
        if expert is not None and one.kind != "expert":
            parts.append(tag("g", _marks(axes, expert), class_="s0"))
        said.append(f"{one.name}: {', '.join(map(percent, ways.shares)) or 'no success'}")
    bottom = (len(modes) - 1) * _WAYS_ROW + 32 + _WAYS_BARS
    parts += _way_numbers(num_modes, bottom + 18)
    return drawing(*parts, height=bottom + 26, label=f"Share of each way. {'; '.join(said)}.")


def _shares(axes: Axes, ways: ModeSummary) -> list[Markup]:
    pitch = axes.width / ways.num_modes
    width = min(0.72 * pitch, 56.0)
    bars: list[Markup] = []
    for mode, share in enumerate(ways.shares):
        x, top = axes.place(mode + 0.5, share)
        bars.append(tag("rect", x=x - width / 2, y=top, width=width, height=axes.bottom - top, class_="bar"))
    return bars


def _marks(axes: Axes, expert: ModeSummary) -> list[Markup]:
    half = min(0.45 * axes.width / expert.num_modes, 34.0)
    places = [axes.place(mode + 0.5, share) for mode, share in enumerate(expert.shares)]
    return [tag("line", x1=x - half, x2=x + half, y1=y, y2=y, class_="whisker") for x, y in places]


def _way_numbers(num_modes: int, y: float) -> list[Markup]:
    step = 1 if num_modes <= _LABELLED else int(ticks(0.0, float(num_modes), count=6)[1])
    pitch = (WIDTH - 48) / num_modes
    return [
        tag("text", str(mode) if mode else "way 0", x=44.0 + (mode + 0.5) * pitch, y=y, text_anchor="middle")
        for mode in range(0, num_modes, step)
    ]


def highest_share(panel: OccupancyMaps) -> float:
    """Return the largest share of time in one cell of any map: the darkest shade."""
    return max(max(max(row) for row in one.counts) / one.total for one in panel.maps)


def level(share: float, highest: float) -> int:
    """Return the shade of a cell, 1 to LEVELS, or 0 for a cell that was never visited."""
    if share <= 0:
        return 0
    return max(1, LEVELS + math.ceil(math.log2(share / highest) - 1e-9))


def occupancy_chart(panel: OccupancyMaps, one: Occupancy) -> Markup:
    """Draw one map with the outline underneath, north up, equal scale on both axes."""
    x0, x1, y0, y1 = panel.extent
    scale = _MAP_SIDE / max(x1 - x0, y1 - y0)
    axes, highest, side = _map_axes(panel.extent, scale), highest_share(panel), panel.cell * scale
    cells: dict[int, list[str]] = {}
    for row, counts in enumerate(one.counts):
        for column, count in enumerate(counts):
            shade = level(count / one.total, highest)
            if shade:
                corner = f"M{column * side:.1f},{axes.height - (row + 1) * side:.1f}"
                cells.setdefault(shade, []).append(f"{corner}h{side:.2f}v{side:.2f}h-{side:.2f}z")
    outline = [
        tag("path", d=f"M{axes.points(line.x, line.y)}", class_="outline") for line in panel.outline if line.x
    ]
    shades = [tag("path", d="".join(cells[shade]), class_=f"heat h{shade}") for shade in sorted(cells)]
    label = f"Where {one.name} drove; total variation distance to the expert {one.distance:.2f}."
    return drawing(*outline, *shades, width=axes.width, height=axes.height, label=label)


def shades() -> Markup:
    """Draw the shades of a map from rare to frequent."""
    swatches = [
        tag("rect", x=index * 16, y=0, width=16, height=12, class_=f"heat h{index + 1}")
        for index in range(LEVELS)
    ]
    return drawing(*swatches, width=16.0 * LEVELS, height=12.0, label="Shades from rare to frequent")


def paths_chart(scene: Scene, driven: Paths, colour: str) -> Markup:
    """Draw the paths of one driver among the discs, with a cross where an episode failed."""
    x0, x1, _, _ = scene.extent
    scale = _SCENE_WIDTH / (x1 - x0)
    axes = _map_axes(scene.extent, scale)
    parts: list[Markup] = []
    for x, y, radius in scene.discs:
        column, row = axes.place(x, y)
        parts.append(tag("circle", cx=column, cy=row, r=radius * scale, class_="disc"))
    for line, failed in zip(driven.lines, driven.failed, strict=True):
        xs, ys = zip(*line, strict=True)
        parts.append(tag("path", d=f"M{axes.points(xs, ys)}", class_=f"path {colour}"))
        if failed:
            x, y = axes.place(*line[-1])
            parts.append(tag("path", d=f"M{x - 3:.1f},{y - 3:.1f}l6,6m0,-6l-6,6", class_="cross"))
    label = f"Paths of {driven.name}: {driven.outcome}."
    return drawing(*parts, width=axes.width, height=axes.height, label=label)


def _map_axes(extent: tuple[float, float, float, float], scale: float) -> Axes:
    x0, x1, y0, y1 = extent
    size = {"width": (x1 - x0) * scale, "height": (y1 - y0) * scale}
    return Axes(left=0.0, top=0.0, x=(x0, x1), y=(y0, y1), **size)


def shorten(name: str, *, most: int = 34) -> str:
    """Return the name, cut with dots where it would run into its neighbour."""
    return name if len(name) <= most else name[: most - 3] + "..."


def _expert_last(results: Sequence[PolicyResult]) -> list[PolicyResult]:
    """The expert is dashed and on top, so that a policy as good as it still shows through."""
    return sorted(results, key=lambda result: result.kind == "expert")


def _around_zero(values: Sequence[float]) -> tuple[float, float]:
    """Return round ends of an axis that shows 0 and all values."""
    low, high = min(values), max(values)
    bottom = -ceiling(-low) if low < 0 else 0.0
    return bottom, ceiling(high) if high > 0 or bottom == 0.0 else 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _seconds(time: float) -> str:
    return f"{time:g} s"
