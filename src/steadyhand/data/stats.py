"""Exact statistics of features, over steps or over the pixels of sampled frames, and what hardly moves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from steadyhand.core.errors import ConfigError, DataError
from steadyhand.core.seeding import generator
from steadyhand.core.settings import NotNegative, OpenShare, Settings
from steadyhand.core.specs import FeatureSpec

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_LEVELS = 256
_ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""Relative spread that the rounding of float32 alone makes."""
UNIT_FLOORS = {
    "rad": 1e-3,
    "deg": 0.05,
    "m": 1e-4,
    "cm": 1e-2,
    "mm": 0.1,
    "rad/s": 1e-3,
    "deg/s": 0.05,
    "m/s": 1e-3,
    "rad/s^2": 1e-2,
    "m/s^2": 1e-2,
    "N": 1e-2,
    "N m": 1e-3,
    "px": 0.1,
    "pixel": 0.1,
    "count": 2.0,
}
"""Standard deviations that a joint at rest shows: the tremble of encoders, cameras and force sensors."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureStats:
    """Statistics of one feature; for images of each channel, scaled to 0..1.

    Attributes:
        mean: Mean, of the shape of the feature, (channels,) for images; likewise all others.
        std: Population standard deviation.
        min: Least value.
        max: Greatest value.
        q01: 1 % quantile, interpolated linearly as NumPy does; likewise the others.
        q10: 10 % quantile.
        q50: Median.
        q90: 90 % quantile.
        q99: 99 % quantile.
        count: Number of steps, for images of sampled frames.
    """

    mean: Float64[np.ndarray, "..."]
    std: Float64[np.ndarray, "..."]
    min: Float64[np.ndarray, "..."]
    max: Float64[np.ndarray, "..."]
    q01: Float64[np.ndarray, "..."]
    q10: Float64[np.ndarray, "..."]
    q50: Float64[np.ndarray, "..."]
    q90: Float64[np.ndarray, "..."]
    q99: Float64[np.ndarray, "..."]
    count: int

    @property
    def constant(self) -> Bool[np.ndarray, "..."]:
        """Where the feature never changes: dividing by its spread would be dividing by nothing.

        Spreads within the rounding of float32 count as none. What trembles about a fixed value counts as
        moving here; see `SpreadFloor`.
        """
        return self.max - self.min <= _ROUNDING * self.magnitude

    @property
    def magnitude(self) -> Float64[np.ndarray, "..."]:
        """Largest absolute value."""
        return np.maximum(np.abs(self.min), np.abs(self.max))

    def to_lerobot(self, *, image: bool = False) -> dict[str, Any]:
        """Return the entry of stats.json: lists, for images of shape (channels, 1, 1)."""

        def listed(value: np.ndarray) -> list[Any]:
            return (value.reshape(-1, 1, 1) if image else np.atleast_1d(value)).tolist()

        out: dict[str, Any] = {name: listed(getattr(self, name)) for name in ("min", "max", "mean", "std")}
        out["count"] = [self.count]
        return out | {name: listed(getattr(self, name)) for name in QUANTILES}


def array_stats(values: np.ndarray) -> FeatureStats:
    """Return the statistics of (N, ...) numbers or bools over the first axis.

    Raises:
        DataError: No rows.
    """
    if not len(values):
        raise DataError("There is nothing to take statistics of.", got="0 steps")
    wide = values.astype(np.float64)
    ordered = np.sort(wide, axis=0)
    return FeatureStats(
        mean=wide.mean(axis=0),
        std=np.where(ordered[0] == ordered[-1], 0.0, wide.std(axis=0)),
        min=ordered[0],
        max=ordered[-1],
        **{name: quantile_of_sorted(ordered, q) for name, q in QUANTILES.items()},
        count=len(values),
    )


def quantile_of_sorted(ordered: np.ndarray, q: float) -> np.ndarray:
    """Interpolate linearly between sorted rows, as np.quantile does, at a tenth of its fixed cost."""
    place = q * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@dataclass(frozen=True, kw_only=True)
class SpreadFloor(Settings):
    """How little a dimension may move before its spread is noise, which nothing should be divided by.

    A joint that is locked but whose encoder trembles by 1e-6 has a spread of 1e-6; divided by that, .01 more
    on the robot is 10 000. A dimension whose standard deviation is at most its floor hardly moves:

    - as an input it is divided by floor / relative instead (a thousand floors), so that it is as good as not
      there until it moves by more than it ever did;
    - as an action, and as what a model of the dynamics answers, by the larger of its spread and the floor, so
      that the answer stays as fixed as the data are and a label beside them costs no fortune.

    The floor is that of the entry's unit (`FeatureSpec.units`). An entry without a unit that is listed has
    the smaller of `absolute` and `relative` times the feature's size, its largest absolute value or finite
    bound, so that small numbers are not taken for no numbers. It is never below the rounding of float32.

    Compare: diffusion_policy leaves ranges below 1e-4 unscaled; ACT raises standard deviations to 1e-2;
    robomimic divides by the standard deviation plus 1e-3.

    Attributes:
        absolute: Floor of entries without a listed unit, a standard deviation.
        relative: Floor of entries without a listed unit, as a share of the feature's largest absolute value.
        units: Unit -> floor in that unit.
        features: Feature name (or "action") -> floor of all its entries, in place of the rules above; 0
            leaves the rounding of float32 alone.
    """

    absolute: NotNegative = 1e-3
    relative: OpenShare = 1e-3
    units: dict[str, float] = field(default_factory=lambda: dict(UNIT_FLOORS))
    features: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        super().__post_init__()
        floors = {**self.units, **self.features}
        for name, value in floors.items():
            if not 0.0 <= value < np.inf:
                raise ConfigError(
                    f"The floor {name!r} is a standard deviation.", got=value, expected=">= 0, finite"
                )

    def of(
        self, name: str, spec: FeatureSpec | None, stats: FeatureStats, *, is_bounded: bool = True
    ) -> Float64[np.ndarray, "..."]:
        """Return the floor of every entry of a feature.

        Args:
            name: The feature, looked up in `features`.
            spec: Spec with the units and bounds of the feature; None knows neither.
            stats: Statistics of the feature.
            is_bounded: Whether the bounds of `spec` are those of these numbers (of delta actions they are
                not).
        """
        rounding = _ROUNDING * stats.magnitude
        if name in self.features:
            return np.maximum(self.features[name], rounding)
        bounds = np.array([*(spec.low or ()), *(spec.high or ())] if spec and is_bounded else [])
        size = float(max(stats.magnitude.max(), np.abs(bounds[np.isfinite(bounds)]).max(initial=0.0)))
        plain = min(self.absolute, self.relative * size) if size > 0.0 else self.absolute
        units = spec.units if spec is not None and spec.units is not None else ("",) * stats.std.size
        floors = np.array([self.units.get(unit, plain) for unit in units]).reshape(stats.std.shape)
        return np.maximum(floors, rounding)

    def input_scale(
        self, spread: Float64[np.ndarray, "..."], stats: FeatureStats, floor: Float64[np.ndarray, "..."]
    ) -> Float64[np.ndarray, "..."]:
        """Return what inputs and distances are divided by: `spread` where it moves, else floor / relative."""
        still = np.maximum(np.where(floor > 0.0, floor / self.relative, 1.0), spread)
        return np.where(stats.std <= floor, still, np.maximum(spread, floor))


def distance_scale(
    values: np.ndarray, spec: FeatureSpec | None = None, *, floor: SpreadFloor | None = None, name: str = ""
) -> Float64[np.ndarray, "..."]:
    """Return what distances between (N, ...) values are divided by: the standard deviation of each entry.

    An entry that hardly moves is divided by a thousand times its floor, and so hardly counts.

    Args:
        values: The data.
        spec: Their units and bounds, if known.
        floor: The rule; the default one if None.
        name: The feature, for `SpreadFloor.features`.
    """
    rule, stats = SpreadFloor() if floor is None else floor, array_stats(values)
    return rule.input_scale(stats.std, stats, rule.of(name, spec, stats))


@dataclass(frozen=True, kw_only=True)
class Still:
    """One dimension that hardly moves in some data.

    Attributes:
        feature: Name of the feature.
        place: Position in the flattened feature.
        name: Name of the entry, or "".
        unit: Unit of the entry, or "".
        std: Standard deviation of the entry; 0 where it never changes.
        floor: The floor that this is not above, see `SpreadFloor`.
    """

    feature: str
    place: int
    name: str
    unit: str
    std: float
    floor: float

    def __str__(self) -> str:
        label = f"{self.feature}[{self.place}]" + (f" ({self.name})" if self.name else "")
        if self.std == 0.0:
            return f"{label} never changes"
        unit = f" {self.unit}" if self.unit else ""
        return f"{label} hardly moves: spread {self.std:.2g}{unit}, floor {self.floor:.2g}{unit}"


def hardly_moving(
    specs: Mapping[str, FeatureSpec],
    stats: Mapping[str, FeatureStats],
    *,
    floor: SpreadFloor | None = None,
) -> tuple[Still, ...]:
    """Return the dimensions of data that hardly move, those that never change included.

    `Policy.hardly_moving` returns the same of what a policy was fitted to, actions as it represents them.

    Args:
        specs: Feature name -> spec; also "action". Only continuous features are looked at.
        stats: Their statistics.
        floor: The rule; the default one if None.
    """
    rule = SpreadFloor() if floor is None else floor
    return tuple(
        still
        for name, spec in specs.items()
        if spec.kind == "continuous" and name in stats
        for still in still_places(name, spec, std=stats[name].std, floor=rule.of(name, spec, stats[name]))
    )


def still_places(
    name: str, spec: FeatureSpec, *, std: Float64[np.ndarray, "..."], floor: Float64[np.ndarray, "..."]
) -> tuple[Still, ...]:
    """Return the entries of one feature whose standard deviation is not above the floor."""
    flat, floors = std.ravel(), floor.ravel()
    return tuple(
        Still(
            feature=name,
            place=int(place),
            name=spec.names[place] if spec.names else "",
            unit=spec.units[place] if spec.units else "",
            std=float(flat[place]),
            floor=float(floors[place]),
        )
        for place in np.flatnonzero(flat <= floors)
    )


def sample_indices(length: int) -> Int64[np.ndarray, " n"]:
    """Return which of `length` frames to take pixel statistics of: all up to 100, then ever fewer.

    As LeRobot does: n = length^0.75, at least 100 and at most 10 000, evenly spaced.
    """
    count = max(min(100, length), min(int(length**0.75), 10_000))
    return np.round(np.linspace(0, length - 1, count)).astype(np.int64)


def histogram(images: UInt8[np.ndarray, "n h w c"]) -> Int64[np.ndarray, "c 256"]:
    """Return how often each value occurs in each channel; adding histograms adds data sets."""
    flat = images.reshape(-1, images.shape[-1])
    return np.stack([np.bincount(flat[:, c], minlength=_LEVELS) for c in range(flat.shape[1])]).astype(
        np.int64
    )


def histogram_stats(counts: Int64[np.ndarray, "c 256"], *, num_frames: int) -> FeatureStats:
    """Return the exact statistics of the pixels behind a histogram, scaled to 0..1."""
    values = np.arange(_LEVELS) / (_LEVELS - 1)
    total = counts.sum(axis=1)
    mean = counts @ values / total
    variance = np.maximum((counts * (values - mean[:, None]) ** 2).sum(axis=1) / total, 0.0)
    present = counts > 0
    ends = np.cumsum(counts, axis=1)

    def quantile(q: float) -> np.ndarray:
        place = q * (total - 1)
        low, high = np.floor(place), np.ceil(place)
        at = [
            [
                values[np.searchsorted(end, position, side="right")]
                for end, position in zip(ends, side, strict=True)
            ]
            for side in (low, high)
        ]
        return at[0] + (place - low) * (np.array(at[1]) - at[0])

    return FeatureStats(
        mean=mean,
        std=np.sqrt(variance),
        min=values[present.argmax(axis=1)],
        max=values[_LEVELS - 1 - present[:, ::-1].argmax(axis=1)],
        **{name: quantile(q) for name, q in QUANTILES.items()},
        count=num_frames,
    )


def split_episodes(
    num_episodes: int,
    fraction: float,
    seed: int,
    *,
    branch: Int64[np.ndarray, "E 2"] | None = None,
) -> tuple[Int64[np.ndarray, " K"], Int64[np.ndarray, " V"]]:
    """Return (training, validation) episodes: whole episodes, and branches beside their parents.

    Args:
        num_episodes: Number of episodes, branches included.
        fraction: Share of the original episodes that are held out, 0 to 1; at least one if above 0.
        seed: The split is a pure function of it.
        branch: (parent, step) of branches as in `Frames`; None if there are none.

    Raises:
        DataError: A fraction out of range, or nothing left to train on.
    """
    if not 0 <= fraction < 1:
        raise DataError("A validation fraction lies in [0, 1).", got=fraction)
    parent = np.arange(num_episodes)
    if branch is not None:
        parent = np.where(branch[:, 0] >= 0, branch[:, 0], parent)
    originals = np.flatnonzero(parent == np.arange(num_episodes))
    held = max(1, round(fraction * len(originals))) if fraction > 0 else 0
    if held >= len(originals):
        raise DataError(
            "The split leaves nothing to train on.",
            got=f"{len(originals)} episodes, {held} of them held out",
            hint="record more episodes or set the validation fraction to 0",
        )
    chosen: Sequence[int] | np.ndarray = generator(seed, "split").permutation(originals)[:held]
    is_held = np.isin(parent, chosen)
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)
