"""Envs whose whole state is arrays with one entry a row: declared once, and all else follows from that."""

from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, Shaped

from steadyhand.core.errors import SpecError
from steadyhand.core.seeding import derive
from steadyhand.core.specs import EnvSpec
from steadyhand.envs.base import BatchEnv, Family, Start, StepResult, require_family

Array = TypeVar("Array", bound=np.ndarray)

Past = TypeVar("Past", "DrivenPaths", "Trails")

Selection = slice | Int64[np.ndarray, " B"]
"""Rows, as a slice where they are consecutive: views are several times faster than gathers."""


class ArrayEnv(BatchEnv):
    """N copies of a task, kept in arrays that `_declare` names.

    From what is declared follow reset, snapshots and restoring, so that nothing can be forgotten in one of
    them. A subclass says where a start is (`_first`), what a step does (`_advance`) and what is seen
    (`_see`); everything is computed entry by entry, so that a row never depends on its neighbours.

    Args:
        spec: What the env offers.
        num_rows: Number of copies.
    """

    checks_itself = True

    OPTIONS: ClassVar[tuple[str, ...]] = ()
    """What a start may name."""

    def __init__(self, spec: EnvSpec, *, num_rows: int) -> None:
        if num_rows < 1:
            raise SpecError("An env needs at least one row.", got=num_rows, expected=">= 1")
        self.spec = spec
        self.num_rows = num_rows
        self._declared: dict[str, np.ndarray] = {}
        self._fresh: dict[str, np.ndarray] = {}
        self._pasts: list[DrivenPaths | Trails] = []
        self._steps = self._declare("steps", np.zeros(num_rows, dtype=np.int64))
        self._ended = self._declare("ended", np.zeros(num_rows, dtype=bool))
        self._ended[:] = True

    def starts(self, family: Family, count: int, *, seed: int = 0) -> tuple[Start, ...]:
        """Return `count` starts; a longer list begins with the shorter one."""
        require_family(family)
        name = self.spec.env_id
        return tuple(
            Start(family=family, seed=derive(seed, name, family, "start", index), options=options)
            for index, options in enumerate(self._options(family, count, seed))
        )

    def reset(self, starts: Sequence[Start], rows: Int64[np.ndarray, " B"]) -> None:
        """Put each of `rows` at its start.

        Raises:
            SpecError: A start names what this env does not know, or there is not one for each row.
        """
        self._check_starts(starts, rows, options=self._option_names())
        if starts:
            self._put(self._first(starts), rows)

    def step(self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]) -> StepResult:
        """Advance `rows` by control_dt.

        Raises:
            SpecError: A row has ended, or the actions have the wrong shape.
        """
        chosen = self._select(rows)
        self._check_step(actions, rows, self._ended[chosen])
        steps = self._steps[chosen] + 1
        reward, terminated, success = self._advance(actions, rows)
        truncated = (steps >= self.spec.max_episode_steps) & ~terminated
        ended = terminated | truncated
        self._steps[chosen] = steps
        self._ended[chosen] = ended
        for past in self._pasts:
            past.follow(rows, self._steps)
        return StepResult(reward=reward, terminated=terminated, truncated=truncated, success=success & ended)

    def observe(
        self,
        rows: Int64[np.ndarray, " B"],
        *,
        view_offset: Mapping[str, Float32[np.ndarray, " B"]] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return what `rows` see; see `BatchEnv.observe`."""
        if view_offset is not None:
            raise self._lacks("displaced sensors (view_offset)")
        self._check_rows(rows)
        return self._see(rows)

    def state(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return a snapshot of `rows`; it may be restored into another env of the same config."""
        self._check_rows(rows)
        return {name: array[rows] for name, array in self._declared.items()}

    def restore(self, state: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into the snapshot `state`, bit for bit.

        Raises:
            SpecError: The snapshot is one of another env.
        """
        if state.keys() != self._declared.keys():
            raise SpecError(
                f"This is no snapshot of {self.spec.env_id}.",
                got=sorted(state),
                expected=", ".join(sorted(self._declared)),
            )
        self._put(state, rows)

    def _option_names(self) -> tuple[str, ...]:
        """Return what a start may name."""
        return self.OPTIONS

    @abstractmethod
    def _options(self, family: Family, count: int, seed: int) -> Sequence[dict[str, float]]:
        """Return the options of `count` starts."""

    @abstractmethod
    def _first(self, starts: Sequence[Start]) -> Mapping[str, np.ndarray]:
        """Return the state at the starts; what it leaves out begins as it was declared."""

    @abstractmethod
    def _advance(
        self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]
    ) -> tuple[Float32[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        """Move `rows`, and return reward, whether the task ended, and whether it counts as done if it did."""

    @abstractmethod
    def _see(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return what `rows` see, as copies."""

    def _entered(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Note that `rows` were put into another state: what follows from it is to be found anew."""

    def _declare(self, name: str, array: Array) -> Array:
        """Keep an array with one entry a row as part of the state; each row begins as it is now.

        It must be changed in place from here on.
        """
        self._declared[name] = array
        self._fresh[name] = array[0].copy()
        return array

    def _followed(self, past: Past) -> Past:
        """Tell it from here on wherever rows go, for pictures."""
        self._pasts.append(past)
        return past

    def _put(self, state: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into a state, as it was declared where `state` says nothing."""
        chosen = self._select(rows)
        for name, array in self._declared.items():
            array[chosen] = state.get(name, self._fresh[name])
        for past in self._pasts:
            past.begin(rows, self._steps)
        self._entered(rows)

    def _select(self, rows: Int64[np.ndarray, " B"]) -> Selection:
        """Return a slice where `rows` are consecutive; raise SpecError unless the env has them."""
        if len(rows) == 0:
            return rows
        first, last = self._check_rows(rows)
        return slice(first, last + 1) if last - first == len(rows) - 1 else rows


class DrivenPaths:
    """Where rows have been since their start, or since they were restored; for pictures.

    Args:
        place: (N, ...) where the rows are, changed in place as they move.
        num_steps: Most steps of an episode.
    """

    def __init__(self, place: Shaped[np.ndarray, "N ..."], num_steps: int) -> None:
        self._place = place
        self._past = np.zeros((len(place), num_steps + 1, *place.shape[1:]), dtype=place.dtype)
        self._known_from = np.zeros(len(place), dtype=np.int64)

    def begin(self, rows: Int64[np.ndarray, " B"], steps: Int64[np.ndarray, " N"]) -> None:
        """Forget where `rows` were: a snapshot brings no path along."""
        self._known_from[rows] = steps[rows]
        self.follow(rows, steps)

    def follow(self, rows: Int64[np.ndarray, " B"], steps: Int64[np.ndarray, " N"]) -> None:
        """Note where `rows` are, after as many steps of each row of the env."""
        self._past[rows, steps[rows]] = self._place[rows]

    def of(self, row: int, steps: int) -> tuple[Int64[np.ndarray, " P"], Shaped[np.ndarray, "P ..."]]:
        """Return the steps at which it is known where a row was, up to `steps`, and where that was."""
        known = np.arange(self._known_from[row], steps + 1)
        return known, self._past[row, known]


class Trails:
    """The last places of those rows that are drawn, from their first picture on.

    Args:
        places: (N, D) where the rows are, a view of what changes as they move.
        length: Steps that a trail reaches back.
    """

    def __init__(self, places: Float[np.ndarray, "N D"], *, length: int) -> None:
        self._places = places
        self._length = length
        self._of: dict[int, deque[np.ndarray]] = {}

    def of(self, row: int) -> Float[np.ndarray, "P D"]:
        """Return a row's trail, oldest place first; it begins here where there is none."""
        if row not in self._of:
            self._of[row] = deque([self._places[row].copy()], maxlen=self._length)
        return np.array(self._of[row])

    def follow(self, rows: Int64[np.ndarray, " B"], steps: Int64[np.ndarray, " N"]) -> None:
        """Note where all rows are that are drawn."""
        del rows, steps
        for row, trail in self._of.items():
            trail.append(self._places[row].copy())

    def begin(self, rows: Int64[np.ndarray, " B"], steps: Int64[np.ndarray, " N"]) -> None:
        """Drop the trails of rows that were put elsewhere."""
        del steps
        if self._of:
            self._of = {row: trail for row, trail in self._of.items() if row not in rows}
