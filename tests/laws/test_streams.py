"""Laws of named seeds and of the one stream that each env row has."""

import hashlib

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from steadyhand.core.seeding import RowStreams, derive, generator, short
from steadyhand.policies.noise import RowNoise

seeds = st.integers(0, 2**62)
sizes = st.integers(1, 7)


def test_uniform_is_uniform():
    draws = RowStreams.from_seed(0, 50).uniform(4000).ravel()
    assert draws.min() >= 0.0
    assert draws.max() < 1.0
    assert scipy.stats.kstest(draws, "uniform").pvalue > 1e-3
    grid = np.histogram2d(draws[:-1], draws[1:], bins=16)[0].ravel()
    assert scipy.stats.chisquare(grid).pvalue > 1e-3


def test_normal_is_normal():
    draws = RowStreams.from_seed(1, 50).normal(4001).ravel()
    assert scipy.stats.kstest(draws, "norm").pvalue > 1e-3
    error = 1 / np.sqrt(draws.size)
    assert abs(draws.mean()) < 4 * error
    assert abs(draws.var() - 1) < 4 * error * np.sqrt(2)
    assert abs(scipy.stats.kurtosis(draws)) < 4 * error * np.sqrt(24)


def test_both_halves_of_a_normal_draw_are_independent():
    draws = RowStreams.from_seed(2, 20_000).normal(2)
    for power in (1, 2):
        assert abs(np.corrcoef(draws[:, 0] ** power, draws[:, 1] ** power)[0, 1]) < 4 / np.sqrt(20_000)


@pytest.mark.parametrize("keys", ["consecutive", "derived"])
def test_neighbouring_rows_and_draws_are_independent(keys):
    rows = 2000
    streams = (
        RowStreams(np.arange(rows, dtype=np.uint64))
        if keys == "consecutive"
        else RowStreams.from_seed(0, rows)
    )
    draws = streams.uniform(8)
    limit = 4 / np.sqrt(rows)
    assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < limit
    between = np.corrcoef(draws.T) - np.eye(8)
    assert np.abs(between).max() < 1.3 * limit
    assert len(np.unique(draws)) == draws.size


@given(seeds, sizes, sizes, sizes)
def test_more_rows_do_not_change_the_first_ones(seed, rows, more, count):
    few, many = RowStreams.from_seed(seed, rows), RowStreams.from_seed(seed, rows + more)
    assert np.array_equal(few.uniform(count), many.uniform(count)[:rows])
    assert np.array_equal(few.normal(count), many.normal(count)[:rows])


@given(seeds, sizes, sizes, sizes)
def test_drawing_in_parts_equals_drawing_at_once(seed, rows, first, second):
    parts, whole = RowStreams.from_seed(seed, rows), RowStreams.from_seed(seed, rows)
    joined = np.concatenate([parts.uniform(first), parts.uniform(second)], axis=1)
    assert np.array_equal(joined, whole.uniform(first + second))


@given(seeds, st.lists(st.tuples(st.sets(st.integers(0, 4)), st.integers(1, 3)), max_size=8))
def test_a_row_never_notices_its_neighbours(seed, visits):
    """Whatever rows are drawn together, each row sees its own stream in order."""
    streams, alone = RowStreams.from_seed(seed, 5), RowStreams.from_seed(seed, 5).uniform(24)
    used = np.zeros(5, dtype=int)
    for chosen, count in visits:
        rows = np.array(sorted(chosen), dtype=np.int64)
        draws = streams.take(rows).uniform(count)
        for row, drawn in zip(rows, draws, strict=True):
            assert np.array_equal(drawn, alone[row, used[row] : used[row] + count])
        used[rows] += count
    assert streams.counters.tolist() == used.tolist()


def test_a_view_of_a_view_advances_the_root():
    root = RowStreams.from_seed(0, 4)
    inner = root.take(np.array([1, 2, 3])).take(np.array([0, 2]))
    inner.uniform(5)
    assert root.counters.tolist() == [0, 5, 0, 5]


@given(seeds, sizes)
def test_a_fork_neither_advances_nor_follows_its_source(seed, count):
    source, untouched = RowStreams.from_seed(seed, 3), RowStreams.from_seed(seed, 3)
    fork = source.fork("noise")
    forked = fork.uniform(count)
    drawn = source.uniform(count)
    assert np.array_equal(drawn, untouched.uniform(count))
    assert not np.intersect1d(forked, drawn).size
    assert not np.intersect1d(forked, RowStreams.from_seed(seed, 3).fork("other").uniform(count)).size
    assert np.array_equal(forked, RowStreams.from_seed(seed, 3).fork("noise").uniform(count))


def test_the_numbers_are_those_of_splitmix64():
    """Its published outputs for the seed 1234567; a stream shows their upper 53 bits."""
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    drawn = RowStreams(np.array([1234567], dtype=np.uint64)).uniform(4)[0]
    assert drawn.tolist() == [(number >> 11) / 2**53 for number in known]


def test_the_key_of_a_fork_is_the_next_number_beside_its_name():
    """The name is taken in by SHA-256, without a seed: forks are the same in every version."""

    def mixed(z):  # the finaliser of SplitMix64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    salt = int.from_bytes(hashlib.sha256(b"0/noise").digest()[:8], "little") >> 1
    key = mixed(6457827717110365317 ^ salt)
    assert RowStreams(np.array([1234567], dtype=np.uint64)).fork("noise").keys.tolist() == [key]


def test_names_with_slashes_are_not_paths():
    assert len({derive(0, "a", "b"), derive(0, "a/b"), derive(0, "a\\", "b"), derive(0, "a\\/b")}) == 4
    assert derive(3, "a", 1) == int.from_bytes(hashlib.sha256(b"3/a/1").digest()[:8], "little") >> 1


def test_forks_differ_after_an_advance():
    streams = RowStreams.from_seed(0, 2000)
    first = streams.fork("noise").uniform(1)[:, 0]
    streams.advance()
    second = streams.fork("noise").uniform(1)[:, 0]
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(2000)
    assert abs(np.corrcoef(first, RowStreams.from_seed(0, 2000).uniform(1)[:, 0])[0, 1]) < 4 / np.sqrt(2000)


def test_the_fork_of_a_view_is_the_fork_of_its_rows():
    streams, rows = RowStreams.from_seed(0, 5), np.array([1, 4])
    streams.uniform(3)
    assert np.array_equal(streams.take(rows).fork("a").uniform(2), streams.fork("a").uniform(2)[rows])


@given(seeds, sizes, sizes)
def test_a_restored_stream_continues_exactly(seed, before, after):
    streams = RowStreams.from_seed(seed, 3)
    streams.uniform(before)
    state = streams.state()
    expected = streams.normal(after)
    other = RowStreams.from_seed(seed + 1, 3)
    other.restore(state)
    assert np.array_equal(other.normal(after), expected)
    streams.restore(state)
    assert np.array_equal(streams.normal(after), expected)


def test_a_begun_row_starts_afresh_and_alone():
    streams = RowStreams.from_seed(0, 3)
    streams.uniform(4)
    streams.begin(np.array([1]), np.array([99], dtype=np.uint64))
    draws = streams.uniform(2)
    assert np.array_equal(draws[1], RowStreams(np.array([99], dtype=np.uint64)).uniform(2)[0])
    assert np.array_equal(draws[0], RowStreams.from_seed(0, 3).uniform(6)[0, 4:])


def test_shapes_are_batch_first():
    streams = RowStreams.from_seed(0, 3)
    assert streams.uniform().shape == (3,)
    assert streams.normal(2, 5).shape == (3, 2, 5)
    assert RowStreams.from_seed(0, 0).normal(2).shape == (0, 2)
    assert len(streams) == 3


names = st.lists(st.text(max_size=5), max_size=3)


@given(seeds, names, names)
def test_different_paths_give_different_seeds(seed, first, second):
    assert (derive(seed, *first) == derive(seed, *second)) == (first == second)
    assert 0 <= derive(seed, *first) < 2**63


def test_a_seed_is_the_same_on_every_machine():
    """The value follows from SHA-256 alone, computed here by hand."""
    import hashlib

    digest = hashlib.sha256(b"7/fit/2").digest()
    assert derive(7, "fit", 2) == int.from_bytes(digest[:8], "little") // 2
    assert generator(7, "fit").integers(1000) == np.random.default_rng(derive(7, "fit")).integers(1000)


def test_a_short_seed_has_31_bits():
    assert [short(seed) for seed in (0, 5, 2**31 - 1, 2**31, 3 * 2**31 + 7)] == [0, 5, 2**31 - 1, 0, 7]


def test_rows_never_draw_one_from_the_half_open_interval(monkeypatch):
    highest = np.full((2, 3), 1.0 - 2.0**-53)  # below 1 in float64, and 1 in float32
    monkeypatch.setattr(RowStreams, "uniform", lambda *_: highest)
    drawn = RowNoise(RowStreams.from_seed(0, 2)).uniform(2, 3)
    assert drawn.dtype == torch.float32
    assert bool((drawn < 1.0).all())
    assert float(drawn.min()) > 1.0 - 2.0**-23


def test_streams_are_splitmix64():
    # The first numbers of the reference generator (Vigna, splitmix64.c) from state 0 and 1234567.
    reference = {
        0: (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F),
        1234567: (6457827717110365317, 3203168211198807973, 9817491932198370423),
    }
    for key, numbers in reference.items():
        drawn = RowStreams(np.array([key], dtype=np.uint64)).uniform(3)
        assert drawn[0].tolist() == [(number >> 11) * 2.0**-53 for number in numbers]


def test_normal_is_box_and_muller():
    numbers = RowStreams.from_seed(3, 4).uniform(4)
    radius, angle = np.sqrt(-2 * np.log(1 - numbers[:, :2])), 2 * np.pi * numbers[:, 2:]
    for count in (3, 4):  # an odd count leaves the last of a pair aside
        drawn = RowStreams.from_seed(3, 4).normal(count)
        expected = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :count]
        np.testing.assert_allclose(drawn, expected, rtol=1e-12)


def test_single_precision_never_draws_one():
    class Last(RowStreams):
        def uniform(self, *shape):
            return np.full((len(self), *shape), 1.0 - 2.0**-53)

    drawn = RowNoise(Last.from_seed(0, 2)).uniform(2, 3)
    assert drawn.dtype == torch.float32
    assert torch.equal(drawn, torch.full((2, 3), 1.0 - 2.0**-24))


def test_a_forked_stream_moves_on_with_its_parent_and_names_are_apart():
    parent = RowStreams.from_seed(0, 3)
    first = parent.fork("a").uniform(2)
    assert np.array_equal(parent.fork("a").uniform(2), first)
    assert not np.isclose(parent.fork("b").uniform(2), first).any()
    parent.advance()
    assert not np.isclose(parent.fork("a").uniform(2), first).any()
    assert parent.counters.tolist() == [1, 1, 1]
