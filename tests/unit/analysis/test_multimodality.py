"""Numbers about several ways: derived by hand, by closed forms, and by counting how often intervals cover."""

import math
from dataclasses import replace

import numpy as np
import pytest

from steadyhand.analysis.multimodality import (
    Ways,
    behaviour_entropy,
    conditional_distance,
    conditional_entropy,
    entropy_bias,
    normalised_entropy,
    persistence,
    summarise_modes,
    switches,
    total_variation,
    within_mode_spread,
)
from steadyhand.core.errors import DataError
from steadyhand.core.statistics import clopper_pearson, wilson


def ways(modes, *, success=None, group=None, track=None, paths=None) -> Ways:
    modes = np.array(modes, dtype=np.int64)
    return Ways(
        modes=modes,
        success=np.ones(len(modes), dtype=bool) if success is None else np.array(success, dtype=bool),
        group=np.zeros(len(modes), dtype=np.int64) if group is None else np.array(group, dtype=np.int64),
        track=track,
        paths=paths,
    )


@pytest.mark.parametrize(
    ("counts", "entropy"),
    [
        ([5, 5], 1.0),
        ([7, 0], 0.0),
        ([1, 3], 0.8112781244591328),
        ([4, 4, 4, 4], 1.0),
        ([4, 4, 0, 0], 0.5),
        ([2] * 24, 1.0),
    ],
)
def test_entropy_in_base_b(counts, entropy):
    assert normalised_entropy(np.array(counts)) == pytest.approx(entropy, abs=1e-12)
    assert behaviour_entropy(np.array(counts), seed=0).value == pytest.approx(entropy, abs=1e-12)


@pytest.mark.parametrize(("share", "n"), [((0.5, 0.5), 64), ((0.3, 0.7), 64), ((1 / 24,) * 24, 480)])
def test_the_interval_of_entropy_covers_the_truth(share, n):
    random = np.random.default_rng(0)
    truth = float(normalised_entropy(np.array(share)))
    covered = 0
    for seed in range(60):
        found = behaviour_entropy(random.multinomial(n, share), seed=seed, num_resamples=400)
        covered += found.interval.low - 1e-12 <= truth <= found.interval.high + 1e-12
    assert covered >= 51, "nominally 57 of 60; fewer than 51 has probability 0.4 % at coverage 0.93"


def test_the_bias_of_entropy_is_what_many_samples_show():
    random = np.random.default_rng(1)
    counts = random.multinomial(96, [1 / 24] * 24, size=4000)
    missing = 1.0 - normalised_entropy(counts).mean()
    predicted = np.mean([entropy_bias(one) for one in counts[:200]])
    assert predicted == pytest.approx(missing, rel=0.15)
    assert entropy_bias(np.array([5, 0])) == 0.0


def test_one_way_seen_does_not_prove_that_there_is_no_other():
    found = behaviour_entropy(np.array([20, 0]), seed=0)
    unseen = 1 - clopper_pearson(20, 20).low
    high = -(unseen * math.log2(unseen) + (1 - unseen) * math.log2(1 - unseen))
    assert found.value == found.interval.low == 0.0
    assert found.interval.high == pytest.approx(high)


def test_unseen_ways_may_be_all_of_the_others():
    ends = [behaviour_entropy(np.array([n, *[0] * 23]), seed=0).interval.high for n in (1, 5, 6, 20, 480)]
    assert ends == sorted(ends, reverse=True), "more episodes leave less room"
    unseen = 1 - clopper_pearson(480, 480).low
    dealt = np.array([1 - unseen, *[unseen / 23] * 23])
    assert ends[-1] == pytest.approx(float(-(dealt * np.log(dealt)).sum() / np.log(24)))
    assert ends[0] == pytest.approx(1.0)


def test_a_rule_of_the_start_fools_the_marginal_and_not_the_conditional_numbers():
    random = np.random.default_rng(2)
    group = np.repeat(np.arange(20), 20)
    demonstrator = ways(random.integers(0, 2, 400), group=group)
    rule = ways(group % 2, group=group)
    coin = ways(random.integers(0, 2, 400), group=group)

    fooled = conditional_distance(rule, demonstrator, 2, seed=0)
    honest = conditional_distance(coin, demonstrator, 2, seed=0)
    assert fooled.marginal < 0.06, "shares over all starts agree"
    assert fooled.value.value == pytest.approx(0.5, abs=0.05), "half of what it should do is missing"
    assert honest.value.value < 0.15
    assert honest.chance == pytest.approx(honest.value.value, abs=0.05)
    assert fooled.value.interval.low > 2 * fooled.chance

    assert behaviour_entropy(rule.table(2).sum(0), seed=0).value == pytest.approx(1.0)
    given = conditional_entropy(rule, num_modes=2, seed=0)
    assert given.value.value == 0.0
    assert given.independent > 0.9
    assert conditional_entropy(coin, num_modes=2, seed=0).value.value > 0.9


def test_conditional_numbers_need_two_episodes_from_a_start():
    apart = ways([0, 1, 0], group=[0, 1, 2])
    assert conditional_entropy(apart, num_modes=2, seed=0) is None
    assert conditional_distance(apart, apart, 2, seed=0) is None
    twice = ways([0, 1, 0, 1], group=[0, 0, 1, 2])
    assert conditional_entropy(twice, num_modes=2, seed=0).value.value == pytest.approx(1.0)


def test_total_variation_by_hand():
    assert total_variation(np.array([3, 1]), np.array([1, 3])) == pytest.approx(0.5)
    assert total_variation(np.array([2, 2, 0]), np.array([0, 0, 9])) == 1.0
    assert total_variation(np.array([2, 6]), np.array([1, 3])) == 0.0


def test_persistence_by_hand():
    steady = [0] * 12
    late = [-1] * 3 + [1] * 9
    dithering = [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]
    assert persistence(np.array([steady]), lag=8, seed=0).value == 1.0
    assert persistence(np.array([late]), lag=8, seed=0).value == 1.0, "one pair: steps 3 and 11"
    assert persistence(np.array([dithering]), lag=4, seed=0).value == 0.0
    assert persistence(np.array([steady, dithering]), lag=4, seed=0).value == 0.5
    assert persistence(np.array([[-1] * 12]), lag=8, seed=0) is None
    assert persistence(np.array([steady]), lag=12, seed=0) is None
    assert switches(np.array([steady, dithering])) == 1.0
    assert switches(np.array([[0, -1, 1, 1, -1, 0]])) == 2.0


def test_steps_after_the_end_count_for_nothing():
    track = np.array([[0, 0, 0, -1, -1, -1], [0, 0, 0, 1, 1, 1]])
    assert persistence(track, lag=2, seed=0).value == pytest.approx((1.0 + 2 / 4) / 2)


def test_the_spread_within_a_way_is_the_spread_about_its_own_mean_path():
    def straight(y, length):
        return np.stack([np.linspace(0, 1, length), np.full(length, y)], axis=1).astype(np.float32)

    paths = (straight(1.0, 9), straight(1.2, 17), straight(-1.0, 9), straight(-1.0, 5), straight(9.0, 5))
    found = ways([0, 0, 1, 1, 0], success=[1, 1, 1, 1, 0], paths=paths)
    # Two paths 0.2 m apart are 0.1 m from their mean, over n - 1 = 1; the other way adds 0, over 1 as well.
    assert within_mode_spread(found) == pytest.approx(math.sqrt((0.01 + 0.01) / 2), rel=1e-5)
    assert within_mode_spread(ways([0, 1], paths=paths[:2])) is None
    assert within_mode_spread(replace(found, paths=None)) is None


def test_the_average_of_two_ways_is_invalid_and_covers_nothing():
    reference = ways([0, 1] * 8)
    crashed = summarise_modes(ways([-1] * 16, success=[0] * 16), num_modes=2, reference=reference)
    assert (crashed.covered, crashed.available, crashed.valid) == (0, 2, 0)
    assert crashed.validity_interval == wilson(0, 16)
    assert crashed.entropy is None
    assert crashed.shares == ()
    assert crashed.distance is None


def test_failures_and_open_endings_are_no_way():
    found = summarise_modes(
        ways([0, 1, 2, -1, 3], success=[1, 1, 0, 1, 0]), num_modes=4, reference=ways([0, 0, 2, 3])
    )
    assert found.counts == (1, 1, 0, 0)
    assert found.valid == 2
    assert (found.covered, found.available) == (1, 3), "of ways 0, 2 and 3, it took 0"


def test_more_ways_than_the_env_has_are_refused(unchecked_shapes):
    with pytest.raises(DataError, match="more ways"):
        summarise_modes(ways([0, 2]), num_modes=2)
    with pytest.raises(DataError, match="outcome"):
        ways([0, 1], success=[1])


def test_one_way_has_an_entropy_of_plain_zero() -> None:
    assert str(float(normalised_entropy(np.array([0, 5])))) == "0.0"
