"""The sections of the report page, in the order of the questions a reader asks."""

from collections.abc import Sequence

from steadyhand.analysis import charts, maps
from steadyhand.analysis.markup import Markup, group, tag
from steadyhand.analysis.notation import (
    MINUS,
    NONE,
    estimate,
    exact,
    interval_of_share,
    optional,
    percent,
    seconds,
    signed,
    wall,
)
from steadyhand.analysis.results import Comparison, Fact, PolicyResult, Report, Rounds
from steadyhand.analysis.round_columns import round_columns
from steadyhand.analysis.verdict import evidence, in_sentence, p_text

_FEWEST_FOR_A_LINE = 2
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
    """Show success with intervals, and survival."""
    colour = charts.colours(report.results)
    starts = report.results[0].num_starts
    level = percent(report.results[0].success_interval.level)
    success = _figure(
        "Success",
        f"Share of {starts} starts; the line is Wilson's {level} interval.",
        charts.success_chart(report.results, colour),
    )
    survival = _figure(
        report.wording.surviving,
        "Share of the starts against time.",
        charts.survival_chart(report.results, colour, report.wording),
        _legend(report.results, colour),
    )
    return _section("Outcome", tag("div", success, survival, class_="pair"))


def all_numbers(report: Report) -> Markup:
    """Show every number of every result as a table."""
    headers = (
        "Policy",
        "Success",
        "95 % interval",
        "Mean return",
        "Half had failed by",
        "Labels",
        "Updates",
        "Training",
        "Rollout",
    )
    colour = charts.colours(report.results)
    rows = [_result_row(result, colour[result.name]) for result in report.results]
    note = (
        "Mean return with its BCa bootstrap interval over starts. "
        "A dash: fewer than half failed, or it does not apply."
    )
    return _section(
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
    return _section("Error along the episode", tag("div", figure, text, class_="pair"))


def rounds(report: Report) -> Markup:
    """Show an interactive method round by round, if one was run."""
    if report.rounds is None or not report.rounds.records:
        return Markup("")
    shown = report.rounds
    colour = charts.colours(report.results).get(shown.name, "s2")
    validation = _figure(
        "Validation success",
        f"Share of {shown.validation_starts} validation starts with Wilson's 95 % interval; "
        "the ring marks the round that is returned.",
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
        return _section(heading, pair, body, tag("p", rule, class_="note"))
    text = tag(
        "div",
        tag("h3", "Which round is returned"),
        tag("p", "The last round is not always the best, so the policy of every round is kept. ", rule),
        tag("p", f"Online loss: {_ONLINE_LOSS}.") if scored else Markup(""),
        class_="aside",
    )
    return _section(heading, tag("div", validation, text, class_="pair"), body)


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
    return _section(
        "Where they drove", scale, tag("div", figures, class_="maps"), tag("p", note, class_="note")
    )


def comparisons(report: Report) -> Markup:
    """Show every policy against the baseline on the same starts."""
    if not report.comparisons:
        return Markup("")
    headers = (
        "Policy",
        "Success",
        "95 % interval",
        "Alone succeeded",
        "McNemar",
        "Mean return",
        "95 % interval",
    )
    baseline = report.comparisons[0].baseline
    rows = [_comparison_row(one) for one in report.comparisons]
    sentences = [tag("p", evidence(one)) for one in report.comparisons]
    note = (
        "Success: Newcombe's interval of the paired difference, in points of percent. Return: BCa bootstrap "
        "over starts. These speak of the policies at hand; another training seed gives another policy."
    )
    if len(report.comparisons) > 1:
        note += " The p-values are not corrected for the number of comparisons."
    return _section(
        f"Same starts, against {baseline}",
        *sentences,
        table(f"Differences to {baseline} on the same starts", headers, rows),
        tag("p", note, class_="note"),
    )


def regime(report: Report) -> Markup:
    """Show under which conditions the outcome is claimed."""
    if not report.regime:
        return Markup("")
    rows = [(fact.name, tag("span", fact.value)) for fact in report.regime]
    return _section(
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
    return _section("How this was measured", *parts)


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


def _section(heading: str, *parts: Markup) -> Markup:
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
    level = percent(result.success_interval.level)
    return tag(
        "li",
        tag("span", result.name, class_="name"),
        tag(
            "span",
            exact(str(result.num_successes), result.num_successes),
            tag("small", f" of {result.num_starts}"),
            class_="score",
        ),
        tag(
            "span",
            interval_of_share(result.success_interval),
            " ",
            tag("span", f"({level} interval)"),
            class_="quiet",
        ),
        class_=colour,
    )


def _result_row(result: PolicyResult, colour: str) -> list[Markup]:
    name = group(tag("i", class_=colour), tag("span", result.name))
    if result.note:
        name = group(name, tag("small", result.note))
    return [
        name,
        exact(f"{result.num_successes}/{result.num_starts}", result.num_successes / result.num_starts),
        interval_of_share(result.success_interval),
        estimate(result.mean_return),
        optional(result.median_first_failure, write=seconds),
        optional(result.labels_used, write="{:,}".format),
        optional(result.updates, write="{:,}".format),
        optional(result.train_wall_s, write=wall),
        optional(result.rollout_wall_s, write=wall),
    ]


def _loss_figure(rounds: Rounds, colour: str) -> Markup:
    legend = tag(
        "ul",
        tag("li", tag("i", class_=colour), "online loss"),
        tag("li", tag("i", class_="plain dashed"), "regret"),
        class_="legend",
    )
    caption = f"{_ONLINE_LOSS[0].upper()}{_ONLINE_LOSS[1:]}."
    return _figure("Online loss and regret", caption, charts.loss_chart(rounds, colour), legend)


def _comparison_row(one: Comparison) -> list[Markup]:
    success, returns, pairing = one.success.difference, one.returns.difference, one.success.pairing
    points = exact(f"{_points(success.value)} points", success.value)
    cells = [tag("span", one.name), points, Markup(""), Markup(""), Markup("")]
    if success.interval is not None:
        low, high = success.interval.low, success.interval.high
        cells[2] = group(exact(_points(low), low), " to ", exact(_points(high), high))
    if pairing is not None:
        only_a, only_b = (
            exact(str(pairing.only_a), pairing.only_a),
            exact(str(pairing.only_b), pairing.only_b),
        )
        cells[3] = group(only_a, " against ", only_b)
        cells[4] = exact(p_text(pairing.p_value), pairing.p_value)
    cells.append(exact(signed(returns.value), returns.value))
    if returns.interval is None:
        return [*cells, Markup("one start")]
    low, high = returns.interval.low, returns.interval.high
    return [*cells, group(exact(signed(low), low), " to ", exact(signed(high), high))]


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}".replace("-", MINUS)


def _distance(value: float, *, is_expert: bool) -> Markup:
    return Markup("the reference") if is_expert else exact(f"{value:.2f}", value)
