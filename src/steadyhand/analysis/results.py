"""The numbers of one experiment as frozen values: what `report.json` holds and `report.html` shows.

Plain tuples, strings and numbers only, so that `core.codec` reads and writes them and none is ever NaN.
"""

from dataclasses import dataclass, field
from typing import Literal

from steadyhand.analysis.multimodality import ModeSummary
from steadyhand.core.errors import ConfigError
from steadyhand.core.statistics import Estimate, Interval, PairedDifference
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

    @property
    def average(self) -> float:
        """Mean over the bins."""
        return sum(self.mean) / len(self.mean)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What making a policy took; None where nobody counted it.

    Attributes:
        labels: Expert labels that were asked for it.
        trained_labels: Expert labels that it was trained on, at most `labels`; None for all.
        updates: Gradient updates of the fit that made it.
        all_updates: Gradient updates of all fits that were made for it, such as of every round.
        fits: How many fits that were.
        wall_s: Time of collecting and of all fits [s].
    """

    labels: int | None = None
    trained_labels: int | None = None
    updates: int | None = None
    all_updates: int | None = None
    fits: int | None = None
    wall_s: float | None = None

    @property
    def is_of_all_labels(self) -> bool:
        """Whether the policy was trained on every label that was asked for it."""
        return self.trained_labels in (None, self.labels)

    @property
    def is_of_many_fits(self) -> bool:
        """Whether more than one fit was made for the policy."""
        return (self.fits or 1) > 1


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
        cost: What making it took.
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
    cost: Cost = field(default_factory=Cost)
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
    def tells_success(self) -> bool:
        """Whether success was told of every validation episode."""
        return all(record.validation_success is not None for record in self.records)

    @property
    def scored(self) -> tuple[RoundRecord, ...]:
        """The rounds that have an online loss."""
        return tuple(one for one in self.records if one.online_loss is not None and one.regret is not None)

    @property
    def rule(self) -> str:
        """How that round was chosen."""
        if not self.tells_success:
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
        name: Name of the driver.
        counts: Steps spent in each cell, rows of rising y, columns of rising x.
        distance: Total variation distance to the expert's distribution over cells, 0 to 1.
    """

    name: str
    counts: tuple[tuple[int, ...], ...]
    distance: float

    @property
    def total(self) -> int:
        """Steps in all cells."""
        return sum(map(sum, self.counts))


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
class Paths:
    """The paths of one driver in the plane [m].

    Attributes:
        name: Name of the driver.
        outcome: What came of it, in a few words.
        lines: One (x, y), (x, y), ... for each episode.
        failed: Whether each episode failed.
    """

    name: str
    outcome: str
    lines: tuple[tuple[tuple[float, float], ...], ...]
    failed: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Drivers beside each other in one place.

    Attributes:
        title: What is seen.
        text: What it shows.
        discs: (x, y, radius) of each obstacle [m].
        extent: (x0, x1, y0, y1) of every panel [m].
        panels: One for each driver.
        note: A remark below.
    """

    title: str
    text: str
    discs: tuple[tuple[float, float, float], ...]
    extent: tuple[float, float, float, float]
    panels: tuple[Paths, ...]
    note: str = ""


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
        error: What the error curve measures; empty for what the env's error is known to measure.
        error_unit: Unit of that error.
    """

    outcome: str = "succeeded from {k} of {n} starts"
    surviving: str = "Not failed yet"
    error: str = ""
    error_unit: str = ""

    @property
    def error_title(self) -> str:
        """What the error curve measures, as a title."""
        unit = f" [{self.error_unit}]" if self.error_unit else ""
        return f"{self.error[:1].upper()}{self.error[1:]}{unit}"

    def __post_init__(self) -> None:
        if "{k}" not in self.outcome or "{n}" not in self.outcome:
            raise ConfigError(
                "The outcome must say how many of how many.",
                got=self.outcome,
                expected="a text with {k} and {n}, such as 'kept {k} of {n} cars on the road'",
            )


@dataclass(frozen=True, kw_only=True)
class Report:
    """One experiment: exactly what `report.json` holds.

    Verdict, comparisons and expert_gain follow from the rest: `analysis.report.completed` fills them in.

    Attributes:
        title: Heading.
        command: The command that makes this report again.
        env: Name of the env.
        setting: What was run: track, speed, sensors, starts, budget.
        seed: Seed of the run; also of the bootstrap.
        results: The expert, if it was evaluated, and the policies; the first policy is the baseline.
        verdict: The outcome in plain words, generated from the numbers.
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
    command: str
    env: str
    setting: tuple[Fact, ...] = ()
    seed: int = 0
    results: tuple[PolicyResult, ...]
    verdict: str = ""
    comparisons: tuple[ComparedPair, ...] = ()
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

    def __repr__(self) -> str:
        return f"<Report {self.title}: {', '.join(one.name for one in self.results)}>"

    @property
    def tells_success(self) -> bool:
        """Whether success was told of every episode of everybody."""
        return all(result.successes is not None for result in self.results)

    @property
    def ended_early(self) -> bool:
        """Whether any episode failed, or ended before the time limit."""
        return any(time is not None for one in self.results for time in one.first_failure)

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
