"""Specs refuse what does not fit together, and check arrays with any leading axes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import SpecError
from steadyhand.core.specs import (
    EnvSpec,
    FeatureSpec,
    class_spec,
    discrete_spec,
    image_spec,
    table_of_shapes,
)

VECTOR = FeatureSpec(
    shape=(2,), names=("steer", "speed"), units=("rad", "m/s"), low=(-1.0, 0.0), high=(1.0, 3.0)
)


def test_bounds_are_said_in_words():
    assert FeatureSpec(shape=(2,), low=(-1.0, -1.0), high=(1.0, 1.0)).bounds == "from -1 to 1"
    assert FeatureSpec(shape=(2,)).bounds == "without bounds"
    mixed = FeatureSpec(shape=(2,), low=(0.0, -math.inf), high=(math.inf, 3.0), names=("gas", "wheel"))
    assert mixed.bounds == "gas 0 at least, wheel 3 at most"
    assert discrete_spec(3, start=1).bounds == "discrete, 3 values, 1 to 3"
    assert FeatureSpec(shape=(2,), low=(0.0, 1.0), high=(5.0, 5.0)).bounds == (
        "dimension 0 from 0 to 5, dimension 1 from 1 to 5"
    )
    assert FeatureSpec(shape=(1,), high=(0.0,)).bounds == "0 at most"


@pytest.mark.parametrize(
    "fields",
    [
        {"shape": (0,)},
        {"shape": (2, -1)},
        {"shape": (4, 4, 3), "kind": "image"},
        {"shape": (4, 4), "kind": "image", "dtype": "uint8"},
        {"shape": (1,), "kind": "discrete", "dtype": "int64"},
        {"shape": (1,), "kind": "discrete", "dtype": "int32", "num_classes": 3},
        {"shape": (1,), "num_classes": 3},
        {"shape": (2,), "names": ("a",)},
        {"shape": (2,), "units": ("m", "m", "m")},
        {"shape": (2,), "low": (0.0,)},
        {"shape": (2,), "high": ()},
        {"shape": (2,), "high": (0.0, math.nan)},
        {"shape": (1,), "low": (math.nan,)},
        {"shape": (1,), "kind": "discrete", "dtype": "int64", "num_classes": 0},
        {"shape": (1,), "start": 1},
    ],
)
def test_a_feature_that_contradicts_itself_is_refused(fields):
    with pytest.raises(SpecError):
        FeatureSpec(**fields)


@given(st.lists(st.integers(0, 3), max_size=3))
def test_leading_axes_are_free_and_trailing_ones_are_not(leading):
    for spec in (VECTOR, image_spec(3, 4, 1), discrete_spec(5)):
        spec.check(np.zeros((*leading, *spec.shape), dtype=spec.dtype), name="value")
        with pytest.raises(SpecError, match="wrong shape"):
            spec.check(np.zeros((*leading, *spec.shape, 7), dtype=spec.dtype), name="value")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros(3, dtype=np.float32), "wrong shape"),
        (np.zeros((), dtype=np.float32), "wrong shape"),
        (np.zeros((2, 5), dtype=np.float32), "wrong shape"),
        (np.zeros(2), "wrong dtype"),
        (np.array([0.0, np.nan], dtype=np.float32), "not finite"),
        (np.array([[0.0, 1.0], [np.inf, 0.0]], dtype=np.float32), r"\[1, 0\]"),
    ],
)
def test_an_array_that_does_not_fit_is_named(value, words):
    with pytest.raises(SpecError, match=words) as caught:
        VECTOR.check(value, name="observation.state")
    assert str(caught.value).startswith("observation.state")


def test_size_counts_the_values_of_a_step():
    assert VECTOR.size == 2
    assert image_spec(30, 32, 3).size == 2880
    assert FeatureSpec(shape=()).size == 1


def test_values_beyond_a_bound_are_told_and_clipped_entry_by_entry():
    """A bound belongs to what it allows; infinity is outside even where there is no bound."""
    half = FeatureSpec(shape=(2,), low=(-1.0, -math.inf))
    values = np.array([[-1.0, 9.0], [-1.5, -9.0], [3.0, -np.inf], [np.inf, 0.0]], dtype=np.float32)
    assert half.outside(values).tolist() == [False, True, True, True]
    assert [half.holds(row) for row in values] == [True, False, False, False]
    assert half.clipped(values)[:2].tolist() == [[-1.0, 9.0], [-1.0, -9.0]]
    top = FeatureSpec(shape=(2,), high=(1.0, 2.0))
    assert top.clipped(values)[0].tolist() == [-1.0, 2.0]
    assert top.clipped(values).dtype == np.float32
    free = FeatureSpec(shape=(2,))
    assert free.clipped(values) is values
    assert free.holds(values[:2])
    assert not free.holds(np.array([0.0, np.nan], dtype=np.float32))
    edge = FeatureSpec(shape=(1,), low=(0.0,), high=(0.1,))
    assert edge.holds(np.float32([0.1]))
    assert edge.outside(np.float32([[0.0], [0.1], [0.11]])).tolist() == [False, False, True]
    grid = FeatureSpec(shape=(2, 2), low=(0.0,) * 4, high=(1.0,) * 4)
    inside = np.zeros((3, 1, 2, 2), dtype=np.float32)
    inside[2, 0, 1, 0] = 2.0
    assert grid.outside(inside).tolist() == [[False], [False], [True]]


def test_choices_are_counted_from_their_first():
    spec = class_spec((-1, 1))
    assert (spec.num_classes, spec.start, list(spec.classes)) == (3, -1, [-1, 0, 1])
    numbers = np.array([-2, -1, 1, 2])
    assert spec.is_class(numbers).tolist() == [False, True, True, False]
    assert spec.holds(numbers[1:3])
    assert not spec.holds(numbers[:2])
    assert not spec.holds(numbers[2:])
    spec.check(numbers[1:2], name="action")
    with pytest.raises(SpecError, match=r"2, first at index \[1, 0\]"):
        spec.check(np.array([[1], [2]]), name="action")
    assert class_spec((4, 4)).num_classes == 1
    assert list(VECTOR.classes) == []
    assert not VECTOR.is_class(numbers).any()
    assert class_spec((1, 100_000)).num_classes == 100_000
    for wrong in ((0, 100_000), (-50_000, 50_000), (1, 0)):
        with pytest.raises(SpecError):
            class_spec(wrong)


def test_features_are_listed_one_below_the_other():
    long = tuple(f"joint_{number}" for number in range(9))
    joints = FeatureSpec(shape=(9,), names=long)
    edge = FeatureSpec(shape=(1,), names=("n" * 60,))
    table = table_of_shapes("Seen", {"a": VECTOR, "long": joints, "e": edge, "n": discrete_spec(2)})
    assert table.splitlines() == [
        "Seen",
        "  a     float32 continuous [2]  steer, speed",
        f"  long  float32 continuous [9]  {', '.join(long)[:57]}...",
        f"  e     float32 continuous [1]  {'n' * 60}",
        "  n     int64 discrete, 2 values, 0 to 1",
    ]
    assert table_of_shapes("None", {}) == "None"
    (row,) = table_of_shapes("x", {"e": FeatureSpec(shape=(1,), names=("n" * 61,))}).splitlines()[1:]
    assert row == f"  e  float32 continuous [1]  {'n' * 57}..."


def test_an_env_spec_survives_json():
    spec = EnvSpec(
        env_id="car",
        observation={"observation.state": VECTOR, "observation.images.road": image_spec(30, 32, 1)},
        action=discrete_spec(3),
        control_dt=0.05,
        max_episode_steps=1200,
        privileged={"privileged.lateral": FeatureSpec(shape=(1,), units=("m",))},
    )
    assert from_data(to_data(spec), EnvSpec) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"control_dt": 0.0},
        {"control_dt": math.inf},
        {"control_dt": float("nan")},
        {"max_episode_steps": 0},
        {"observation": {}},
    ],
)
def test_an_env_spec_that_cannot_run_is_refused(change):
    fields = {
        "env_id": "car",
        "observation": {"observation.state": VECTOR},
        "action": VECTOR,
        "control_dt": 0.1,
        "max_episode_steps": 1,
    }
    EnvSpec(**fields)
    with pytest.raises(SpecError):
        EnvSpec(**{**fields, **change})


def test_specs_agree_about_shape_kind_and_the_numbers_of_choices_and_about_nothing_else():
    bare = FeatureSpec(shape=(2,))
    assert VECTOR.agrees_with(bare)
    assert bare.agrees_with(VECTOR)
    assert not VECTOR.agrees_with(FeatureSpec(shape=(3,)))
    assert not VECTOR.agrees_with(image_spec(2, 2, 3))
    assert discrete_spec(3, start=1).agrees_with(discrete_spec(3, start=1))
    assert not discrete_spec(3, start=1).agrees_with(discrete_spec(3))
    assert not discrete_spec(3).agrees_with(discrete_spec(4))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "uint64", "float32"])
def test_without_bounds_every_number_of_the_dtype_is_inside(dtype):
    kind = np.dtype(dtype)
    ends = {"b": lambda: [False, True], "f": lambda: [-3e38, 3e38]}
    values = ends.get(kind.kind, lambda: [np.iinfo(kind).min, np.iinfo(kind).max])()
    value = np.array([[one] for one in values], dtype=kind)
    assert not FeatureSpec(shape=(1,), dtype=dtype).outside(value).any()
    if kind.kind in "iu":
        assert FeatureSpec(shape=(1,), dtype=dtype, low=(1.0,), high=(9.0,)).outside(value).all()
        assert FeatureSpec(shape=(1,), dtype=dtype, low=(1.0,)).outside(value).tolist() == [True, False]
