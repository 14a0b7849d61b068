"""A copy of a data set in which what is certain is mended; the data set itself is never touched."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from steadyhand.core.errors import DataError
from steadyhand.data.checks.blocks import AnyDataset, blocks
from steadyhand.data.checks.content import Duplicates
from steadyhand.data.dataset import Dataset
from steadyhand.data.episode import Branch, Episode
from steadyhand.data.store import EpisodeStore

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
    dataset: AnyDataset,
    folder: Path | str,
    *,
    shift: Shift = 0,
    tick: Callable[[int, int], None] | None = None,
) -> Repair:
    """Write a mended copy: copies left out, actions paired anew, index columns and statistics made anew.

    Names are mended by opening the data with `rename`. What is only doubtful is kept as it is.

    Args:
        dataset: What `open_any` returned.
        folder: The new data set; there must be nothing yet. It appears when it is complete.
        shift: Which action belongs to observation t: that of step t + shift.
        tick: Told how many episodes are written, of how many.

    Raises:
        DataError: There is something at `folder` or it lies within the data set; an episode cannot be read;
            or branches, which hang on the steps of their parents, would be shifted.
    """
    folder = Path(folder)
    _require_new(dataset, folder)
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


def _require_new(dataset: AnyDataset, folder: Path) -> None:
    if folder.exists() or folder.is_symlink():
        raise DataError("There is something already.", got=folder, hint="name a folder that there is not yet")
    if isinstance(dataset, Dataset) and folder.resolve().is_relative_to(dataset.root.resolve()):
        raise DataError("The copy would lie within the data set.", got=folder, hint="name a folder beside it")


def _copies(dataset: AnyDataset) -> dict[int, int]:
    """Return place of each copy -> place of the first episode like it, pictures included."""
    found = Duplicates()
    for block in blocks(dataset):
        found.take(block)
    place = {int(number): at for at, number in enumerate(dataset.numbers)}
    cameras = [name for name, spec in dataset.observation.items() if spec.kind == "image"]
    out: dict[int, int] = {}
    for copy, first in ((place[copy], place[first]) for copy, first in found.copies.items()):
        one, other = (dataset.episode(at).observation if cameras else {} for at in (first, copy))
        if all(np.array_equal(one[name], other[name]) for name in cameras):
            out[copy] = first
    return out


def _write(
    dataset: AnyDataset,
    stage: Path,
    copies: Mapping[int, int],
    shift: Shift,
    tick: Callable[[int, int], None] | None,
) -> tuple[list[int], int]:
    features = dataset.layout.features if isinstance(dataset, Dataset) else {}
    is_video = any(features[name].dtype == "video" for name in dataset.observation if name in features)
    too_short: list[int] = []
    place: dict[int, int] = {}
    with EpisodeStore.create(
        stage,
        observation=dataset.observation,
        action=dataset.action,
        control_dt=dataset.control_dt,
        robot_type=dataset.layout.robot_type if isinstance(dataset, Dataset) else None,
        image_format="mp4" if is_video else "png",
        env_id=dataset.env_id if isinstance(dataset, Dataset) else "",
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


def _episodes(dataset: AnyDataset) -> Iterator[Episode]:
    for number in range(dataset.num_episodes):
        yield dataset.episode(number)


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
        **{
            name: getattr(episode, name)[done]
            for name in (
                "action",
                "expert_action",
                "expert_action_valid",
                "actor",
                "intervention",
                "weight",
                "reward",
            )
        },
    )
