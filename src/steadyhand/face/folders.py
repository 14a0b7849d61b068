"""Folders of results: the one that was asked for, or a temporary one that lives as long as its owner."""

import shutil
import tempfile
import weakref
from pathlib import Path

from steadyhand.face.asked import path_of


class Folder:
    """A folder of results.

    Args:
        out: Where; None makes a temporary folder, which is removed with this object, or when Python ends.

    Attributes:
        path: The folder.
        is_temporary: Whether it vanishes with this object.
    """

    def __init__(self, out: str | Path | None) -> None:
        self.is_temporary = out is None
        if out is not None:
            self.path = path_of("out", out)
            return
        self.path = Path(tempfile.mkdtemp(prefix="steadyhand-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
