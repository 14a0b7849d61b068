"""How action and observation hang together in time: copies of one another, and how far one lags."""

from collections.abc import Iterator, Mapping

import numpy as np

from steadyhand.core.specs import FeatureSpec
from steadyhand.data.checks.blocks import Block
from steadyhand.data.checks.detector import Detector, flat
from steadyhand.data.problems import Problem

_COPIED = 0.9  # share of the steps
_FEWEST = 20  # steps in which the action moves
_LAG_STEPS = 20_000  # of the data that lags are measured on
_LONGEST = 30  # lag [steps]
_RELATED = 0.3  # correlation of two changes that counts
_ERRORS = 5.0  # standard errors that a correlation must be above 0
_SURE = 0.6  # correlation from which the order of the two is certain enough to warn of
_MARGIN = 0.1  # by which the best lag must beat those on the other side of 0


def partners(observation: Mapping[str, FeatureSpec], action: FeatureSpec) -> dict[str, list[tuple[int, int]]]:
    """Return (action dimension, observation dimension) that measure the same thing, by feature.

    Dimensions of the same name belong together, or all in order where the shapes are the same.
    """
    out: dict[str, list[tuple[int, int]]] = {}
    if action.kind != "continuous":
        return out
    for name, spec in observation.items():
        if spec.kind != "continuous" or len(spec.shape) != 1:
            continue
        if spec.names and action.names and set(spec.names) & set(action.names):
            pairs = [(i, spec.names.index(n)) for i, n in enumerate(action.names) if n in spec.names]
        elif spec.shape == action.shape:
            pairs = [(i, i) for i in range(action.size)]
        else:
            continue
        out[name] = pairs
    return out


class Copies(Detector):
    """Finds actions that are the observation of their own step, or of the next one, bit for bit."""

    def __init__(self, observation: Mapping[str, FeatureSpec], action: FeatureSpec) -> None:
        self._pairs: dict[str, list[tuple[int, int]]] = {}
        if action.kind == "continuous":
            for name, spec in observation.items():
                if len(spec.shape) == 1 and spec.size * action.size <= 2048:
                    self._pairs[name] = [(i, j) for i in range(action.size) for j in range(spec.size)]
            self._pairs = partners(observation, action) | self._pairs
        self._size = action.size
        self._moving = np.zeros(action.size)
        self._now = {name: np.zeros(len(pairs)) for name, pairs in self._pairs.items()}
        self._next = {name: np.zeros(len(pairs)) for name, pairs in self._pairs.items()}

    def take(self, block: Block) -> None:
        """Look at the next steps."""
        action = block.action
        moves = block.is_same[:-1] & block.is_same[1:]
        moving = (action[1:-1] != action[:-2]) & moves[:, None]
        self._moving += moving.sum(axis=0)
        for name, pairs in self._pairs.items():
            column = block.observation[name]
            for place, (i, j) in enumerate(pairs):
                self._now[name][place] += (moving[:, i] & (column[1:-1, j] == action[1:-1, i])).sum()
                self._next[name][place] += (moving[:, i] & (column[2:, j] == action[1:-1, i])).sum()

    def problems(self) -> Iterator[Problem]:
        """Tell what was found."""
        enough = self._moving >= _FEWEST
        for name, pairs in self._pairs.items():
            for counts, is_next in ((self._now[name], False), (self._next[name], True)):
                copied = {
                    i
                    for (i, _), count in zip(pairs, counts, strict=True)
                    if enough[i] and count > _COPIED * self._moving[i]
                }
                if copied:
                    yield self._problem(name, len(copied), is_next=is_next)

    def _problem(self, name: str, count: int, *, is_next: bool) -> Problem:
        how_many = "all dimensions" if count == self._size else f"{count} of {self._size} dimensions"
        if is_next:
            return Problem(
                code="action-is-next-observation",
                severity="warning",
                where=name,
                what=f"the action is the observation of the next step, in {how_many}",
                hint="fine where a robot tracks positions; otherwise record the command, not its outcome",
            )
        return Problem(
            code="action-is-observation",
            severity="warning",
            where=name,
            what=f"equals the action of the same step, in {how_many}",
            hint="the recorder stored the position as its own command; pair o[t] with the next one",
        )


class Lag(Detector):
    """Measures by how many steps the state follows the action: the peak of their cross-correlation.

    Changes from step to step are correlated, not values, so that slow drift does not hide the answer.
    """

    def __init__(
        self,
        observation: Mapping[str, FeatureSpec],
        action: FeatureSpec,
        *,
        num_steps: int,
        control_dt: float,
    ) -> None:
        self._pairs = partners(observation, action)
        self._action = action
        self._control_dt = control_dt
        self._every = max(1, num_steps // _LAG_STEPS)
        self._lags = np.arange(-_LONGEST, _LONGEST + 1)
        # For each lag and pair: n, sums of x, y, x x, y y, x y.
        self._sums = {name: np.zeros((len(self._lags), len(pairs), 6)) for name, pairs in self._pairs.items()}

    def take(self, block: Block) -> None:
        """Look at the next steps."""
        for place in np.flatnonzero((block.numbers % self._every == 0) & ~block.is_branch):
            span = slice(int(block.starts[place]), int(block.ends[place]))
            if span.stop - span.start < 8:
                continue
            moved = np.diff(flat(block.action[span]), axis=0)
            for name, pairs in self._pairs.items():
                seen = np.diff(flat(block.observation[name][span]), axis=0)
                x, y = moved[:, [i for i, _ in pairs]], seen[:, [j for _, j in pairs]]
                self._add(self._sums[name], x, y)

    def _add(self, sums: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        size = len(x)
        for row, lag in enumerate(self._lags.tolist()):
            if abs(lag) > size // 2:
                continue
            a, b = x[max(0, -lag) : size - max(0, lag)], y[max(0, lag) : size - max(0, -lag)]
            parts = (np.full(x.shape[1], len(a)), a.sum(0), b.sum(0), (a * a).sum(0), (b * b).sum(0))
            sums[row] += np.stack([*parts, (a * b).sum(0)], axis=1)

    def lags(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the lag of each pair [steps], and the correlation there; nan where nothing is related."""
        n, x, y, xx, yy, xy = np.moveaxis(self._sums[name], 2, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            across = xy - x * y / n
            spread = np.sqrt(np.maximum(xx - x * x / n, 0) * np.maximum(yy - y * y / n, 0))
            found = np.where((n >= _FEWEST) & (spread > 0), across / spread, -np.inf)
            # Of sixty lags of unrelated noise the best correlates by some four standard errors.
            enough = np.maximum(_RELATED, _ERRORS / np.sqrt(n))
        best = found.argmax(axis=0), np.arange(found.shape[1])
        peak = found[best]
        lag = np.where(peak >= enough[best], self._lags[best[0]], np.nan)
        # The order of the two counts only where no lag on the other side of 0 does about as well.
        other = found[self._lags >= 0].max(axis=0)
        lag = np.where((lag < 0) & ((peak < _SURE) | (other > peak - _MARGIN)), np.nan, lag)
        return lag, peak

    def problems(self) -> Iterator[Problem]:
        """Tell what was found."""
        for name in self._pairs:
            lag, _ = self.lags(name)
            known = lag[~np.isnan(lag)]
            if len(known) < 0.3 * len(lag):
                continue
            middle = int(np.median(known))
            spread = "" if known.min() == known.max() else f" ({known.min():.0f} to {known.max():.0f})"
            of = f"in {len(known)} of {self._action.size} dimensions"
            if middle < 0:
                yield Problem(
                    code="action-late",
                    severity="warning",
                    where=name,
                    what=f"moves {_steps(-middle)}{spread} before the action does, {of}",
                    hint="the action may be recorded late, or paired with a later observation; "
                    "check with --env, or look at one episode",
                )
            else:
                yield Problem(
                    code="lag",
                    severity="note",
                    where=name,
                    what=f"follows the action by {_steps(middle)}{spread}, "
                    f"{middle * self._control_dt:.2g} s, {of}"
                    if middle
                    else f"moves in the step of the action itself{spread}, {of}",
                    hint="a policy sees no sooner what its action did; chunks should be longer than that"
                    if middle
                    else "fine for a fast robot; otherwise what is seen before the action holds it already",
                )


def _steps(number: int) -> str:
    return "1 step" if number == 1 else f"{number} steps"
