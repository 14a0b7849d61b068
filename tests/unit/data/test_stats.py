"""Statistics against NumPy, splits and the sampler against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from steadyhand.core.errors import DataError
from steadyhand.data.formats.blocks import episode_stats
from steadyhand.data.sampler import Sampler
from steadyhand.data.stats import (
    QUANTILES,
    array_stats,
    histogram,
    histogram_stats,
    sample_indices,
    split_episodes,
)


@given(
    arrays(
        np.float32, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=st.floats(-1e3, 1e3, width=32)
    )
)
def test_array_stats_equal_numpy(values: np.ndarray) -> None:
    stats = array_stats(values)
    wide = values.astype(np.float64)
    np.testing.assert_allclose(stats.mean, wide.mean(0))
    np.testing.assert_allclose(stats.std, wide.std(0))
    for name, q in QUANTILES.items():
        np.testing.assert_allclose(getattr(stats, name), np.quantile(wide, q, axis=0), atol=1e-9)
    np.testing.assert_array_equal(stats.min, wide.min(0))
    np.testing.assert_array_equal(stats.max, wide.max(0))


@given(
    arrays(
        np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3]))
    )
)
def test_histogram_stats_equal_numpy_on_the_pixels(images: np.ndarray) -> None:
    stats = histogram_stats(histogram(images), num_frames=len(images))
    pixels = images.reshape(-1, images.shape[-1]) / 255.0
    np.testing.assert_allclose(stats.mean, pixels.mean(0), atol=1e-12)
    np.testing.assert_allclose(stats.std, pixels.std(0), atol=1e-12)
    np.testing.assert_array_equal(stats.min, pixels.min(0))
    np.testing.assert_array_equal(stats.max, pixels.max(0))
    for name, q in QUANTILES.items():
        np.testing.assert_allclose(getattr(stats, name), np.quantile(pixels, q, axis=0), atol=1e-12)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=8),
    st.sampled_from(["f4", "i8", "?"]),
    st.integers(0, 99),
)
def test_stats_of_many_episodes_are_those_of_each(lengths: list[int], dtype: str, seed: int) -> None:
    total = sum(lengths)
    values = (5 * np.random.default_rng(seed).normal(size=(total, 2, 3))).astype(dtype)
    found = episode_stats(values, np.array(lengths))
    for number, part in enumerate(np.split(values, np.cumsum(lengths)[:-1])):
        one = array_stats(part)
        for name, value in found.items():
            np.testing.assert_allclose(value[number], getattr(one, name), rtol=1e-12, atol=1e-12)


def test_histograms_add_up() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(histogram(images), histogram(images[:2]) + histogram(images[2:]))


def test_constant_is_guarded_against_rounding() -> None:
    values = np.full((100, 3), 0.1, dtype=np.float32)
    values[50, 1] = np.nextafter(np.float32(0.1), np.float32(1))
    values[50, 2] = 0.1001
    assert array_stats(values).constant.tolist() == [True, True, False]


@pytest.mark.parametrize(("length", "count"), [(1, 1), (60, 60), (100, 100), (200, 100), (10_000, 1000)])
def test_sampled_frames_are_as_many_as_lerobot_takes(length: int, count: int) -> None:
    indices = sample_indices(length)
    assert len(indices) == count
    assert indices[0] == 0
    assert indices[-1] == length - 1
    assert len(np.unique(indices)) == count


@given(
    parents=st.lists(st.booleans(), min_size=2, max_size=30),
    fraction=st.floats(0.01, 0.6),
    seed=st.integers(0, 99),
)
def test_split_keeps_families_together(parents: list[bool], fraction: float, seed: int) -> None:
    is_branch = np.array([False, False, *parents])
    branch = np.full((len(is_branch), 2), -1, dtype=np.int64)
    originals = np.flatnonzero(~is_branch)
    for number in np.flatnonzero(is_branch):
        earlier = originals[originals < number]
        branch[number] = (earlier[number % len(earlier)], 0)
    train, held = split_episodes(len(is_branch), fraction, seed, branch=branch)
    assert sorted([*train, *held]) == list(range(len(is_branch)))
    assert len(np.intersect1d(held, originals)) == max(1, round(fraction * len(originals)))
    for number in np.flatnonzero(is_branch):
        assert (number in held) == (branch[number, 0] in held)
    again = split_episodes(len(is_branch), fraction, seed, branch=branch)
    np.testing.assert_array_equal(held, again[1])


def test_split_refuses_to_leave_nothing() -> None:
    for num_episodes, fraction in ((1, 0.1), (3, 1.0), (3, -0.1), (2, 0.9)):
        with pytest.raises(DataError):
            split_episodes(num_episodes, fraction, 0)
    assert len(split_episodes(1, 0.0, 0)[0]) == 1


@given(
    size=st.integers(1, 40), batch_size=st.integers(1, 60), seed=st.integers(0, 9), epochs=st.integers(1, 4)
)
def test_sampler_draws_each_step_once_an_epoch_and_needs_no_history(
    size: int, batch_size: int, seed: int, epochs: int
) -> None:
    steps = np.arange(size) * 3 + 1
    sampler = Sampler(steps, batch_size=batch_size, seed=seed)
    batches = -(-size * epochs // batch_size)
    stream = [sampler.batch_indices(step) for step in range(batches)]
    assert all(len(batch) == batch_size for batch in stream)
    flat = np.concatenate(stream)
    for epoch in range(epochs):
        assert sorted(flat[epoch * size : (epoch + 1) * size]) == steps.tolist()
    last = Sampler(steps, batch_size=batch_size, seed=seed).batch_indices(batches - 1)
    np.testing.assert_array_equal(last, stream[-1])


def test_epochs_differ_and_seeds_differ() -> None:
    steps = np.arange(50)
    orders = [Sampler(steps, batch_size=5, seed=s).order(e).tolist() for s in (0, 1) for e in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_a_value_that_one_pixel_has_counts_in_the_range() -> None:
    image = np.full((1, 4, 4, 1), 100, dtype=np.uint8)
    image[0, 0, 0], image[0, 1, 1] = 3, 250
    stats = histogram_stats(histogram(image), num_frames=1)
    assert (stats.min.item(), stats.max.item()) == (3 / 255, 250 / 255)
