"""Decoded cameras as one memory-mapped uint8 array a camera, at the size that is read of it.

A cache lies beside the data, or in the user's cache folder where the data cannot be written to. It is an npy
file, and a sealed JSON file with its checksum, verified before the array is mapped: a map of a file
that is shorter than it says would end the process. It is written, not mapped, for the same reason: a map of a
file that the disk has no room for does that too.
"""

import errno
import hashlib
import io
import logging
import os
import shutil
import time
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

import numpy as np
from jaxtyping import UInt8

from steadyhand.core.codec import write_json
from steadyhand.core.digests import sealed
from steadyhand.core.errors import DataError, SteadyhandError
from steadyhand.core.lock import FileLock
from steadyhand.data.camera import StoredCamera
from steadyhand.data.formats.files import read_sealed
from steadyhand.data.formats.layout import EpisodeRef
from steadyhand.data.pictures import Size, check_size, resized

CACHE_FOLDER = ".cache/steadyhand"
_RULE = "frames follow the timestamp column"  # another rule of which frame belongs to a step, another cache
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_KEPT = 4
_CHUNK = 1 << 24
_PAUSE_S = 0.2
_logger = logging.getLogger("steadyhand")


def cached_images(
    camera: StoredCamera,
    refs: Sequence[EpisodeRef],
    *,
    root: Path,
    folder: Path | None,
    size: Size | None = None,
) -> UInt8[np.ndarray, "n h w c"]:
    """Return all images of the given episodes, memory mapped from a cache that is built when needed.

    What is about to be written, and where, is logged as a warning to the logger "steadyhand".

    Args:
        camera: Which camera.
        refs: Which episodes, in the order of the result.
        root: Folder of the data set.
        folder: Where the cache lies. If None, inside the data set, or in the user's cache folder where that
            cannot be written.
        size: (height, width) that pictures are made; as they are if None.

    Raises:
        DataError: Missing, short or damaged images, no room or no permission, or a size above the camera's.
    """
    camera.require(refs)
    if size is not None:
        check_size(size, camera.shape[0:2])
    shape = (sum(ref.length for ref in refs), *(size or camera.shape[:2]), camera.shape[2])
    name = f"{_stem(camera)}-{_fingerprint(camera, refs, root, shape)}.npy"
    folders = [root / CACHE_FOLDER, user_folder(root)] if folder is None else [folder]
    for place in folders:
        if _is_whole(place / name):
            return _mapped(place / name)
    path = _writable(folders, name=name)
    with _Turn(path, _stem(camera)):
        if not _is_whole(path):
            _drop_stale(path, _stem(camera))
            _build(path, camera, refs, shape)
    return _mapped(path)


def user_folder(root: Path) -> Path:
    """Return where the caches of a data set that cannot be written to lie."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(base) if base else Path.home() / ".cache"
    place = root.resolve()
    return home / "steadyhand" / f"{place.name}-{hashlib.sha256(str(place).encode()).hexdigest()[:12]}"


def _stem(camera: StoredCamera) -> str:
    return camera.name.replace(" ", "_")


def _fingerprint(camera: StoredCamera, refs: Sequence[EpisodeRef], root: Path, shape: tuple[int, ...]) -> str:
    digest = hashlib.sha256(repr((_RULE, camera.shape, shape)).encode())
    sources = {path for ref in refs for path in camera.sources(ref)}
    for path in sorted(sources.union(camera.range_sources())):
        state = path.stat()
        # A copy may keep name, size and mtime; its inode or the time at which that was written differs.
        marks = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
        digest.update(f"{path.relative_to(root)}:{marks}\n".encode())
    places = [(ref.index, ref.first_row, ref.length, camera.start(ref)) for ref in refs]
    digest.update(repr(places).encode())
    return digest.hexdigest()[:16]


def _is_whole(path: Path) -> bool:
    """Whether a cache is there and holds what was written; one that does not is as good as none."""
    try:
        note = read_sealed(path.with_suffix(".json"))
        with path.open("rb") as file:
            crc = 0
            while chunk := file.read(_CHUNK):
                crc = zlib.crc32(chunk, crc)
        return crc == note["crc32"]
    except (SteadyhandError, OSError, KeyError):
        return False


def _mapped(path: Path) -> UInt8[np.ndarray, "n h w c"]:
    with suppress(OSError):
        os.utime(path.with_suffix(".json"))  # the caches that were read last are kept
    return np.lib.format.open_memmap(path, mode="r")


def _writable(folders: Sequence[Path], *, name: str) -> Path:
    """Return the place in the first folder that can be written to."""
    refused: OSError | None = None
    for folder in folders:
        probe = folder / f".{uuid4().hex}.probe"  # a name that no other process has
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise _unusable(folder, error) from error
            refused = error
        else:
            return folder / name
    raise _unusable(folders[-1], refused) from refused


def _unusable(folder: Path, error: OSError | None) -> DataError:
    return DataError(
        f"Decoded pictures cannot be kept in {folder}.",
        got=error,
        hint="name a folder that can be written to: --cache DIR, or cache_dir= in Python",
    )


class _Turn:
    """One process at a time writes the caches of a camera into a folder."""

    def __init__(self, path: Path, stem: str) -> None:
        self._path = path.with_name(f".{stem}.lock")

    def __enter__(self) -> None:
        while True:
            try:
                self._lock = FileLock(self._path)
                return
            except BlockingIOError:
                time.sleep(_PAUSE_S)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _build(path: Path, camera: StoredCamera, refs: Sequence[EpisodeRef], shape: tuple[int, ...]) -> None:
    total = int(np.prod(shape, dtype=np.int64))
    what = f"{shape[0]} pictures of {camera.name} at {shape[1]} x {shape[2]}, {_size(total)}"
    free = shutil.disk_usage(path.parent).free
    if total + _CHUNK > free:
        raise _no_room(path.parent, what, f"{_size(free)} are free")
    _logger.warning("keeping %s, decoded, in %s; another place: --cache DIR", what, path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            crc = _write(file, camera.read_all(refs), shape)
        temporary.replace(path)
        write_json(path.with_suffix(".json"), sealed({"crc32": crc, "camera": camera.name}))
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _no_room(path.parent, what, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _write(file: IO[bytes], parts: Iterable[np.ndarray], shape: tuple[int, ...]) -> int:
    """Write an npy file; return its CRC-32."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": np.dtype(np.uint8).str, "fortran_order": False, "shape": shape}
    )
    size = len(head.getvalue()) + int(np.prod(shape, dtype=np.int64))
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in _NO_ROOM:  # others cannot reserve; writing itself will tell
                raise
    file.write(head.getvalue())
    crc, rows = zlib.crc32(head.getvalue()), 0
    for part in parts:
        data = np.ascontiguousarray(resized(part, (shape[1], shape[2]))).data.cast("B")
        crc = zlib.crc32(data, crc)
        file.write(data)
        rows += len(part)
    file.flush()
    os.fsync(file.fileno())
    assert rows == shape[0], f"{rows} pictures for {shape[0]} steps"
    return crc


def _no_room(folder: Path, what: str, got: object) -> DataError:
    return DataError(
        f"There is no room in {folder} for {what}, decoded.",
        got=got,
        hint="free space, name a folder on another disk (--cache DIR, cache_dir= in Python), or let the "
        "encoder read smaller pictures, such as --set 'policy.encoder.resize=[96,96]'",
    )


def _size(count: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def _drop_stale(path: Path, stem: str) -> None:
    """Remove what killed processes left, and all but the newest few caches of a camera."""
    folder = path.parent
    for left in folder.glob(f".{stem}-*.tmp"):
        left.unlink(missing_ok=True)
    caches = [p for p in folder.glob(f"{stem}-????????????????.npy") if p != path]
    notes = {p: p.with_suffix(".json") for p in caches}
    caches.sort(key=lambda p: notes[p].stat().st_mtime_ns if notes[p].exists() else 0, reverse=True)
    for stale in caches[_KEPT - 1 :]:
        stale.unlink(missing_ok=True)
        notes[stale].unlink(missing_ok=True)
