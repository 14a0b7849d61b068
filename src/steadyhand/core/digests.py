"""SHA-256 digests that tell a damaged file from a whole one."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from steadyhand.core.errors import ArtifactError, SteadyhandError

_KEY = "sha256"


def file_digest(path: Path) -> str:
    """Return the digest of a file's bytes.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the digest of each named file of a folder."""
    return {name: file_digest(folder / name) for name in names}


def check_files(folder: Path, digests: Mapping[str, str]) -> None:
    """Compare files with the digests that were noted when they were written.

    Raises:
        ArtifactError: A file is missing or holds other bytes.
    """
    for name, expected in digests.items():
        try:
            found = file_digest(folder / name)
        except OSError as error:
            raise ArtifactError(
                f"{folder / name} cannot be read.", got=error, hint="copy the whole folder again"
            ) from error
        if found != expected:
            raise ArtifactError(
                f"{folder / name} is damaged: it holds other bytes than were written.",
                got=f"sha256 {found[:16]}...",
                expected=f"sha256 {expected[:16]}...",
                hint="restore it from a copy; nothing was loaded",
            )


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
