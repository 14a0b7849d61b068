"""Statistics: exact, invertible, guarded, and never guessed."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.specs import FeatureSpec, discrete_spec, image_spec
from steadyhand.policies.normaliser import Affine, Mode, mode_of

MODES: list[Mode] = ["min_max", "z_score", "quantile", "identity"]


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
    values = np.zeros((1000, 1), dtype=np.float32)
    values[0] = 5.0
    normalised = fitted(values, "quantile")(torch.from_numpy(values))
    assert normalised.abs().max() <= 20.0


@pytest.mark.parametrize("mode", ["min_max", "z_score", "quantile"])
@pytest.mark.parametrize("level", [0.0, 3.0, -1e5])
def test_a_constant_dimension_becomes_zero(mode: Mode, level: float) -> None:
    values = np.full((50, 1), level, dtype=np.float32)
    values[::2] = np.nextafter(np.float32(level), np.float32(np.inf)) if level else level
    affine = fitted(values, mode)
    assert affine(torch.from_numpy(values)).abs().max() <= 0.01 * max(1.0, abs(level) / 1e4)
    assert affine.scale.item() == 1.0


def test_a_small_but_real_spread_is_not_taken_for_a_constant() -> None:
    values = np.linspace(0.0, 1e-9, 20, dtype=np.float32)[:, None]
    assert fitted(values, "min_max")(torch.from_numpy(values)).max().item() == pytest.approx(1.0)


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
    assert mode_of("x", spec, overrides={}, default="z_score") is None
    with pytest.raises(ConfigError, match="never normalised"):
        mode_of("x", spec, overrides={"x": "min_max"}, default="z_score")


def test_log_volume_is_the_change_of_density() -> None:
    affine = fitted(np.array([[0.0, -3.0], [4.0, 3.0]], dtype=np.float32), "min_max")
    assert affine.log_volume().item() == pytest.approx(np.log(2.0) + np.log(3.0))
