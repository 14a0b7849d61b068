"""The pictures of one camera of a data set on disk, each at the time of its step."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Shaped

from steadyhand.core.errors import DataError, SpecError
from steadyhand.data.formats.arrow import ArrowArray
from steadyhand.data.formats.columns import to_array
from steadyhand.data.formats.depth import DepthScale, depth_scale
from steadyhand.data.formats.files import ParquetSource, open_parquet
from steadyhand.data.formats.layout import EpisodeRef, Layout
from steadyhand.data.formats.schema import picture_of
from steadyhand.data.rows import read_columns, step_times

if TYPE_CHECKING:
    from steadyhand.data.formats.video import VideoReader

_BLOCK_BYTES = 256_000_000
"""Pictures held at once; smaller blocks would decode the frames since the last key frame more often."""


class StoredCamera:
    """The images of one camera of a data set on disk: uint8 pictures, or depth maps as float32 metres.

    Args:
        layout: The data set.
        name: Feature name of the camera.
        shape: (height, width, channels) of the pictures that are read; as it is declared if None.
    """

    def __init__(self, layout: Layout, name: str, *, shape: tuple[int, ...] | None = None) -> None:
        self.name = name
        self._layout = layout
        self._feature = layout.features[name]
        self._is_video = self._feature.dtype == "video"
        height, width, channels = shape or self._feature.shape
        self._size = (height, width)
        self._range: tuple[float, float] | None = None
        self.shape = (height, width, channels)

    def file(self, ref: EpisodeRef) -> Path:
        """Return the file that holds the images of an episode."""
        return ref.videos[self.name].path if self._is_video else ref.data_path

    def sources(self, ref: EpisodeRef) -> tuple[Path, ...]:
        """Return every file that decides which image belongs to which step."""
        return (ref.videos[self.name].path, ref.data_path) if self._is_video else (ref.data_path,)

    def start(self, ref: EpisodeRef) -> float:
        """Return where the clock of the episode starts in its video [s]; 0 for images in the data files."""
        return ref.videos[self.name].start if self._is_video else 0.0

    def require(self, refs: Sequence[EpisodeRef]) -> None:
        """Raise DataError, naming what is missing, unless every episode's file is there and can be read."""
        if not self._feature.is_depth and self.shape[2] not in (1, 3):
            raise DataError(
                f"Camera {self.name!r} has {self.shape[2]} channels.",
                expected="1 (grey), 3 (RGB) or 4 (RGBA)",
                hint="leave this camera out, or store its channels as cameras of their own",
            )
        absent = [ref for ref in refs if not self.file(ref).is_file()]
        if absent:
            present = [ref.index for ref in refs if ref not in absent]
            raise DataError(
                f"Camera {self.name!r} has no images for {len(absent)} of {len(refs)} episodes.",
                got=f"no {self.file(absent[0])}" + (" and others" if len(absent) > 1 else ""),
                available=[f"episode {number}" for number in present[:10]] + ["..."] * (len(present) > 10),
                hint="train without this camera (--observation), pick the episodes that have it "
                "(--episodes), or copy the missing videos",
            )

    def read(self, ref: EpisodeRef, steps: np.ndarray | None = None) -> Shaped[np.ndarray, "n ..."]:
        """Return the images of an episode, all or those at `steps`.

        Raises:
            DataError: Missing, short or damaged images.
        """
        chosen = np.arange(ref.length) if steps is None else steps
        if not self._is_video:
            return self._from_parquet(open_parquet(ref.data_path), ref, chosen)
        from steadyhand.data.formats.video import VideoReader

        times = step_times(self._layout, [ref])[0]
        with VideoReader(self.file(ref)) as video:
            return self._from_video(video, ref, chosen, times)

    def read_all(self, refs: Sequence[EpisodeRef]) -> Iterator[Shaped[np.ndarray, "n ..."]]:
        """Yield all images in order, some hundred MB at a time; each file is opened once."""
        if not self._is_video:
            for ref in refs:
                for steps in self._blocks(ref):
                    yield self._from_parquet(open_parquet(ref.data_path), ref, steps)
            return
        from steadyhand.data.formats.video import VideoReader

        timed = zip(refs, step_times(self._layout, refs), strict=True)
        for path, episodes in groupby(timed, key=lambda one: self.file(one[0])):
            with VideoReader(path) as video:
                for ref, times in episodes:
                    for steps in self._blocks(ref):
                        yield self._from_video(video, ref, steps, times)

    def _blocks(self, ref: EpisodeRef) -> Iterator[np.ndarray]:
        """Cut an episode where its pictures would take too much memory at once."""
        height, width, channels = self.shape
        count = max(1, _BLOCK_BYTES // (height * width * channels))
        for first in range(0, ref.length, count):
            yield np.arange(first, min(first + count, ref.length))

    def _places(
        self,
        video: "VideoReader",
        ref: EpisodeRef,
        steps: np.ndarray,
        times: Float64[np.ndarray, " T"],
    ) -> np.ndarray:
        """Return which frame of a video belongs to each step: the one nearest to the step's time.

        A quarter of a step is allowed: merged files drift by more than a fixed tolerance.
        """
        start = ref.videos[self.name].start
        if not np.isfinite(start):
            raise DataError(
                f"Episode {ref.index} has no start in its video of {self.name}.",
                got=f"from_timestamp = {start} in meta/episodes",
                expected=f"a time in {video.path} [s]",
                hint=self._without(ref),
            )
        wanted = start + times[steps]
        index, distance = video.nearest(wanted)
        tolerance = 0.25 / self._layout.fps
        far = np.flatnonzero(distance > tolerance)
        if len(far):
            row, last = int(far[0]), float(video.timestamps[-1])
            is_short = wanted[row] > last
            raise DataError(
                f"{self.name} has no picture for step {steps[row]} of episode {ref.index}.",
                got=f"recorded at {wanted[row]:.4f} s of {video.path}, whose nearest frame is shown at "
                f"{video.timestamps[index[row]]:.4f} s",
                expected=f"a frame within a quarter step, {tolerance:.4g} s; the last is at {last:.4f} s",
                hint=("the video is shorter than its episode; " if is_short else "")
                + self._without(ref)
                + ", or correct the timestamp column",
            )
        return index

    def _without(self, ref: EpisodeRef) -> str:
        return f"leave the episode out (--episodes '!{ref.index}'), train without this camera (--observation)"

    def _from_video(
        self, video: "VideoReader", ref: EpisodeRef, steps: np.ndarray, times: np.ndarray
    ) -> np.ndarray:
        height, width = self._size
        # codecs want even sizes: an odd one may have been padded by a row or a column
        if video.height - height not in (0, height % 2) or video.width - width not in (0, width % 2):
            raise DataError(
                f"{video.path} has another size than info.json declares.",
                got=(video.height, video.width),
                expected=self._size,
                hint="correct the shape in info.json, or train without this camera (--observation)",
            )
        places = self._places(video, ref, steps, times)
        if self._feature.is_depth:
            samples = video.samples(places)[:, :height, :width]
            return self._scale().metres(samples, name=f"{self.name}, episode {ref.index}")
        return video.frames(places)[:, :height, :width, : self.shape[2]]

    def _scale(self) -> DepthScale:
        return depth_scale(self._feature.info, name=self.name)

    def _from_parquet(self, source: ParquetSource, ref: EpisodeRef, steps: np.ndarray) -> np.ndarray:
        first = int(steps.min()) if len(steps) else 0
        count = int(steps.max()) - first + 1 if len(steps) else 0
        column = self._layout.column_of(self.name)
        table = source.read([column], first=ref.first_row + first, length=count)
        if self._feature.is_number:
            return self._from_numbers(table.column(column), source.path)[steps - first]
        cells = table.column(column).to_pylist()
        is_depth = self._feature.is_depth
        shape, dtype = (self._size, np.float32) if is_depth else (self.shape, np.uint8)
        out = np.empty((len(steps), *shape), dtype=dtype)
        for row, step in enumerate(steps):
            cell = cells[int(step) - first]
            data = cell.get("bytes") if isinstance(cell, dict) else None
            if not isinstance(data, bytes):
                raise DataError(
                    f"{self.name} in {source.path} holds no image bytes.",
                    got=f"step {step} of episode {ref.index}",
                    hint="images that are only named by a path are not supported; embed them",
                )
            what = f"{self.name}, step {step} of episode {ref.index} in {source.path}"
            out[row] = self._decoded(data, what)
        return out

    def _from_numbers(self, column: ArrowArray, path: Path) -> np.ndarray:
        """Return the pictures of a column of numbers; floats are read by the range of the whole column."""
        feature = self._feature
        picture = picture_of(self.name, feature, self._limits)
        assert picture is not None, "only columns that hold pictures are cameras"
        values = to_array(column, shape=feature.shape, dtype=feature.dtype, name=self.name, path=path)
        try:
            return picture.read(values, name=self.name)
        except SpecError as error:
            raise DataError(error.what, **error.rest) from error

    def range_sources(self) -> list[Path]:
        """Return the files whose values decide the range of pictures that are numbers; none for others."""
        return sorted({ref.data_path for ref in self._ranged()}) if self._feature.is_number else []

    def _ranged(self) -> list[EpisodeRef]:
        """Return every episode of the data set that is there, also those that were not chosen."""
        every = self._layout.all_episodes or self._layout.episodes
        present = {path: path.is_file() for path in {ref.data_path for ref in every}}
        return [ref for ref in every if present[ref.data_path]]

    def _limits(self) -> tuple[float, float]:
        if self._range is None:
            low, high = math.inf, -math.inf
            for ref in self._ranged():
                part = read_columns(self._layout, [ref], {self.name: self._feature.dtype})[0][self.name]
                low, high = min(low, float(part.min())), max(high, float(part.max()))
            self._range = (low, high)
        return self._range

    def _decoded(self, data: bytes, what: str) -> np.ndarray:
        from steadyhand.data.formats.images import decode_image, decode_samples

        height, width = self._size
        if self._feature.is_depth:
            return self._scale().metres(
                decode_samples(data, height=height, width=width, name=what), name=what
            )
        return decode_image(data, shape=(height, width, self.shape[2]), name=what)
