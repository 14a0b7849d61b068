"""Decoded cameras as one memory-mapped uint8 array a camera, rebuilt when the files change."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from steadyhand.core.errors import DataError
from steadyhand.data.formats.files import ParquetSource, open_parquet
from steadyhand.data.formats.layout import EpisodeRef, Layout
from steadyhand.data.formats.png import decode_png
from steadyhand.data.formats.video import VideoReader

CACHE_FOLDER = ".cache/steadyhand"


class Camera:
    """The images of one camera of a data set on disk.

    Args:
        layout: The data set.
        name: Feature name of the camera.

    Raises:
        DataError: The camera's images have another number of channels than 1 or 3.
    """

    def __init__(self, layout: Layout, name: str, *, channels: int | None = None) -> None:
        self.name = name
        self._feature = layout.features[name]
        self._fps = layout.fps
        height, width, stored = self._feature.shape
        self.shape = (height, width, stored if channels is None else channels)
        if self.shape[2] not in (1, 3):
            raise DataError(f"Camera {name!r} has {self.shape[2]} channels.", expected="1 or 3")

    def file(self, ref: EpisodeRef) -> Path:
        """Return the file that holds the images of an episode."""
        return ref.videos[self.name].path if self._feature.dtype == "video" else ref.data_path

    def require(self, refs: Sequence[EpisodeRef]) -> None:
        """Raise DataError, naming what is missing, unless every episode's file is there."""
        absent = [ref for ref in refs if not self.file(ref).is_file()]
        if absent:
            present = [ref.index for ref in refs if ref not in absent]
            raise DataError(
                f"Camera {self.name!r} has no images for {len(absent)} of {len(refs)} episodes.",
                got=f"no {self.file(absent[0])}" + (" and others" if len(absent) > 1 else ""),
                available=[f"episode {number}" for number in present[:10]] + ["..."] * (len(present) > 10),
                hint="train without this camera, pick the episodes that have it, or copy the missing videos",
            )

    def read(self, ref: EpisodeRef, steps: np.ndarray | None = None) -> UInt8[np.ndarray, "n h w c"]:
        """Return the images of an episode, all or those at `steps`.

        Raises:
            DataError: Missing, short or damaged images.
        """
        chosen = np.arange(ref.length) if steps is None else steps
        if self._feature.dtype == "video":
            with VideoReader(self.file(ref)) as video:
                return self._from_video(video, ref, chosen)
        return self._from_parquet(open_parquet(ref.data_path), ref, chosen)

    def read_all(self, refs: Sequence[EpisodeRef]) -> Iterator[UInt8[np.ndarray, "n h w c"]]:
        """Yield the images of each episode, opening each file once where episodes share it."""
        path: Path | None = None
        video: VideoReader | None = None
        source: ParquetSource | None = None
        try:
            for ref in refs:
                if self.file(ref) != path:
                    path = self.file(ref)
                    if self._feature.dtype == "video":
                        if video is not None:
                            video.close()
                        video = VideoReader(path)
                    else:
                        source = open_parquet(path)
                steps = np.arange(ref.length)
                if video is not None:
                    yield self._from_video(video, ref, steps)
                elif source is not None:
                    yield self._from_parquet(source, ref, steps)
        finally:
            if video is not None:
                video.close()

    def _from_video(self, video: VideoReader, ref: EpisodeRef, steps: np.ndarray) -> np.ndarray:
        times = ref.videos[self.name].start + steps / self._fps
        # A quarter of a step: merged files drift by more than a fixed tolerance, and a frame is a frame.
        frames = video.frames(video.indices_at(times, tolerance_s=0.25 / self._fps))
        height, width, channels = self.shape
        pad = (frames.shape[1] - height, frames.shape[2] - width)
        if pad not in ((0, 0), (height % 2, 0), (0, width % 2), (height % 2, width % 2)):
            raise DataError(
                f"{video.path} has another size than info.json declares.",
                got=frames.shape[1:3],
                expected=(height, width),
            )
        return frames[:, :height, :width, :channels]

    def _from_parquet(self, source: ParquetSource, ref: EpisodeRef, steps: np.ndarray) -> np.ndarray:
        first = int(steps.min()) if len(steps) else 0
        count = int(steps.max()) - first + 1 if len(steps) else 0
        table = source.read([self.name], first=ref.first_row + first, length=count)
        cells = table.column(self.name).to_pylist()
        out = np.empty((len(steps), *self.shape), dtype=np.uint8)
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
            out[row] = decode_png(data, shape=self.shape, name=what)
        return out


def cached_images(
    camera: Camera, refs: Sequence[EpisodeRef], *, root: Path, folder: Path | None
) -> UInt8[np.ndarray, "n h w c"]:
    """Return all images of the given episodes, memory mapped from a cache that is built when needed.

    Args:
        camera: Which camera.
        refs: Which episodes, in the order of the result.
        root: Folder of the data set.
        folder: Where the cache lies; inside the data set if None.

    Raises:
        DataError: Missing, short or damaged images.
    """
    camera.require(refs)
    folder = root / CACHE_FOLDER if folder is None else folder
    stem = camera.name.replace(" ", "_")
    path = folder / f"{stem}-{_fingerprint(camera, refs, root)}.npy"
    total = sum(ref.length for ref in refs)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _build(path, camera.read_all(refs), shape=(total, *camera.shape))
        _drop_stale(path, stem)
    try:
        cached = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is a damaged cache.", got=error, hint="delete it; it is rebuilt") from error
    if cached.shape != (total, *camera.shape) or cached.dtype != np.uint8:
        raise DataError(f"{path} is a damaged cache.", got=cached.shape, hint="delete it; it is rebuilt")
    return cached


def _fingerprint(camera: Camera, refs: Sequence[EpisodeRef], root: Path) -> str:
    digest = hashlib.sha256(repr(camera.shape).encode())
    for path in sorted({camera.file(ref) for ref in refs}):
        state = path.stat()
        digest.update(f"{path.relative_to(root)}:{state.st_size}:{state.st_mtime_ns}\n".encode())
    digest.update(repr([(ref.index, ref.first_row, ref.length) for ref in refs]).encode())
    return digest.hexdigest()[:16]


def _build(path: Path, parts: Iterable[np.ndarray], *, shape: tuple[int, ...]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        out = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        first = 0
        for part in parts:
            out[first : first + len(part)] = part
            first += len(part)
        out.flush()
        del out
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _drop_stale(path: Path, stem: str) -> None:
    """Keep the newest few caches of a camera: one for each selection of episodes in use."""
    others = [p for p in path.parent.glob(f"{stem}-????????????????.npy") if p != path]
    others.sort(key=lambda p: p.stat().st_mtime_ns, reverse=True)
    for stale in others[3:]:
        stale.unlink(missing_ok=True)
