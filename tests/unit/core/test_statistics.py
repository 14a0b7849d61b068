"""Statistics against published tables, SciPy, closed forms and simulated coverage."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st

from steadyhand.core import statistics
from steadyhand.core.distributions import beta_cdf
from steadyhand.core.seeding import generator
from steadyhand.core.statistics import (
    StatisticsError,
    bootstrap_mean,
    clopper_pearson,
    clustered_mean,
    clustered_rate,
    mcnemar,
    newcombe_paired,
    paired_difference,
    student_mean,
    wilson,
)

counts = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
levels = st.floats(0.5, 0.999)


@pytest.mark.parametrize(
    ("successes", "trials", "score", "exact"),
    [
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0, 0.1611), (0.0, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_the_examples_of_newcombe_1998_table_1(successes, trials, score, exact):
    interval = wilson(successes, trials)
    assert (round(interval.low, 4), round(interval.high, 4)) == score
    interval = clopper_pearson(successes, trials)
    assert (round(interval.low, 4), round(interval.high, 4)) == exact


@given(counts, levels)
def test_intervals_of_a_rate_equal_scipy(count, level):
    successes, trials = count
    reference = scipy.stats.binomtest(successes, trials)
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        expected = reference.proportion_ci(confidence_level=level, method=method)
        interval = ours(successes, trials, level)
        assert interval.low == pytest.approx(expected.low, abs=1e-9)
        assert interval.high == pytest.approx(expected.high, abs=1e-9)
        assert successes / trials in interval


@given(counts)
def test_intervals_of_a_rate_mirror(count):
    successes, trials = count
    for interval_of in (wilson, clopper_pearson):
        ours, mirrored = interval_of(successes, trials), interval_of(trials - successes, trials)
        assert ours.low == pytest.approx(1 - mirrored.high, abs=1e-12)


def test_clopper_pearson_at_zero_is_a_closed_form():
    for trials in (1, 7, 64):
        assert clopper_pearson(0, trials).high == pytest.approx(1 - 0.025 ** (1 / trials), abs=1e-12)


def test_exact_coverage_over_all_rates():
    """Sum the binomial probabilities of the outcomes whose interval holds the true rate."""
    trials = 30
    rates = np.linspace(0.01, 0.99, 99)
    outcomes = np.arange(trials + 1)
    probability = scipy.stats.binom.pmf(outcomes[:, None], trials, rates)

    def coverage(interval_of):
        intervals = [interval_of(int(k), trials) for k in outcomes]
        low = np.array([one.low for one in intervals])[:, None]
        high = np.array([one.high for one in intervals])[:, None]
        return (probability * ((low <= rates) & (rates <= high))).sum(0)

    assert coverage(clopper_pearson).min() >= 0.95
    assert coverage(wilson).mean() == pytest.approx(0.95, abs=0.01)
    assert coverage(wilson).min() > 0.83


@pytest.mark.parametrize("trials", [1, 20, 64])
def test_the_interval_of_a_certain_outcome_ends_at_certainty(trials):
    for interval_of in (wilson, clopper_pearson):
        none, every = interval_of(0, trials), interval_of(trials, trials)
        assert (none.low, every.high) == (0.0, 1.0)
        assert none.high == pytest.approx(1.0 - every.low)
        assert 0.0 < none.high < 1.0


@example(0.0, 2.0, 3.0)
@example(1.0, 2.0, 3.0)
@given(st.floats(0, 1), st.floats(0.2, 500), st.floats(0.2, 500))
def test_incomplete_beta_equals_scipy(x, a, b):
    assert beta_cdf(x, a, b) == pytest.approx(scipy.special.betainc(a, b, x), abs=1e-10)


@pytest.mark.parametrize(
    ("successes", "trials", "level"),
    [(-1, 3, 0.95), (4, 3, 0.95), (0, 0, 0.95), (1, 3, 0.0), (1, 3, 1.0), (1, 3, math.nan)],
)
@pytest.mark.parametrize("interval_of", [wilson, clopper_pearson])
def test_impossible_counts_and_levels_are_refused(interval_of, successes, trials, level):
    with pytest.raises(StatisticsError):
        interval_of(successes, trials, level)


def test_bca_equals_scipy_up_to_resampling():
    values = np.random.default_rng(3).exponential(size=60)
    ours = bootstrap_mean(values, seed=0, num_resamples=100_000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=100_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours.value == values.mean()
    assert ours.interval.low == pytest.approx(theirs.low, abs=0.01)
    assert ours.interval.high == pytest.approx(theirs.high, abs=0.01)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("values", [[0.0, 1.0, 2.0, 7.0, 7.5], [-9.0, -2.0, 1.0, 1.5, 3.0, 4.0]])
def test_bca_is_efrons_formula(values, level):
    """Efron (1987), eq. 2.3; bias and acceleration, the latter by the jackknife, written out."""
    x, resamples = np.array(values), 4000
    draws = generator(5, "bootstrap")
    means = [x[row].mean() for row in draws.integers(len(x), size=(resamples, len(x)))]
    ties = sum(abs(mean - x.mean()) < 1e-9 for mean in means)
    below = sum(mean < x.mean() - 1e-9 for mean in means)
    bias = scipy.stats.norm.ppf((below + ties / 2) / resamples)
    without = [np.delete(x, place).mean() for place in range(len(x))]
    gaps = np.mean(without) - without
    acceleration = (gaps**3).sum() / (6 * (gaps**2).sum() ** 1.5)
    expected = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + scipy.stats.norm.ppf(tail)
        expected.append(np.quantile(means, scipy.stats.norm.cdf(bias + z / (1 - acceleration * z))))
    interval = bootstrap_mean(x, seed=5, level=level, num_resamples=resamples).interval
    assert (interval.low, interval.high) == pytest.approx(tuple(expected), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_the_bootstrap_has_no_unit(scale):
    values = np.array([0.0, 1.0, 2.0, 7.0])
    plain = bootstrap_mean(values, seed=0, num_resamples=1000).interval
    scaled = bootstrap_mean(scale * values, seed=0, num_resamples=1000).interval
    assert (scaled.low / scale, scaled.high / scale) == pytest.approx((plain.low, plain.high))


def test_resamples_are_the_same_however_many_are_drawn_at_a_time(monkeypatch):
    values = np.array([0.0, 1.0, 2.0, 7.0, 9.0])
    whole = bootstrap_mean(values, seed=0, num_resamples=1001)
    monkeypatch.setattr(statistics, "_CHUNK", 100)
    assert bootstrap_mean(values, seed=0, num_resamples=1001) == whole


def test_the_interval_of_symmetric_values_is_symmetric_however_often_resamples_tie():
    interval = bootstrap_mean(np.tile([0.0, 1.0], 6), seed=2, num_resamples=40_000).interval
    assert interval.low + interval.high == pytest.approx(1.0)
    assert interval.low == pytest.approx(0.25)  # 3 of 12: P(X <= 2) = 0.019 < 0.025 < P(X <= 3) = 0.073


def test_bootstrap_covers_a_skewed_mean():
    random = np.random.default_rng(5)
    samples = random.exponential(size=(400, 40))
    held = sum(
        1.0 in bootstrap_mean(sample, seed=number, num_resamples=1000).interval
        for number, sample in enumerate(samples)
    )
    # Four standard errors of a 93 percent coverage, which is what BCa reaches at n = 40.
    assert held / 400 == pytest.approx(0.93, abs=0.05)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30), st.floats(-50, 50))
def test_bootstrap_moves_with_its_values(values, shift):
    x = np.array(values)
    here, there = (bootstrap_mean(y, seed=1, num_resamples=500) for y in (x, x + shift))
    if np.ptp(x) == 0:
        assert here.interval.low == here.interval.high == here.value
    else:
        scale = 1e-2 * np.ptp(x) + 1e-6
        assert x.min() - 1e-9 <= here.interval.low <= here.interval.high <= x.max() + 1e-9
        assert there.interval.low - shift == pytest.approx(here.interval.low, abs=scale)


def test_bootstrap_depends_on_its_seed_alone():
    values = np.random.default_rng(0).normal(size=20)
    assert bootstrap_mean(values, seed=4) == bootstrap_mean(values, seed=4)
    assert bootstrap_mean(values, seed=4) != bootstrap_mean(values, seed=5)


def test_one_value_has_a_mean_and_no_interval():
    estimate = bootstrap_mean(np.array([3.0]), seed=0)
    assert (estimate.value, estimate.interval, estimate.count) == (3.0, None, 1)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf, 0.0]])
def test_bootstrap_refuses_what_has_no_mean(values):
    with pytest.raises(StatisticsError):
        bootstrap_mean(np.array(values), seed=0)


def test_bootstrap_refuses_too_few_resamples():
    with pytest.raises(StatisticsError, match="at least 400"):
        bootstrap_mean(np.arange(3.0), seed=0, num_resamples=399)
    assert bootstrap_mean(np.arange(3.0), seed=0, num_resamples=400).count == 3


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_the_binomial_test(only_a, only_b):
    pairs = only_a + only_b
    expected = scipy.stats.binomtest(only_a, pairs).pvalue if pairs else 1.0
    assert mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-9)


def test_the_paired_example_of_newcombe_1998b():
    interval = newcombe_paired(both=20, only_a=12, only_b=2, neither=16)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.0562, 0.3292)


@example((1, 0, 0, 1))  # a cross product of 1 that the correction takes away
@example((0, 1, 1, 0))  # a cross product of -1 that it leaves
@given(st.tuples(*[st.integers(0, 40)] * 4).filter(any))
def test_newcombes_method_10_is_built_from_wilsons_bounds(cells):
    """Its definition: the cosine rule over Wilson's half widths, phi corrected for continuity (1998b)."""
    both, only_a, only_b, neither = cells
    n, cross = sum(cells), both * neither - only_a * only_b
    margins = np.array([both + only_a, only_b + neither, both + only_b, only_a + neither])
    cross = max(cross - n / 2, 0) if cross > 0 else cross
    phi = cross / np.sqrt(margins.prod()) if margins.all() else 0.0
    rates = [(both + only_a) / n, (both + only_b) / n]
    (l1, u1), (l2, u2) = (
        scipy.stats.binomtest(round(rate * n), n).proportion_ci(method="wilson") for rate in rates
    )
    interval, (p1, p2) = newcombe_paired(both, only_a, only_b, neither), rates
    low = p1 - p2 - np.sqrt((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2)
    high = p1 - p2 + np.sqrt((u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2)
    assert (interval.low, interval.high) == pytest.approx((max(low, -1), min(high, 1)), abs=1e-9)
    assert interval.level == 0.95


@pytest.mark.parametrize("place", range(4))
def test_counts_of_pairs_cannot_be_negative_nor_all_nothing(place):
    cells = [5, 5, 5, 5]
    cells[place] = -1
    with pytest.raises(StatisticsError, match="negative"):
        newcombe_paired(*cells)
    with pytest.raises(StatisticsError, match="at least one trial"):
        newcombe_paired(0, 0, 0, 0)
    with pytest.raises(StatisticsError, match="negative"):
        mcnemar(*([-1, 2] if place % 2 else [2, -1]))


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5, -0.5, math.nan])
@pytest.mark.parametrize(
    "statistic",
    [
        lambda level: bootstrap_mean(np.arange(3.0), seed=0, level=level),
        lambda level: student_mean(np.arange(3.0), level=level),
        lambda level: clustered_mean(np.arange(6.0).reshape(2, 3), level=level),
        lambda level: clustered_mean(np.ones((2, 3)), level=level),
        lambda level: clustered_rate(np.ones((2, 3), dtype=bool), level=level),
        lambda level: paired_difference(np.arange(3.0), np.ones(3), seed=0, level=level),
        lambda level: newcombe_paired(1, 2, 3, 4, level),
    ],
)
def test_a_level_outside_of_0_to_1_is_refused_by_all(statistic, level):
    with pytest.raises(StatisticsError, match="between 0 and 1"):
        statistic(level)


def test_the_level_is_that_of_the_interval():
    """Each is wider at 99.9 percent than at 95, by 1.68 for a normal mean; and says which it is."""
    values = np.random.default_rng(0).normal(size=(4, 30))
    both = values > 0
    for statistic in (
        lambda level: bootstrap_mean(values[0], seed=0, level=level, num_resamples=30_000),
        lambda level: student_mean(values.reshape(-1), level=level),
        lambda level: clustered_mean(values[:, :1] + values, level=level),
        lambda level: clustered_rate(both, level=level),
        lambda level: paired_difference(both[0], both[1], seed=0, level=level).difference,
    ):
        wide, narrow = (statistic(level).interval for level in (0.999, 0.95))
        assert (wide.level, narrow.level) == (0.999, 0.95)
        assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_what_is_no_number_is_counted():
    with pytest.raises(StatisticsError) as caught:
        student_mean(np.array([1.0, math.nan, math.inf, 2.0]))
    assert "2 of 4" in str(caught.value)
    with pytest.raises(StatisticsError, match="b holds"):
        paired_difference(np.ones(2), np.array([1.0, math.nan]), seed=0)


def test_a_difference_reads_as_a_sentence():
    a, b = np.arange(64) < 48, np.arange(64) < 32
    text = str(paired_difference(a, b, seed=0))
    assert text.startswith("+25 points (95 % +")
    assert text.endswith("16 starts against 0, p = 3.1e-05")
    assert str(paired_difference(np.array([1.5]), np.array([1.0]), seed=0)) == "+0.5"


def test_paired_success_counts_by_hand():
    a = np.array([True, True, True, False, False, True])
    b = np.array([True, False, False, True, False, False])
    result = paired_difference(a, b, seed=0)
    assert (result.pairing.only_a, result.pairing.only_b) == (3, 1)
    assert result.difference.value == pytest.approx(2 / 6)
    assert result.pairing.p_value == pytest.approx(2 * (1 + 4) / 16)
    assert result.method == "newcombe"
    both_lost = paired_difference(a[3:5], b[4:], seed=0)
    assert both_lost.difference.interval == newcombe_paired(0, 0, 0, 2)
    assert paired_difference(a[:1], b[:1], seed=0).difference.count == 1


def test_a_clean_sweep_still_has_a_width():
    result = paired_difference(np.ones(64, dtype=bool), np.zeros(64, dtype=bool), seed=0)
    assert result.difference.value == result.difference.interval.high == 1.0
    assert 0.9 < result.difference.interval.low < 1.0
    assert result.pairing.p_value == pytest.approx(2.0**-63)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_swapping_the_two_flips_the_difference(pairs):
    a, b = (np.array(column) for column in zip(*pairs, strict=True))
    ours, theirs = paired_difference(a, b, seed=0), paired_difference(b, a, seed=0)
    assert ours.difference.value == -theirs.difference.value
    assert ours.difference.interval.low == pytest.approx(-theirs.difference.interval.high, abs=1e-12)
    assert ours.difference.value in ours.difference.interval


def test_newcombe_covers_by_simulation():
    random = np.random.default_rng(0)
    cells = random.multinomial(40, [0.55, 0.25, 0.05, 0.15], size=3000)
    held = sum(0.2 in newcombe_paired(*map(int, row)) for row in cells)
    assert held / 3000 == pytest.approx(0.95, abs=0.02)


def test_paired_numbers_cancel_what_a_start_adds():
    random = np.random.default_rng(2)
    start = random.normal(0.0, 10.0, 50)
    a, b = start + 1.0 + random.normal(0, 0.1, 50), start + random.normal(0, 0.1, 50)
    paired = paired_difference(a, b, seed=0).difference
    assert paired.interval.high - paired.interval.low < 0.15
    assert paired.interval == bootstrap_mean(a - b, seed=0).interval
    assert paired_difference(a, b, seed=0).pairing is None


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.ones(3, dtype=bool), np.ones(4, dtype=bool)),
        (np.ones(3, dtype=bool), np.ones(3)),
        (np.ones(0, dtype=bool), np.ones(0, dtype=bool)),
    ],
)
def test_what_cannot_be_paired_is_refused(a, b, unchecked_shapes):
    with pytest.raises(StatisticsError):
        paired_difference(a, b, seed=0)


@pytest.mark.parametrize(("count", "quantile"), [(2, 12.70620), (3, 4.30265), (10, 2.26216), (64, 1.99834)])
def test_students_interval_has_the_tabulated_quantiles(count, quantile):
    values = np.arange(count, dtype=np.float64)
    estimate = student_mean(values)
    half = quantile * values.std(ddof=1) / np.sqrt(count)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.interval.high - estimate.value == pytest.approx(half, rel=1e-5)
    assert estimate.value - estimate.interval.low == pytest.approx(half, rel=1e-5)


def test_one_value_has_no_spread_and_equal_values_have_none_either():
    assert student_mean(np.array([2.0])).interval is None
    interval = student_mean(np.array([2.0, 2.0])).interval
    assert (interval.low, interval.high) == (2.0, 2.0)
    with pytest.raises(StatisticsError):
        student_mean(np.zeros(0))
    with pytest.raises(StatisticsError):
        student_mean(np.array([1.0, np.inf]))


@pytest.mark.parametrize("num_seeds", [3, 10])
def test_clusters_cover_new_seeds_where_pooling_does_not(num_seeds):
    """Seeds differ by 1, starts by 0.3, episodes by 0.1; the true mean is 0."""
    random = np.random.default_rng(7)
    clustered = pooled = 0
    for trial in range(200):
        seeds, starts = random.normal(0, 1.0, (num_seeds, 1)), random.normal(0, 0.3, (1, 20))
        values = seeds + starts + random.normal(0, 0.1, (num_seeds, 20))
        clustered += 0.0 in clustered_mean(values).interval
        pooled += 0.0 in bootstrap_mean(values.reshape(-1), seed=trial, num_resamples=500).interval
    assert clustered / 200 > 0.91
    assert pooled / 200 < 0.6


def test_where_only_seeds_or_only_starts_differ_the_interval_is_students():
    parts = np.array([1.0, 2.0, 6.0, 7.0])
    alone = student_mean(parts).interval
    for values in (np.tile(parts[:, None], (1, 9)), np.tile(parts, (9, 1))):
        interval = clustered_mean(values).interval
        assert interval.low == pytest.approx(alone.low)
        assert interval.high == pytest.approx(alone.high)


def test_two_seeds_or_one_start_are_enough():
    for parts in (np.array([[1.0], [4.0]]), np.array([[1.0], [4.0], [4.5]])):
        ours, alone = clustered_mean(parts).interval, student_mean(parts[:, 0]).interval
        assert (ours.low, ours.high) == pytest.approx((alone.low, alone.high))
    with pytest.raises(StatisticsError, match="2 seeds x 0 starts"):
        clustered_mean(np.ones((2, 0)))


def test_a_rate_is_never_surer_than_one_seed_of_the_starts():
    """One loss more cannot make the interval narrower, and all equal is not certainty."""
    all_kept = np.ones((10, 64), dtype=bool)
    one_lost = all_kept.copy()
    one_lost[3, 5] = False
    assert clustered_rate(all_kept).interval == wilson(64, 64)
    assert clustered_rate(one_lost).interval.low < wilson(64, 64).low
    assert clustered_rate(one_lost).interval.high == 1.0
    assert clustered_rate(~all_kept).interval == wilson(0, 64)
    assert clustered_rate(one_lost[3:4]).interval == wilson(63, 64)


def test_a_rate_that_depends_on_the_seed_has_the_interval_of_the_seeds():
    success = np.zeros((3, 64), dtype=bool)
    for row, kept in zip(success, (20, 28, 24), strict=True):
        row[:kept] = True
    estimate = clustered_rate(success)
    assert estimate.value == pytest.approx(72 / 192)
    assert estimate.interval.high >= clustered_mean(success).interval.high
    low, high = clustered_mean(success).interval.low, clustered_mean(success).interval.high
    inner = wilson(24, 64)
    assert (estimate.interval.low, estimate.interval.high) == (min(low, inner.low), max(high, inner.high))
    assert low < inner.low < inner.high < high
    two = clustered_rate(np.arange(64) < np.array([[3], [60]])).interval
    assert (two.low, two.high) == (0.0, 1.0)
    for wrong in (2.0, -1.0):
        with pytest.raises(StatisticsError, match="successes"):
            clustered_rate(np.full((2, 3), wrong))
    with pytest.raises(StatisticsError):
        clustered_rate(np.ones((0, 64), dtype=bool))
    with pytest.raises(StatisticsError):
        clustered_rate(np.ones((3, 0), dtype=bool))


def test_one_training_seed_is_refused():
    with pytest.raises(StatisticsError, match="at least two seeds"):
        clustered_mean(np.ones((1, 64)))
