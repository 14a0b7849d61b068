"""Whether a policy keeps the several right ways in which a task can be done.

A demonstrator passes the tree on the left or on the right. Success alone cannot tell a policy that keeps both
ways from one that dropped one, and no single number here can either: entropy rewards noise, coverage rewards
luck, and a share over all starts is matched by a rule that merely looks at the start. Read them together.

"Way taken" below: the mode that the env names at the end of a successful episode. Failed episodes count for
validity alone (as in D3IL; Jia et al., 2024), since half a way is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int64

from steadyhand.core.errors import DataError
from steadyhand.core.seeding import generator
from steadyhand.core.statistics import Estimate, Interval, bootstrap_mean, clopper_pearson, wilson

LAG = 8
"""Steps over which persistence is taken."""
_RESAMPLES = 2000
_SHUFFLES = 200
_PATH_POINTS = 33


@dataclass(frozen=True, kw_only=True)
class ConditionalEntropy:
    """Entropy of the way taken given the start.

    Attributes:
        value: Mean over the starts with at least two successes, 0 to 1.
        independent: What the same episodes give when their ways are dealt out anew over the starts: `value`
            well below it means that the start decides the way.
    """

    value: Estimate
    independent: float


@dataclass(frozen=True, kw_only=True)
class ConditionalDistance:
    """Total variation between two sets of ways taken.

    Attributes:
        value: Mean over the starts that both succeeded from at least twice, 0 to 1.
        chance: What two samples of one distribution, of the same sizes, give: read values near it as none.
        marginal: Distance over all starts at once. A policy can match it with a rule of the start.
    """

    value: Estimate
    chance: float
    marginal: float


@dataclass(frozen=True, kw_only=True)
class ModeSummary:
    """Every number about the ways of one controller; build it with `summarise_modes`.

    Attributes:
        num_modes: |B|, in how many ways the task can be done.
        counts: (|B|,) successful episodes that took each way.
        shares: (|B|,) `counts` over their sum; empty if there were none.
        entropy: Behaviour entropy with its interval; None without a success.
        entropy_bias: By how much `entropy` is expected to be too low, for so few episodes.
        conditional_entropy: None if no start was run twice with success.
        covered: Ways taken at least once, of those that the reference took.
        available: Ways that the reference took; |B| without a reference.
        valid: Episodes that ended in success on some way.
        validity_interval: Wilson's interval of valid / episodes.
        distance: To the reference; None without one, or if no start was run twice by both.
        persistence: Mean over episodes; None where no way was decided for long enough.
        lag: Steps over which it was taken.
        switches: Mean number of changes of way in an episode.
        spread: RMS distance of the paths from the mean path of their way [m]; None without paths.
    """

    num_modes: int
    counts: tuple[int, ...]
    shares: tuple[float, ...]
    entropy: Estimate | None
    entropy_bias: float
    conditional_entropy: ConditionalEntropy | None
    covered: int
    available: int
    valid: int
    validity_interval: Interval
    distance: ConditionalDistance | None = None
    persistence: Estimate | None = None
    lag: int = LAG
    switches: float | None = None
    spread: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Ways:
    """n episodes as the numbers here read them.

    Attributes:
        modes: (n,) mode at the end, -1 where it was open.
        success: (n,) whether each episode succeeded.
        group: (n,) episodes of equal number had the same start.
        track: (n, T) mode after each step, -1 while open and after the end; None if it was not kept.
        paths: One (t, 2) path for each episode [m]; None if the env has no position.
    """

    modes: Int64[np.ndarray, " n"]
    success: Bool[np.ndarray, " n"]
    group: Int64[np.ndarray, " n"]
    track: Int[np.ndarray, "n T"] | None = None
    paths: Sequence[Float32[np.ndarray, "_ 2"]] | None = None

    def __post_init__(self) -> None:
        sizes = [len(self.modes), len(self.success), len(self.group)]
        sizes += [] if self.track is None else [len(self.track)]
        sizes += [] if self.paths is None else [len(self.paths)]
        if len(set(sizes)) != 1 or not sizes[0]:
            raise DataError("Each episode needs a mode, an outcome and a start.", got=sizes)

    @property
    def taken(self) -> Bool[np.ndarray, " n"]:
        """Whether an episode ended in success on some way."""
        return self.success & (self.modes >= 0)

    def table(self, num_modes: int) -> Int64[np.ndarray, "G B"]:
        """Return how often each way was taken from each start."""
        size = (int(self.group.max()) + 1, num_modes)
        return _tabled(self.group[self.taken], self.modes[self.taken], size)


def summarise_modes(
    ways: Ways, *, num_modes: int, reference: Ways | None = None, seed: int = 0, lag: int = LAG
) -> ModeSummary:
    """Return every number about the ways of one controller.

    Args:
        ways: Episodes of the controller.
        num_modes: |B|.
        reference: Episodes of the demonstrator, with the same numbers for the same starts.
        seed: Seed of the bootstrap resampling.
        lag: Steps over which persistence is taken.

    Raises:
        DataError: A mode is outside 0 to `num_modes` - 1, or there are no episodes.
    """
    for one in (ways, *([] if reference is None else [reference])):
        if one.modes.max() >= num_modes:
            raise DataError(
                "There are more ways than the env has.", got=int(one.modes.max()), expected=f"< {num_modes}"
            )
    counts = ways.table(num_modes).sum(0)
    total, available = int(counts.sum()), np.ones(num_modes, dtype=bool)
    if reference is not None:
        available = reference.table(num_modes).sum(0) > 0
    return ModeSummary(
        num_modes=num_modes,
        counts=tuple(counts.tolist()),
        shares=tuple((counts / total).tolist()) if total else (),
        entropy=behaviour_entropy(counts, seed=seed) if total else None,
        entropy_bias=entropy_bias(counts),
        conditional_entropy=conditional_entropy(ways, num_modes=num_modes, seed=seed),
        covered=int((available & (counts > 0)).sum()),
        available=int(available.sum()),
        valid=total,
        validity_interval=wilson(total, len(ways.modes)),
        distance=None if reference is None else conditional_distance(ways, reference, num_modes, seed=seed),
        persistence=None if ways.track is None else persistence(ways.track, lag=lag, seed=seed),
        lag=lag,
        switches=None if ways.track is None else switches(ways.track),
        spread=within_mode_spread(ways),
    )


def behaviour_entropy(
    counts: Int64[np.ndarray, " B"], *, seed: int, level: float = 0.95, num_resamples: int = _RESAMPLES
) -> Estimate:
    """Return H = -sum_b p(b) log_|B| p(b) of the ways taken, 0 to 1 (D3IL; Jia et al., 2024, section 4.2).

    The plug-in value is too low for few episodes (see `entropy_bias`), and so are its resamples: the interval
    is the percentile bootstrap, moved by twice the bias. Where only one way was seen, resampling sees no
    other: there the upper end is the entropy with the largest unseen share that Clopper and Pearson's
    interval allows, dealt evenly to the other ways.

    Args:
        counts: (B,) successful episodes that took each way, at least one in all.
        seed: Seed of the bootstrap resampling.
        level: Nominal coverage.
        num_resamples: Number of bootstrap samples.
    """
    total = int(counts.sum())
    if total == 0 or len(counts) < 2:
        raise DataError("Entropy needs an episode and at least two possible ways.", got=counts.tolist())
    value = float(normalised_entropy(counts))
    if (counts > 0).sum() == 1:
        unseen = 1.0 - clopper_pearson(total, total, level).low
        others = len(counts) - 1
        unseen = min(unseen, others / len(counts))
        high = float(normalised_entropy(np.array([1.0 - unseen, *[unseen / others] * others])))
        return Estimate(value=value, interval=Interval(low=0.0, high=high, level=level), count=total)
    draws = generator(seed, "behaviour entropy").multinomial(total, counts / total, size=num_resamples)
    interval = _shifted(value, normalised_entropy(draws), level)
    return Estimate(value=value, interval=interval, count=total)


def normalised_entropy(
    counts: Int64[np.ndarray, "*n B"] | Float[np.ndarray, "*n B"],
) -> Float[np.ndarray, "*n"]:
    """Return the entropy of each row of counts in base B, 0 to 1; rows need a positive sum."""
    share = counts / counts.sum(-1, keepdims=True)
    terms = np.where(share > 0, share * np.log(np.where(share > 0, share, 1.0)), 0.0)
    return np.asarray(np.abs(terms.sum(-1) / np.log(counts.shape[-1])))  # no -0.0 for a single way


def entropy_bias(counts: Int64[np.ndarray, " B"]) -> float:
    """Return (ways seen - 1) / (2 n ln |B|), by how much plug-in entropy is too low (Miller, 1955).

    The first-order term alone: ways that were never seen are not in it.
    """
    total = int(counts.sum())
    return float(((counts > 0).sum() - 1) / (2 * total * np.log(len(counts)))) if total else 0.0


def conditional_entropy(
    ways: Ways, *, num_modes: int, seed: int, num_shuffles: int = _SHUFFLES
) -> ConditionalEntropy | None:
    """Return the mean over starts of H( . | start) (D3IL; Jia et al., 2024, section 4.2).

    A start with few episodes gives a low entropy whatever the policy does: two episodes of a fair coin
    average 0.5. Compare with `independent`, which has the same flaw, not with 1.
    """
    table = ways.table(num_modes)
    table = table[table.sum(1) >= 2]
    if len(table) == 0:
        return None
    value = bootstrap_mean(normalised_entropy(table), seed=seed)
    modes = np.repeat(np.arange(num_modes), table.sum(0))
    starts = np.repeat(np.arange(len(table)), table.sum(1))
    draws = generator(seed, "conditional entropy")
    dealt = [_tabled(starts, draws.permutation(modes), table.shape) for _ in range(num_shuffles)]
    independent = float(np.mean([normalised_entropy(one).mean() for one in dealt]))
    return ConditionalEntropy(value=value, independent=independent)


def total_variation(a: Int64[np.ndarray, "*#n B"], b: Int64[np.ndarray, "*#n B"]) -> Float[np.ndarray, "*_"]:
    """Return sum_b |p(b) - q(b)| / 2 of rows of counts: 0 for equal shares, 1 for no way in common."""
    apart = np.abs(a / a.sum(-1, keepdims=True) - b / b.sum(-1, keepdims=True))
    return np.asarray(0.5 * apart.sum(-1))


def conditional_distance(
    policy: Ways, reference: Ways, num_modes: int, *, seed: int, level: float = 0.95
) -> ConditionalDistance | None:
    """Return the mean over starts of the total variation between the ways of two controllers.

    The starts are taken as given, and the interval, a bootstrap over the episodes of each moved by twice its
    bias, speaks of these starts. Small samples differ by chance, so the value is too high by up to about
    `chance`.
    """
    a, b = policy.table(num_modes), reference.table(num_modes)
    shared = min(len(a), len(b))
    a, b = a[:shared], b[:shared]
    both = (a.sum(1) >= 2) & (b.sum(1) >= 2)
    if not both.any():
        return None
    a, b = a[both], b[both]
    value = float(np.mean(total_variation(a, b)))
    draws = generator(seed, "conditional distance")
    resampled, dealt = np.zeros(_RESAMPLES), np.zeros(_SHUFFLES)
    for one, other in zip(a, b, strict=True):
        count, count_b = int(one.sum()), int(other.sum())
        again = draws.multinomial(count, one / count, size=_RESAMPLES)
        resampled += total_variation(again, draws.multinomial(count_b, other / count_b, size=_RESAMPLES))
        part = draws.multivariate_hypergeometric(one + other, count, size=_SHUFFLES)
        dealt += total_variation(part, (one + other) - part)
    return ConditionalDistance(
        value=Estimate(value=value, interval=_shifted(value, resampled / len(a), level), count=len(a)),
        chance=float(dealt.mean() / len(a)),
        marginal=float(total_variation(a.sum(0), b.sum(0))),
    )


def persistence(track: Int[np.ndarray, "n T"], *, seed: int, lag: int = LAG) -> Estimate | None:
    """Return P(mode at t + lag = mode at t | both decided), for each episode and then over episodes.

    Failed episodes count: they are where dithering shows. None if no episode has such a pair of steps.
    """
    if track.shape[1] <= lag:
        return None
    now, later = track[:, :-lag], track[:, lag:]
    pairs = (now >= 0) & (later >= 0)
    has = pairs.any(1)
    if not has.any():
        return None
    kept = ((now == later) & pairs).sum(1)[has] / pairs.sum(1)[has]
    return bootstrap_mean(kept, seed=seed)


def switches(track: Int[np.ndarray, "n T"]) -> float:
    """Return the mean number of changes from one way to another in an episode; open steps are skipped."""
    total = 0
    for row in track:
        decided = row[row >= 0]
        total += int((np.diff(decided) != 0).sum())
    return total / len(track)


def within_mode_spread(ways: Ways) -> float | None:
    """Return how far successful paths lie from the mean path of their way [m], root mean square.

    Paths are compared at 33 equal shares of their duration; the mean over ways is weighted by episodes, with
    n - 1 in place of n. None without positions, or if no way was taken twice.
    """
    if ways.paths is None:
        return None
    squares, freedom = 0.0, 0
    for mode in np.unique(ways.modes[ways.taken]):
        members = np.flatnonzero(ways.taken & (ways.modes == mode))
        paths = np.stack([_resampled(ways.paths[index]) for index in members.tolist()])
        squares += float(((paths - paths.mean(0)) ** 2).sum(-1).mean(-1).sum())
        freedom += len(members) - 1
    return float(np.sqrt(squares / freedom)) if freedom else None


def _tabled(
    rows: Int64[np.ndarray, " n"], columns: Int64[np.ndarray, " n"], size: tuple[int, ...]
) -> Int64[np.ndarray, "R C"]:
    table = np.zeros(size, dtype=np.int64)
    np.add.at(table, (rows, columns), 1)
    return table


def _resampled(path: Float32[np.ndarray, "t 2"]) -> Float[np.ndarray, "p 2"]:
    wanted = np.linspace(0.0, len(path) - 1, _PATH_POINTS)
    steps = np.arange(len(path))
    return np.stack([np.interp(wanted, steps, path[:, axis]) for axis in (0, 1)], axis=1)


def _shifted(value: float, resampled: Float[np.ndarray, " r"], level: float) -> Interval:
    """Return the percentile interval moved by twice the bias that resampling shows.

    Once for the bias of `value`, once for that of the resamples, which repeat it. The unmoved interval misses
    the truth whenever there are many ways, and the basic bootstrap one time in four when there are two.
    """
    low, high = np.quantile(resampled, [0.5 - level / 2, 0.5 + level / 2])
    shift = 2.0 * (value - float(resampled.mean()))
    ends = np.clip([low + shift, high + shift], 0.0, 1.0)
    return Interval(low=min(float(ends[0]), value), high=max(float(ends[1]), value), level=level)
