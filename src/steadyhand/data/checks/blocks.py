"""Episodes of a data set end to end, a bounded piece at a time: what `check` looks at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Int64, Shaped, UInt8

from steadyhand.core.errors import DataError
from steadyhand.core.specs import ACTION, FeatureSpec
from steadyhand.data.base import Dataset
from steadyhand.data.dataset import StoredDataset
from steadyhand.data.episode import Episode
from steadyhand.data.formats.layout import EpisodeRef
from steadyhand.data.formats.schema import EXPERT_ACTION

_BLOCK_VALUES = 2**21
"""Numbers of a block, about; a longer episode is a block of its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """N steps of whole episodes.

    Attributes:
        numbers: (E,) episode numbers in the data set.
        ends: (E,) exclusive cumulative ends; the last is N.
        observation: Feature name -> (N, ...); pictures excluded.
        action: (N, A) what was executed.
        label: (N, A) what the expert meant.
        weight: (N,) training weight as it is stored.
        is_labelled: (N,) whether an expert was asked.
        actor: (N,) who acted.
        is_branch: (E,) whether the episode is a synthetic step.
        is_compacted: Whether the episodes lie in the files that other programs read, too.
    """

    numbers: Int64[np.ndarray, " E"]
    ends: Int64[np.ndarray, " E"]
    observation: dict[str, Shaped[np.ndarray, "N ..."]]
    action: Shaped[np.ndarray, "N A"]
    label: Shaped[np.ndarray, "N A"]
    weight: Float32[np.ndarray, " N"]
    is_labelled: Bool[np.ndarray, " N"]
    actor: UInt8[np.ndarray, " N"]
    is_branch: Bool[np.ndarray, " E"]
    is_compacted: bool = True

    def __len__(self) -> int:
        return len(self.action)

    @cached_property
    def starts(self) -> Int64[np.ndarray, " E"]:
        """First step of each episode."""
        return np.concatenate([[0], self.ends[:-1]]).astype(np.int64)

    @cached_property
    def place(self) -> Int64[np.ndarray, " N"]:
        """Place in `numbers` of each step's episode."""
        return np.repeat(np.arange(len(self.ends)), self.ends - self.starts)

    @cached_property
    def is_same(self) -> Bool[np.ndarray, " pairs"]:
        """Whether step t + 1 belongs to the episode of step t."""
        return self.place[1:] == self.place[:-1]

    def where(self, step: int) -> tuple[int, int]:
        """Return the episode of a step of this block, and its step there."""
        place = int(self.place[step])
        return int(self.numbers[place]), step - int(self.starts[place])


def vector_specs(dataset: Dataset) -> dict[str, FeatureSpec]:
    """Return the observation features that hold numbers."""
    return {name: spec for name, spec in dataset.observation.items() if spec.kind != "image"}


def blocks(dataset: Dataset, *, skipped: set[int] | None = None) -> Iterator[Block]:
    """Yield all episodes in order, some megabytes at a time; pictures are not opened.

    Args:
        dataset: The data.
        skipped: Receives the numbers of episodes that cannot be read; None raises instead.

    Raises:
        DataError: An episode cannot be read and `skipped` is None.
    """
    names = list(vector_specs(dataset))
    size = block_steps(dataset)
    if not isinstance(dataset, StoredDataset):
        for chosen in _pieces(dataset.lengths, np.arange(dataset.num_episodes), size):
            yield _of_episodes(dataset.episodes(chosen), dataset.numbers[chosen], names, is_compacted=True)
        return
    numbers = dataset.numbers
    branches = numbers[dataset.branch[:, 0] >= 0]
    for refs in runs_of(dataset.layout.episodes, size):
        try:
            columns = dataset.stored.columns(refs, names)
        except DataError:
            if skipped is None:
                raise
            yield from _one_by_one(dataset, refs, names, branches, skipped)
            continue
        yield _of_columns(columns, refs, names, branches)
    journaled = np.arange(len(dataset.stored), dataset.num_episodes)
    for chosen in _pieces(dataset.lengths, journaled, size):
        episodes = [dataset.episode(int(number), observation=names) for number in chosen]
        yield _of_episodes(episodes, numbers[chosen], names, is_compacted=False)


def block_steps(dataset: Dataset) -> int:
    """Return how many steps of this data set make a block."""
    width = sum(spec.size for spec in vector_specs(dataset).values()) + 2 * dataset.action.size + 8
    return max(256, _BLOCK_VALUES // width)


def runs_of(refs: Sequence[EpisodeRef], size: int) -> Iterator[list[EpisodeRef]]:
    """Cut episodes into runs of one file and about `size` steps."""
    run: list[EpisodeRef] = []
    steps = 0
    for ref in refs:
        if run and (ref.data_path != run[0].data_path or steps + ref.length > size):
            yield run
            run, steps = [], 0
        run.append(ref)
        steps += ref.length
    if run:
        yield run


def _pieces(lengths: np.ndarray, numbers: np.ndarray, size: int) -> Iterator[np.ndarray]:
    if not len(numbers):
        return
    ends = np.cumsum(lengths[numbers])
    cuts = np.flatnonzero(np.diff(ends // size)) + 1
    yield from np.split(numbers, cuts)


def _one_by_one(
    dataset: StoredDataset,
    refs: Sequence[EpisodeRef],
    names: list[str],
    branches: np.ndarray,
    skipped: set[int],
) -> Iterator[Block]:
    for ref in refs:
        try:
            columns = dataset.stored.columns([ref], names)
        except DataError:
            skipped.add(ref.index)
            continue
        yield _of_columns(columns, [ref], names, branches)


def _of_columns(
    columns: Sequence[dict[str, np.ndarray]],
    refs: Sequence[EpisodeRef],
    names: Sequence[str],
    branches: np.ndarray,
) -> Block:
    numbers = np.array([ref.index for ref in refs], dtype=np.int64)
    return _joined(columns, numbers, names, is_branch=np.isin(numbers, branches))


def _of_episodes(
    episodes: Sequence[Episode], numbers: np.ndarray, names: Sequence[str], *, is_compacted: bool
) -> Block:
    is_branch = np.array([episode.branch is not None for episode in episodes])
    columns = [episode.columns for episode in episodes]
    block = _joined(columns, numbers.astype(np.int64), names, is_branch=is_branch)
    return replace(block, is_compacted=is_compacted)


def _joined(
    columns: Sequence[dict[str, np.ndarray]],
    numbers: np.ndarray,
    names: Sequence[str],
    *,
    is_branch: np.ndarray,
) -> Block:
    def joined(name: str) -> np.ndarray:
        return np.concatenate([part[name] for part in columns])

    return Block(
        numbers=numbers,
        ends=np.cumsum([len(part[ACTION]) for part in columns]).astype(np.int64),
        observation={name: joined(name) for name in names},
        action=joined(ACTION),
        label=joined(EXPERT_ACTION),
        weight=joined("weight"),
        is_labelled=joined("expert_action_valid"),
        actor=joined("actor"),
        is_branch=is_branch,
    )
