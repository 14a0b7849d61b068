"""The data test: are there states from which the demonstrators went several ways?

Around a state, the K nearest states of K different episodes are taken, and their action chunks are cut into
two clusters. Two clusters explain some of the variance of anything: 64 % of a normal distribution on a line,
75 % of a flat one. So the question is whether they explain more than of one lump with the same covariance.
Chunks of many dimensions need more states than are near one another: wide neighbourhoods are looked at, too
(`projection`).

"No sign" means little where two ways could not have been seen. So two ways are planted: the chunks of the
one-lump control are pushed apart as far as the actions of random states are. From how often that is found
follows the smallest share of two-way states that would have been.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from steadyhand.analysis.lumps import LumpTest
from steadyhand.analysis.projection import WideTest, clearest, num_centres, split_in_two, wide_sizes
from steadyhand.core.errors import DataError
from steadyhand.core.seeding import generator
from steadyhand.core.specs import FeatureSpec
from steadyhand.core.statistics import Interval, PairedDifference, paired_difference, wilson
from steadyhand.data.frames import Frames, Windower, WindowSpec

NEIGHBOURS = 32
_FEWEST = 6
"""Fewest neighbours that can show two clusters."""
_REACH = 3.0
"""Beyond a third of the episodes, neighbours lie at most this many times as far as the nearest quarter."""
_SHARES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Shares of planted two-way states that are tried."""
_PLANTED_STATES = 64
"""States that two ways are planted into."""
_PLANTINGS = 20
_WIDE_SHARES = (0.3, 0.5, 0.7, 1.0)
_WIDE_PLANTINGS = 5
_POWER = 0.9
"""Share of plantings that must be found."""
_REGRESSORS = 4
"""Principal axes of the states whose linear effect is taken out."""


@dataclass(frozen=True, kw_only=True)
class DataModes:
    """Outcome of the data test.

    Attributes:
        num_states: States that were looked at.
        neighbours: K, the median over the states.
        multimodal: States around which two clusters explain more than of one lump.
        interval: Wilson's interval of multimodal / states. Neighbourhoods overlap, so it is too narrow.
        unimodal_control: Such states where the chunks were replaced by normal draws of equal covariance.
        shuffled_control: Such states where each state got the chunks of K random states.
        difference: Share of multimodal states minus that of the unimodal control, on the same states.
        explained: Share of the variance of chunks that the neighbourhood explains, against random states.
        radius: Median distance to the farthest neighbour, in standard deviations of a feature.
        smallest_share: Smallest share of two-way states that would have been found in nine of ten such data
            sets; None if not even all of them would have been.
        wide: What wide neighbourhoods show; None if there are too few episodes for one.
    """

    num_states: int
    neighbours: int
    multimodal: int
    interval: Interval
    unimodal_control: int
    shuffled_control: int
    difference: PairedDifference
    explained: float
    radius: float
    smallest_share: float | None
    wide: WideTest | None = None

    @property
    def share(self) -> float:
        """Share of states that are called multimodal."""
        return self.multimodal / self.num_states

    @property
    def is_multimodal(self) -> bool:
        """Whether there are more such states than the unimodal control shows, or wide groups of chunks."""
        return _is_found(self.difference) or (self.wide is not None and self.wide.is_multimodal)


def _is_found(difference: PairedDifference) -> bool:
    """Whether the 95 % interval of the difference from the unimodal control lies above 0."""
    return (interval := difference.difference.interval) is not None and interval.low > 0.0


def data_modes(
    frames: Frames,
    *,
    features: tuple[str, ...] | None = None,
    horizon: int = 8,
    neighbours: int = NEIGHBOURS,
    num_states: int = 256,
    seed: int = 0,
    test: LumpTest | None = None,
) -> DataModes:
    """Run the data test on recorded demonstrations.

    Args:
        frames: The data; synthetic branches and unlabelled steps are left out.
        features: Vector features that make a state; all of them if None.
        horizon: Steps of a chunk; what leaves the episode repeats its last action.
        neighbours: K at most; fewer where farther ones are no neighbours, or there are fewer episodes.
        num_states: States to look at, drawn from all.
        seed: Seed of the draw of states.
        test: How clusters are told from a lump.

    Raises:
        DataError: Too few episodes, no vector feature, or discrete actions.
    """
    if frames.action_spec.kind == "discrete":
        raise DataError("The data test needs continuous actions.", got="a discrete action")
    names = vectors(frames.observation_spec) if features is None else features
    steps = np.flatnonzero((frames.weight > 0) & (frames.branch[frames.episode_of, 0] < 0))
    if not names or not len(steps):
        raise DataError(
            "The data test needs labelled steps and a vector feature to find neighbours in.",
            got=f"{len(steps)} labelled steps, features {', '.join(frames.observation_spec)}",
            available=vectors(frames.observation_spec),
        )
    states = np.concatenate([_flat(frames.observation[name][steps]) for name in names], axis=1)
    cut = Windower(frames, WindowSpec(action_offsets=tuple(range(horizon))))(steps)
    scaled = _standard(_flat(frames.expert_action), of=_flat(frames.expert_action[steps]))
    chunks = scaled[cut.action_index].reshape(len(steps), -1)
    return multimodal_states(
        _standard(states, of=states),
        chunks,
        frames.episode_of[steps],
        neighbours=neighbours,
        num_states=num_states,
        seed=seed,
        test=test,
    )


def vectors(observation: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
    """Return the features in which neighbours can be found: vectors, not pictures or classes."""
    return tuple(name for name, spec in observation.items() if spec.kind in ("continuous", "rotation"))


def multimodal_states(
    states: Float[np.ndarray, "N D"],
    chunks: Float[np.ndarray, "N C"],
    episode: Int64[np.ndarray, " N"],
    *,
    neighbours: int = NEIGHBOURS,
    num_states: int = 256,
    seed: int = 0,
    test: LumpTest | None = None,
) -> DataModes:
    """Run the data test on normalised arrays.

    Each of the K neighbours is the nearest step of another episode: consecutive steps of one episode are
    near one another and would count one decision many times. What is linear in the state within the
    neighbourhood is taken out of the chunks first, so that a wide neighbourhood over two branches of the
    road, which the state tells apart, is no case of two ways.

    Args:
        states: Normalised states.
        chunks: Normalised action chunks.
        episode: Episode of each step, never falling.
        neighbours: K at most; fewer where farther ones are no neighbours, or there are fewer episodes.
        num_states: States to look at.
        seed: Seed of the draw of states.
        test: How clusters are told from a lump.

    Raises:
        DataError: There are too few episodes for the smallest neighbourhood.
    """
    test = test or LumpTest()
    first = np.flatnonzero(np.diff(episode, prepend=-1))
    if len(first) < _FEWEST:
        raise DataError(
            "There are too few episodes to see two ways.",
            got=f"{len(first)} episodes",
            expected=f"at least {_FEWEST}; {3 * neighbours} for full neighbourhoods",
            hint="steps of one episode are one decision, so long episodes do not help",
        )
    draws = generator(seed, "data test")
    chosen = draws.choice(len(states), size=min(num_states, len(states)), replace=False)
    seen = _look_around(states, chunks, first, chosen, neighbours=neighbours, test=test, draws=draws)
    look = _Wide(states=states, chunks=chunks, first=first, min_gap=test.min_gap)
    wide = look(draws)
    least = _smallest_share(seen.one_lump, seen.planted, draws)
    if wide is not None and not wide.is_multimodal and (least is None or least > _WIDE_SHARES[0]):
        shares = [share for share in (least, look.smallest_share(draws)) if share is not None]
        least = min(shares, default=None)
    return DataModes(
        num_states=len(chosen),
        neighbours=int(np.median(seen.sizes)),
        multimodal=int(seen.data.sum()),
        interval=wilson(int(seen.data.sum()), len(chosen)),
        unimodal_control=int(seen.one_lump.sum()),
        shuffled_control=int(seen.shuffled.sum()),
        difference=paired_difference(seen.data, seen.one_lump, seed=seed),
        explained=seen.explained,
        radius=float(np.median(seen.radii) / np.sqrt(max(1, states.shape[1]))),
        smallest_share=least,
        wide=wide,
    )


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What the neighbourhoods of S states show: whether there are two ways in the data and in its controls.

    Attributes:
        data: (S,) in the data.
        one_lump: (S,) in normal draws like the data.
        shuffled: (S,) in chunks of random states.
        planted: (P,) in normal draws of which half is pushed away, at the first P states.
        sizes: (S,) neighbours.
        radii: (S,) distance to the farthest neighbour.
        explained: Share of the variance of chunks that the state explains.
    """

    data: Bool[np.ndarray, " S"]
    one_lump: Bool[np.ndarray, " S"]
    shuffled: Bool[np.ndarray, " S"]
    planted: Bool[np.ndarray, " P"]
    sizes: Int64[np.ndarray, " S"]
    radii: Float[np.ndarray, " S"]
    explained: float


def _look_around(
    states: Float[np.ndarray, "N D"],
    chunks: Float[np.ndarray, "N C"],
    first: Int64[np.ndarray, " E"],
    chosen: Int64[np.ndarray, " S"],
    *,
    neighbours: int,
    test: LumpTest,
    draws: np.random.Generator,
) -> _Seen:
    flags = np.zeros((3, len(chosen)), dtype=bool)
    planted = np.zeros(min(_PLANTED_STATES, len(chosen)), dtype=bool)
    sizes, radii, variances = np.zeros(len(chosen), dtype=np.int64), np.zeros(len(chosen)), np.zeros(2)
    for place, state in enumerate(chosen):
        members, radii[place] = _nearest(states, states[state], first, neighbours, draws)
        sizes[place] = len(members)
        rest = _without_linear(chunks[members], states[members])
        random = chunks[draws.choice(len(chunks), size=len(members), replace=False)]
        lump = _normal_like(rest, draws)
        flags[:, place] = [test(some, draws) for some in (rest, lump, random)]
        if place < len(planted):
            two = _planted(lump, chunks, draws)
            planted[place] = test(_without_linear(two, states[members]), draws)
        variances += chunks[members].var(0).sum(), random.var(0).sum()
    return _Seen(
        data=flags[0],
        one_lump=flags[1],
        shuffled=flags[2],
        planted=planted,
        sizes=sizes,
        radii=radii,
        explained=float(1.0 - variances[0] / variances[1]) if variances[1] > 0 else 0.0,
    )


def _planted(
    lump: Float[np.ndarray, "K C"],
    chunks: Float[np.ndarray, "N C"],
    draws: np.random.Generator,
    *,
    share: float = 1.0,
) -> Float[np.ndarray, "K C"]:
    """Return the lump, half of a share of it pushed as far away as the chunks of random states lie apart."""
    one, other = chunks[draws.choice(len(chunks), size=2, replace=False)]
    typical = np.sqrt(2.0 * chunks.var(axis=0).sum())
    apart = (other - one) / max(float(np.linalg.norm(other - one)), 1e-12) * typical
    side = draws.permutation(len(lump)) < 0.5 * share * len(lump)
    return lump + side[:, None] * apart


def _smallest_share(
    control: Bool[np.ndarray, " S"], planted: Bool[np.ndarray, " P"], draws: np.random.Generator
) -> float | None:
    """Return the smallest share of planted states that is told from the control in most data sets."""
    count = len(control)
    for share in _SHARES:
        size = round(share * count)
        if not size:
            continue
        found = 0
        for trial in range(_PLANTINGS):
            seen, other = draws.permutation(control), draws.permutation(control)
            where = draws.choice(count, size=size, replace=False)
            seen[where] = draws.choice(planted, size=size)
            found += _is_found(paired_difference(seen, other, seed=trial))
        if found >= _POWER * _PLANTINGS:
            return share
    return None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Wide:
    """Looks for two groups in neighbourhoods of many episodes; arguments as of `multimodal_states`."""

    states: Float[np.ndarray, "N D"]
    chunks: Float[np.ndarray, "N C"]
    first: Int64[np.ndarray, " E"]
    min_gap: float

    def __call__(self, draws: np.random.Generator, *, planted: float | None = None) -> WideTest | None:
        """Return what is found; in the data, or where a share of two-way states was planted into a lump."""
        # Ranges, not deviations: a value that is hardly ever another one must not count most of all.
        spread = self.chunks.std(axis=0)
        range_of = np.minimum(np.ptp(self.chunks, axis=0), 20.0 * spread)
        moving = range_of > 0.0
        if not moving.any():
            return None
        found: list[WideTest] = []
        number = len(self.first)
        for size in wide_sizes(number) if planted is None else wide_sizes(number)[-1:]:
            for _ in range(num_centres(size, number) if planted is None else 1):
                centre = self.states[int(draws.integers(len(self.states)))]
                members, _ = _nearest(self.states, centre, self.first, size, draws, reach=np.inf)
                rest = _without_linear(self.chunks[members], self.states[members])
                if planted is not None:
                    rest = _planted(_normal_like(rest, draws), self.chunks, draws, share=planted)
                found.append(
                    split_in_two(
                        self.states[members],
                        rest[:, moving] / range_of[moving],
                        draws=draws,
                        min_gap=self.min_gap,
                        spread=spread[moving] / range_of[moving],
                    )
                )
        return clearest(found)

    def smallest_share(self, draws: np.random.Generator) -> float | None:
        """Return the smallest share of two-way states that the largest neighbourhood shows each time."""
        for share in _WIDE_SHARES:
            found = (self(draws, planted=share) for _ in range(_WIDE_PLANTINGS))
            if all(one is not None and one.is_multimodal for one in found):
                return share
        return None


def _nearest(
    states: np.ndarray,
    state: np.ndarray,
    first: np.ndarray,
    count: int,
    draws: np.random.Generator,
    *,
    reach: float = _REACH,
) -> tuple[Int64[np.ndarray, " K"], float]:
    """Return the nearest step of each of the nearest episodes, and how far the last of them is.

    At most `count`. Where these are more than a third of the episodes, those beyond that third and farther
    than `reach` times the nearest quarter are left out: few episodes must not make strangers neighbours.
    """
    distance = np.sqrt(((states - state) ** 2).sum(1))
    nearest = np.minimum.reduceat(distance, first)
    mixed = draws.permutation(len(first))  # where several are equally near, none comes first
    order = mixed[np.argsort(nearest[mixed], kind="stable")][:count]
    sure = max(_FEWEST, len(first) // 3)
    near = nearest[order[min(len(order), max(_FEWEST, len(order) // 4)) - 1]]
    kept = (np.arange(len(order)) < sure) | (nearest[order] <= reach * max(float(near), 1e-9))
    chosen = order[kept]
    last = np.append(first[1:], len(states))
    members = [first[one] + int(distance[first[one] : last[one]].argmin()) for one in chosen]
    return np.array(members, dtype=np.int64), float(nearest[chosen].max())


def _without_linear(chunks: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Return the chunks less their linear regression on the main axes of the states."""
    centred = states - states.mean(0)
    basis, spread, _ = np.linalg.svd(centred, full_matrices=False)
    # A regressor for every six chunks at most: more would explain what is not the state's doing.
    number = min(_REGRESSORS, len(chunks) // 6)
    kept = basis[:, :number][:, spread[:number] > 1e-6 * np.max(spread, initial=1.0)]
    rest = chunks - chunks.mean(0)
    return rest - kept @ (kept.T @ rest)


def _normal_like(chunks: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Return as many normal draws with the mean and covariance of the chunks."""
    weight = draws.standard_normal((len(chunks), len(chunks))) / np.sqrt(len(chunks))
    return chunks.mean(0) + weight @ (chunks - chunks.mean(0))


def _standard(values: np.ndarray, *, of: np.ndarray) -> Float[np.ndarray, "N D"]:
    """Return the columns that vary, with mean 0 and standard deviation 1 over `of`."""
    spread = of.std(0)
    kept = spread > 1e-6 * np.maximum(1.0, np.abs(of).max(0))
    return (values[:, kept] - of.mean(0)[kept]) / spread[kept]


def _flat(values: np.ndarray) -> Float[np.ndarray, "N D"]:
    return np.asarray(values, dtype=np.float64).reshape(len(values), -1)
