"""Statistics of the data, kept inside the policy so that they cannot be lost or mixed up."""

from collections.abc import Mapping
from typing import Literal, assert_never

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.stats import array_stats

Mode = Literal["min_max", "z_score", "quantile", "identity"]
"""min_max: the data's range to [-1, 1]. z_score: mean 0, deviation 1. quantile: 1 % and 99 % to -1 and 1."""

_QUANTILE_FLOOR = 0.1
"""Least share of the full range that the quantile range may be, so that outliers stay within 2 / 0.1 = 20."""


class Affine(nn.Module):
    """x -> (x - offset) / scale for one feature. Until `fit` or loading, both are NaN and using them raises.

    Args:
        name: The feature, for messages.
        shape: Shape of one step.
        mode: How offset and scale are found.
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, name: str, shape: tuple[int, ...], *, mode: Mode) -> None:
        super().__init__()
        self.name = name
        self.mode: Mode = mode
        self._is_fitted = False
        self.register_buffer("offset", torch.full(shape, torch.nan))
        self.register_buffer("scale", torch.full(shape, torch.nan))

    def fit(self, values: Float[np.ndarray, "N ..."]) -> None:
        """Set offset and scale from (N, *shape) values, exactly, in double precision."""
        offset, scale = _statistics(values, self.mode)
        self.offset.copy_(torch.from_numpy(offset))
        self.scale.copy_(torch.from_numpy(scale))

    def forward(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Normalise."""
        self._require_fitted()
        return (value - self.offset) / self.scale

    def inverse(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return to raw units."""
        self._require_fitted()
        return value * self.scale + self.offset

    def log_volume(self) -> Float[Tensor, ""]:
        """Return log |d raw / d normalised| of one step, which turns densities into raw units."""
        self._require_fitted()
        return self.scale.log().sum()

    def _require_fitted(self) -> None:
        if self._is_fitted:
            return
        if not bool(torch.isfinite(self.scale).all()):
            raise CapabilityError(
                f"The policy has no statistics of {self.name}.",
                hint="call policy.fit_statistics(frames, steps) before training, or load a trained policy",
            )
        self._is_fitted = True


def _statistics(values: np.ndarray, mode: Mode) -> tuple[np.ndarray, np.ndarray]:
    stats = array_stats(values)
    match mode:
        case "min_max":
            offset, scale = (stats.min + stats.max) / 2, (stats.max - stats.min) / 2
        case "z_score":
            offset, scale = stats.mean, stats.std
        case "quantile":
            spread = np.maximum(stats.q99 - stats.q01, _QUANTILE_FLOOR * (stats.max - stats.min))
            offset, scale = (stats.q01 + stats.q99) / 2, spread / 2
        case "identity":
            return np.zeros_like(stats.mean), np.ones_like(stats.mean)
        case _:
            assert_never(mode)
    return np.where(stats.constant, stats.min, offset), np.where(stats.constant, 1.0, scale)


def mode_of(name: str, spec: FeatureSpec, *, overrides: Mapping[str, Mode], default: Mode) -> Mode | None:
    """Return how a feature is normalised, or None if it never is: discrete, rotation and image features.

    Raises:
        ConfigError: An override asks for statistics of such a feature.
    """
    if spec.kind == "continuous":
        return overrides.get(name, default)
    if overrides.get(name, "identity") != "identity":
        raise ConfigError(
            f"{name} is a {spec.kind} feature and is never normalised by statistics.",
            got=f"normalisation[{name!r}] = {overrides[name]!r}",
            hint="remove it from normalisation",
        )
    return None
