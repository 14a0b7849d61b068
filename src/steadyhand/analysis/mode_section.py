"""The section of the report about the several ways of doing a task; only where the env knows them."""

from collections.abc import Sequence

from steadyhand.analysis.axes import WIDTH, Axes, ceiling, drawing, ticks
from steadyhand.analysis.charts import Colours, colours, shorten
from steadyhand.analysis.markup import Markup, group, tag
from steadyhand.analysis.multimodality import ModeSummary
from steadyhand.analysis.notation import (
    MINUS,
    NONE,
    estimate,
    exact,
    interval_of_share,
    number,
    optional,
    percent,
)
from steadyhand.analysis.results import MeanTest, PolicyResult, Report
from steadyhand.analysis.sections import table
from steadyhand.analysis.verdict import in_sentence, p_text
from steadyhand.core.statistics import Estimate, PairedDifference

_ROW = 86.0
_BARS = 40.0
_LABELLED = 12
"""Most ways that are numbered one by one under the bars."""


def modes(report: Report) -> Markup:
    """Show which ways each controller took, if the env knows them, and mean against sample, if it was run."""
    shown = [(result, result.modes) for result in report.results if result.modes is not None]
    colour = colours(report.results)
    if not shown:
        return tag("section", _mean_tests(report.mean_tests, colour)) if report.mean_tests else Markup("")
    reference = next((result for result, _ in shown if result.kind == "expert"), None)
    caption = "Share of the successful episodes that took each way."
    if reference is not None and len(shown) > 1:
        caption += f" The mark on each bar is the share of {in_sentence(reference.name)}."
    figure = tag(
        "figure",
        tag("figcaption", tag("strong", "Ways taken"), tag("span", caption, class_="quiet")),
        share_chart(shown, colour),
    )
    parts = [tag("div", figure, _how_to_read(reference), class_="pair"), _numbers(shown, reference, colour)]
    if report.mean_tests:
        parts.append(_mean_tests(report.mean_tests, colour))
    return tag("section", tag("h2", "Which way they went"), parts)


def share_chart(shown: Sequence[tuple[PolicyResult, ModeSummary]], colour: Colours) -> Markup:
    """Draw for each controller one bar for each way, with the expert's share as a mark across it."""
    expert = next((summary for result, summary in shown if result.kind == "expert"), None)
    num_modes = shown[0][1].num_modes
    top = max((max(summary.shares, default=0.0) for _, summary in shown), default=0.0)
    top = min(1.0, ceiling(max(top, 1.0 / num_modes)))
    parts: list[Markup] = []
    said: list[str] = []
    bottom = 0.0
    for index, (result, summary) in enumerate(shown):
        axes = Axes(
            left=44.0,
            top=index * _ROW + 32,
            width=WIDTH - 48,
            height=_BARS,
            x=(0.0, float(num_modes)),
            y=(0.0, top),
        )
        bottom = axes.bottom
        parts += [
            tag("text", shorten(result.name), x=0, y=axes.top - 18, class_="name"),
            tag(
                "text", _entropy_text(summary), x=WIDTH - 4, y=axes.top - 18, text_anchor="end", class_="name"
            ),
            axes.frame(x_ticks=[], y_ticks=[0.0, top], y_text=percent),
            tag("g", _bars(axes, summary), class_=colour[result.name]),
        ]
        if expert is not None and result.kind != "expert":
            parts.append(tag("g", _marks(axes, expert), class_="s0"))
        listed = ", ".join(percent(share) for share in summary.shares) or "no success"
        said.append(f"{result.name}: {listed}")
    parts.append(_way_numbers(num_modes, bottom))
    return drawing(*parts, height=bottom + 26, label=f"Share of each way. {'; '.join(said)}.")


def _bars(axes: Axes, summary: ModeSummary) -> list[Markup]:
    pitch = axes.width / summary.num_modes
    width = min(0.72 * pitch, 56.0)
    bars: list[Markup] = []
    for mode, share in enumerate(summary.shares):
        _, top = axes.place(0.0, share)
        left = axes.left + (mode + 0.5) * pitch - width / 2
        bars.append(tag("rect", x=left, y=top, width=width, height=axes.bottom - top, class_="bar"))
    return bars


def _marks(axes: Axes, expert: ModeSummary) -> list[Markup]:
    pitch = axes.width / expert.num_modes
    half = min(0.45 * pitch, 34.0)
    marks: list[Markup] = []
    for mode, share in enumerate(expert.shares):
        x, y = axes.place(mode + 0.5, share)
        marks.append(tag("line", x1=x - half, x2=x + half, y1=y, y2=y, class_="whisker"))
    return marks


def _way_numbers(num_modes: int, bottom: float) -> Markup:
    step = 1 if num_modes <= _LABELLED else int(ticks(0.0, float(num_modes), count=6)[1])
    pitch = (WIDTH - 48) / num_modes
    return group(
        tag(
            "text",
            f"way {mode}" if mode == 0 else str(mode),
            x=44.0 + (mode + 0.5) * pitch,
            y=bottom + 18,
            text_anchor="middle",
        )
        for mode in range(0, num_modes, step)
    )


def _entropy_text(summary: ModeSummary) -> str:
    if summary.entropy is None:
        return "no success"
    return f"entropy {summary.entropy.value:.2f}"


def _how_to_read(reference: PolicyResult | None) -> Markup:
    who = "the demonstrators" if reference is None else in_sentence(reference.name)
    return tag(
        "div",
        tag("h3", "How to read this"),
        tag(
            "p",
            "Entropy is 0 where one way was always taken and 1 where all were taken equally often; it counts "
            "successes only. Noise raises it too, so read it beside success, and beside "
            f"{who} rather than beside 1.",
        ),
        tag(
            "p",
            "A rule that looks at the start can match every share, and still know one way only from each "
            "start. The entropy and the distance given the start see that; they need several episodes from "
            "each start.",
        ),
        class_="aside",
    )


def _numbers(
    shown: Sequence[tuple[PolicyResult, ModeSummary]], reference: PolicyResult | None, colour: Colours
) -> Markup:
    headers = [
        "Policy",
        "Entropy",
        "Given the start",
        "Ways seen",
        "Ended on a way",
        "Persistence",
        "Changes",
        "Spread",
    ]
    if reference is not None:
        headers.insert(3, "Distance given the start")
    rows: list[list[Markup]] = []
    for result, summary in shown:
        row = _row(result, summary, colour[result.name])
        if reference is not None:
            row.insert(3, Markup("the reference") if result is reference else _distance(summary))
        rows.append(row)
    lag = shown[0][1].lag
    level = percent(shown[0][1].validity_interval.level)
    note = (
        f"Entropy with its {level} interval. Given the start: its mean over the starts, beside what the same "
        "ways dealt anew over the starts would give. Distance: total variation, beside what chance alone "
        f"makes of so few episodes. Persistence: how often the way is the same {lag} steps later; changes "
        "counted for each episode. "
        "Spread: of the paths within one way, root mean square [m]. A dash: too few episodes, or unknown."
    )
    return group(
        table("Ways of doing the task", headers, rows),
        tag("p", note, class_="note"),
    )


def _row(result: PolicyResult, summary: ModeSummary, colour: str) -> list[Markup]:
    given = Markup(NONE)
    if summary.conditional_entropy is not None:
        value, anew = summary.conditional_entropy.value.value, summary.conditional_entropy.independent
        given = group(exact(f"{value:.2f}", value), tag("small", "dealt anew ", exact(f"{anew:.2f}", anew)))
    return [
        group(tag("i", class_=colour), tag("span", result.name)),
        Markup(NONE) if summary.entropy is None else estimate(summary.entropy),
        given,
        group(
            exact(str(summary.covered), summary.covered),
            " of ",
            exact(str(summary.available), summary.available),
        ),
        group(
            exact(f"{summary.valid}/{result.num_starts}", summary.valid),
            tag("small", interval_of_share(summary.validity_interval)),
        ),
        Markup(NONE) if summary.persistence is None else _kept(summary.persistence),
        optional(summary.switches, write=lambda value: f"{value:.2f}"),
        optional(summary.spread),
    ]


def _kept(value: Estimate) -> Markup:
    """Return a mean with its interval, where resampling could give one: equal values leave it blind."""
    if value.interval is None or value.interval.low == value.interval.high:
        return exact(number(value.value), value.value)
    return estimate(value)


def _distance(summary: ModeSummary) -> Markup:
    if summary.distance is None:
        return Markup(NONE)
    value, chance = summary.distance.value.value, summary.distance.chance
    return group(exact(f"{value:.2f}", value), tag("small", "chance ", exact(f"{chance:.2f}", chance)))


def _mean_tests(tests: Sequence[MeanTest], colour: Colours) -> Markup:
    rows: list[list[Markup]] = []
    for one in tests:
        name = group(tag("i", class_=colour.get(one.name, "plain")), tag("span", one.name))
        rows.append([name, *(_by_return(one) if one.success is None else _by_success(one, one.success))])
    averaged = tests[0].num_samples
    headers = ("Policy", "A sample", f"Mean of {averaged}", "Mean less sample", "McNemar")
    what = "Mean returns" if any(one.success is None for one in tests) else "Successes"
    note = (
        f"{what} from the same starts when each chunk is one sample, and when it is the mean of "
        f"{averaged}; both in the receding horizon. Where the mean does worse, the policy answers with "
        "several ways whose average is none."
    )
    return group(
        tag("h3", "Does the average of its answers work?"),
        table("Mean against sample", headers, rows),
        tag("p", note, class_="note"),
    )


def _by_success(one: MeanTest, success: PairedDifference) -> list[Markup]:
    difference, pairing = success.difference, success.pairing
    change = exact(f"{100 * difference.value:+.1f} points".replace("-", MINUS), difference.value)
    if difference.interval is not None:
        low, high = difference.interval.low, difference.interval.high
        change = group(change, tag("small", _points(low), " to ", _points(high)))
    counts = [optional(count, write="{:,}".format) for count in (one.sample_successes, one.mean_successes)]
    return [
        *counts,
        change,
        Markup(NONE) if pairing is None else exact(p_text(pairing.p_value), pairing.p_value),
    ]


def _by_return(one: MeanTest) -> list[Markup]:
    means = [exact(number(value), value) for value in (one.sample_return, one.mean_return)]
    return [*means, estimate(one.returns.difference), Markup(NONE)]


def _points(value: float) -> Markup:
    return exact(f"{100 * value:+.1f}".replace("-", MINUS), value)
