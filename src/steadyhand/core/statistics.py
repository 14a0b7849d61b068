"""Intervals and paired comparisons for success rates and returns; NumPy and the standard library only.

A difference between two policies is taken start by start, because both ran from the same starts: what makes
a start hard then cancels out.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Shaped

from steadyhand.core.distributions import beta_quantile, student_quantile
from steadyhand.core.errors import SteadyhandError
from steadyhand.core.seeding import generator

_NORMAL = NormalDist()
_CHUNK = 1 << 21
"""Most resampled values held in memory at once."""


class StatisticsError(SteadyhandError):
    """The numbers given cannot carry the statistic that was asked for."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval; `level` is its nominal coverage, such as 0.95."""

    low: float
    high: float
    level: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean of `count` values; `interval` is None where one value says nothing about the spread."""

    value: float
    interval: Interval | None
    count: int


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """How often two policies differed in success on the same start.

    Attributes:
        only_a: Starts on which a succeeded and b failed.
        only_b: Starts on which b succeeded and a failed.
        p_value: Exact two-sided McNemar test of "each is as likely as the other".
    """

    only_a: int
    only_b: int
    p_value: float


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Mean of a minus b over the same starts.

    Attributes:
        difference: The mean and its interval.
        method: How the interval was made: "newcombe" for success, "bca" for numbers.
        pairing: Only for success.
    """

    difference: Estimate
    method: str
    pairing: Pairing | None

    def __str__(self) -> str:
        factor, unit = (1.0, "") if self.pairing is None else (100.0, " points")
        form = "+.4g" if self.pairing is None else "+.0f"
        text, interval = f"{factor * self.difference.value:{form}}{unit}", self.difference.interval
        if interval is not None:
            low, high = factor * interval.low, factor * interval.high
            text += f" ({100 * interval.level:g} % {low:{form}} to {high:{form}})"
        if self.pairing is None:
            return text
        return (
            f"{text}, {self.pairing.only_a} starts against {self.pairing.only_b}, "
            f"p = {self.pairing.p_value:.2g}"
        )


def wilson(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Return Wilson's score interval of a success probability (Wilson, 1927).

    Its coverage averages near `level` at every rate, and it has a width at 0 and at 100 percent.

    Raises:
        StatisticsError: Not 0 <= successes <= trials with trials >= 1, or `level` outside (0, 1).
    """
    _check_counts(successes, trials, level)
    return _wilson(successes / trials, trials, level)


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Return the exact interval of a success probability (Clopper and Pearson, 1934).

    It covers at least `level` at every rate, and is wider than Wilson's for that.

    Raises:
        StatisticsError: Not 0 <= successes <= trials with trials >= 1, or `level` outside (0, 1).
    """
    _check_counts(successes, trials, level)
    tail = (1 - level) / 2
    low, high = 0.0, 1.0
    if successes > 0:
        low = beta_quantile(tail, float(successes), trials - successes + 1.0)
    if successes < trials:
        high = beta_quantile(1 - tail, successes + 1.0, float(trials - successes))
    return Interval(low=low, high=high, level=level)


def bootstrap_mean(
    values: Shaped[np.ndarray, " n"], *, seed: int, level: float = 0.95, num_resamples: int = 10_000
) -> Estimate:
    """Return the mean with a BCa bootstrap interval (Efron, 1987, eq. 2.3).

    Bias-corrected and accelerated rather than percentile, because returns are skewed (a few early failures
    among many full episodes) and for a mean the acceleration costs nothing. Equal values give an interval of
    no width, and one value gives none: a bootstrap cannot know what it has not seen.

    Args:
        values: (n,) finite numbers, one for each start.
        seed: Seed of the resampling.
        level: Nominal coverage.
        num_resamples: Number of bootstrap samples.

    Raises:
        StatisticsError: No values, values that are not finite, or too few resamples for `level`.
    """
    x = _check_values(values, "values")
    _check_resampling(level, num_resamples)
    mean = float(x.mean())
    if len(x) == 1:
        return Estimate(value=mean, interval=None, count=1)
    if np.ptp(x) == 0:
        return Estimate(value=mean, interval=Interval(low=mean, high=mean, level=level), count=len(x))
    means = _resampled_means(x, generator(seed, "bootstrap"), num_resamples)
    residual = (mean - x) / np.ptp(x)
    acceleration = -float((residual**3).sum() / (6 * (residual**2).sum() ** 1.5))
    # A share of 0 or 1 would put the bias at infinity; half a resample is as much as was seen.
    gap, rounding = means - mean, 1e-9 * np.ptp(x)
    below = float((gap < -rounding).mean() + 0.5 * (np.abs(gap) <= rounding).mean())
    below = min(max(below, 0.5 / num_resamples), 1 - 0.5 / num_resamples)
    bias = _NORMAL.inv_cdf(below)
    tails = [
        _NORMAL.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        for z in (_NORMAL.inv_cdf(0.5 - level / 2), _NORMAL.inv_cdf(0.5 + level / 2))
    ]
    low, high = np.quantile(means, tails)
    return Estimate(
        value=mean, interval=Interval(low=float(low), high=float(high), level=level), count=len(x)
    )


def student_mean(values: Shaped[np.ndarray, " n"], *, level: float = 0.95) -> Estimate:
    """Return the mean with Student's interval (1908); for few values, such as one of each training seed.

    A bootstrap of three values covers about 75 percent. Equal values give an interval of no width, and one
    value gives none.

    Args:
        values: (n,) finite numbers.
        level: Nominal coverage.

    Raises:
        StatisticsError: No values, values that are not finite, or `level` outside (0, 1).
    """
    x = _check_values(values, "values")
    _check_level(level)
    mean, interval = float(x.mean()), None
    if len(x) > 1:
        error = float(x.std(ddof=1)) / math.sqrt(len(x))
        half = student_quantile(0.5 + level / 2, len(x) - 1.0) * error
        interval = Interval(low=mean - half, high=mean + half, level=level)
    return Estimate(value=mean, interval=interval, count=len(x))


def paired_difference(
    a: Shaped[np.ndarray, " n"],
    b: Shaped[np.ndarray, " n"],
    *,
    seed: int,
    level: float = 0.95,
    num_resamples: int = 10_000,
) -> PairedDifference:
    """Return the mean of a - b over the same starts.

    Success (bool) gets Newcombe's score interval and the exact McNemar test: a bootstrap of 64 wins in 64
    starts would claim certainty. Numbers get a BCa bootstrap over starts.

    Args:
        a: (n,) success (bool) or numbers, one for each start.
        b: (n,) likewise, from the same starts in the same order.
        seed: Seed of the resampling.
        level: Nominal coverage.
        num_resamples: Number of bootstrap samples.

    Raises:
        StatisticsError: Lengths or kinds differ, or as `bootstrap_mean`.
    """
    if a.shape != b.shape or (a.dtype == bool) != (b.dtype == bool):
        raise StatisticsError(
            "A paired comparison needs one outcome of each policy for each start.",
            got=f"{a.dtype} {a.shape} and {b.dtype} {b.shape}",
            expected="equal shapes; both bool or both numbers",
            hint="evaluate both from the same list of starts",
        )
    if a.dtype != bool:
        x, y = _check_values(a, "a"), _check_values(b, "b")
        estimate = bootstrap_mean(x - y, seed=seed, level=level, num_resamples=num_resamples)
        return PairedDifference(difference=estimate, method="bca", pairing=None)
    if a.size == 0:
        raise StatisticsError("There are no starts to compare on.", got=0, expected="at least one")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    both = int((a & b).sum())
    interval = newcombe_paired(both, only_a, only_b, len(a) - both - only_a - only_b, level)
    pairing = Pairing(only_a=only_a, only_b=only_b, p_value=mcnemar(only_a, only_b))
    estimate = Estimate(value=(only_a - only_b) / len(a), interval=interval, count=len(a))
    return PairedDifference(difference=estimate, method="newcombe", pairing=pairing)


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p-value that discordant pairs fall either way by a fair coin."""
    if only_a < 0 or only_b < 0:
        raise StatisticsError("Counts cannot be negative.", got=f"{only_a} and {only_b}")
    pairs = only_a + only_b
    tail = sum(math.comb(pairs, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**pairs)


def newcombe_paired(both: int, only_a: int, only_b: int, neither: int, level: float = 0.95) -> Interval:
    """Return the interval of the difference of two paired proportions (Newcombe, 1998b, method 10).

    Combines the Wilson intervals of a and b by squaring and adding, less their continuity-corrected
    correlation. It never has zero width and never leaves [-1, 1].

    Args:
        both: Starts on which a and b succeeded.
        only_a: Starts on which only a succeeded.
        only_b: Starts on which only b succeeded.
        neither: Starts on which both failed.
        level: Nominal coverage.
    """
    if min(both, only_a, only_b, neither) < 0:
        raise StatisticsError("Counts cannot be negative.", got=(both, only_a, only_b, neither))
    n = both + only_a + only_b + neither
    of_a, of_b = wilson(both + only_a, n, level), wilson(both + only_b, n, level)
    rate_a, rate_b = (both + only_a) / n, (both + only_b) / n
    phi = _correlation(both, only_a, only_b, neither)
    difference = rate_a - rate_b
    a_low, a_high = rate_a - of_a.low, of_a.high - rate_a
    b_low, b_high = rate_b - of_b.low, of_b.high - rate_b
    below = math.sqrt(max(0.0, a_low**2 - 2 * phi * a_low * b_high + b_high**2))
    above = math.sqrt(max(0.0, a_high**2 - 2 * phi * a_high * b_low + b_low**2))
    return Interval(low=max(-1.0, difference - below), high=min(1.0, difference + above), level=level)


def clustered_mean(values: Shaped[np.ndarray, "seeds starts"], *, level: float = 0.95) -> Estimate:
    """Return the mean over training seeds x starts with an interval that holds for new seeds and new starts.

    The variance of the mean is the one between the means of seeds, over their number, plus the one between
    the means of starts, over theirs; the interval is Student's, its degrees of freedom those of the sum
    (Welch, 1947; Satterthwaite, 1946). With few seeds it is wide, as it must be: a bootstrap of three seeds
    covers about 75 percent. Treating seeds x starts as that many independent episodes would be worse, because
    the training seed dominates the variance. Equal values give an interval of no width; for success rates
    see `clustered_rate`. For a difference between two methods pass `a - b`.

    Args:
        values: (seeds, starts) finite numbers or bool; every seed has the same starts, in the same order.
        level: Nominal coverage.

    Raises:
        StatisticsError: Fewer than two seeds, or values that are not finite.
    """
    num_seeds, num_starts = values.shape
    if num_seeds < 2 or num_starts < 1:
        raise StatisticsError(
            "One training seed says nothing about the next one.",
            got=f"{num_seeds} seeds x {num_starts} starts",
            expected="at least two seeds and one start",
            hint="train more seeds, or use bootstrap_mean and speak of this one policy only",
        )
    _check_level(level)
    x = _check_values(values, "values")
    parts = [
        (float(np.var(means, ddof=1)) / len(means), len(means) - 1)
        for means in (x.mean(axis=1), x.mean(axis=0))
        if len(means) > 1
    ]
    mean, variance = float(x.mean()), sum(part for part, _ in parts)
    half = 0.0
    if variance > 0:
        freedom = variance**2 / sum(part**2 / free for part, free in parts)
        half = student_quantile(0.5 + level / 2, freedom) * math.sqrt(variance)
    return Estimate(
        value=mean, interval=Interval(low=mean - half, high=mean + half, level=level), count=x.size
    )


def clustered_rate(success: Shaped[np.ndarray, "seeds starts"], *, level: float = 0.95) -> Estimate:
    """Return a success rate over training seeds x starts with an interval within [0, 1] that has a width.

    It is that of `clustered_mean`, and where this is narrower, Wilson's for as many trials as there are
    starts: seeds that agree on every start know no more than that about other starts.

    Args:
        success: (seeds, starts) bool, or numbers from 0 to 1; every seed has the same starts.
        level: Nominal coverage.

    Raises:
        StatisticsError: No seed, or as `clustered_mean`.
    """
    num_seeds, num_starts = success.shape
    value = float(np.mean(success)) if success.size else 0.0
    _check_counts(round(value * success.size), success.size, level)
    bounds = [_wilson(value, num_starts, level)]
    if num_seeds > 1:
        interval = clustered_mean(success, level=level).interval
        assert interval is not None
        bounds.append(interval)
    low, high = max(0.0, min(one.low for one in bounds)), min(1.0, max(one.high for one in bounds))
    return Estimate(value=value, interval=Interval(low=low, high=high, level=level), count=success.size)


def _wilson(share: float, trials: int, level: float) -> Interval:
    z = _NORMAL.inv_cdf(0.5 + level / 2)
    scale = 1 + z * z / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    low = 0.0 if share == 0 else (centre - spread) / scale
    high = 1.0 if share == 1 else (centre + spread) / scale
    return Interval(low=low, high=high, level=level)


def _correlation(both: int, only_a: int, only_b: int, neither: int) -> float:
    n = both + only_a + only_b + neither
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if margins == 0:
        return 0.0
    cross = both * neither - only_a * only_b
    return max(cross - n / 2, min(cross, 0.0)) / math.sqrt(margins)


def _resampled_means(
    x: Float[np.ndarray, " n"], draws: np.random.Generator, num_resamples: int
) -> Float[np.ndarray, " r"]:
    means = np.empty(num_resamples)
    step = max(1, _CHUNK // len(x))
    for first in range(0, num_resamples, step):
        count = min(step, num_resamples - first)
        means[first : first + count] = x[draws.integers(len(x), size=(count, len(x)))].mean(1)
    return means


def _check_values(values: Shaped[np.ndarray, "*shape"], name: str) -> Float[np.ndarray, "*shape"]:
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0:
        raise StatisticsError(f"{name} is empty.", got=0, expected="at least one value")
    if bad := int((~np.isfinite(x)).sum()):
        raise StatisticsError(
            f"{name} holds values that are not finite.", got=f"{bad} of {x.size}", expected="finite numbers"
        )
    return x


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise StatisticsError("level must lie between 0 and 1.", got=level, expected="such as 0.95")


def _check_resampling(level: float, num_resamples: int) -> None:
    _check_level(level)
    needed = math.ceil(20 / (1 - level))
    if num_resamples < needed:
        raise StatisticsError(
            "There are too few resamples to see the tails.",
            got=num_resamples,
            expected=f"at least {needed} for level {level}",
        )


def _check_counts(successes: int, trials: int, level: float) -> None:
    _check_level(level)
    if trials < 1 or not 0 <= successes <= trials:
        raise StatisticsError(
            "A success rate needs 0 <= successes <= trials and at least one trial.",
            got=f"{successes} of {trials}",
        )
