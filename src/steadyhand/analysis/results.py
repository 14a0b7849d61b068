"""The numbers of one experiment as frozen values: what `report.json` holds and `report.html` shows.

Plain tuples, strings and numbers only, so that `core.codec` reads and writes them and none is ever NaN.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int64

from steadyhand.analysis.multimodality import ModeSummary
from steadyhand.analysis.quantities import DEVIATION
from steadyhand.analysis.scene import Scene
from steadyhand.core.errors import ConfigError, DataError
from steadyhand.core.statistics import Estimate, Interval, PairedDifference, bootstrap_mean, wilson
from steadyhand.core.success import SuccessRule
from steadyhand.correction.record import RoundRecord

Kind = Literal["expert", "policy"]


@dataclass(frozen=True, kw_only=True)
class ErrorCurve:
    """|error| of the task along the episode, over the episodes still running; one entry for each time bin.

    Attributes:
        time: Centre of the bin [s].
        mean: Mean |error|.
        p10: Tenth percentile.
        p90: Ninetieth percentile.
        alive: Episodes that reached the bin.
    """

    time: tuple[float, ...]
    mean: tuple[float, ...]
    p10: tuple[float, ...]
    p90: tuple[float, ...]
    alive: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PolicyResult:
    """How one policy, or the expert, did from n starts; build it with `summarise`.

    Attributes:
        name: Name in tables and plots.
        kind: "expert" or "policy".
        successes: (n,) in the order of the starts; None where nothing tells success.
        returns: (n,) sums of rewards.
        lengths: (n,) steps until the end.
        first_failure: (n,) time of the first failure [s], None where there was none; where nothing tells
            success, the time at which the env ended the episode before the time limit.
        control_dt: Time between steps [s].
        success_interval: Wilson's interval of the success rate; None where nothing tells success.
        mean_return: Mean return with a BCa bootstrap interval over starts.
        median_first_failure: Time by which half of the starts had failed [s], None if fewer did.
        error_curve: None if the env names no error.
        labels_used: Expert labels that were asked for it.
        trained_labels: Expert labels that the policy was trained on, at most `labels_used`; None for all of
            them.
        updates: Gradient updates of the fit that made it.
        all_updates: Gradient updates of all fits that were made for the policy, such as of every round.
        fits: How many fits that were.
        train_wall_s: Time of collecting and of all fits [s].
        rollout_wall_s: Time of these n episodes [s].
        note: A remark for the table.
        modes: Which ways of doing the task it took; None if the env does not know its ways.
    """

    name: str
    kind: Kind
    successes: tuple[bool, ...] | None
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    first_failure: tuple[float | None, ...]
    control_dt: float
    success_interval: Interval | None
    mean_return: Estimate
    median_first_failure: float | None
    error_curve: ErrorCurve | None = None
    labels_used: int | None = None
    trained_labels: int | None = None
    updates: int | None = None
    all_updates: int | None = None
    fits: int | None = None
    train_wall_s: float | None = None
    rollout_wall_s: float | None = None
    note: str = ""
    modes: ModeSummary | None = None

    @property
    def num_starts(self) -> int:
        """Number of starts."""
        return len(self.returns)

    @property
    def num_successes(self) -> int | None:
        """Number of starts that ended in success; None where nothing tells it."""
        return None if self.successes is None else sum(self.successes)

    @property
    def duration(self) -> float:
        """Time of the longest episode [s]."""
        return max(self.lengths) * self.control_dt


@dataclass(frozen=True, kw_only=True)
class ComparedPair:
    """`name` against `baseline` on the same starts; both differences are `name` minus `baseline`.

    `success` is None where nothing tells the success of one of them.
    """

    name: str
    baseline: str
    success: PairedDifference | None
    returns: PairedDifference


@dataclass(frozen=True, kw_only=True)
class MeanTest:
    """The mean-versus-sample test of one policy: the mean minus single samples, on the same starts.

    Attributes:
        name: Name of the policy.
        num_samples: Sampled chunks that were averaged.
        returns: Difference of the return.
        mean_return: Mean return of the mean.
        sample_return: Mean return of single samples.
        mean_successes: Starts that the mean succeeded from; None, as the next two, if nothing tells success.
        sample_successes: Starts that single samples succeeded from.
        success: Difference of success.
    """

    name: str
    num_samples: int
    returns: PairedDifference
    mean_return: float
    sample_return: float
    mean_successes: int | None
    sample_successes: int | None
    success: PairedDifference | None


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """The rounds of one run of an interactive method.

    Attributes:
        name: The `PolicyResult` that it produced.
        records: One for each round, in order.
        returned: Number of the round whose policy was returned.
        validation_starts: Validation starts of each round.
    """

    name: str
    records: tuple[RoundRecord, ...]
    returned: int
    validation_starts: int

    @property
    def rule(self) -> str:
        """How that round was chosen."""
        if any(record.validation_success is None for record in self.records):
            return "highest return on validation starts, then the later round; nothing tells success here"
        return "highest success on validation starts, then highest return, then the later round"


@dataclass(frozen=True, kw_only=True)
class Polyline:
    """A line on the map [m]; give the first point again at the end to close it."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Occupancy:
    """Where one policy spent its time.

    Attributes:
        name: Who drove.
        counts: Steps spent in each cell, rows of rising y, columns of rising x.
        distance: Total variation distance to the expert's distribution over cells, 0 to 1.
    """

    name: str
    counts: tuple[tuple[int, ...], ...]
    distance: float


@dataclass(frozen=True, kw_only=True)
class OccupancyMaps:
    """Occupancy on one grid; `analysis.occupancy.occupancy_maps` builds it.

    Attributes:
        extent: x from, x to, y from, y to [m].
        cell: Side of a cell [m].
        maps: The expert first.
        outline: What is drawn underneath, such as the edges of the road.
        floor: Distance between two halves of the expert's own episodes: what chance alone gives.
    """

    extent: tuple[float, float, float, float]
    cell: float
    maps: tuple[Occupancy, ...]
    outline: tuple[Polyline, ...] = ()
    floor: float | None = None


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line of a description."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How the task is spoken of.

    Attributes:
        outcome: Follows the name of a policy; {k} and {n} are filled in, and what follows {n} is said once.
        surviving: Share that has not failed yet, as the title of the survival curve.
        error: What the error curve measures.
        error_unit: Unit of that error.
    """

    outcome: str = "succeeded from {k} of {n} starts"
    surviving: str = "Not failed yet"
    error: str = DEVIATION.name
    error_unit: str = ""

    def __post_init__(self) -> None:
        if "{k}" not in self.outcome or "{n}" not in self.outcome:
            raise ConfigError(
                "The outcome must say how many of how many.",
                got=self.outcome,
                expected="a text with {k} and {n}, such as 'kept {k} of {n} cars on the road'",
            )


@dataclass(frozen=True, kw_only=True)
class Report:
    """One experiment: exactly what `report.json` holds. Build it with `analysis.report.make_report`.

    Attributes:
        title: Heading.
        verdict: The outcome in plain words, generated from the numbers.
        command: The command that makes this report again.
        env: Name of the env.
        setting: What was run: track, speed, sensors, starts, budget.
        seed: Seed of the run.
        results: The expert, if it was evaluated, and the policies; the first policy is the baseline.
        comparisons: Every further policy against the baseline.
        rounds: Rounds of an interactive method, if one was run.
        occupancy: Maps of where each policy drove.
        regime: Under which conditions the outcome is claimed.
        caveats: What the numbers do not say.
        versions: Package -> version.
        wall_s: Time of the whole run [s].
        wording: How the task is spoken of.
        mean_tests: Mean against sample, for each policy that draws.
        scene: A further scene, such as the fork of the tour.
        success: When an episode counts as a success.
        random_return: Mean return of uniformly random actions from the same starts, if they were tried.
        expert_gain: Return of the expert less that of random actions, start by start; likewise.
    """

    title: str
    verdict: str
    command: str
    env: str
    setting: tuple[Fact, ...]
    seed: int
    results: tuple[PolicyResult, ...]
    comparisons: tuple[ComparedPair, ...]
    rounds: Rounds | None = None
    occupancy: OccupancyMaps | None = None
    regime: tuple[Fact, ...] = ()
    caveats: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict[str, str])
    wall_s: float | None = None
    wording: Wording = field(default_factory=Wording)
    mean_tests: tuple[MeanTest, ...] = ()
    scene: Scene | None = None
    success: SuccessRule = field(default_factory=SuccessRule)
    random_return: float | None = None
    expert_gain: Estimate | None = None

    @property
    def tells_success(self) -> bool:
        """Whether success was told of every episode of everybody."""
        return all(result.successes is not None for result in self.results)

    @property
    def has_scale(self) -> bool:
        """Whether the expert is clearly better than random actions: its gain's whole interval is above 0."""
        interval = None if self.expert_gain is None else self.expert_gain.interval
        return interval is not None and interval.low > 0.0

    def normalised(self, result: PolicyResult) -> float | None:
        """Return the return on the scale from random actions, 0, to the expert, 1; None if it has none."""
        expert = next((one for one in self.results if one.kind == "expert"), None)
        if expert is None or self.random_return is None or not self.has_scale:
            return None
        low = self.random_return
        return (result.mean_return.value - low) / (expert.mean_return.value - low)


def summarise(
    name: str,
    *,
    kind: Kind,
    success: Bool[np.ndarray, " n"] | None,
    returns: Float[np.ndarray, " n"],
    lengths: Int64[np.ndarray, " n"],
    first_failure: Float[np.ndarray, " n"],
    control_dt: float,
    error: Float[np.ndarray, "n T"] | None = None,
    labels_used: int | None = None,
    trained_labels: int | None = None,
    updates: int | None = None,
    all_updates: int | None = None,
    fits: int | None = None,
    train_wall_s: float | None = None,
    rollout_wall_s: float | None = None,
    note: str = "",
    modes: ModeSummary | None = None,
    seed: int = 0,
    num_bins: int = 120,
) -> PolicyResult:
    """Return what the report needs of n episodes.

    Args:
        name: Name in tables and plots.
        kind: "expert" or "policy".
        success: (n,); None where nothing tells it.
        returns: (n,) sums of rewards.
        lengths: (n,) steps until the end.
        first_failure: (n,) time of the first failure [s], infinite where there was none.
        control_dt: Time between steps [s].
        error: (n, T) |error| at each step, NaN after the end.
        labels_used: Expert labels that were asked for it.
        trained_labels: Expert labels that the policy was trained on; None for all of them.
        updates: Gradient updates of the fit that made it.
        all_updates: Gradient updates of all fits that were made for the policy, such as of every round.
        fits: How many fits that were.
        train_wall_s: Time of collecting and of all fits [s].
        rollout_wall_s: Time of these n episodes [s].
        note: A remark for the table.
        modes: Which ways it took; see `analysis.multimodality.summarise_modes`.
        seed: Seed of the bootstrap.
        num_bins: Most time bins of the error curve.

    Raises:
        DataError: No episodes, or arrays that do not have one entry for each start.
    """
    num_starts = len(returns)
    columns = [lengths, first_failure, *(one for one in (success, error) if one is not None)]
    sizes = [len(column) for column in columns]
    if num_starts == 0 or any(size != num_starts for size in sizes):
        raise DataError(
            f"The episodes of {name} do not add up.",
            got=f"{num_starts} returns and columns of {sizes}",
            expected="one entry for each start, at least one start",
        )
    median = float(np.quantile(first_failure, 0.5, method="inverted_cdf"))
    return PolicyResult(
        name=name,
        kind=kind,
        successes=None if success is None else tuple(success.tolist()),
        returns=tuple(float(value) for value in returns),
        lengths=tuple(lengths.tolist()),
        first_failure=tuple(float(t) if np.isfinite(t) else None for t in first_failure),
        control_dt=control_dt,
        success_interval=None if success is None else wilson(int(success.sum()), num_starts),
        mean_return=bootstrap_mean(returns, seed=seed),
        median_first_failure=median if np.isfinite(median) else None,
        error_curve=None if error is None else error_curve(error, control_dt=control_dt, num_bins=num_bins),
        labels_used=labels_used,
        trained_labels=trained_labels,
        updates=updates,
        all_updates=all_updates,
        fits=fits,
        train_wall_s=train_wall_s,
        rollout_wall_s=rollout_wall_s,
        note=note,
        modes=modes,
    )


def error_curve(error: Float[np.ndarray, "n T"], *, control_dt: float, num_bins: int = 120) -> ErrorCurve:
    """Return |error| in at most `num_bins` bins of equal time, as far as any episode lasted.

    Args:
        error: (n, T) |error| at each step, NaN after the end.
        control_dt: Time between steps [s].
        num_bins: Most bins.
    """
    alive = ~np.isnan(error)
    num_steps = int(alive.any(0).sum())
    width = max(1, -(-num_steps // num_bins))
    columns: list[tuple[float, float, float, float, int]] = []
    for first in range(0, num_steps, width):
        last = min(first + width, num_steps)
        values = np.abs(error[:, first:last][alive[:, first:last]])
        low, high = np.quantile(values, [0.1, 0.9])
        count = int(alive[:, first].sum())
        columns.append(
            ((first + last) / 2 * control_dt, float(values.mean()), float(low), float(high), count)
        )
    time, mean, p10, p90, counts = zip(*columns, strict=True) if columns else ((), (), (), (), ())
    return ErrorCurve(time=time, mean=mean, p10=p10, p90=p90, alive=counts)
