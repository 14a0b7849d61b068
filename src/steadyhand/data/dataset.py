"""Opening data sets of every format and origin; `StoredDataset` and `ArrayDataset` are what they are then."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from steadyhand.core.errors import DataError
from steadyhand.core.lock import is_held
from steadyhand.core.strict import kind_of
from steadyhand.data.base import Dataset
from steadyhand.data.collection import StoredDataset
from steadyhand.data.formats.arrays import open_npz
from steadyhand.data.formats.lerobot import locate
from steadyhand.data.journal import JOURNAL_PATH, JournalReader
from steadyhand.data.lock import LOCK_PATH
from steadyhand.data.selection import Episodes, chosen_episodes
from steadyhand.data.spec import load_spec
from steadyhand.data.staging import finish

__all__ = ["StoredDataset", "open_any", "open_dataset"]


def open_dataset(
    root: Path | str,
    *,
    cache_dir: Path | None = None,
    rename: Mapping[str, str] | None = None,
    episodes: Episodes | None = None,
    observation: Sequence[str] | None = None,
    classes: tuple[int, int] | None = None,
) -> StoredDataset:
    """Open a data set for reading: LeRobot v3.0 or v2.1, or an episode store, journal included.

    Only metadata is read now; steps and videos when they are asked for.

    Args:
        root: Folder that holds meta/info.json.
        cache_dir: Where decoded images are kept; if None inside the data set, or in the user's cache folder
            where that cannot be written.
        rename: Name of a feature in the files -> its name here, such as {"actions": "action"}.
        episodes: Which episodes to read, as numbers or as a text such as "0-9,!4"; all of them if None. They
            are numbered from 0 here; `numbers` tells what they are in the files.
        observation: Features to read, all others being as good as absent; all of them if None. "state" stands
            for "observation.state", the name of a camera for "observation.images.<camera>".
        classes: Lowest and highest number of a discrete action, as the env counts them; None takes what a
            store says, and numbers otherwise.

    Raises:
        DataError: No data set there, an unknown version, metadata that do not add up, or a feature or an
            episode that is not there.
    """
    root = Path(root)
    if not root.is_dir():
        if root.exists():
            what = f"{root}, {kind_of(root.stat().st_mode)}"
            raise DataError("A data set is a folder or an npz file.", got=what, hint="check the path")
        raise DataError("There is no such folder.", got=root, hint="check the path")
    spec = load_spec(root)
    if spec is not None:
        finish(root)
    layout, pending = locate(root), None
    if spec is not None and (root / JOURNAL_PATH).exists():
        live = is_held(root / LOCK_PATH)
        pending = JournalReader(root / JOURNAL_PATH, spec, live=live, first=len(layout.episodes))
    if rename and spec is not None:
        raise DataError(
            "A recording of ours keeps its names.",
            got=", ".join(f"{old}={new}" for old, new in rename.items()),
            hint="open it without rename",
        )
    if rename:
        layout = layout.renamed(rename)
    stored, chosen = len(layout.episodes), None
    if episodes is not None:
        numbers = chosen_episodes(episodes, stored + (0 if pending is None else len(pending)))
        layout, chosen = layout.selected(numbers[numbers < stored]), numbers[numbers >= stored] - stored
    return StoredDataset(
        layout,
        spec=spec,
        pending=pending,
        chosen=chosen,
        observation=observation,
        cache_dir=cache_dir,
        classes=classes,
    )


def open_any(
    path: Path | str,
    *,
    control_dt: float,
    cache_dir: Path | None = None,
    rename: Mapping[str, str] | None = None,
    episodes: Episodes | None = None,
    classes: tuple[int, int] | None = None,
) -> Dataset:
    """Open whatever can be trained on: the folder of a data set, or an npz file of flat arrays.

    Args:
        path: The folder, or the file.
        control_dt: Time between steps [s] of an npz file, which does not know it; folders do.
        cache_dir: Where decoded images of a folder are kept; see `open_dataset`.
        rename: Name of a feature or array in the files -> its name here.
        episodes: Which episodes to read, as numbers or as a text such as "0-9,!4"; all of them if None.
        classes: Lowest and highest number of a discrete action, where the data do not say it themselves.

    Raises:
        DataError: It is neither, or it is malformed.
    """
    path = Path(path)
    if path.suffix == ".npz":
        return open_npz(path, control_dt=control_dt, rename=rename, classes=classes, episodes=episodes)
    if path.is_file():
        raise DataError(
            "A data set is a folder or an npz file.",
            got=f"{path}, a file",
            hint="name the folder that holds meta/ and data/, or save flat arrays with numpy.savez",
        )
    return open_dataset(path, cache_dir=cache_dir, rename=rename, episodes=episodes, classes=classes)
