"""The section of the report that sets every policy against the baseline, start by start."""

from steadyhand.analysis.markup import Markup, group, tag
from steadyhand.analysis.notation import MINUS, NONE, exact, signed
from steadyhand.analysis.results import ComparedPair, Report
from steadyhand.analysis.sections import section, table
from steadyhand.analysis.verdict import evidence, p_text


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
    note = "Success: Newcombe's interval of the paired difference, in points of percent. "
    is_told = any(one.success is not None for one in report.comparisons)
    if not is_told:
        note, headers, rows = "", (*headers[:2], *headers[5:]), [[*row[:2], *row[5:]] for row in rows]
    note += (
        "Return: BCa bootstrap over starts. These speak of the policies at hand; another training seed gives "
        "another policy."
    )
    if len(report.comparisons) > 1 and is_told:
        note += " The p-values are not corrected for the number of comparisons."
    return section(
        f"Same starts, against {baseline}",
        *sentences,
        table(f"Differences to {baseline} on the same starts", headers, rows),
        tag("p", note, class_="note"),
    )


def _comparison_row(one: ComparedPair) -> list[Markup]:
    returns = one.returns.difference
    cells = [tag("span", one.name), *[Markup(NONE)] * 4]
    success = None if one.success is None else one.success.difference
    pairing = None if one.success is None else one.success.pairing
    if success is not None:
        cells[1] = exact(f"{_points(success.value)} points", success.value)
    if success is not None and success.interval is not None:
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
