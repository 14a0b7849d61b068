"""Data sets in LeRobot's folders, of any version that can be read."""

from pathlib import Path

from steadyhand.core.errors import DataError
from steadyhand.data.formats import lerobot_v3, lerobot_v21
from steadyhand.data.formats.files import read_json_file
from steadyhand.data.formats.layout import INFO, Layout

_READERS = {
    lerobot_v3.VERSION: lerobot_v3.locate,
    lerobot_v21.VERSION: lerobot_v21.locate,
    "v2.0": lerobot_v21.locate,  # differs in the statistics, which are computed anew here
}


def locate(root: Path) -> Layout:
    """Read the metadata of a data set of any known version.

    Raises:
        DataError: No data set there, an unknown version, or metadata that do not add up.
    """
    if not (root / INFO).is_file():
        raise DataError(
            f"{root} is not a LeRobot data set: no meta/info.json there.",
            hint="name the folder that holds meta/ and data/; for an npz file see data.formats.arrays",
        )
    info = read_json_file(root / INFO)
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if not isinstance(version, str) or version not in _READERS:
        raise DataError(
            f"{root / INFO} names no format version that can be read.",
            got=repr(version)[:80],
            expected='"codebase_version"',
            available=_READERS,
            hint="restore the file from a copy, or convert the data with LeRobot's own converter",
        )
    return _READERS[version](root)
