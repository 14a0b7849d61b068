"""The charts of a report as SVG. A name has one colour class throughout, and never colour alone tells it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from steadyhand.analysis.axes import WIDTH, Axes, ceiling, drawing, nice_step, ticks
from steadyhand.analysis.markup import Markup, tag
from steadyhand.analysis.notation import number
from steadyhand.analysis.results import ErrorCurve, PolicyResult, Rounds, Wording
from steadyhand.core.statistics import Interval, wilson

Colours = Mapping[str, str]
"""Name -> CSS class that sets its colour."""

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


def success_chart(results: Sequence[PolicyResult], colour: Colours) -> Markup:
    """Draw the success rate of each result as a bar with its interval; all of them must be told."""
    bars = [
        _Bar(result=result, value=(result.num_successes or 0) / result.num_starts, interval=interval)
        for result in results
        if (interval := result.success_interval) is not None
    ]
    return _bars(bars, colour, x=(0.0, 1.0), x_ticks=_QUARTERS, x_text=_percent, title="Successful starts")


def return_chart(results: Sequence[PolicyResult], colour: Colours) -> Markup:
    """Draw the mean return of each result as a dot with its interval; bars would make the worst longest."""
    bars = [
        _Bar(result=result, value=result.mean_return.value, interval=result.mean_return.interval)
        for result in results
    ]
    ends = [bar.value for bar in bars]
    ends += [end for bar in bars if bar.interval is not None for end in (bar.interval.low, bar.interval.high)]
    low, high = min(ends), max(ends)
    step = nice_step(high - low, count=4)
    span = math.floor(low / step) * step, (math.floor(high / step) + 1) * step
    return _bars(bars, colour, x=span, x_ticks=ticks(*span), x_text=number, title="Mean return", dots=True)


def survival_chart(results: Sequence[PolicyResult], colour: Colours, wording: Wording) -> Markup:
    """Draw the share of starts that has not failed against time."""
    end = max(result.duration for result in results)
    axes = Axes(x=(0.0, end), y=(0.0, 1.0), height=50.0 * min(max(len(results), 3), 5))
    parts = [axes.frame(x_ticks=ticks(0.0, end), y_ticks=_QUARTERS, y_text=_percent, x_text=_seconds)]
    said: list[str] = []
    # The expert is dashed and on top, so that a policy as good as it still shows through.
    for result in sorted(results, key=lambda result: result.kind == "expert"):
        times = sorted(time for time in result.first_failure if time is not None)
        xs = [0.0, *times, result.duration]
        left = [1 - count / result.num_starts for count in range(len(times) + 1)]
        parts.append(tag("g", axes.steps(xs, [*left, left[-1]]), class_=colour[result.name]))
        said.append(f"{result.name} ends at {_percent(left[-1])}")
    return drawing(*parts, height=axes.bottom + 26, label=f"{wording.surviving}: {'; '.join(said)}.")


def error_chart(results: Sequence[PolicyResult], colour: Colours, wording: Wording) -> Markup:
    """Draw |error| along the episode with its 10 to 90 percent band, and below it how many still run."""
    curves = [
        (result, result.error_curve) for result in results if result.error_curve and result.error_curve.time
    ]
    end = max(result.duration for result, _ in curves)
    top = ceiling(max(max(curve.p90) for _, curve in curves))
    most = max(result.num_starts for result, _ in curves)
    upper = Axes(x=(0.0, end), y=(0.0, top), height=150.0)
    lower = Axes(x=(0.0, end), y=(0.0, float(most)), top=upper.bottom + 34, height=44.0)
    heading = tag("text", "episodes still running", x=lower.left, y=lower.top - 10)
    parts = [
        upper.frame(x_ticks=[], y_ticks=ticks(0.0, top)),
        lower.frame(x_ticks=ticks(0.0, end), y_ticks=[0.0, float(most)], x_text=_seconds),
        heading,
    ]
    for draw in (_error_band, _error_line):
        for result, curve in sorted(curves, key=lambda pair: pair[0].kind == "expert"):
            shapes = draw(upper, lower, curve)
            parts.append(tag("g", shapes, class_=colour[result.name]))
    said = "; ".join(f"{result.name} averages {_mean(curve.mean):.3g}" for result, curve in curves)
    unit = f" [{wording.error_unit}]" if wording.error_unit else ""
    label = f"{wording.error}{unit} along the episode: {said}."
    return drawing(*parts, height=lower.bottom + 26, label=label)


def validation_chart(rounds: Rounds, colour: str) -> Markup:
    """Draw success in validation (the return, if nothing tells it) of each round; ring the returned one."""
    if any(record.validation_success is None for record in rounds.records):
        return _return_rounds(rounds, colour)
    axes = _round_axes(rounds, 1.0)
    starts = rounds.validation_starts
    numbers = [float(record.round) for record in rounds.records]
    shares = [record.validation_success or 0.0 for record in rounds.records]
    shapes = [axes.line(numbers, shares)]
    for place, share in zip(numbers, shares, strict=True):
        interval = wilson(round(share * starts), starts)
        shapes += [axes.whisker(place, interval.low, interval.high), axes.dot(place, share)]
    chosen = next(record for record in rounds.records if record.round == rounds.returned)
    x, y = axes.place(float(chosen.round), chosen.validation_success or 0.0)
    ring = tag("circle", cx=x, cy=y, r=8, class_="ring")
    frame = _round_frame(axes, rounds, _QUARTERS, _percent)
    said = ", ".join(map(_percent, shares))
    label = f"Validation success by round: {said}; round {rounds.returned} is returned."
    return drawing(frame, tag("g", shapes, ring, class_=colour), height=axes.bottom + 26, label=label)


def _return_rounds(rounds: Rounds, colour: str) -> Markup:
    numbers = [float(record.round) for record in rounds.records]
    returns = [record.validation_return for record in rounds.records]
    low, high = _around_zero(returns)
    axes = _round_axes(rounds, high, low)
    shapes = [
        axes.line(numbers, returns),
        *(axes.dot(x, y) for x, y in zip(numbers, returns, strict=True)),
    ]
    chosen = next(record for record in rounds.records if record.round == rounds.returned)
    x, y = axes.place(float(chosen.round), chosen.validation_return)
    ring = tag("circle", cx=x, cy=y, r=8, class_="ring")
    frame = _round_frame(axes, rounds, ticks(*axes.y), number)
    said = ", ".join(map(number, returns))
    label = f"Validation return by round: {said}; round {rounds.returned} is returned."
    return drawing(frame, tag("g", shapes, ring, class_=colour), height=axes.bottom + 26, label=label)


def loss_chart(rounds: Rounds, colour: str) -> Markup:
    """Draw online loss and regret of each round that has them."""
    records = [
        record for record in rounds.records if record.online_loss is not None and record.regret is not None
    ]
    numbers = [float(record.round) for record in records]
    losses = [record.online_loss or 0.0 for record in records]
    regrets = [record.regret or 0.0 for record in records]
    low = min(0.0, *regrets)
    axes = _round_axes(rounds, ceiling(max(*losses, *regrets)), -ceiling(-low) if low < 0 else 0.0)
    frame = _round_frame(axes, rounds, ticks(*axes.y), "{:g}".format)
    online = [axes.line(numbers, losses), *(axes.dot(x, y) for x, y in zip(numbers, losses, strict=True))]
    regret = [axes.line(numbers, regrets), *(axes.dot(x, y) for x, y in zip(numbers, regrets, strict=True))]
    groups = [tag("g", online, class_=colour), tag("g", regret, class_="plain dashed")]
    label = f"Online loss {', '.join(f'{value:.3g}' for value in losses)}; "
    label += f"regret {', '.join(f'{value:.3g}' for value in regrets)}."
    return drawing(frame, *groups, height=axes.bottom + 26, label=label)


def of(result: PolicyResult) -> str:
    """Return "k of n", or the mean return where nothing tells success."""
    if result.num_successes is None:
        return number(result.mean_return.value)
    return f"{result.num_successes} of {result.num_starts}"


def shorten(name: str, *, most: int = 34) -> str:
    """Return the name, cut with dots where it would run into its neighbour."""
    return name if len(name) <= most else name[: most - 3] + "..."


@dataclass(frozen=True, kw_only=True)
class _Bar:
    result: PolicyResult
    value: float
    interval: Interval | None


def _bars(
    bars: Sequence[_Bar],
    colour: Colours,
    *,
    x: tuple[float, float],
    x_ticks: Sequence[float],
    x_text: Callable[[float], str],
    title: str,
    dots: bool = False,
) -> Markup:
    row_height, bar_height = 50.0, 14.0
    axes = Axes(left=0.0, top=4.0, width=WIDTH, height=row_height * len(bars), x=x, y=(0.0, 1.0))
    parts = [axes.frame(x_ticks=x_ticks, y_ticks=[], x_text=x_text, flush=True)]
    right = axes.left + axes.width
    said: list[str] = []
    for index, bar in enumerate(bars):
        top = axes.top + index * row_height
        middle = top + 22 + bar_height / 2
        end, _ = axes.place(bar.value, 0.0)
        shapes = [
            tag("rect", x=axes.left, y=top + 22, width=axes.width, height=bar_height, rx=2, class_="track"),
        ]
        if not dots:
            width = end - axes.left
            shapes.append(tag("rect", x=axes.left, y=top + 22, width=width, height=bar_height, class_="bar"))
        if bar.interval is not None:
            low, _ = axes.place(bar.interval.low, 0.0)
            high, _ = axes.place(bar.interval.high, 0.0)
            shapes += [
                tag("line", x1=low, x2=high, y1=middle, y2=middle, class_="whisker"),
                tag("line", x1=low, x2=low, y1=middle - 5, y2=middle + 5, class_="whisker"),
                tag("line", x1=high, x2=high, y1=middle - 5, y2=middle + 5, class_="whisker"),
            ]
        if dots:
            shapes.append(tag("circle", cx=end, cy=middle, r=5, class_="dot"))
        name = bar.result.name
        text = number(bar.value) if dots else of(bar.result)
        parts += [
            tag("text", shorten(name), x=axes.left, y=top + 15, class_="name"),
            tag("text", text, x=right, y=top + 15, text_anchor="end", class_="name"),
            tag("g", shapes, class_=colour[name]),
        ]
        said.append(f"{name}: {text}")
    return drawing(*parts, height=axes.bottom + 26, label=f"{title}. {'; '.join(said)}.")


def _error_band(upper: Axes, lower: Axes, curve: ErrorCurve) -> list[Markup]:
    del lower
    return [upper.band(curve.time, curve.p10, curve.p90)]


def _error_line(upper: Axes, lower: Axes, curve: ErrorCurve) -> list[Markup]:
    return [
        upper.line(curve.time, curve.mean),
        lower.line(curve.time, [float(count) for count in curve.alive]),
    ]


def _around_zero(values: Sequence[float]) -> tuple[float, float]:
    """Return round ends of an axis that shows 0 and all values."""
    low, high = min(values), max(values)
    bottom = -ceiling(-low) if low < 0 else 0.0
    return bottom, ceiling(high) if high > 0 or bottom == 0.0 else 0.0


def _round_axes(rounds: Rounds, high: float, low: float = 0.0) -> Axes:
    first, last = rounds.records[0].round, rounds.records[-1].round
    return Axes(x=(first - 0.4, last + 0.4), y=(low, high), left=46.0, width=WIDTH - 58, height=150.0)


def _round_frame(
    axes: Axes, rounds: Rounds, y_ticks: Sequence[float], y_text: Callable[[float], str]
) -> Markup:
    return axes.frame(
        x_ticks=[float(record.round) for record in rounds.records],
        y_ticks=y_ticks,
        y_text=y_text,
        x_text=lambda place: f"round {place:g}" if place == rounds.records[0].round else f"{place:g}",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _seconds(time: float) -> str:
    return f"{time:g} s"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
