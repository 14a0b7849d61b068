"""What cameras show: files that are missing or damaged, and pictures from which nothing can be learned."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8

from steadyhand.core.errors import DataError
from steadyhand.core.listing import listed
from steadyhand.data.base import Dataset
from steadyhand.data.checks.detector import episodes
from steadyhand.data.dataset import StoredDataset
from steadyhand.data.problems import Problem, from_error
from steadyhand.data.video_digests import altered_videos

Depth = Literal["quick", "full"]
_BATCH_BYTES = 2**25
_GRID = 8
"""Blocks of a thumbnail along each side."""
_DARK = 16  # of 255: the brightest pixel of a black picture
_PLAIN = 4  # of 255: between the darkest and the brightest pixel of a picture of one colour
_SAME = 1.5  # of 255, in the block of a thumbnail that differs most
_SHARE = 0.9  # of the pictures
_STUTTER = 0.3  # of the pictures repeat the one before


@dataclass(kw_only=True)
class _Seen:
    """What is kept of one camera; it does not grow with the number of pictures."""

    pictures: int = 0
    black: int = 0
    brightest: int = 0
    plain: int = 0
    pairs: int = 0
    repeats: int = 0
    still: list[int] = field(default_factory=list[int])
    long: int = 0
    dark: list[int] = field(default_factory=list[int])
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    episodes: int = 0

    @property
    def spread(self) -> float:
        """How far the pictures of the episodes are apart, in the block that differs most."""
        return 0.0 if self.low is None or self.high is None else float((self.high - self.low).max())


class CameraCheck:
    """Looks at every camera of every episode.

    Args:
        dataset: The data.
        depth: "full" decodes every picture, "quick" the first, middle and last one of each episode.
        tick: Told after each episode how many are done, of how many.
    """

    def __init__(
        self, dataset: Dataset, depth: Depth, *, tick: Callable[[int, int], None] | None = None
    ) -> None:
        self._dataset = dataset
        self._depth: Depth = depth
        self._tick = tick
        self._names = [name for name, spec in dataset.observation.items() if spec.kind == "image"]
        self._seen = {name: _Seen() for name in self._names}
        self._apart = dict.fromkeys(combinations(self._names, 2), 0.0)
        self._damaged: set[tuple[str, int]] = set()
        self._absent: dict[str, set[int]] = {name: set() for name in self._names}

    def problems(self) -> Iterator[Problem]:
        """Yield everything that is wrong, damaged files first."""
        if not self._names:
            return
        yield from self._missing()
        yield from self._overlaps()
        total = self._dataset.num_episodes
        numbers = self._dataset.numbers.tolist()
        for place, number in enumerate(numbers):
            views: dict[str, np.ndarray] = {}
            for name in self._names:
                if number in self._absent[name]:
                    continue
                try:
                    views[name] = self._look(name, place, number)
                except DataError as error:
                    kind = "image"
                    if isinstance(self._dataset, StoredDataset):
                        kind = self._dataset.layout.features[name].dtype
                    self._damaged.add((name, place))
                    yield from_error(f"{kind}-damaged", f"{name}, episode {number}", error)
            for one, other in self._apart:
                if one in views and other in views:
                    apart = _difference(views[one], views[other])
                    self._apart[one, other] = max(self._apart[one, other], apart)
            if self._tick is not None:
                self._tick(place + 1, total)
        yield from self._altered()
        for name in self._names:
            yield from self._doubts(name)
        yield from self._twins()

    def _videos(self) -> Iterator[tuple[StoredDataset, str]]:
        """Yield the cameras whose pictures lie in videos, and the data set whose they are."""
        if isinstance(self._dataset, StoredDataset):
            for name in self._names:
                if self._dataset.layout.features[name].dtype == "video":
                    yield self._dataset, name

    def _missing(self) -> Iterator[Problem]:
        for dataset, name in self._videos():
            refs = dataset.layout.episodes
            absent = [ref.index for ref in refs if not dataset.stored.image_file(name, ref).is_file()]
            self._absent[name] = set(absent)
            if absent:
                yield Problem(
                    code="video-missing",
                    severity="error",
                    where=name,
                    what=f"no video for {len(absent)} of {len(refs)} episodes: {listed(absent)}",
                    hint="copy the videos, or train without this camera",
                )

    def _altered(self) -> Iterator[Problem]:
        """Tell which videos of a recording of ours decode although they are not those that were written."""
        dataset = self._dataset
        if self._depth == "quick" or not isinstance(dataset, StoredDataset):
            return
        refs = dataset.layout.episodes
        told = {
            dataset.stored.image_file(name, refs[place]) for name, place in self._damaged if place < len(refs)
        }
        try:
            altered = [name for name in altered_videos(dataset.root) if dataset.root / name not in told]
        except DataError as error:
            yield from_error("video-digests", "videos", error)
            return
        for name in altered:
            yield Problem(
                code="video-altered",
                severity="error",
                where=name,
                what="the video holds other bytes than were written; what it shows may be of another moment",
                hint="restore it from a copy, or train without this camera",
            )

    def _overlaps(self) -> Iterator[Problem]:
        """Tell where an episode starts in its video before the one before it has ended there."""
        for dataset, name in self._videos():
            parts = sorted(
                (str(ref.videos[name].path), ref.videos[name].start, ref.length, ref.index)
                for ref in dataset.layout.episodes
                if math.isfinite(ref.videos[name].start)
            )
            for (path, start, length, number), (next_path, next_start, _, next_number) in pairwise(parts):
                ends = start + length / dataset.fps
                if path == next_path and next_start < ends - 0.5 / dataset.fps:
                    yield Problem(
                        code="video-overlap",
                        severity="error",
                        where=f"{name}, episodes {number} and {next_number}",
                        what=f"share frames of one video: the second starts at {next_start:.4g} s, "
                        f"the first ends at {ends:.4g} s",
                        hint="from_timestamp in meta/episodes is wrong, and pictures of another episode are "
                        "shown; restore it from a copy",
                    )

    def _look(self, name: str, place: int, number: int) -> Float32[np.ndarray, "3 y x"]:
        """Look at an episode; return thumbnails of its first, middle and last picture."""
        length = int(self._dataset.lengths[place])
        seen = self._seen[name]
        ends = np.unique([0, length // 2, length - 1])
        before: np.ndarray | None = None
        views: list[np.ndarray] = []
        repeats, dark = 0, 0
        shown = 0
        for first, batch in self._pictures(name, place, ends if self._depth == "quick" else None):
            small = _small(batch)
            low, high = small.min(axis=(1, 2, 3)), small.max(axis=(1, 2, 3))
            seen.brightest = max(seen.brightest, int(high.max()))
            is_black = high <= _DARK
            dark += int(is_black.sum())
            seen.plain += int((~is_black & (high.astype(int) - low <= _PLAIN)).sum())
            chain = small if before is None else np.concatenate([before, small])
            repeats += int((chain[1:] == chain[:-1]).all(axis=(1, 2, 3)).sum())
            before = small[-1:]
            shown += len(batch)
            wanted = (
                np.arange(len(batch))
                if self._depth == "quick"
                else ends[(ends >= first) & (ends < first + len(batch))] - first
            )
            views.append(_thumbnails(batch[wanted]))
        view = np.concatenate(views)
        view = view[np.array([0, len(view) // 2, len(view) - 1])]
        seen.pictures += shown
        seen.black += dark
        seen.episodes += 1
        if dark > _SHARE * shown:
            seen.dark.append(number)
        if self._depth == "full" and shown >= 5:
            seen.long += 1
            seen.pairs += shown - 1
            seen.repeats += repeats
            if repeats > _SHARE * (shown - 1):
                seen.still.append(number)
        seen.low = view if seen.low is None else np.minimum(seen.low, view)
        seen.high = view if seen.high is None else np.maximum(seen.high, view)
        return view

    def _pictures(
        self, name: str, place: int, steps: np.ndarray | None
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "n h w c"]]]:
        dataset = self._dataset
        height, width, channels = dataset.observation[name].shape
        size = max(1, _BATCH_BYTES // (height * width * channels))
        if not isinstance(dataset, StoredDataset) or place >= len(dataset.stored):
            images = dataset.episode(place, observation=[name]).observation[name]
            images = images if steps is None else images[steps]
            yield from ((first, images[first : first + size]) for first in range(0, len(images), size))
            return
        chosen = np.arange(int(dataset.lengths[place])) if steps is None else steps
        for first in range(0, len(chosen), size):
            yield first, dataset.stored.images(name, place, chosen[first : first + size])

    def _doubts(self, name: str) -> Iterator[Problem]:
        seen = self._seen[name]
        if not seen.pictures:
            return
        hint = "look at the pictures; train without this camera if it shows nothing"
        if seen.brightest == 1:
            yield Problem(
                code="camera-binary",
                severity="note",
                where=name,
                what="holds 0 and 1 alone: a mask, or pictures from 0 to 1 that were rounded",
                hint="store a mask as bool, or as 0 and 255; a policy divides pictures by 255",
            )
            return  # so dark that nothing else here can tell
        if seen.dark:
            all_of_them = len(seen.dark) == seen.episodes
            yield Problem(
                code="camera-black",
                severity="warning",
                where=name if all_of_them else f"{name}, {episodes(seen.dark)}",
                what=f"black in {seen.black / seen.pictures:.0%} of the pictures",
                hint=hint,
            )
            if all_of_them:
                return
        if seen.plain > _SHARE * seen.pictures:
            yield Problem(
                code="camera-plain",
                severity="warning",
                where=name,
                what=f"of one colour in {seen.plain / seen.pictures:.0%} of the pictures",
                hint=hint,
            )
            if seen.still:
                return
        if seen.still:
            yield Problem(
                code="camera-frozen",
                severity="warning",
                where=name if len(seen.still) == seen.long else f"{name}, {episodes(seen.still)}",
                what="the picture does not change from step to step",
                hint=hint,
            )
        elif seen.repeats > _STUTTER * seen.pairs:
            yield Problem(
                code="camera-stutters",
                severity="note",
                where=name,
                what=f"{seen.repeats / seen.pairs:.0%} of the pictures repeat the one before",
                hint="the camera is slower than the recording; fine if the policy may see old pictures",
            )
        if seen.episodes > 1 and seen.spread < _SAME:
            yield Problem(
                code="camera-alike",
                severity="warning",
                where=name,
                what=f"the same pictures in all {seen.episodes} episodes",
                hint="one file was copied for all, or the camera shows nothing of the task",
            )

    def _twins(self) -> Iterator[Problem]:
        for (one, other), apart in self._apart.items():
            both = min(self._seen[one].episodes, self._seen[other].episodes)
            if both and apart < _SAME and self._seen[one].black < self._seen[one].pictures:
                yield Problem(
                    code="cameras-identical",
                    severity="warning",
                    where=f"{one} and {other}",
                    what="show the same pictures",
                    hint="one device was recorded twice; the other camera is missing",
                )


def _small(images: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n y x c"]:
    """Return every few pixels, at most 64 along each side."""
    rows, columns = -(-images.shape[1] // 64), -(-images.shape[2] // 64)
    return images[:, ::rows, ::columns]


def _thumbnails(images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n y x"]:
    """Return the mean brightness of blocks."""
    grey = images.mean(axis=3, dtype=np.float32)
    rows = np.linspace(0, grey.shape[1], min(_GRID, grey.shape[1]) + 1).astype(int)[:-1]
    columns = np.linspace(0, grey.shape[2], min(_GRID, grey.shape[2]) + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=1), columns, axis=2)
    heights = np.diff([*rows.tolist(), grey.shape[1]]).astype(np.float32)
    widths = np.diff([*columns.tolist(), grey.shape[2]]).astype(np.float32)
    return (sums / np.outer(heights, widths)).astype(np.float32)


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    return float("inf") if one.shape != other.shape else float(np.abs(one - other).max())
