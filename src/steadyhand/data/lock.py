"""One writer at a time for a folder."""

import os
import sys
import time
from pathlib import Path

from steadyhand.core.errors import DataError

if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


_ATTEMPTS, _PAUSE = 3, 0.01  # readers hold the lock for an instant, to see whether a writer does
LOCK_PATH = "meta/steadyhand/lock"


class WriterLock:
    """Held from construction to `release`; the system frees it when the process dies.

    Raises:
        DataError: Someone else holds it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        for attempt in range(_ATTEMPTS):
            try:
                _try_lock(self._handle)
                return
            except OSError as error:
                if attempt + 1 == _ATTEMPTS:
                    os.close(self._handle)
                    raise DataError(
                        "Someone else is recording into this store.",
                        got=f"{path} is locked",
                        hint="close the other store or wait until it is done; reading needs no lock",
                    ) from error
                time.sleep(_PAUSE)

    def release(self) -> None:
        """Let the next writer in."""
        os.close(self._handle)


def is_locked(path: Path) -> bool:
    """Whether a writer holds the lock just now."""
    if not path.exists():
        return False
    try:
        WriterLock(path).release()
    except DataError:
        return True
    except OSError:
        return False  # a read-only folder has no writer
    return False
