"""Specs refuse what does not fit together, and check arrays with any leading axes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import SpecError
from steadyhand.core.specs import EnvSpec, FeatureSpec, discrete_spec, image_spec

VECTOR = FeatureSpec(
    shape=(2,), names=("steer", "speed"), units=("rad", "m/s"), low=(-1.0, 0.0), high=(1.0, 3.0)
)


def test_bounds_are_said_in_words():
    assert FeatureSpec(shape=(2,), low=(-1.0, -1.0), high=(1.0, 1.0)).bounds == "from -1 to 1"
    assert FeatureSpec(shape=(2,)).bounds == "without bounds"
    mixed = FeatureSpec(shape=(2,), low=(0.0, -math.inf), high=(math.inf, 3.0), names=("gas", "wheel"))
    assert mixed.bounds == "gas 0 at least, wheel 3 at most"
    assert discrete_spec(3, start=1).bounds == "discrete, 3 values, 1 to 3"


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
    [{"control_dt": 0.0}, {"control_dt": float("nan")}, {"max_episode_steps": 0}, {"observation": {}}],
)
def test_an_env_spec_that_cannot_run_is_refused(change):
    fields = {
        "env_id": "car",
        "observation": {"observation.state": VECTOR},
        "action": VECTOR,
        "control_dt": 0.1,
        "max_episode_steps": 5,
    }
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
