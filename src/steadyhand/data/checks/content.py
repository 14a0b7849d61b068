"""What quietly spoils a policy although it can be read: numbers that stand still, leap, or occur twice."""

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Shaped

from steadyhand.core.errors import DataError
from steadyhand.core.listing import listed
from steadyhand.core.protocol import Actor
from steadyhand.core.specs import ACTION, FeatureSpec
from steadyhand.data.base import Dataset
from steadyhand.data.checks.blocks import Block, vector_specs
from steadyhand.data.checks.detector import Detector, dimension, episodes, flat
from steadyhand.data.checks.scan import Known
from steadyhand.data.problems import Problem

_IDLE_SHARE = 0.3
_STILL = 1e-3  # of the range of a value
_JUMP = 0.5  # of the range of a value, between two steps
_LEAP = 0.25  # of the range of a value, between two steps
_LEAPING = 0.3  # share of the values of a state that leap at once
_ANYWHERE = 0.5  # of the range of a value, in a usual step
_CONTINUED = 0.05  # share of the values that may change by more than in a usual step
_ENDS = 512  # episodes whose ends are compared with one another
_FEWEST_VALUES = 3  # that tell whether an episode goes on
_FAR = 1e6  # times the spread of a value
_LONE_FAR = 1e3  # times the size of a value that hardly ever changes
_ROUNDING = 1e-6  # of a bound
_FEW_SET = 5.0  # times as wide as 1 to 99 % of the values


def set_by_few(
    low: Shaped[np.ndarray, " D"], high: Shaped[np.ndarray, " D"], sample: Shaped[np.ndarray, "M D"]
) -> tuple[int, ...]:
    """Return the dimensions whose range is set by few values: 5 times as wide as from 1 to 99 % of them.

    What is scaled by its range then has nearly all values in a small part of it. A dimension of which 98 % do
    not move at all, such as a pulse, is none of them.

    Args:
        low: (D,) smallest values.
        high: (D,) largest values.
        sample: (M, D) values drawn at random.
    """
    first, last = np.quantile(sample.astype(np.float64), [0.01, 0.99], axis=0)
    found = (last > first) & (high - low > _FEW_SET * (last - first))
    return tuple(np.flatnonzero(found).tolist())


class Idle(Detector):
    """Counts steps in which nothing moves."""

    def __init__(self, known: Mapping[str, Known]) -> None:
        self._still = {name: _STILL * (k.moments.high - k.moments.low) for name, k in known.items()}
        self._pairs = 0
        self._idle = 0

    def take(self, block: Block) -> None:
        """Look at the next steps."""
        still = block.is_same.copy()
        self._pairs += int(still.sum())
        for name, limit in self._still.items():
            column = flat(block.action if name == ACTION else block.observation[name])
            still &= (np.abs(np.diff(column, axis=0)) <= limit).all(axis=1)
        self._idle += int(still.sum())

    def problems(self) -> Iterator[Problem]:
        """Tell what was found."""
        share = self._idle / max(self._pairs, 1)
        if share > _IDLE_SHARE:
            yield Problem(
                code="idle",
                severity="note",
                where="all episodes",
                what=f"in {share:.0%} of the steps neither action nor observation moves",
                hint="fine where the task is to hold still, as for a pendulum that balances; otherwise cut "
                "waiting at the start and end: a policy learns to stand still from it",
            )


class ActionJumps(Detector):
    """Finds actions that cross half their range within one step, where they usually do not."""

    def __init__(self, known: Known) -> None:
        low, high = np.quantile(known.sample, [0.01, 0.99], axis=0)
        self._range = np.maximum(high - low, 1e-9)
        usual = np.quantile(known.change, 0.99, axis=0) if len(known.change) else np.zeros_like(low)
        self._limit = np.maximum(_JUMP, 5 * usual / self._range)
        self._found: list[tuple[int, int]] = []

    def take(self, block: Block) -> None:
        """Look at the next steps."""
        change = np.abs(np.diff(flat(block.action), axis=0)) / self._range
        for step in np.flatnonzero((change > self._limit).any(axis=1) & block.is_same):
            self._found.append(block.where(int(step) + 1))

    def problems(self) -> Iterator[Problem]:
        """Tell what was found."""
        if self._found:
            step = self._found[0][1]
            yield Problem(
                code="action-jump",
                severity="warning",
                where=episodes(list(dict.fromkeys(number for number, _ in self._found))),
                what=f"the action leaps over half its range within one step, first at step {step}",
                hint="look at them: a dropped packet, an angle that wraps, or two recordings in one",
            )


def _usual_changes(known: Mapping[str, Known]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield features of a state: name, (D,) width from 1 to 99 % of the values, (D,) 99 % of the changes."""
    for name, one in known.items():
        if name != ACTION and one.spec.kind == "continuous" and len(one.change):
            low, high = np.quantile(one.sample, [0.01, 0.99], axis=0)
            yield name, high - low, np.quantile(one.change, 0.99, axis=0)


class StateLeaps(Detector):
    """Finds steps at which much of a state is suddenly somewhere else: two recordings in one episode."""

    def __init__(self, known: Mapping[str, Known]) -> None:
        self._limit: dict[str, np.ndarray] = {}
        for name, width, usual in _usual_changes(known):
            self._limit[name] = np.where(width > 0, np.maximum(_LEAP * width, 3 * usual), np.inf)
        self._found: list[tuple[int, int]] = []

    def take(self, block: Block) -> None:
        """Look at the next steps."""
        leaps = np.zeros(len(block.is_same))
        size = 0
        for name, limit in self._limit.items():
            change = np.abs(np.diff(flat(block.observation[name]), axis=0))
            leaps += (change > limit).sum(axis=1)
            size += int(np.isfinite(limit).sum())
        for step in np.flatnonzero((leaps >= max(2.0, _LEAPING * size)) & block.is_same):
            self._found.append(block.where(int(step) + 1))

    def problems(self) -> Iterator[Problem]:
        """Tell what was found."""
        if self._found:
            number, step = self._found[0]
            yield Problem(
                code="state-leap",
                severity="warning",
                where=episodes(list(dict.fromkeys(number for number, _ in self._found))),
                what=f"the observation is suddenly somewhere else, first at step {step} of episode {number}",
                hint="cut the episode there: two recordings in one, or steps that were dropped",
            )


class WrongCuts(Detector):
    """Finds episodes that go on where the one before ended: one recording, cut in two."""

    def __init__(self, known: Mapping[str, Known]) -> None:
        self._limit: dict[str, np.ndarray] = {}
        for name, width, usual in _usual_changes(known):
            # Where a step may lead nearly anywhere, being near the last state says nothing.
            self._limit[name] = np.where((usual > 0) & (usual < _ANYWHERE * width), usual, np.nan)
        self._size = sum(int(np.isfinite(limit).sum()) for limit in self._limit.values())
        self._last: dict[str, np.ndarray] = {}
        self._number = -2
        self._boundaries = 0
        self._firsts: list[np.ndarray] = []
        self._lasts: list[np.ndarray] = []
        self._found: list[int] = []

    def take(self, block: Block) -> None:
        """Look at the next steps."""
        columns = {name: flat(block.observation[name]) for name in self._limit}
        together = np.concatenate([np.zeros((len(block), 0)), *columns.values()], axis=1)
        for place, number in enumerate(block.numbers.tolist()):
            if block.is_branch[place]:
                continue
            first, last = int(block.starts[place]), int(block.ends[place]) - 1
            if len(self._firsts) < _ENDS:
                self._firsts.append(together[first])
                self._lasts.append(together[last])
            if number == self._number + 1:
                self._boundaries += 1
                beyond = sum(
                    int((np.abs(column[first] - self._last[name]) > self._limit[name]).sum())
                    for name, column in columns.items()
                )
                if beyond <= _CONTINUED * self._size:
                    self._found.append(number)
            self._number, self._last = number, {name: column[last] for name, column in columns.items()}

    def problems(self) -> Iterator[Problem]:
        """Tell what was found."""
        if self._size < _FEWEST_VALUES or not self._found:
            return
        all_of_them = len(self._found) == self._boundaries > 1
        by_chance = self._chance() * self._boundaries
        if not all_of_them and len(self._found) <= by_chance + 3 * by_chance**0.5:
            return
        yield Problem(
            code="wrong-cut",
            severity="note" if all_of_them else "warning",
            where=episodes(self._found),
            what=f"goes on where the episode before ended, in {len(self._found)} of {self._boundaries} cases",
            hint="fine if a robot starts where it stopped; otherwise one recording was cut in two: join them",
        )

    def _chance(self) -> float:
        """Return how often an episode starts where one ended that is not the one before it."""
        first, last = np.stack(self._firsts), np.stack(self._lasts)
        limit = np.concatenate(list(self._limit.values()))
        near = [(np.abs(last - one) > limit).sum(axis=1) <= _CONTINUED * self._size for one in first]
        other = ~np.eye(len(first), k=-1, dtype=bool) & ~np.eye(len(first), dtype=bool)
        return float(np.stack(near)[other].mean()) if other.any() else 0.0


class FarValues(Detector):
    """Finds numbers a million times as far out as the others are wide: damage, or the wrong unit."""

    def __init__(self, known: Mapping[str, Known]) -> None:
        self._specs = {name: one.spec for name, one in known.items()}
        self._middle: dict[str, np.ndarray] = {}
        self._limit: dict[str, np.ndarray] = {}
        for name, one in known.items():
            low, middle, high = np.quantile(one.sample.astype(np.float64), [0.01, 0.5, 0.99], axis=0)
            self._middle[name] = middle
            size = np.maximum(1.0, np.abs(middle))
            self._limit[name] = np.where(high > low, _FAR * (high - low), _LONE_FAR * size)
        self._first: dict[str, tuple[int, int, int, float]] = {}
        self._count: dict[str, int] = {}

    def take(self, block: Block) -> None:
        """Look at the next steps."""
        for name, limit in self._limit.items():
            values = flat(block.label if name == ACTION else block.observation[name])
            far = np.abs(values - self._middle[name]) > limit
            if not far.any():
                continue
            step, place = (int(index) for index in np.argwhere(far)[0])
            self._first.setdefault(name, (*block.where(step), place, float(values[step, place])))
            self._count[name] = self._count.get(name, 0) + int(far.sum())

    def problems(self) -> Iterator[Problem]:
        """Tell what was found."""
        for name, (number, step, place, value) in self._first.items():
            count = self._count[name]
            more = f", and {count - 1} more such values" if count > 1 else ""
            yield Problem(
                code="far-value",
                severity="error",
                where=f"{name}, episode {number}, step {step}",
                what=f"{value:.4g} in dimension {dimension(self._specs[name], place)} "
                f"is over a million times as far out as the other values are wide{more}",
                hint="drop the episode or repair the value; beside it all others look the same",
            )


class Duplicates(Detector):
    """Finds episodes that are the same as an earlier one: numbers, labels, task, reward and how it ended.

    Args:
        dataset: Where the blocks come from; episodes of equal numbers are read whole and compared.
        pictures: Whether their pictures must be the same, too.
    """

    def __init__(self, dataset: Dataset, *, pictures: bool = False) -> None:
        self._dataset = dataset
        self._names = list(dataset.observation if pictures else vector_specs(dataset))
        self._place = {int(number): place for place, number in enumerate(dataset.numbers)}
        self._seen: dict[bytes, list[int]] = {}
        self.copies: dict[int, int] = {}
        """Number of a copy -> number of the first episode like it."""

    def take(self, block: Block) -> None:
        """Look at the next steps."""
        columns = [np.ascontiguousarray(block.action), *map(np.ascontiguousarray, block.observation.values())]
        for place, number in enumerate(block.numbers.tolist()):
            if block.is_branch[place]:
                continue
            first, end = int(block.starts[place]), int(block.ends[place])
            digest = hashlib.blake2b(digest_size=16)
            for column in columns:
                digest.update(column[first:end].tobytes())
            alike = self._seen.setdefault(digest.digest(), [])
            original = next((earlier for earlier in alike if self._is_copy(earlier, number)), None)
            if original is None:
                alike.append(number)
            else:
                self.copies[number] = original

    def _is_copy(self, one: int, other: int) -> bool:
        places = (self._place[number] for number in (one, other))
        try:
            first, second = (self._dataset.episode(place, observation=self._names) for place in places)
        except DataError:  # said where the episode is read
            return False
        columns = ("action", "expert_action", "expert_action_valid", "weight", "reward")
        facts = ("task", "step_tasks", "success", "terminated", "truncated")
        return (
            all(getattr(first, name) == getattr(second, name) for name in facts)
            and all(np.array_equal(getattr(first, name), getattr(second, name)) for name in columns)
            and all(np.array_equal(first.observation[n], second.observation[n]) for n in self._names)
        )

    def problems(self) -> Iterator[Problem]:
        """Tell what was found."""
        if self.copies:
            shown = [f"{number} (of {original})" for number, original in self.copies.items()]
            yield Problem(
                code="duplicate",
                severity="warning",
                where=episodes(shown),
                what="the same numbers, task and reward as an earlier episode",
                hint="drop the copies, or training and validation share episodes: steadyhand data repair",
            )


class Labels(Detector):
    """Looks at weights, at who acted, and at actions outside their declared box.

    Args:
        action: Spec of the action.
        is_ours: Whether the columns were written by this library, so that their values have its meaning.
    """

    def __init__(self, action: FeatureSpec, *, is_ours: bool) -> None:
        self._is_ours = is_ours
        low = np.full(action.size, -np.inf) if action.low is None else np.array(action.low)
        high = np.full(action.size, np.inf) if action.high is None else np.array(action.high)
        # What was scaled as float32 may lie a rounding beyond its bound.
        size = np.maximum(*(np.where(np.isfinite(bound), np.abs(bound), 0.0) for bound in (low, high)))
        self._low, self._high = low - _ROUNDING * size, high + _ROUNDING * size
        self._steps = 0
        self._labelled = 0
        self._outside = 0
        self._negative: list[tuple[int, int]] = []
        self._strangers: dict[int, tuple[int, int]] = {}

    def take(self, block: Block) -> None:
        """Look at the next steps."""
        self._steps += len(block)
        self._labelled += int((block.is_labelled & (block.weight > 0)).sum())
        negative = np.flatnonzero(block.weight < 0)
        if len(negative):
            self._negative.append(block.where(int(negative[0])))
        if self._is_ours:
            for step in np.flatnonzero(block.actor > max(Actor)):
                self._strangers.setdefault(int(block.actor[step]), block.where(int(step)))
        label = flat(block.label)
        outside = (label < self._low) | (label > self._high)
        self._outside += int((outside.any(axis=1) & block.is_labelled).sum())

    def problems(self) -> Iterator[Problem]:
        """Tell what was found."""
        for number, step in self._negative[:1]:
            yield Problem(
                code="weight",
                severity="error",
                where=f"episode {number}, step {step}",
                what="the training weight is negative: training would move away from this label",
                hint="give the step the weight 0, or drop the episode",
            )
        for actor, (number, step) in self._strangers.items():
            yield Problem(
                code="actor",
                severity="error",
                where=f"episode {number}, step {step}",
                what=f"actor {actor} is none of {listed([f'{int(a)} ({a.name.lower()})' for a in Actor])}",
                hint="the file is damaged or written by a later version; record or convert it again",
            )
        if self._steps and not self._labelled:
            yield Problem(
                code="no-labels",
                severity="error",
                where="all episodes",
                what="no step has a label of positive weight: there is nothing to train on",
                hint="ask an expert (steadyhand correct), or record demonstrations",
            )
        if self._outside:
            yield Problem(
                code="label-outside",
                severity="note",
                where=ACTION,
                what=f"{self._outside / self._steps:.1%} of the labels lie outside the action's bounds",
                hint="the env clips them; the label may stay as it was meant",
            )
