"""Digests of the videos of a store: no codec of theirs has checksums, so that damage may decode to pixels."""

from pathlib import Path

from steadyhand.core.digests import file_digest, sealed
from steadyhand.core.errors import DataError
from steadyhand.data.formats.files import inside, read_sealed
from steadyhand.data.formats.sidecar import FOLDER
from steadyhand.data.staging import StagedFiles, write_json_indented

_PATH = f"{FOLDER}/videos.json"


def stage_video_digests(root: Path, stage: StagedFiles) -> None:
    """Write the digests of the videos of a stage, beside those of earlier ones; nothing if there are none."""
    new = {name: file_digest(stage.path(name)) for name in stage.names if name.endswith(".mp4")}
    if new:
        write_json_indented(stage.path(_PATH), sealed({"videos": _noted(root) | new}))


def altered_videos(root: Path) -> list[str]:
    """Return the videos that are there and hold other bytes than were written, by their paths in the store.

    Raises:
        DataError: The digests are damaged themselves.
    """
    return [
        name
        for name, digest in _noted(root).items()
        if (path := inside(root, name)).is_file() and file_digest(path) != digest
    ]


def _noted(root: Path) -> dict[str, str]:
    path = root / _PATH
    if not path.exists():
        return {}
    videos = read_sealed(path).get("videos")
    if not isinstance(videos, dict):
        raise DataError(f"{path} is damaged.", got=type(videos).__name__, hint="restore it from a copy")
    return {str(name): str(digest) for name, digest in videos.items()}
