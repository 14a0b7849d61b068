"""Decoded cameras as one memory-mapped uint8 array a camera, rebuilt when the files change."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from steadyhand.core.errors import DataError
from steadyhand.data.camera import Camera
from steadyhand.data.formats.layout import EpisodeRef

CACHE_FOLDER = ".cache/steadyhand"
_RULE = "frames follow the timestamp column"  # another rule of which frame belongs to a step, another cache


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
    digest = hashlib.sha256(repr((_RULE, camera.shape)).encode())
    for path in sorted({path for ref in refs for path in camera.sources(ref)}):
        state = path.stat()
        digest.update(f"{path.relative_to(root)}:{state.st_size}:{state.st_mtime_ns}\n".encode())
    places = [(ref.index, ref.first_row, ref.length, camera.start(ref)) for ref in refs]
    digest.update(repr(places).encode())
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
