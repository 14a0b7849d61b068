"""One writer at a time for a folder."""

from pathlib import Path

from steadyhand.core.errors import DataError
from steadyhand.core.lock import FileLock

LOCK_PATH = "meta/steadyhand/lock"


class WriterLock:
    """Held from construction to `release`; the system frees it when the process dies.

    Raises:
        DataError: Someone else holds it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = FileLock(path)
        except BlockingIOError as error:
            raise DataError(
                "Someone else is recording into this store.",
                got=f"{path} is locked",
                hint="close the other store or wait until it is done; reading needs no lock",
            ) from error

    def release(self) -> None:
        """Let the next writer in."""
        self._lock.release()
