"""One process at a time: a lock on a file, which the system frees when its holder dies."""

import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from steadyhand.core.errors import ConfigError

if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> None:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from error
else:
    import fcntl

    def _try_lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


LOCK = ".lock"
QUESTION = "question.json"
_ATTEMPTS, _PAUSE = 3, 0.01  # some hold a lock for an instant, to see whether somebody does
_LEFTOVER = re.compile(
    r"\.(?P<name>policy|best|episodes|step-\d+|[^.]+\.(?:json|html|mp4|jsonl))(?:\.\d+)?\.(?P<kind>tmp|old)"
)
_held: dict[Path, int] = {}
"""Folder -> thread that works in it."""
_guard = threading.Lock()


class FileLock:
    """Held from construction to `release`.

    Raises:
        BlockingIOError: Someone else holds it.
        OSError: The file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        for attempt in range(_ATTEMPTS):
            try:
                _try_lock(self._handle)
                break
            except BlockingIOError:
                if attempt + 1 == _ATTEMPTS:
                    os.close(self._handle)
                    raise
                time.sleep(_PAUSE)
            except OSError:  # a file system without locks
                break

    def note(self, text: str) -> None:
        """Write into the file who holds it."""
        with suppress(OSError):
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, text.encode(), 0)

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._handle)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock just now; the file is not made."""
    if not path.exists():
        return False
    try:
        FileLock(path).release()
    except BlockingIOError:
        return True
    except OSError:
        return False  # in a read-only folder nobody works
    return False


@contextmanager
def working_in(folder: Path) -> Generator[None]:
    """Hold `folder`, which is made if it is not there, so that no other process or thread works in it.

    A thread that holds a folder may enter it, and folders in it, again.

    Raises:
        ConfigError: Another process or thread works there.
    """
    here, me = folder.resolve(), threading.get_ident()
    with _guard:
        owner = next((_held[one] for one in (here, *here.parents) if one in _held), None)
        is_mine = owner == me
        if not is_mine and here in _held:
            raise _taken(folder, "another thread of this process")
    if is_mine:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    try:
        lock = FileLock(path)
    except BlockingIOError as error:
        raise _taken(folder, _who(path)) from error
    lock.note(f"process {os.getpid()}\n")
    if (folder / QUESTION).exists():
        remove_leftovers(folder)
    with _guard:
        _held[here] = me
    try:
        yield
    finally:
        with _guard:
            del _held[here]
        lock.release()


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process was writing in a run folder under a temporary name.

    What it was about to replace, and had moved aside for that, goes back to its place.
    """
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path, match = Path(place, name), _LEFTOVER.fullmatch(name)
            if match is None:
                continue
            if name in folders:
                folders.remove(name)
            if match["kind"] == "old" and not (original := path.with_name(match["name"])).exists():
                path.rename(original)
            elif path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _who(path: Path) -> str:
    with suppress(OSError, ValueError):
        return path.read_text(encoding="utf-8").strip() or "another process"
    return "another process"


def _taken(folder: Path, who: str) -> ConfigError:
    return ConfigError(
        f"Somebody is working in {folder}.",
        got=who,
        hint="wait until it is done, stop it, or choose another folder",
    )
