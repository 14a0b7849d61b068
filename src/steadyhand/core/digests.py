"""SHA-256 digests: a damaged file from a whole one, and one content from another.

1.5 GB/s where the processor has instructions for it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from steadyhand.core.errors import ArtifactError, SteadyhandError
from steadyhand.core.strict import require_file

_KEY = "sha256"
_AT_ONCE = 1 << 24  # bytes
_SHOWN = 16
"""Hexadecimal digits of a content: 64 bits tell apart what nobody has made to collide."""


def file_digest(path: Path) -> str:
    """Return the size of a file [bytes] and the digest of its bytes, joined by a colon.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return f"{path.stat().st_size}:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def file_digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the digest of each named file of a folder."""
    return {name: file_digest(folder / name) for name in names}


def check_files(folder: Path, digests: Mapping[str, str]) -> None:
    """Compare files with the digests that were noted when they were written.

    Raises:
        ArtifactError: A file is missing or holds other bytes.
    """
    for name, expected in digests.items():
        require_file(folder / name, error=ArtifactError)
        try:
            # A file of another size is not read: it may be endless.
            size = str((folder / name).stat().st_size)
            found = file_digest(folder / name) if expected.startswith(f"{size}:") else f"{size}:..."
        except OSError as error:
            raise ArtifactError(
                f"{folder / name} cannot be read.", got=error, hint="copy the whole folder again"
            ) from error
        if found != expected:
            raise ArtifactError(
                f"{folder / name} is damaged: it holds other bytes than were written.",
                got=_shown(found),
                expected=_shown(expected),
                hint="restore it from a copy; nothing was loaded",
            )


def _shown(digest: str) -> str:
    size, _, rest = digest.partition(":")
    return f"{size} bytes, sha256 {rest[:16]}"


def data_digest(data: Any) -> str:
    """Return the digest of plain JSON data, whatever the order of its keys and its white space."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object together with its own digest."""
    return {**data, _KEY: data_digest(dict(data))}


def unsealed(data: Any, *, path: Path, error: type[SteadyhandError] = ArtifactError) -> dict[str, Any]:
    """Return a sealed JSON object without its digest.

    Args:
        data: The object, as it was read.
        path: File it came from, for errors.
        error: What to raise where it is not sealed, or holds something else than was written.
    """
    if not isinstance(data, dict) or _KEY not in data:
        raise error(
            f"{path} carries no digest of itself.",
            hint="it was written by another version or cut short; restore it from a copy",
        )
    body = {key: value for key, value in data.items() if key != _KEY}
    if data_digest(body) != data[_KEY]:
        raise error(
            f"{path} is damaged: it holds something else than was written.",
            hint="restore it from a copy; an edit by hand counts as damage too",
        )
    return body


class Digest:
    """A digest of content that grows: names, dtypes, shapes and numbers, whatever file they are in.

    Equal contents in equal order give equal digests. Arrays are read a part at a time, so that what lies
    memory-mapped on a disk never has to fit into memory.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def text(self, *words: object) -> "Digest":
        """Take words in."""
        for word in words:
            data = str(word).encode("utf-8", "surrogatepass")
            self._hash.update(f"{len(data)}:".encode() + data)
        return self

    def array(self, name: str, values: Shaped[np.ndarray, "*shape"]) -> "Digest":
        """Take an array in; its layout in memory does not matter."""
        self.text(name, values.dtype.str, values.shape)
        if values.ndim == 0:
            self._hash.update(np.asarray(values).tobytes())
            return self
        rows = max(1, _AT_ONCE * len(values) // max(1, values.nbytes))
        for first in range(0, len(values), rows):
            part = np.ascontiguousarray(values[first : first + rows])
            self._hash.update(part.ravel().view(np.uint8).data)
        return self

    def arrays(self, arrays: Mapping[str, np.ndarray]) -> "Digest":
        """Take arrays in, in the order of their names."""
        for name in sorted(arrays):
            self.array(name, arrays[name])
        return self

    def hex(self) -> str:
        """Return the digest so far."""
        return self._hash.hexdigest()[:_SHOWN]


def contents_digest(paths: Iterable[Path]) -> str:
    """Return the digest of the names and bytes of several files."""
    whole = Digest()
    for path in sorted(paths):
        whole.text(path.name, file_digest(path))
    return whole.hex()
