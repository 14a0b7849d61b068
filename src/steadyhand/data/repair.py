"""A copy of a data set in which what is certain is mended; the data set itself is never touched."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from steadyhand.core.errors import DataError
from steadyhand.core.specs import ACTION
from steadyhand.data.base import Dataset
from steadyhand.data.checks.blocks import blocks
from steadyhand.data.checks.content import Duplicates
from steadyhand.data.dataset import StoredDataset
from steadyhand.data.episode import STEP_COLUMNS, Branch, Episode
from steadyhand.data.formats.extras import extras
from steadyhand.data.formats.schema import DEFAULT_FEATURES, EXPERT_ACTION, STEP_FEATURES, SUCCESS
from steadyhand.data.spec import load_spec
from steadyhand.data.store import EpisodeStore

_EPISODES_AT_ONCE = 64
Shift = Literal[-1, 0, 1]
"""Which action belongs to observation t, that of step t - 1, t or t + 1: the `pairing` of a replay."""


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What was done.

    Attributes:
        folder: The new data set.
        num_episodes: Episodes in it.
        dropped: Number of a copy that was left out -> the earlier episode that it is a copy of.
        shift: By how many steps actions were moved.
        too_short: Episodes that had no pair of observation and action left.
    """

    folder: Path
    num_episodes: int
    dropped: dict[int, int]
    shift: Shift
    too_short: tuple[int, ...]

    @property
    def told(self) -> tuple[str, ...]:
        """One line for each thing that was done."""
        done: list[str] = []
        if self.dropped:
            copies = ", ".join(f"{number} (of {original})" for number, original in self.dropped.items())
            done.append(f"left out copies of earlier episodes: {copies}")
        if self.shift:
            done.append(
                f"paired observation t with the action of step t {'+' if self.shift > 0 else '-'} 1; "
                "each episode is one step shorter"
            )
        if self.too_short:
            done.append(f"left out episodes of a single step: {', '.join(map(str, self.too_short))}")
        done.append("counted index columns and timestamps anew, and took statistics anew")
        return tuple(done)


def repair(
    dataset: Dataset,
    folder: Path | str,
    *,
    shift: Shift = 0,
    lossy: bool = False,
    tick: Callable[[int, int], None] | None = None,
) -> Repair:
    """Write a mended copy: copies left out, actions paired anew, index columns and statistics made anew.

    Names are mended by opening the data with `rename`. What is only doubtful is kept as it is.

    Args:
        dataset: What `open_any` returned.
        folder: The new data set; there must be nothing yet. It appears when it is complete.
        shift: Which action belongs to observation t: that of step t + shift.
        lossy: Go on where the copy cannot hold everything; `losses` tells what.
        tick: Told how many episodes are written, of how many.

    Raises:
        DataError: There is something at `folder` or it lies within the data set; an episode cannot be read;
            something would be lost and `lossy` does not allow it; or branches, which hang on the steps of
            their parents, would be shifted.
    """
    folder = Path(folder)
    _require_new(dataset, folder)
    if (lost := losses(dataset)) and not lossy:
        raise DataError(
            "The copy would not hold everything.",
            got="; ".join(lost),
            hint="--lossy (lossy=True) writes it without; the data set itself stays as it is",
        )
    copies = _copies(dataset)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Under a name that nobody else has: whatever lies beside the new folder stays.
    holder = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        too_short, written = _write(dataset, holder / "data", copies, shift, tick)
        _require_new(dataset, folder)
        (holder / "data").rename(folder)
    finally:
        shutil.rmtree(holder, ignore_errors=True)
    return Repair(
        folder=folder,
        num_episodes=written,
        dropped={int(dataset.numbers[copy]): int(dataset.numbers[first]) for copy, first in copies.items()},
        shift=shift,
        too_short=tuple(int(dataset.numbers[place]) for place in too_short),
    )


def _require_new(dataset: Dataset, folder: Path) -> None:
    if folder.exists() or folder.is_symlink():
        raise DataError("There is something already.", got=folder, hint="name a folder that there is not yet")
    if isinstance(dataset, StoredDataset) and folder.resolve().is_relative_to(dataset.root.resolve()):
        raise DataError("The copy would lie within the data set.", got=folder, hint="name a folder beside it")


def losses(dataset: Dataset) -> tuple[str, ...]:
    """Return by name what a mended copy cannot hold, a line for each thing; reads what rows tell of ends."""
    if not isinstance(dataset, StoredDataset):
        return ()
    features, foreign = dataset.layout.features, dataset.stored.foreign
    kept = {ACTION, EXPERT_ACTION, *dataset.observation, *DEFAULT_FEATURES, *STEP_FEATURES}
    lost: list[str] = []
    for name, feature in features.items():
        spec = dataset.action if name == ACTION else dataset.observation.get(name)
        if name in foreign:
            lost.append(f"{name}: vanishes; a column of ours takes its name and means something else")
        elif feature.is_depth:
            lost.append(f"{name}: a depth map, vanishes")
        elif name not in kept or (name in STEP_FEATURES and not feature.is_scalar):
            lost.append(f"{name}: vanishes ({feature.dtype} {list(feature.shape)})")
        elif feature.is_image and feature.shape[2] == 4:
            lost.append(f"{name}: its transparency vanishes")
        elif spec is not None and feature.is_number and not np.can_cast(feature.dtype, spec.dtype):
            lost.append(f"{name}: {feature.dtype} is stored as {spec.dtype}, rounded")
        elif name == "next.reward" and not np.can_cast(feature.dtype, STEP_FEATURES[name]):
            lost.append(f"{name}: {feature.dtype} is stored as {STEP_FEATURES[name]}, rounded")
        if feature.is_image and name in dataset.observation and _has_video(dataset):
            lost.append(f"{name}: pictures are encoded as a video anew, which changes them")
    lost += [f"{what}: vanishes" for what in extras(dataset.layout)]
    if load_spec(dataset.root) is None:
        lost += _early_ends(dataset)
    if dataset.journal_damages:
        lost.append(f"meta/steadyhand/journal.bin: {len(dataset.journal_damages)} damaged records vanish")
    return tuple(lost)


def _told(dataset: StoredDataset, *names: str) -> list[str]:
    """Return which of these columns there are, with a number a row."""
    features = dataset.layout.features
    return [name for name in names if name in features and features[name].is_scalar]


def _early_ends(dataset: StoredDataset) -> list[str]:
    """Return which columns tell of an end before the last row of an episode; a copy holds one answer each."""
    features = dataset.layout.features
    told = {name: features[name].dtype for name in _told(dataset, SUCCESS, "next.done", "next.truncated")}
    early = dict.fromkeys(told, 0)
    refs = dataset.layout.episodes if told else ()
    for first in range(0, len(refs), _EPISODES_AT_ONCE):
        for columns in dataset.stored.read(refs[first : first + _EPISODES_AT_ONCE], told):
            for name in told:
                early[name] += int(np.count_nonzero(columns[name][:-1]))
    return [
        f"{name}: {count} rows before the last of their episode say so; kept is what each last row says"
        for name, count in early.items()
        if count
    ]


def _has_video(dataset: Dataset) -> bool:
    features = dataset.layout.features if isinstance(dataset, StoredDataset) else {}
    return any(features[name].dtype == "video" for name in dataset.observation if name in features)


def _copies(dataset: Dataset) -> dict[int, int]:
    """Return place of each copy -> place of the first episode like it, pictures included."""
    found = Duplicates(dataset, pictures=True)
    for block in blocks(dataset):
        found.take(block)
    place = {int(number): at for at, number in enumerate(dataset.numbers)}
    return {place[copy]: place[first] for copy, first in found.copies.items()}


def _write(
    dataset: Dataset,
    stage: Path,
    copies: Mapping[int, int],
    shift: Shift,
    tick: Callable[[int, int], None] | None,
) -> tuple[list[int], int]:
    spec = load_spec(dataset.root) if isinstance(dataset, StoredDataset) else None
    too_short: list[int] = []
    place: dict[int, int] = {}
    with EpisodeStore.create(
        stage,
        observation=dataset.observation,
        action=dataset.action,
        control_dt=dataset.control_dt,
        robot_type=dataset.robot_type,
        image_format="mp4" if _has_video(dataset) else "png",
        env_id=dataset.env_id,
        outside_labels="clipped" if spec is None else spec.outside_labels,
    ) as store:
        for number, episode in enumerate(_episodes(dataset)):
            if tick is not None:
                tick(number + 1, dataset.num_episodes)
            if number in copies:
                continue
            mended = _shifted(episode, shift)
            if mended is None:
                too_short.append(number)
                continue
            if (branch := mended.branch) is not None:
                parent = place[copies.get(branch.parent, branch.parent)]
                mended = replace(mended, branch=Branch(parent=parent, step=branch.step))
            place[number] = len(place)
            store.append(mended)
        store.compact()
    return too_short, len(place)


def _episodes(dataset: Dataset) -> Iterator[Episode]:
    for number in range(dataset.num_episodes):
        episode = dataset.episode(number)
        yield _ended(dataset, number, episode) if isinstance(dataset, StoredDataset) else episode


def _ended(dataset: StoredDataset, number: int, episode: Episode) -> Episode:
    """Return an episode of another origin with the ending that its last row tells."""
    told = _told(dataset, "next.done", "next.truncated")
    if not told or load_spec(dataset.root) is not None:
        return episode
    columns = dataset.stored.read([dataset.layout.episodes[number]], dict.fromkeys(told, "bool"))[0]
    last = {name: bool(columns[name].flat[-1]) for name in told}
    truncated = last.get("next.truncated", False)
    return replace(episode, truncated=truncated, terminated=last.get("next.done", False) and not truncated)


def _shifted(episode: Episode, shift: Shift) -> Episode | None:
    """Return the episode with observation t beside the action of step t + shift; None if nothing is left."""
    if not shift:
        return episode
    if episode.branch is not None:
        raise DataError(
            "Branches hang on the steps of their parents and cannot be paired anew.",
            got="synthetic one-step episodes",
            hint="repair the recording that they were made from, and make them again",
        )
    length = len(episode)
    if length < 2:
        return None
    seen = slice(0, length - 1) if shift > 0 else slice(1, length)
    done = slice(1, length) if shift > 0 else slice(0, length - 1)
    # With shift + 1, what was seen last is what came of the last action.
    final = (
        {name: np.asarray(column[-1]) for name, column in episode.observation.items()}
        if shift > 0
        else episode.final_observation
    )
    tasks = episode.step_tasks[seen] if episode.step_tasks else ()
    return replace(
        episode,
        task=tasks[0] if tasks else episode.task,
        observation={name: column[seen] for name, column in episode.observation.items()},
        final_observation=final,
        step_tasks=tasks,
        **{name: getattr(episode, name)[done] for name in STEP_COLUMNS},
    )
