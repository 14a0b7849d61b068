"""Replacing several files of a folder at once: all of them or none, whenever the process dies.

New files are written into a stage, forced to disk, and listed in a commit file; that file's rename is the
commit. Then each is renamed to its place. Whoever finds a stage with a commit file finishes the renames; a
stage without one is thrown away.
"""

import json
import os
import shutil
from pathlib import Path

from steadyhand.core.errors import DataError
from steadyhand.core.lock import is_held
from steadyhand.core.strict import replacing
from steadyhand.data.formats.files import inside, read_json_file
from steadyhand.data.lock import LOCK_PATH, WriterLock

STAGE_PATH = "meta/steadyhand/stage"
_COMMIT = "COMMIT.json"


class StagedFiles:
    """Collects the new files of one change; the caller holds the writer lock.

    Args:
        root: Folder that is changed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / STAGE_PATH
        self._files: list[str] = []
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Where the files are to be, in the order in which they move."""
        return tuple(self._files)

    def path(self, relative: str) -> Path:
        """Return where to write what will be `root / relative`; files move in the order of the calls."""
        path = inside(self._folder / "files", relative)
        path.parent.mkdir(parents=True, exist_ok=True)
        if relative not in self._files:
            self._files.append(relative)
        return path

    def commit(self) -> None:
        """Make the change permanent, then move the files."""
        for relative in self._files:
            _sync(self._folder / "files" / relative)
        for folder in {(self._folder / "files" / relative).parent for relative in self._files}:
            _sync(folder)
        with replacing(self._folder / _COMMIT) as temporary:
            temporary.write_text(json.dumps({"files": self._files}), encoding="utf-8")
            _sync(temporary)  # before it has its name: a commit file is never half there
        _sync(self._folder)
        apply(self._root)

    def discard(self) -> None:
        """Throw the new files away."""
        shutil.rmtree(self._folder, ignore_errors=True)


def is_committed(root: Path) -> bool:
    """Whether a change is permanent whose files have not all been moved yet."""
    return (root / STAGE_PATH / _COMMIT).exists()


def apply(root: Path) -> None:
    """Finish a committed change or throw an uncommitted one away; the caller holds the writer lock."""
    folder = root / STAGE_PATH
    commit = folder / _COMMIT
    if commit.exists():
        for relative in read_json_file(commit)["files"]:
            staged, place = inside(folder / "files", relative), inside(root, relative)
            if staged.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                staged.replace(place)
                _sync(place.parent)
        commit.unlink()
        _sync(folder)
    shutil.rmtree(folder, ignore_errors=True)


def finish(root: Path) -> None:
    """Finish a change that a killed process had committed; for readers, who hold no lock.

    Raises:
        DataError: A writer is at it just now.
    """
    if not is_committed(root):
        return
    if is_held(root / LOCK_PATH):
        raise DataError(
            "The store is being compacted just now.", got=root / STAGE_PATH, hint="try again in a second"
        )
    lock = WriterLock(root / LOCK_PATH)
    try:
        apply(root)
    finally:
        lock.release()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some systems cannot force a folder to disk
    finally:
        os.close(handle)


def write_json_indented(path: Path, data: object) -> None:
    """Write JSON with LeRobot's indentation of four, under a temporary name first."""
    text = json.dumps(data, indent=4, allow_nan=False, ensure_ascii=False)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
