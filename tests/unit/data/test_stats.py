"""Statistics against NumPy, splits and the sampler against their definitions."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from steadyhand.core.errors import DataError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.formats.blocks import episode_stats
from steadyhand.data.sampler import Sampler
from steadyhand.data.stats import (
    QUANTILES,
    SpreadFloor,
    Still,
    array_stats,
    distance_scale,
    hardly_moving,
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


def test_quantiles_are_those_of_their_names() -> None:
    stats = array_stats(np.random.default_rng(0).permutation(101)[:, None])
    found = {name: getattr(stats, name).item() for name in QUANTILES}
    assert found == {"q01": 1.0, "q10": 10.0, "q50": 50.0, "q90": 90.0, "q99": 99.0}


EPS = float(np.finfo(np.float32).eps)


@pytest.mark.parametrize(
    ("low", "high", "is_constant"),
    [
        *[(0.0, 0.0, True), (-1.0, 1.0, False), (5.0, 5.0, True)],
        *[(1.0, 1.0 + 4.0 * EPS, True), (1.0, 1.0 + 4.5 * EPS, False)],
        *[(-8.0, -8.0 + 31 * EPS, True), (-8.0, -8.0 + 33 * EPS, False)],
    ],
)
def test_constant_is_what_four_roundings_of_float32_may_make(low, high, is_constant: bool) -> None:
    assert array_stats(np.array([[low], [high], [low]])).constant == is_constant


def test_entries_of_lerobot_are_lists_of_the_shape_that_it_wants() -> None:
    images = np.arange(2 * 3 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 3)
    entry = histogram_stats(histogram(images), num_frames=2).to_lerobot(image=True)
    assert list(entry) == ["min", "max", "mean", "std", "count", *QUANTILES]
    assert {np.shape(value) for name, value in entry.items() if name != "count"} == {(3, 1, 1)}
    assert entry["min"] == [[[0.0]], [[1 / 255]], [[2 / 255]]]
    assert entry["count"] == [2]
    flat = array_stats(np.array([[1.0, 5.0], [3.0, 5.0]])).to_lerobot()
    assert (flat["mean"], flat["std"], flat["max"]) == ([2.0, 5.0], [1.0, 0.0], [3.0, 5.0])


# What hardly moves


def swings(*pairs: tuple[float, float]) -> np.ndarray:
    """Return 2 values of each entry, so far from a middle: (middle, spread)."""
    middle, spread = np.array(pairs).T
    return np.stack([middle - spread, middle + spread])


def floors(values: np.ndarray, spec: FeatureSpec | None = None, *, name: str = "x", **rule) -> np.ndarray:
    is_bounded = rule.pop("is_bounded", True)
    return SpreadFloor(**rule).of(name, spec, array_stats(values), is_bounded=is_bounded)


@pytest.mark.parametrize(
    ("values", "spec", "more", "expected"),
    [
        # The smaller of 1e-3 and a thousandth of the largest value of all entries.
        (swings((0.1, 0.1), (0.3, 0.2)), None, {}, [0.5e-3, 0.5e-3]),
        (swings((-0.3, 0.2), (0.1, 0.1)), None, {}, [0.5e-3, 0.5e-3]),
        (swings((0.1, 0.1), (30.0, 0.2)), None, {}, [1e-3, 1e-3]),
        (swings((0.0, 0.0)), None, {}, [1e-3]),
        (swings((0.1, 0.1)), None, {"absolute": 1e-5}, [1e-5]),
        (swings((0.1, 0.1)), None, {"relative": 0.02, "absolute": 1.0}, [4e-3]),
        # A finite bound is a value, too.
        (swings((0.1, 0.1)), {"low": (-0.8,)}, {}, [0.8e-3]),
        (swings((0.1, 0.1)), {"high": (0.7,)}, {}, [0.7e-3]),
        (swings((0.1, 0.1)), {"low": (-0.6,), "high": (0.4,)}, {}, [0.6e-3]),
        (swings((0.1, 0.1)), {"low": (-np.inf,), "high": (0.1,)}, {}, [0.2e-3]),
        (swings((0.1, 0.1)), {"low": (-0.8,)}, {"is_bounded": False}, [0.2e-3]),
        (swings((0.0, 0.0)), {"low": (0.0,), "high": (0.0,)}, {}, [1e-3]),
        # A unit has its own, an entry of another one the rule.
        (swings((0.1, 0.1), (0.5, 0.0)), {"units": ("m", "furlong")}, {}, [1e-4, 0.5e-3]),
        (
            swings((0.1, 0.1), (0.5, 0.0)),
            {"units": ("m", "furlong")},
            {"units": {"furlong": 7.0}},
            [0.5e-3, 7],
        ),
        # A feature that is named has what it is given.
        (swings((0.1, 0.1), (0.5, 0.0)), {"units": ("m", "m")}, {"features": {"x": 0.25}}, [0.25, 0.25]),
        (swings((0.1, 0.1)), None, {"features": {"y": 0.25}}, [0.2e-3]),
        # None is below the rounding of float32.
        (swings((0.0, 1e5), (0.5, 0.0)), {"units": ("m", "m")}, {}, [4e5 * EPS, 1e-4]),
        (swings((0.0, 1e5), (0.5, 0.5)), None, {"features": {"x": 0.0}}, [4e5 * EPS, 4 * EPS]),
    ],
)
def test_the_floor_of_every_entry(values: np.ndarray, spec, more, expected: list[float]) -> None:
    described = None if spec is None else FeatureSpec(shape=values.shape[1:], **spec)
    np.testing.assert_allclose(floors(values, described, **more), expected, rtol=1e-12)


def test_floors_have_the_shape_of_the_feature() -> None:
    values = swings(*[(0.5, 0.5)] * 6).reshape(2, 3, 2)
    spec = FeatureSpec(shape=(3, 2), units=("m", "rad", "deg", "cm", "mm", "N"))
    np.testing.assert_allclose(floors(values, spec), [[1e-4, 1e-3], [0.05, 1e-2], [0.1, 1e-2]])
    np.testing.assert_allclose(floors(values), np.full((3, 2), 1e-3))


def documented() -> dict[str, float]:
    """Return unit -> floor as docs/training.md lists them."""
    text = (Path(__file__).parents[3] / "docs/training.md").read_text()
    table = text[text.index("| unit (") :].split("\n\n")[0].splitlines()[2:-1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {unit: float(floor) for units, floor in rows for unit in re.split(", ", units)}


def test_floors_of_units_are_those_of_the_documentation() -> None:
    listed = documented()
    assert len(listed) == 15
    values = swings(*[(1.0, 1.0)] * 15)
    spec = FeatureSpec(shape=(15,), units=tuple(listed))
    np.testing.assert_allclose(floors(values, spec, absolute=9.0, relative=0.9), list(listed.values()))


def test_what_inputs_are_divided_by() -> None:
    # The spreads are at the floor, below it, above it, and there is no floor.
    values = swings((5.0, 0.02), (5.0, 0.01), (5.0, 0.03), (0.0, 0.0), (0.0, 0.5))
    stats, rule = array_stats(values), SpreadFloor()
    floor = np.array([stats.std[0], 0.02, 0.02, 0.0, 0.0])
    np.testing.assert_allclose(rule.input_scale(stats.std, stats, floor), [20.0, 20.0, 0.03, 1.0, 0.5])
    ranges = np.array([30.0, 0.01, 0.01, 0.3, 7.0])  # another measure of the spread
    np.testing.assert_allclose(rule.input_scale(ranges, stats, floor), [30.0, 20.0, 0.02, 1.0, 7.0])
    half = SpreadFloor(relative=0.5)
    np.testing.assert_allclose(half.input_scale(stats.std, stats, floor), [0.04, 0.04, 0.03, 1.0, 0.5])


def test_distances_are_measured_in_standard_deviations_and_what_rests_hardly_counts() -> None:
    values = swings((5.0, 0.5), (5.0, 1e-6))
    np.testing.assert_allclose(distance_scale(values), [0.5, 1.0])
    rule = SpreadFloor(features={"x": 0.7})
    np.testing.assert_allclose(distance_scale(values, floor=rule, name="x"), [700.0, 700.0])
    spec = FeatureSpec(shape=(2,), units=("m", "count"))
    np.testing.assert_allclose(distance_scale(values, spec), [0.5, 2000.0])


def test_what_hardly_moves_is_listed_with_its_floor() -> None:
    values = {
        "a": swings((5.0, 0.5), (5.0, 0.25), (5.0, 0.0)).reshape(2, 3),
        "b": swings((1.0, 0.125)),
        "turn": swings((1.0, 0.0)),
    }
    specs = {
        "a": FeatureSpec(shape=(3,), names=("p", "q", "r"), units=("N", "furlong", "m")),
        "b": FeatureSpec(shape=(1,)),
        "turn": FeatureSpec(shape=(1,), kind="rotation"),
        "unknown": FeatureSpec(shape=(1,)),
    }
    stats = {name: array_stats(value) for name, value in values.items()}
    a_1, a_2, b_0 = hardly_moving(specs, stats, floor=SpreadFloor(absolute=0.25, relative=0.9))
    assert a_1 == Still(feature="a", place=1, name="q", unit="furlong", std=0.25, floor=0.25)
    assert a_2 == Still(feature="a", place=2, name="r", unit="m", std=0.0, floor=1e-4)
    assert b_0 == Still(feature="b", place=0, name="", unit="", std=0.125, floor=0.25)
    assert hardly_moving(specs, {"b": array_stats(values["b"] * 0.0)})[0].std == 0.0


@pytest.mark.parametrize(
    ("length", "count"), [(1, 1), (60, 60), (100, 100), (200, 100), (10_000, 1000), (300_000, 10_000)]
)
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


def test_branches_of_the_first_episode_are_held_out_with_it() -> None:
    branch = np.array([[-1, -1], [-1, -1], [0, 3], [0, 1]])
    found = {tuple(split_episodes(4, 0.5, seed, branch=branch)[1].tolist()) for seed in range(9)}
    assert found == {(0, 2, 3), (1,)}


def test_split_refuses_to_leave_nothing() -> None:
    for num_episodes, fraction in ((3, 1.0), (3, -0.1)):
        with pytest.raises(DataError, match="fraction lies in"):
            split_episodes(num_episodes, fraction, 0)
    for num_episodes, fraction in ((1, 0.1), (2, 0.9), (1, 0.9)):
        with pytest.raises(DataError, match="nothing to train on"):
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


def test_a_sampler_needs_steps_and_a_batch_size() -> None:
    for size, batch_size in ((0, 3), (3, 0)):
        with pytest.raises(DataError, match=f"{size} steps, batch size {batch_size}"):
            Sampler(np.arange(size), batch_size=batch_size, seed=0)


def test_epochs_differ_and_seeds_differ() -> None:
    steps = np.arange(50)
    orders = [Sampler(steps, batch_size=5, seed=s).order(e).tolist() for s in (0, 1) for e in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_a_value_that_one_pixel_has_counts_in_the_range() -> None:
    image = np.full((1, 4, 4, 1), 100, dtype=np.uint8)
    image[0, 0, 0], image[0, 1, 1] = 3, 250
    stats = histogram_stats(histogram(image), num_frames=1)
    assert (stats.min.item(), stats.max.item()) == (3 / 255, 250 / 255)
