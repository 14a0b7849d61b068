"""Exact statistics of features, over steps or over the pixels of sampled frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from steadyhand.core.errors import DataError
from steadyhand.core.seeding import generator
from steadyhand.data.frames import Frames

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_LEVELS = 256


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

        Spreads within the rounding of float32 count as none.
        """
        scale = np.maximum(np.abs(self.min), np.abs(self.max))
        return self.max - self.min <= 4 * np.finfo(np.float32).eps * scale

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
        std=wide.std(axis=0),
        min=ordered[0],
        max=ordered[-1],
        **{name: _quantile(ordered, q) for name, q in QUANTILES.items()},
        count=len(values),
    )


def _quantile(ordered: np.ndarray, q: float) -> np.ndarray:
    """Interpolate linearly between sorted rows, as np.quantile does, at a tenth of its fixed cost."""
    place = q * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


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


def compute_stats(
    frames: Frames, *, steps: Int64[np.ndarray, " M"] | None = None, max_images: int = 1000
) -> dict[str, FeatureStats]:
    """Return the statistics of every observation feature and of the action (`expert_action`, the target).

    Args:
        frames: The data.
        steps: Over which steps, such as those of the training episodes; all if None.
        max_images: At most so many images are looked at, evenly spaced.

    Raises:
        DataError: No steps.
    """
    chosen = np.arange(len(frames)) if steps is None else steps
    if not len(chosen):
        raise DataError("There is nothing to take statistics of.", got="0 steps")
    out: dict[str, FeatureStats] = {}
    for name, spec in frames.observation_spec.items():
        if spec.kind == "image":
            places = np.unique(
                np.linspace(0, len(chosen) - 1, min(max_images, len(chosen))).round().astype(int)
            )
            images = frames.observation[name][chosen[places]]
            out[name] = histogram_stats(histogram(images), num_frames=len(images))
        else:
            out[name] = array_stats(frames.observation[name][chosen])
    out["action"] = array_stats(frames.expert_action[chosen])
    return out


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
