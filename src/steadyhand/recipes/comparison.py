"""Rows of a comparison: what came out, on which terms it was made, and how much of it may be chance.

A difference between two rows says something about the two methods only where the terms are equal:
`require_equal` refuses the rest, and where somebody wants it all the same, `caption` says it under the table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from steadyhand.core.errors import ConfigError
from steadyhand.core.statistics import clustered_mean, clustered_rate
from steadyhand.correction.record import best_of

Selection = Literal["best", "last", "mean"]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On which terms a row was made.

    Attributes:
        starts: Test starts.
        labels: Expert labels that it might ask for.
        fits: Fits that its policy was chosen from, or that were averaged: rounds, or fits of the same labels.
        selection: "best" takes the fit that is best on validation starts, "last" the last one, "mean" the
            mean over all of them.
        validation_starts: Starts on which that was decided; 0 where nothing was.
        trials: Settings that were tried on other seeds, those that it was given included.
        seeds: Seeds of data, noise and training.
    """

    starts: int
    labels: int
    fits: int
    selection: Selection
    validation_starts: int
    trials: int
    seeds: int

    def __str__(self) -> str:
        said = [
            f"{self.starts} test starts",
            f"{self.seeds} seeds",
            f"{self.labels} labels",
            _choice(self),
            "settings as given" if self.trials < 2 else f"the best of {self.trials} settings on other seeds",
        ]
        return ", ".join(said)


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """The finished seeds of one method.

    Attributes:
        title: Name of the method.
        success: (seeds, starts), between 0 and 1 where it is a mean of fits; None where nothing tells it.
        returns: (seeds, starts); None if they were not kept.
        spread: (seeds, fits) success, or return where nothing tells success, of every fit; None if not kept.
        labels: Mean labels of a seed.
        burden: Mean costs of a seed, by the names of `correction.burden.Burden`.
        validation_steps: Env steps on validation starts that it took to choose one policy, and its settings.
        refusal: Why it cannot be used here; the rest is empty then.
        settings: Settings that were chosen on other seeds, in words; empty if the method is as given.
        terms: On which terms it was made; None where nobody said.
    """

    title: str
    success: Float64[np.ndarray, "seeds starts"] | None
    returns: Float64[np.ndarray, "seeds starts"] | None = None
    spread: Float64[np.ndarray, "seeds fits"] | None = None
    labels: float = 0.0
    burden: Mapping[str, float] = field(default_factory=dict[str, float])
    validation_steps: float = 0.0
    refusal: str = ""
    settings: str = ""
    terms: Terms | None = None

    @property
    def told(self) -> Float64[np.ndarray, "seeds starts"]:
        """`success`, for tables that are about nothing else."""
        assert self.success is not None, f"nothing told success in {self.title}"
        return self.success

    @classmethod
    def of(cls, title: str, results: Sequence[Mapping[str, Any]], *, terms: Terms | None = None) -> "Row":
        """Return the row of some seeds' results, of one policy each; see `recipes.bench.outcome_of`."""
        burdens = [result["burden"] for result in results]
        kept = all("returns" in result for result in results)
        success = [result["success"] for result in results]
        return cls(
            title=title,
            success=None if None in success else np.array(success, dtype=np.float64),
            returns=np.array([result["returns"] for result in results], dtype=np.float64) if kept else None,
            labels=float(np.mean([result["labels"] for result in results])),
            burden={key: float(np.mean([burden[key] for burden in burdens])) for key in burdens[0]},
            terms=terms,
        )

    @classmethod
    def of_fits(
        cls, title: str, results: Sequence[Mapping[str, Any]], *, terms: Terms, searched: float = 0.0
    ) -> "Row":
        """Return the row of some seeds' results with all their fits, reduced by the rule of the terms.

        Args:
            title: Name of the method.
            results: What `recipes.bench.taught_fits` returned, seed by seed.
            terms: On which terms.
            searched: Validation steps that the search for its settings took.
        """
        fitted = [result["fits"] for result in results]
        one = [
            {**result, **reduced(fits, terms.selection)} for result, fits in zip(results, fitted, strict=True)
        ]
        row = cls.of(title, one, terms=terms)
        name = "returns" if row.success is None else "success"
        chosen = 0.0
        if terms.validation_starts:
            chosen = float(np.mean([sum(fit["validation"]["steps"] for fit in fits) for fits in fitted]))
        rates = np.array([[np.mean(fit[name]) for fit in fits] for fits in fitted])
        return replace(row, spread=rates, validation_steps=chosen + searched)


def reduced(fits: Sequence[Mapping[str, Any]], selection: Selection) -> dict[str, Any]:
    """Return success and returns, start by start, of the policy that a rule makes of several fits.

    Args:
        fits: "success", "returns" and "validation" ("success", "return") of each, in order.
        selection: Rule that makes one policy of several fits; see `Terms`.
    """
    if selection == "mean":
        told = all(fit["success"] is not None for fit in fits)
        success = np.mean([fit["success"] for fit in fits], axis=0).tolist() if told else None
        return {"success": success, "returns": np.mean([fit["returns"] for fit in fits], axis=0).tolist()}
    chosen = fits[-1] if selection == "last" else fits[best_fit([fit["validation"] for fit in fits])]
    return {"success": chosen["success"], "returns": chosen["returns"]}


def best_fit(validation: Sequence[Mapping[str, Any]]) -> int:
    """Return the index of the best, as `correction.record.best_of` says."""
    return best_of([one["success"] for one in validation], [one["return"] for one in validation])


def unequal(terms: Mapping[str, Terms]) -> str:
    """Return in words where rows were made on other terms than others; empty if all are alike.

    Args:
        terms: Title of a row -> its terms.
    """
    said: list[str] = []
    for one in fields(Terms):
        who: dict[object, list[str]] = {}
        for title, its in terms.items():
            who.setdefault(getattr(its, one.name), []).append(title)
        if len(who) > 1:
            *few, (most, _) = sorted(who.items(), key=lambda item: len(item[1]))
            groups = [f"{value} ({', '.join(titles)})" for value, titles in few]
            said.append(f"{one.name.replace('_', ' ')}: {', '.join(groups)}, {most} (all others)")
    return ". ".join(said)


def require_equal(terms: Mapping[str, Terms]) -> None:
    """Refuse to compare what was made on unequal terms.

    Raises:
        ConfigError: It names the terms that differ, and the rows.
    """
    if differences := unequal(terms):
        raise ConfigError(
            "These methods would not be compared on equal terms.",
            got=differences,
            expected="the same for all",
            hint="give all of them the same, or allow it (--unequal), which the table then says",
        )


def caption(rows: Sequence[Row]) -> str:
    """Return the line under a table: the terms of all rows, or where they differ."""
    terms = {row.title: row.terms for row in rows if row.terms is not None and not row.refusal}
    if not terms:
        return ""
    if differences := unequal(terms):
        return f"Not on equal terms. {differences}."
    return f"Each: {next(iter(terms.values()))}."


def meaning(rows: Sequence[Row]) -> str:
    """Return what the intervals of a table hold for; empty if it has no rows."""
    shown = [row for row in rows if not row.refusal]
    if not shown:
        return ""
    if all(row.returns is None or len(row.returns) > 1 for row in shown):
        return "Intervals: 95 %, for new seeds and new starts."
    if all(row.success is None for row in shown):
        return "One seed says nothing about the next one: there are no intervals."
    return "Intervals: 95 %, for new starts alone: one seed says nothing about the next one."


def tells_success(rows: Sequence[Row]) -> bool:
    """Return whether success is told in every row that is not refused."""
    return all(row.success is not None for row in rows if not row.refusal)


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Return rows with the best first, refused ones last.

    By success, or by the return where success is not told in every row.
    """
    is_told = tells_success(rows)

    def place(row: Row) -> tuple[bool, float]:
        score = row.success if is_told else row.returns
        return bool(row.refusal), 0.0 if score is None else -float(score.mean())

    return sorted(rows, key=place)


def rate(success: Float64[np.ndarray, "seeds starts"]) -> str:
    """Return a success rate with its interval for new seeds and starts; of one seed, for new starts alone."""
    interval = clustered_rate(success).interval
    assert interval is not None
    return f"{100 * success.mean():.0f} % ({100 * interval.low:.0f} to {100 * interval.high:.0f})"


def spread(row: Row) -> str:
    """Return the lowest and the highest of all fits of all seeds; empty if they were not kept."""
    if row.spread is None:
        return ""
    low, high = float(row.spread.min()), float(row.spread.max())
    if row.success is None:
        return f"{low:.4g} to {high:.4g}"
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def difference(row: Row, baseline: Row | None) -> str:
    """Return the paired difference of success, in points: same seeds, same starts; empty if not told."""
    if baseline is None or row is baseline or row.success is None or baseline.success is None:
        return ""
    return _paired(100 * row.success, 100 * baseline.success, "{:+.0f}", limit=100.0)


def mean_return(row: Row) -> str:
    """Return the mean return, with an interval for new seeds and starts if there are several seeds."""
    if row.returns is None:
        return ""
    text = f"{row.returns.mean():.4g}"
    estimate = clustered_mean(row.returns) if len(row.returns) > 1 else None
    if estimate is None or estimate.interval is None:
        return text
    return f"{text} ({estimate.interval.low:.4g} to {estimate.interval.high:.4g})"


def return_difference(row: Row, baseline: Row | None) -> str:
    """Return the paired difference of the return: same seeds, same starts; empty if it was not kept."""
    if baseline is None or row is baseline or row.returns is None or baseline.returns is None:
        return ""
    return _paired(row.returns, baseline.returns, "{:+.3g}")


def _paired(
    a: Float64[np.ndarray, "seeds starts"],
    b: Float64[np.ndarray, "_ starts"],
    form: str,
    *,
    limit: float = np.inf,
) -> str:
    """Return the mean of a - b over the seeds that both have, with its interval if there are several.

    The interval ends at plus and minus `limit`, beyond which no difference lies.
    """
    seeds = min(len(a), len(b))
    values = a[:seeds] - b[:seeds]
    text = form.format(values.mean())
    estimate = clustered_mean(values) if seeds > 1 and values.any() else None
    if estimate is None or estimate.interval is None:
        return text
    low, high = max(-limit, estimate.interval.low), min(limit, estimate.interval.high)
    return f"{text} ({form.format(low)} to {form.format(high)})"


def _choice(terms: Terms) -> str:
    match terms.selection:
        case "best":
            return f"the best of {terms.fits} fits on {terms.validation_starts} validation starts"
        case "last":
            return "the last fit"
        case "mean":
            return f"the mean of {terms.fits} fits"
