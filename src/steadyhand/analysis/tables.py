"""The tables of the report, column by column: header, and one cell a row; without a figure it is left out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from markupsafe import Markup

from steadyhand.analysis.multimodality import ConditionalDistance, ConditionalEntropy, ModeSummary
from steadyhand.analysis.notation import (
    NONE,
    above,
    between,
    estimate,
    exact,
    number,
    optional,
    percent,
    percent_of,
    points,
    seconds,
    share_interval,
    signed,
    wall,
)
from steadyhand.analysis.results import ComparedPair, Cost, Fact, MeanTest, PolicyResult, Report, Rounds
from steadyhand.analysis.verdict import p_text
from steadyhand.core.statistics import Estimate, Interval, PairedDifference, Pairing
from steadyhand.correction.record import RoundRecord

T = TypeVar("T")
Colours = Mapping[str, str]
"""Name -> CSS class that sets its colour."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the page.

    Attributes:
        caption: What it shows, for those who cannot see it.
        headers: Headers of the columns; the first is that of the names.
        rows: The name and the cells of each row, as text or markup.
    """

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def _table(caption: str, *columns: tuple[str, Sequence[str]]) -> Table:
    shown = [(header, cells) for header, cells in columns if any(cell != NONE for cell in cells)]
    headers, cells = zip(*shown, strict=True)
    return Table(caption=caption, headers=headers, rows=tuple(zip(*cells, strict=True)))


def results(report: Report, colour: Colours) -> Table:
    """Return every number of every result."""
    shown = report.results
    count = "{:,}".format
    return _table(
        "Results of every policy",
        ("Policy", [_named(one.name, colour, one.note) for one in shown]),
        ("Success", [_success(one) for one in shown]),
        ("95 % interval", [_maybe(one.success_interval, share_interval) for one in shown]),
        ("Mean return", [estimate(one.mean_return) for one in shown]),
        ("Normalised", [optional(report.normalised(one), percent_of) for one in shown]),
        (
            "Half had failed by" if report.tells_success else "Half had ended by",
            [optional(one.median_first_failure, seconds) for one in shown],
        ),
        ("Labels", [optional(one.cost.labels, count) for one in shown]),
        ("Updates", [_updates(one.cost) for one in shown]),
        ("Training", [optional(one.cost.wall_s, wall) for one in shown]),
        ("Rollout", [optional(one.rollout_wall_s, wall) for one in shown]),
    )


def rounds(rounds: Rounds) -> Table:
    """Return what each round cost and what came of it."""
    records = rounds.records
    burdens = [record.burden for record in records]
    took_over = any(burden.interventions for burden in burdens)

    def counts(values: Sequence[int]) -> list[Markup]:
        return [exact(f"{value:,}", value) for value in values]

    return _table(
        f"Rounds of {rounds.name}",
        ("Round", [_round(record, rounds) for record in records]),
        ("Expert drives", [optional(_driven(record), percent) for record in records]),
        ("Interventions", counts([one.interventions for one in burdens]) if took_over else []),
        ("Env steps", counts([one.env_steps for one in burdens]) if took_over else []),
        ("New labels", counts([record.labels for record in records])),
        ("All labels", counts([record.total_labels for record in records])),
        ("Validation", [_validated(record, rounds) for record in records]),
        ("Online loss", [optional(record.online_loss) for record in records]),
        ("Regret", [optional(record.regret) for record in records]),
    )


def comparisons(pairs: Sequence[ComparedPair]) -> Table:
    """Return every policy against the baseline on the same starts."""
    success = [pair.success for pair in pairs]
    returns = [pair.returns.difference for pair in pairs]
    return _table(
        f"Differences to {pairs[0].baseline} on the same starts",
        ("Policy", [pair.name for pair in pairs]),
        ("Success", [_maybe(one, _change) for one in success]),
        ("95 % interval", [_maybe(one and one.difference.interval, _points) for one in success]),
        ("Alone succeeded", [_maybe(one and one.pairing, _alone) for one in success]),
        ("McNemar", [_maybe(one and one.pairing, _mcnemar) for one in success]),
        ("Mean return", [exact(signed(one.value), one.value) for one in returns]),
        ("95 % interval", [_maybe(one.interval, _signed, otherwise="one start") for one in returns]),
    )


def ways(shown: Sequence[PolicyResult], reference: PolicyResult | None, colour: Colours) -> Table:
    """Return every number about the ways that were taken, by those whose ways are known."""
    modes = [one.modes for one in shown if one.modes is not None]
    distances = [
        Markup("the reference") if one is reference else _maybe(mode.distance, _distance)
        for one, mode in zip(shown, modes, strict=True)
    ]
    return _table(
        "Ways of doing the task",
        ("Policy", [_named(one.name, colour) for one in shown]),
        ("Entropy", [_maybe(one.entropy, estimate) for one in modes]),
        ("Given the start", [_maybe(one.conditional_entropy, _given_the_start) for one in modes]),
        ("Distance given the start", [] if reference is None else distances),
        ("Ways seen", [_seen(one) for one in modes]),
        ("Ended on a way", [_valid(one, result) for one, result in zip(modes, shown, strict=True)]),
        ("Persistence", [_maybe(one.persistence, _kept) for one in modes]),
        ("Changes", [optional(one.switches, "{:.2f}".format) for one in modes]),
        ("Spread", [optional(one.spread) for one in modes]),
    )


def mean_tests(tests: Sequence[MeanTest], colour: Colours) -> Table:
    """Return mean against sample, in success where it is told and in return elsewhere."""
    return _table(
        "Mean against sample",
        ("Policy", [_named(one.name, colour) for one in tests]),
        ("A sample", [_tried(one.sample_successes, one.sample_return) for one in tests]),
        (f"Mean of {tests[0].num_samples}", [_tried(one.mean_successes, one.mean_return) for one in tests]),
        ("Mean less sample", [_less(one) for one in tests]),
        ("McNemar", [_maybe(one.success and one.success.pairing, _mcnemar) for one in tests]),
    )


def regime(facts: Sequence[Fact]) -> Table:
    """Return under which conditions the outcome is claimed."""
    names, values = [fact.name for fact in facts], [fact.value for fact in facts]
    return _table("Regime of the experiment", ("Condition", names), ("Here", values))


def how(report: Report) -> list[Fact]:
    """Return how to get these numbers again."""
    facts = [*report.setting, Fact(name="Seed", value=str(report.seed))]
    if report.wall_s is not None:
        facts.append(Fact(name="Wall time", value=wall(report.wall_s)))
    if report.versions:
        listed = ", ".join(f"{name} {version}" for name, version in report.versions.items())
        facts.append(Fact(name="Versions", value=listed))
    return facts


def _maybe(value: T | None, write: Callable[[T], Markup], *, otherwise: str = NONE) -> Markup:
    return Markup(otherwise) if value is None else write(value)


def _named(name: str, colour: Colours, note: str = "") -> Markup:
    shown = Markup('<i class="{}"></i><span>{}</span>').format(colour.get(name, "plain"), name)
    return above(shown, note) if note else shown


def _success(result: PolicyResult) -> Markup:
    count, starts = result.num_successes, result.num_starts
    return Markup(NONE) if count is None else exact(f"{count}/{starts}", count / starts)


def _updates(cost: Cost) -> Markup:
    """Show the updates of all fits, and below them those of the policy at hand where they are fewer."""
    total, own, fits = cost.all_updates, cost.updates, cost.fits
    if total is None or own is None or fits is None or fits < 2:
        return optional(own if total is None else total, "{:,}".format)
    small = Markup("{} of {} fits").format(exact(f"{own:,}", own), exact(f"{fits:,}", fits))
    return above(exact(f"{total:,}", total), small)


def _round(record: RoundRecord, rounds: Rounds) -> Markup:
    name = Markup("<span>Round {}</span>").format(record.round)
    return above(name, "returned") if record.round == rounds.returned else name


def _driven(record: RoundRecord) -> float | None:
    """Return the share of env steps at which the expert drove; None if no step was counted."""
    burden = record.burden
    return burden.human_steps / burden.env_steps if burden.env_steps else None


def _validated(record: RoundRecord, rounds: Rounds) -> Markup:
    share, starts = record.validation_success, rounds.validation_starts
    if share is None:
        return exact(number(record.validation_return), record.validation_return)
    return exact(f"{round(share * starts)}/{starts}", share)


def _change(success: PairedDifference) -> Markup:
    value = success.difference.value
    return exact(f"{points(value)} points", value)


def _points(interval: Interval) -> Markup:
    return between(interval, points)


def _signed(interval: Interval) -> Markup:
    return between(interval, signed)


def _alone(pairing: Pairing) -> Markup:
    sides = (exact(str(count), count) for count in (pairing.only_a, pairing.only_b))
    return Markup("{} against {}").format(*sides)


def _mcnemar(pairing: Pairing) -> Markup:
    return exact(p_text(pairing.p_value), pairing.p_value)


def _given_the_start(entropy: ConditionalEntropy) -> Markup:
    return _beside(entropy.value.value, "dealt anew", entropy.independent)


def _distance(distance: ConditionalDistance) -> Markup:
    return _beside(distance.value.value, "chance", distance.chance)


def _beside(value: float, what: str, other: float) -> Markup:
    small = Markup("{} {}").format(what, exact(f"{other:.2f}", other))
    return above(exact(f"{value:.2f}", value), small)


def _seen(modes: ModeSummary) -> Markup:
    counts = (exact(str(count), count) for count in (modes.covered, modes.available))
    return Markup("{} of {}").format(*counts)


def _valid(modes: ModeSummary, result: PolicyResult) -> Markup:
    share = exact(f"{modes.valid}/{result.num_starts}", modes.valid)
    return above(share, share_interval(modes.validity_interval))


def _kept(value: Estimate) -> Markup:
    """Return a mean with its interval, where resampling could give one: equal values leave it blind."""
    if value.interval is None or value.interval.low == value.interval.high:
        return exact(number(value.value), value.value)
    return estimate(value)


def _tried(successes: int | None, mean_return: float) -> Markup:
    if successes is None:
        return exact(number(mean_return), mean_return)
    return exact(f"{successes:,}", successes)


def _less(test: MeanTest) -> Markup:
    if test.success is None:
        return estimate(test.returns.difference)
    change, interval = _change(test.success), test.success.difference.interval
    return change if interval is None else above(change, _points(interval))
