"""Statistics of the data, kept inside the policy so that they cannot be lost or mixed up."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal, assert_never

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from steadyhand.core.errors import ArtifactError, CapabilityError, ConfigError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.stats import FeatureStats, SpreadFloor, Still, array_stats, still_places
from steadyhand.policies.choices import Mode

Role = Literal["input", "output"]

_QUANTILE_FLOOR = 0.1
"""Least share of the full range that the quantile range may be, so that outliers stay within 2 / 0.1 = 20."""


_BUFFERS = ("offset", "scale", "spread", "floor")


class Affine(nn.Module):
    """x -> (x - offset) / scale for one feature. Until `fit` or loading, both are NaN and using them raises.

    What hardly moves is not blown up, see `SpreadFloor`: an input that trembles is divided by a thousand
    times its floor, an output by no less than its floor.

    Args:
        name: The feature, for messages.
        shape: Shape of one step.
        mode: How offset and scale are found.
        role: Whether a network reads the feature or answers with it.

    Attributes:
        offset: What becomes 0.
        scale: What becomes 1, counted from there.
        spread: Standard deviation of what it was fitted to.
        floor: What does not spread by more than this hardly moves; 0 for "identity".
    """

    offset: Tensor
    scale: Tensor
    spread: Tensor
    floor: Tensor

    def __init__(self, name: str, shape: tuple[int, ...], *, mode: Mode, role: Role = "input") -> None:
        super().__init__()
        self.name = name
        self.mode: Mode = mode
        self._role: Role = role
        self._is_fitted = False
        for buffer in _BUFFERS:
            self.register_buffer(buffer, torch.full(shape, torch.nan))

    def fit(
        self,
        values: Float[np.ndarray, "N ..."],
        *,
        floor: SpreadFloor | None = None,
        spec: FeatureSpec | None = None,
        is_bounded: bool = True,
    ) -> None:
        """Set offset and scale from (N, *shape) values, exactly, in double precision.

        Args:
            values: What is normalised.
            floor: What counts as hardly moving; the default rule if None.
            spec: Units and bounds of the values, if known.
            is_bounded: Whether the bounds of `spec` are those of the values.
        """
        rule = SpreadFloor() if floor is None else floor
        stats = _shared(values) if self.mode == "z_score_shared" else array_stats(values)
        floors = np.zeros_like(stats.std)
        if self.mode != "identity":
            floors = rule.of(self.name, spec, stats, is_bounded=is_bounded)
        offset, spread = _centre_and_spread(stats, self.mode)
        scale = rule.input_scale(spread, stats, floors)
        if self._role == "output":
            scale = np.maximum(spread, floors)
            scale = np.where(scale > 0.0, scale, 1.0)
        self.put(offset=offset, scale=scale, spread=stats.std, floor=floors)

    def still(self, spec: FeatureSpec) -> tuple[Still, ...]:
        """Return the entries that hardly moved in what it was fitted to."""
        if self.mode == "identity":
            return ()
        spread, floor = (part.double().cpu().numpy() for part in (self.spread, self.floor))
        return still_places(self.name, spec, std=spread, floor=floor)

    def put(self, **buffers: np.ndarray) -> None:
        """Set buffers to these numbers."""
        for name, values in buffers.items():
            self.get_buffer(name).copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))
        self._is_fitted = False

    def to_data(self) -> dict[str, Any]:
        """Return mode and numbers as JSON data that give the same float32 numbers back; null before `fit`."""
        out: dict[str, Any] = {"mode": self.mode}
        for name in _BUFFERS:
            values = self.get_buffer(name).cpu().numpy()
            out[name] = _plain(values) if np.isfinite(values).all() else None
        return out

    def from_data(self, data: Any, *, source: str) -> None:
        """Take over what `to_data` returned.

        Raises:
            ArtifactError: It has other parts, another mode or another shape.
        """
        if not isinstance(data, dict) or set(data) != {"mode", *_BUFFERS} or data["mode"] != self.mode:
            raise ArtifactError(
                f"{source}: the normaliser of {self.name} does not fit.",
                got=data,
                expected=f"mode {self.mode!r}, {', '.join(_BUFFERS)}",
                hint="train the policy again, or load it with the version that wrote it",
            )
        for name in _BUFFERS:
            if data[name] is None:
                continue
            try:
                values = np.array(data[name], dtype=np.float32)
            except (TypeError, ValueError) as error:
                raise ArtifactError(f"{source}: {name} of {self.name} is not numbers.", got=error) from error
            if values.shape != tuple(self.offset.shape):
                raise ArtifactError(
                    f"{source}: {name} of {self.name} has the wrong shape.",
                    got=values.shape,
                    expected=tuple(self.offset.shape),
                )
            self.put(**{name: values})

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


def _shared(values: Float[np.ndarray, "N ..."]) -> FeatureStats:
    """Return statistics of the numbers of a thing, over all things and steps, for each thing."""
    shape = values.shape[1:]
    one = array_stats(values.reshape(-1, *shape[-1:]))
    parts = {part.name: getattr(one, part.name) for part in fields(one) if part.name != "count"}
    return replace(one, **{name: np.broadcast_to(part, shape) for name, part in parts.items()})


def _centre_and_spread(stats: FeatureStats, mode: Mode) -> tuple[np.ndarray, np.ndarray]:
    match mode:
        case "min_max":
            return (stats.min + stats.max) / 2, (stats.max - stats.min) / 2
        case "z_score" | "z_score_shared":
            return np.where(stats.constant, stats.min, stats.mean), stats.std
        case "quantile":
            spread = np.maximum(stats.q99 - stats.q01, _QUANTILE_FLOOR * (stats.max - stats.min))
            return (stats.q01 + stats.q99) / 2, spread / 2
        case "identity":
            return np.zeros_like(stats.mean), np.ones_like(stats.mean)
        case _:
            assert_never(mode)


def _plain(values: np.ndarray) -> Any:
    """Return nested lists of the shortest decimals that stand for these float32 numbers."""
    return float(str(values)) if values.ndim == 0 else [_plain(np.asarray(value)) for value in values]


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
