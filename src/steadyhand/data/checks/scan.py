"""The first pass: range, moments and a sample of every feature, which later passes measure by."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from steadyhand.core.seeding import generator
from steadyhand.core.specs import ACTION, FeatureSpec
from steadyhand.data.checks.blocks import Block
from steadyhand.data.checks.detector import flat
from steadyhand.data.stats import QUANTILES, FeatureStats

_SAMPLE_VALUES = 2**22
"""Values of one feature that are kept at most; 32 MiB."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Mean, sum of squared deviations and range of n steps; adding steps gives those of all, exactly."""

    count: int
    mean: Float64[np.ndarray, " D"]
    squares: Float64[np.ndarray, " D"]
    low: Float64[np.ndarray, " D"]
    high: Float64[np.ndarray, " D"]

    @classmethod
    def of(cls, values: Float64[np.ndarray, "N D"]) -> "Moments":
        """Return the moments of some steps."""
        mean = values.mean(axis=0)
        return cls(
            count=len(values),
            mean=mean,
            squares=((values - mean) ** 2).sum(axis=0),
            low=values.min(axis=0),
            high=values.max(axis=0),
        )

    def __add__(self, other: "Moments") -> "Moments":
        """Return the moments of both (Chan, Golub and LeVeque, 1983)."""
        count = self.count + other.count
        away = other.mean - self.mean
        return Moments(
            count=count,
            mean=self.mean + away * other.count / count,
            squares=self.squares + other.squares + away**2 * self.count * other.count / count,
            low=np.minimum(self.low, other.low),
            high=np.maximum(self.high, other.high),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What the first pass knows of one feature.

    Attributes:
        spec: The feature.
        moments: Over all steps.
        compacted: Over the steps that lie in files, or None if there are none.
        sample: (M, D) values of steps drawn at random, in order.
        change: (P, D) absolute differences to the next step of the same episode, where the sample has one.
        is_complete: Whether the sample is all steps.
    """

    spec: FeatureSpec
    moments: Moments
    compacted: Moments | None
    sample: Float32[np.ndarray, "M D"]
    change: Float32[np.ndarray, "P D"]
    is_complete: bool

    def stats(self, moments: Moments | None = None) -> FeatureStats:
        """Return the statistics; quantiles are those of the sample."""
        chosen = self.moments if moments is None else moments
        quantiles = np.quantile(self.sample, list(QUANTILES.values()), axis=0).astype(np.float64)
        shape = self.spec.shape
        return FeatureStats(
            mean=chosen.mean.reshape(shape),
            std=np.where(chosen.low == chosen.high, 0.0, np.sqrt(chosen.squares / chosen.count)).reshape(
                shape
            ),
            min=chosen.low.reshape(shape),
            max=chosen.high.reshape(shape),
            **{name: row.reshape(shape) for name, row in zip(QUANTILES, quantiles, strict=True)},
            count=chosen.count,
        )


class _Feature:
    def __init__(self, spec: FeatureSpec, num_steps: int) -> None:
        self.spec = spec
        size = max(1, min(num_steps, _SAMPLE_VALUES // spec.size))
        self.is_complete = size == num_steps
        drawn = generator(0, "data check").choice(num_steps, size=size, replace=False, shuffle=False)
        self.chosen = np.arange(num_steps) if self.is_complete else np.sort(drawn)
        self.moments: Moments | None = None
        self.compacted: Moments | None = None
        self.sample: list[np.ndarray] = []
        self.change: list[np.ndarray] = []

    def take(self, values: np.ndarray, block: Block, first: int) -> None:
        wide = flat(values)
        found = Moments.of(wide)
        self.moments = found if self.moments is None else self.moments + found
        if block.is_compacted:
            self.compacted = self.moments
        low, high = np.searchsorted(self.chosen, [first, first + len(block)])
        rows = self.chosen[low:high] - first
        self.sample.append(wide[rows].astype(np.float32))
        rows = rows[rows < len(block) - 1]
        rows = rows[block.is_same[rows]]
        self.change.append(np.abs(wide[rows + 1] - wide[rows]).astype(np.float32))

    def known(self) -> Known | None:
        if self.moments is None:
            return None
        return Known(
            spec=self.spec,
            moments=self.moments,
            compacted=self.compacted,
            sample=np.concatenate(self.sample),
            change=np.concatenate(self.change),
            is_complete=self.is_complete,
        )


class Scan:
    """Takes the blocks of the first pass.

    Args:
        observation: The vector features.
        action: Spec of the action; its label is what is measured.
        num_steps: Steps of the data set.
    """

    def __init__(
        self, observation: Mapping[str, FeatureSpec], action: FeatureSpec, *, num_steps: int
    ) -> None:
        specs = {**observation, ACTION: action}
        self._features = {name: _Feature(spec, num_steps) for name, spec in specs.items()}
        self._first = 0

    def take(self, block: Block) -> None:
        """Look at the next steps."""
        for name, feature in self._features.items():
            feature.take(block.label if name == ACTION else block.observation[name], block, self._first)
        self._first += len(block)

    def known(self) -> dict[str, Known]:
        """Return what is known of each feature; nothing if no block came."""
        found = {name: feature.known() for name, feature in self._features.items()}
        return {name: known for name, known in found.items() if known is not None}
