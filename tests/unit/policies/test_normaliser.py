"""Statistics: exact, invertible, guarded, and never guessed."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from steadyhand.core.errors import ArtifactError, CapabilityError, ConfigError
from steadyhand.core.specs import FeatureSpec, discrete_spec, image_spec
from steadyhand.data.stats import SpreadFloor
from steadyhand.policies.choices import Mode
from steadyhand.policies.normaliser import Affine, mode_of

MODES: list[Mode] = ["min_max", "z_score", "quantile", "identity"]
STATISTICAL = MODES[:3]


def fitted(values: np.ndarray, mode: Mode) -> Affine:
    affine = Affine("x", values.shape[1:], mode=mode)
    affine.fit(values)
    return affine


@given(
    values=arrays(np.float32, (9, 3), elements=st.floats(-1e4, 1e4, width=32)),
    mode=st.sampled_from(MODES),
)
def test_inverse_undoes_forward(values: np.ndarray, mode: Mode) -> None:
    affine = fitted(values, mode)
    tensor = torch.from_numpy(values)
    size = float(np.abs(values).max()) + 1.0
    assert torch.isfinite(affine(tensor)).all()
    torch.testing.assert_close(affine.inverse(affine(tensor)), tensor, atol=4e-7 * size, rtol=1e-5)


def test_min_max_maps_the_range_to_minus_one_and_one() -> None:
    values = np.array([[-2.0, 10.0], [4.0, 20.0], [1.0, 12.5]], dtype=np.float32)
    normalised = fitted(values, "min_max")(torch.from_numpy(values))
    expected = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, -0.5]])
    torch.testing.assert_close(normalised, expected)


def test_z_score_gives_mean_zero_and_deviation_one() -> None:
    values = np.random.default_rng(0).gamma(2.0, 3.0, (500, 2)).astype(np.float32)
    normalised = fitted(values, "z_score")(torch.from_numpy(values)).double()
    torch.testing.assert_close(normalised.mean(0), torch.zeros(2).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.std(0, correction=0), torch.ones(2).double(), atol=1e-5, rtol=0)


def test_quantile_maps_the_exact_percentiles() -> None:
    values = np.arange(1001, dtype=np.float32)[:, None]
    affine = fitted(values, "quantile")
    torch.testing.assert_close(affine(torch.tensor([[10.0], [990.0]])), torch.tensor([[-1.0], [1.0]]))


def test_quantile_range_has_a_floor_where_outliers_hold_all_the_spread() -> None:
    """A range of 5 counts as one of .5 at least: half of that is the unit, so the outlier is at 20."""
    values = np.full((1000, 1), 2.0, dtype=np.float32)
    values[0] = 7.0
    affine = fitted(values, "quantile")
    assert affine(torch.tensor([[2.0], [7.0]])).flatten().tolist() == [0.0, 20.0]


def test_what_is_left_as_it_is_has_no_floor() -> None:
    affine = fitted(np.array([[1.0, 2.0], [1.0, 5.0]], dtype=np.float32), "identity")
    numbers = {name: value.tolist() for name, value in affine.state_dict().items()}
    assert numbers == {"offset": [0.0, 0.0], "scale": [1.0, 1.0], "spread": [0.0, 1.5], "floor": [0.0, 0.0]}
    assert affine.still(FeatureSpec(shape=(2,))) == ()


def test_an_output_that_is_always_zero_keeps_its_unit() -> None:
    affine = Affine("action", (2,), mode="min_max", role="output")
    affine.fit(
        np.array([[0.0, -3.0], [0.0, 1.0]], dtype=np.float32), floor=SpreadFloor(features={"action": 0.0})
    )
    assert affine.scale.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("mode", STATISTICAL)
@pytest.mark.parametrize("level", [0.0, 3.0, -1e5])
def test_a_constant_dimension_becomes_zero(mode: Mode, level: float) -> None:
    values = np.full((50, 1), level, dtype=np.float32)
    values[::2] = np.nextafter(np.float32(level), np.float32(np.inf)) if level else level
    affine = fitted(values, mode)
    assert affine(torch.from_numpy(values)).abs().max() <= 0.001
    moved = torch.from_numpy(values) + 0.01
    assert affine(moved).abs().max() <= 0.02


@pytest.mark.parametrize("mode", STATISTICAL)
def test_a_small_but_real_spread_is_not_taken_for_a_constant(mode: Mode) -> None:
    """Numbers without a unit that are all small are small numbers, not noise."""
    values = np.linspace(-1e-6, 1e-6, 21, dtype=np.float32)[:, None]
    assert 0.9 < fitted(values, mode)(torch.from_numpy(values)).max().item() < 2.0


def locked_joint(unit: str | None = None) -> tuple[np.ndarray, FeatureSpec]:
    """One joint moves by 1 rad, the other is locked at 0.5 and trembles by 1e-6."""
    draws = np.random.default_rng(0)
    values = np.stack([draws.uniform(-1, 1, 2000), 0.5 + 1e-6 * draws.standard_normal(2000)], axis=1)
    return values.astype(np.float32), FeatureSpec(shape=(2,), units=None if unit is None else (unit, unit))


@pytest.mark.parametrize("mode", STATISTICAL)
@pytest.mark.parametrize("unit", [None, "rad", "furlong"])
def test_an_input_that_trembles_is_not_blown_up(mode: Mode, unit: str | None) -> None:
    values, spec = locked_joint(unit)
    affine = Affine("x", (2,), mode=mode)
    affine.fit(values, spec=spec)
    still, moved = affine(torch.tensor([[0.0, 0.5], [0.0, 0.51]]))
    assert abs(still[1]) < 1e-4
    assert abs(moved[1]) < 0.02, "a hundredth of a radian is next to nothing"
    assert 0.5 < affine.scale[0] <= 1.0, "the joint that moves is scaled by its own spread"


@pytest.mark.parametrize("mode", STATISTICAL)
def test_an_action_that_trembles_is_answered_as_it_was_and_costs_no_fortune(mode: Mode) -> None:
    values, spec = locked_joint()
    affine = Affine("action", (2,), mode=mode, role="output")
    affine.fit(values, spec=spec)
    assert abs(affine(torch.tensor([0.0, 0.51]))[1]) < 20.0, "without a floor: 10 000"
    answer = affine.inverse(torch.tensor([0.0, 0.3]))[1].item()
    assert answer == pytest.approx(0.5, abs=1e-3), "an error of the network moves the locked joint by nothing"


@pytest.mark.parametrize(
    ("unit", "spread", "is_still"),
    [
        ("rad", 5e-4, True),
        ("rad", 5e-3, False),
        ("deg", 0.02, True),
        ("deg", 0.2, False),
        ("m", 5e-5, True),
        ("m", 5e-4, False),
        ("px", 0.05, True),
        ("count", 1.0, True),
        ("", 5e-4, True),
        ("", 5e-3, False),
    ],
)
def test_the_floor_is_that_of_the_unit(unit: str, spread: float, is_still: bool) -> None:
    values = np.stack([np.linspace(-5, 5, 100), np.tile(np.array([-spread, spread]), 50)], axis=1)
    spec = FeatureSpec(shape=(2,), names=("one", "two"), units=(unit, unit))
    affine = Affine("x", (2,), mode="z_score")
    affine.fit(values.astype(np.float32), spec=spec)
    assert [(one.name, one.unit) for one in affine.still(spec)] == ([("two", unit)] if is_still else [])


def test_a_floor_can_be_set_for_a_feature_and_for_a_unit() -> None:
    values, spec = locked_joint("rad")
    affine = Affine("x", (2,), mode="z_score")
    affine.fit(values, spec=spec, floor=SpreadFloor(features={"x": 0.0}))
    assert affine.scale[1].item() == pytest.approx(1e-6, rel=0.1)
    affine.fit(values, spec=spec, floor=SpreadFloor(units={"rad": 2.0}))
    assert len(affine.still(spec)) == 2
    for wrong in ({"absolute": -1.0}, {"units": {"m": np.inf}}, {"relative": 0.0}):
        with pytest.raises(ConfigError):
            SpreadFloor(**wrong)  # pyright: ignore


def test_a_bound_tells_the_size_of_a_command_that_never_moves() -> None:
    values = np.tile(np.array([-1e-6, 1e-6], dtype=np.float32), 50)[:, None]
    affine = Affine("action", (1,), mode="min_max", role="output")
    affine.fit(values, spec=FeatureSpec(shape=(1,), low=(-1.0,), high=(1.0,)))
    assert affine.scale.item() == pytest.approx(1e-3)
    affine.fit(values, spec=FeatureSpec(shape=(1,), low=(-np.inf,), high=(np.inf,)))
    assert affine.scale.item() == pytest.approx(1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_numbers_come_back_exactly_from_json(mode: Mode) -> None:
    values, spec = locked_joint()
    affine, other = (Affine("x", (2,), mode=mode) for _ in range(2))
    affine.fit(values, spec=spec)
    other.from_data(json.loads(json.dumps(affine.to_data())), source="here")
    for name, value in affine.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    for wrong in ({}, {**affine.to_data(), "mode": "other"}, {**affine.to_data(), "scale": [1.0]}, None):
        with pytest.raises(ArtifactError):
            other.from_data(wrong, source="here")


def test_without_statistics_it_raises_until_they_are_loaded() -> None:
    affine = Affine("observation.state", (2,), mode="z_score")
    with pytest.raises(CapabilityError, match=r"observation\.state"):
        affine(torch.zeros(2))
    affine.load_state_dict(fitted(np.eye(2, dtype=np.float32), "z_score").state_dict())
    assert torch.isfinite(affine(torch.zeros(2))).all()


@pytest.mark.parametrize(
    "spec",
    [discrete_spec(3), image_spec(4, 4, 1), FeatureSpec(shape=(6,), kind="rotation")],
    ids=lambda spec: spec.kind,
)
def test_only_continuous_features_are_normalised(spec: FeatureSpec) -> None:
    for overrides in ({}, {"x": "identity"}, {"y": "min_max"}):
        assert mode_of("x", spec, overrides=overrides, default="z_score") is None
    with pytest.raises(ConfigError, match="never normalised"):
        mode_of("x", spec, overrides={"x": "min_max"}, default="z_score")


def test_log_volume_is_the_change_of_density() -> None:
    affine = fitted(np.array([[0.0, -3.0], [4.0, 3.0]], dtype=np.float32), "min_max")
    assert affine.log_volume().item() == pytest.approx(np.log(2.0) + np.log(3.0))


def test_numbers_that_are_put_are_looked_at_again():
    affine = fitted(np.array([[1.0, 2.0], [3.0, 5.0]], dtype=np.float32), "z_score")
    affine(torch.zeros(1, 2))
    affine.put(scale=np.array([1.0, np.nan], dtype=np.float32))
    for use in (affine, affine.inverse, lambda _: affine.log_volume()):
        with pytest.raises(CapabilityError, match="no statistics"):
            use(torch.zeros(1, 2))
    assert affine.to_data()["scale"] is None
