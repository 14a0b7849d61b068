"""Looks for everything that is wrong or doubtful in a data set, instead of stopping at the first thing."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from steadyhand.core.errors import DataError
from steadyhand.core.listing import listed
from steadyhand.core.specs import ACTION
from steadyhand.data.base import Dataset
from steadyhand.data.checks.blocks import blocks, vector_specs
from steadyhand.data.checks.cameras import CameraCheck, Depth
from steadyhand.data.checks.columns import (
    ColumnCheck,
    foreign_problems,
    is_ours,
    journal_problems,
    task_problems,
)
from steadyhand.data.checks.content import (
    ActionJumps,
    Duplicates,
    FarValues,
    Idle,
    Labels,
    StateLeaps,
    WrongCuts,
    set_by_few,
)
from steadyhand.data.checks.detector import Detector, dimension
from steadyhand.data.checks.pairing import Copies, Lag
from steadyhand.data.checks.scan import Known, Scan
from steadyhand.data.checks.stored_stats import stored_stats_problems
from steadyhand.data.dataset import StoredDataset, open_any
from steadyhand.data.problems import Problem, Severity, from_error
from steadyhand.data.selection import Episodes
from steadyhand.data.stats import hardly_moving

_ORDER = get_args(Severity)


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """Result of `check`.

    Attributes:
        root: Folder or file that was looked at.
        problems: Errors first, then warnings, then notes.
    """

    root: Path
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not any(problem.severity == "error" for problem in self.problems)

    def with_problems(self, more: Iterable[Problem]) -> "CheckReport":
        """Return the report with further findings."""
        return CheckReport(root=self.root, problems=_sorted([*self.problems, *more]))


def check(
    root: Path | str,
    *,
    depth: Depth = "full",
    control_dt: float = 0.05,
    rename: Mapping[str, str] | None = None,
    episodes: Episodes | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Look through a data set, some episodes at a time: memory does not grow with it.

    Args:
        root: Folder of the data set, or an npz file.
        depth: "full" decodes every picture; "quick" the first, middle and last one of each episode.
        control_dt: Time between steps [s] of an npz file, which does not know it.
        rename: Name of a feature in the files -> its name here.
        episodes: Which episodes to look at; all of them if None.
        tick: Told how many episodes were looked at by every camera, of how many.
    """
    root = Path(root)
    try:
        dataset = open_any(root, control_dt=control_dt, rename=rename, episodes=episodes)
    except DataError as error:
        return CheckReport(root=root, problems=(from_error("metadata", str(root), error),))
    return CheckReport(root=root, problems=check_dataset(dataset, depth=depth, tick=tick))


def check_dataset(
    dataset: Dataset, *, depth: Depth = "full", tick: Callable[[int, int], None] | None = None
) -> tuple[Problem, ...]:
    """Return what is wrong with an opened data set, errors first; see `check`."""
    found: list[Problem] = []
    if isinstance(dataset, StoredDataset):
        found += journal_problems(dataset)
        found += foreign_problems(dataset)
        found += task_problems(dataset)
        found += ColumnCheck(dataset).problems()
    elif dataset.unread:
        found.append(
            Problem(
                code="unread",
                severity="note",
                where="arrays",
                what=f"nothing reads {', '.join(dataset.unread)}",
                hint="--rename NAME=observation.NAME makes an observation of one",
            )
        )
    found += CameraCheck(dataset, depth, tick=tick).problems()
    found += _content(dataset)
    return _sorted(found)


def _sorted(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: _ORDER.index(problem.severity)))


def _content(dataset: Dataset) -> Iterator[Problem]:
    """Look at the numbers twice: at their range, then by it; episodes that cannot be read are left out."""
    if not dataset.num_episodes:
        return
    observation, action = vector_specs(dataset), dataset.action
    ours = isinstance(dataset, StoredDataset) and is_ours(dataset)
    scan = Scan(observation, action, num_steps=dataset.num_frames)
    first: list[Detector] = [
        Labels(action, is_ours=ours),
        Duplicates(dataset),
        Copies(observation, action),
        Lag(observation, action, num_steps=dataset.num_frames, control_dt=dataset.control_dt),
    ]
    skipped: set[int] = set()
    for block in blocks(dataset, skipped=skipped):
        scan.take(block)
        for detector in first:
            detector.take(block)
    known = scan.known()
    if not known:
        return
    second: list[Detector] = [FarValues(known)]
    if action.kind == "continuous":
        second += [Idle(known), ActionJumps(known[ACTION]), StateLeaps(known), WrongCuts(known)]
    for block in blocks(dataset, skipped=skipped):
        for detector in second:
            detector.take(block)
    yield from _still(known)
    if action.kind == "continuous":
        yield from _few(known[ACTION])
    for detector in [*first, *second]:
        yield from detector.problems()
    if isinstance(dataset, StoredDataset) and dataset.is_whole and not skipped:
        yield from stored_stats_problems(dataset, known, is_ours=ours)


def _few(action: Known) -> Iterator[Problem]:
    """Name the dimensions of the action whose range is set by few values."""
    low, high = action.moments.low, action.moments.high
    places = set_by_few(low, high, action.sample)
    if places:
        first = places[0]
        found = listed([dimension(action.spec, place) for place in places])
        usual = np.quantile(action.sample[:, first], [0.01, 0.99])
        yield Problem(
            code="range-by-few",
            severity="warning",
            where=ACTION,
            what=f"few values set the range of dimension {found}: "
            f"{low[first]:.4g} to {high[first]:.4g}, where 98 % lie within {usual[0]:.4g} to {usual[1]:.4g}",
            hint="look at them: heads that scale the action by its range see little of the others",
        )


def _still(known: Mapping[str, Known]) -> Iterator[Problem]:
    """Name the dimensions that never change, and those that only tremble."""
    stats = {name: one.stats() for name, one in known.items()}
    found = hardly_moving({name: one.spec for name, one in known.items()}, stats)
    for name, one in known.items():
        of_feature = [still for still in found if still.feature == name]
        never = [dimension(one.spec, still.place) for still in of_feature if still.std == 0.0]
        hardly = [f"{dimension(one.spec, s.place)} by {s.std:.1g}" for s in of_feature if s.std > 0.0]
        if never:
            yield Problem(
                code="constant",
                severity="note",
                where=name,
                what=f"never changes: dimension {listed(never)}",
                hint="as it should be for a fixed layout or an unused joint (normalisers guard it); "
                "if it should move, nothing was read there in any episode",
            )
        if hardly:
            yield Problem(
                code="hardly-moves",
                severity="warning",
                where=name,
                what=f"hardly moves (standard deviation): dimension {listed(hardly)}",
                hint="normalisers divide it by a floor, so it is as good as not there; "
                "see docs/training.md if it matters",
            )
