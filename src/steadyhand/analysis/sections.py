"""The sections of the report page, in the order of the questions a reader asks."""

from collections.abc import Sequence

from steadyhand.analysis import charts, maps
from steadyhand.analysis.markup import Markup, group, tag
from steadyhand.analysis.notation import (
    NONE,
    estimate,
    exact,
    interval_of,
    interval_of_share,
    number,
    optional,
    percent,
    percent_of,
    seconds,
    wall,
)
from steadyhand.analysis.results import Cost, Fact, PolicyResult, Report, Rounds
from steadyhand.analysis.round_columns import round_columns
from steadyhand.analysis.verdict import in_sentence

_FEWEST_FOR_A_LINE = 2
_MAPS = 3
"""Maps beside each other; of further ones the reader chooses the last."""
_ONLINE_LOSS = (
    "loss on the states the driving policy visited, before it was trained on them; "
    "regret is its mean so far minus that of the best policy in hindsight"
)


def masthead(report: Report) -> Markup:
    """Say what this is and what came out."""
    return tag(
        "header",
        tag("p", f"steadyhand report \u00b7 {report.env}", class_="eyebrow"),
        tag("h1", report.title),
        tag("p", report.verdict, class_="verdict"),
        tag("ul", [_tile(result, report) for result in report.results], class_="tiles"),
    )


def outcome(report: Report) -> Markup:
    """Show success, or the return where nothing tells success, with intervals, and survival."""
    colour = charts.colours(report.results)
    starts = report.results[0].num_starts
    result, level = report.results[0], "95 %"
    if report.tells_success and result.success_interval is not None:
        level = percent(result.success_interval.level)
        headline = _figure(
            "Success",
            f"Share of {starts} starts; the line is Wilson's {level} interval.",
            charts.success_chart(report.results, colour),
        )
        time = "Share of the starts against time; a time-out without success is a failure at its end."
    else:
        headline = _figure(
            "Mean return",
            f"Over {starts} starts; the line is the BCa bootstrap interval of {level}.",
            charts.return_chart(report.results, colour),
        )
        time = "Share of the starts against time. "
        time += (
            "Nothing tells whether an early end is good or bad."
            if any(end is not None for one in report.results for end in one.first_failure)
            else "No episode ended before the time limit."
        )
    survival = _figure(
        report.wording.surviving,
        time,
        charts.survival_chart(report.results, colour, report.wording),
        _legend(report.results, colour),
    )
    rule = tag("p", tag("strong", "Success: "), f"{report.success.words}.", class_="note")
    return section("Outcome", tag("div", headline, survival, class_="pair"), rule)


def all_numbers(report: Report) -> Markup:
    """Show every number of every result as a table."""
    headers = (
        "Policy",
        "Success",
        "95 % interval",
        "Mean return",
        "Half had failed by" if report.tells_success else "Half had ended by",
        "Labels",
        "Updates",
        "Training",
        "Rollout",
    )
    colour = charts.colours(report.results)
    rows = [_result_row(result, colour[result.name]) for result in report.results]
    note = (
        "Mean return with its BCa bootstrap interval over starts. "
        "A dash: fewer than half failed, nothing tells it, or it does not apply."
    )
    if any((result.cost.fits or 1) > 1 for result in report.results):
        note += (
            " Updates are those of all fits of a policy, such as of every round, and below them those of the "
            "fit that made this one; training time is that of collecting and of all fits."
        )
    if all(result.successes is None for result in report.results):
        headers = (*headers[:2], *headers[3:])
        rows = [[*row[:2], *row[3:]] for row in rows]
    scale = [report.normalised(result) for result in report.results]
    if any(value is not None for value in scale):
        place = headers.index("Mean return") + 1
        headers = (*headers[:place], "Normalised", *headers[place:])
        for row, value in zip(rows, scale, strict=True):
            row.insert(place, optional(value, write=percent_of))
        note += (
            f" Normalised: 0 % is the mean return of uniformly random actions from the same starts "
            f"({number(report.random_return or 0.0)}), 100 % is the expert's."
        )
    return section(
        "All numbers", table("Results of every policy", headers, rows), tag("p", note, class_="note")
    )


def error(report: Report) -> Markup:
    """Show the error along the episode, if the env names one."""
    shown = [result for result in report.results if result.error_curve and result.error_curve.time]
    if not shown:
        return Markup("")
    colour = charts.colours(report.results)
    unit = f" [{report.wording.error_unit}]" if report.wording.error_unit else ""
    quantity = report.wording.error
    figure = _figure(
        f"{quantity[:1].upper()}{quantity[1:]}{unit}",
        "Mean over the episodes still running; the band spans the 10th to the 90th percentile.",
        charts.error_chart(report.results, colour, report.wording),
        _legend(shown, colour),
    )
    text = tag(
        "div",
        tag("h3", "How to read this"),
        tag(
            "p",
            "Where errors do not compound, a curve stays level. A policy that was never shown how to recover "
            "drifts: a small mistake leads to a state that no demonstration covers, and the next is larger.",
        ),
        tag(
            "p",
            "An episode leaves the average when it ends. Where the count below the chart falls, only the "
            "better episodes are left, so a falling curve is no recovery.",
        ),
        class_="aside",
    )
    return section("Error along the episode", tag("div", figure, text, class_="pair"))


def rounds(report: Report) -> Markup:
    """Show an interactive method round by round, if one was run."""
    if report.rounds is None or not report.rounds.records:
        return Markup("")
    shown = report.rounds
    colour = charts.colours(report.results).get(shown.name, "s2")
    is_told = all(record.validation_success is not None for record in shown.records)
    validation = _figure(
        "Validation success" if is_told else "Validation return",
        (
            f"Share of {shown.validation_starts} validation starts with Wilson's 95 % interval; "
            if is_told
            else f"Mean over {shown.validation_starts} validation starts; "
        )
        + "the ring marks the round that is returned.",
        charts.validation_chart(shown, colour),
    )
    columns = round_columns(shown)
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    body = table(f"Rounds of {shown.name}", list(columns), rows)
    heading = f"{shown.name}, round by round"
    rule = f"Returned: round {shown.returned}, by {shown.rule}."
    scored = sum(record.online_loss is not None and record.regret is not None for record in shown.records)
    if scored >= _FEWEST_FOR_A_LINE:
        pair = tag("div", validation, _loss_figure(shown, colour), class_="pair")
        return section(heading, pair, body, tag("p", rule, class_="note"))
    text = tag(
        "div",
        tag("h3", "Which round is returned"),
        tag("p", "The last round is not always the best, so the policy of every round is kept. ", rule),
        tag("p", f"Online loss: {_ONLINE_LOSS}.") if scored else Markup(""),
        class_="aside",
    )
    return section(heading, tag("div", validation, text, class_="pair"), body)


def occupancy(report: Report) -> Markup:
    """Show where each policy drove, if the env has positions."""
    panel = report.occupancy
    if panel is None:
        return Markup("")
    figures = [
        tag(
            "figure",
            maps.occupancy_chart(panel, one),
            tag(
                "figcaption",
                tag("strong", one.name),
                " ",
                tag("span", _distance(one.distance, is_expert=index == 0), class_="quiet"),
            ),
        )
        for index, one in enumerate(panel.maps)
    ]
    if len(figures) > _MAPS:
        figures = [*figures[: _MAPS - 1], _chosen_map(report, figures[_MAPS - 1 :])]
    top = f"{100 * maps.highest_share(panel):.2g}"
    scale = tag(
        "p",
        "rare ",
        maps.legend(),
        f" frequent \u00b7 each shade is twice the one before; the last is {top} % of the time in one cell "
        f"of {panel.cell:.2g} m",
        class_="scale",
    )
    floor = ""
    if panel.floor is not None:
        floor = (
            f" Two halves of {in_sentence(panel.maps[0].name)}'s own episodes differ by {panel.floor:.2f}: "
            "read distances near that as none."
        )
    note = (
        "The number is the total variation distance to the expert's distribution over cells: 0 where time is "
        f"spent in the same places, 1 where no place is shared.{floor}"
    )
    return section(
        "Where they drove", scale, tag("div", figures, class_="maps"), tag("p", note, class_="note")
    )


def regime(report: Report) -> Markup:
    """Show under which conditions the outcome is claimed."""
    if not report.regime:
        return Markup("")
    rows = [(fact.name, tag("span", fact.value)) for fact in report.regime]
    return section(
        "Where this holds", table("Regime of the experiment", ("Condition", "Here"), rows, prose=True)
    )


def method(report: Report) -> Markup:
    """Show how to get these numbers again, and what they do not say."""
    facts = [*report.setting, Fact(name="Seed", value=str(report.seed))]
    if report.wall_s is not None:
        facts.append(Fact(name="Wall time", value=wall(report.wall_s)))
    if report.versions:
        listed = ", ".join(f"{name} {version}" for name, version in report.versions.items())
        facts.append(Fact(name="Versions", value=listed))
    definitions = tag(
        "dl", [group(tag("dt", fact.name), tag("dd", fact.value)) for fact in facts], class_="facts"
    )
    parts = [tag("pre", tag("code", report.command), tabindex="0"), definitions]
    if report.caveats:
        parts += [
            tag("h3", "What these numbers do not say"),
            tag("ul", [tag("li", caveat) for caveat in report.caveats], class_="caveats"),
        ]
    return section("How this was measured", *parts)


def table(
    caption: str, headers: Sequence[str], rows: Sequence[Sequence[str]], *, prose: bool = False
) -> Markup:
    """Return a table that becomes one card a row on a narrow screen.

    The roles are written out because CSS that stacks the cells would otherwise hide the table from readers.
    """
    head = [tag("th", header, scope="col", role="columnheader") for header in headers]
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row", role="rowheader"),
            [
                tag(
                    "td",
                    tag("div", cell),
                    role="cell",
                    data_label=label,
                    class_="none" if cell == NONE else None,
                )
                for label, cell in zip(headers[1:], row[1:], strict=True)
            ],
            role="row",
        )
        for row in rows
    ]
    return tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", head, role="row"), role="rowgroup"),
        tag("tbody", body, role="rowgroup"),
        role="table",
        class_="prose" if prose else None,
    )


def section(heading: str, *parts: Markup) -> Markup:
    """Return a part of the page under its heading."""
    return tag("section", tag("h2", heading), *parts)


def _figure(title: str, caption: str, chart: Markup, legend: Markup | None = None) -> Markup:
    heading = tag("figcaption", tag("strong", title), tag("span", caption, class_="quiet"))
    return tag("figure", heading, chart, legend or Markup(""))


def _legend(results: Sequence[PolicyResult], colour: charts.Colours) -> Markup:
    return tag(
        "ul",
        [tag("li", tag("i", class_=colour[result.name]), result.name) for result in results],
        class_="legend",
    )


def _tile(result: PolicyResult, report: Report) -> Markup:
    colour = charts.colours(report.results)[result.name]
    interval, count = result.success_interval, result.num_successes
    if report.tells_success and interval is not None and count is not None:
        score = group(exact(str(count), count), tag("small", f" of {result.num_starts}"))
        quiet = group(interval_of_share(interval), " ", tag("span", f"({percent(interval.level)} interval)"))
    else:
        score = group(
            exact(number(result.mean_return.value), result.mean_return.value), tag("small", " return")
        )
        quiet = interval_of(result.mean_return)
    return tag(
        "li",
        tag("span", result.name, class_="name"),
        tag("span", score, class_="score"),
        tag("span", quiet, class_="quiet"),
        class_=colour,
    )


def _result_row(result: PolicyResult, colour: str) -> list[Markup]:
    name = group(tag("i", class_=colour), tag("span", result.name))
    if result.note:
        name = group(name, tag("small", result.note))
    return [
        name,
        _success(result),
        Markup(NONE) if result.success_interval is None else interval_of_share(result.success_interval),
        estimate(result.mean_return),
        optional(result.median_first_failure, write=seconds),
        optional(result.cost.labels, write="{:,}".format),
        _updates(result.cost),
        optional(result.cost.wall_s, write=wall),
        optional(result.rollout_wall_s, write=wall),
    ]


def _updates(cost: Cost) -> Markup:
    """Show the updates of all fits, and below them those of the policy at hand where they are fewer."""
    total, own, fits = cost.all_updates, cost.updates, cost.fits
    if total is None or own is None or fits is None or fits < 2:
        return optional(own if total is None else total, write="{:,}".format)
    small = tag("small", exact(f"{own:,}", own), " of ", exact(f"{fits:,}", fits), " fits")
    return group(exact(f"{total:,}", total), small)


def _success(result: PolicyResult) -> Markup:
    count = result.num_successes
    if count is None:
        return Markup(NONE)
    return exact(f"{count}/{result.num_starts}", count / result.num_starts)


def _loss_figure(rounds: Rounds, colour: str) -> Markup:
    legend = tag(
        "ul",
        tag("li", tag("i", class_=colour), "online loss"),
        tag("li", tag("i", class_="plain dashed"), "regret"),
        class_="legend",
    )
    caption = f"{_ONLINE_LOSS[0].upper()}{_ONLINE_LOSS[1:]}."
    return _figure("Online loss and regret", caption, charts.loss_chart(rounds, colour), legend)


def _chosen_map(report: Report, figures: Sequence[Markup]) -> Markup:
    """Return maps of which the script of the page shows one, that of the method in rounds to begin with."""
    panel, rounds = report.occupancy, report.rounds
    assert panel is not None
    names = [one.name for one in panel.maps[-len(figures) :]]
    first = names.index(rounds.name) if rounds is not None and rounds.name in names else 0
    slider = tag(
        "input",
        type="range",
        min=0,
        max=len(names) - 1,
        value=first,
        aria_label="Whose map is shown",
        hidden=True,
    )
    return tag("div", slider, figures, class_="chosen")


def _distance(value: float, *, is_expert: bool) -> Markup:
    return Markup("the reference") if is_expert else exact(f"{value:.2f}", value)
