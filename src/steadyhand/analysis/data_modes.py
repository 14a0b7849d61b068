"""The data test: are there states from which the demonstrators went several ways?

Around a state, the K nearest states of K different episodes are taken, and their action chunks are cut into
two clusters. Two clusters explain some of the variance of anything: 64 % of a normal distribution on a line,
75 % of a flat one. So the question is whether they explain more than of one lump with the same covariance.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from steadyhand.core.errors import DataError
from steadyhand.core.seeding import generator
from steadyhand.core.specs import FeatureSpec
from steadyhand.core.statistics import Interval, PairedDifference, paired_difference, wilson
from steadyhand.data.frames import Frames, Windower, WindowSpec

NEIGHBOURS = 32
_FEWEST = 8
"""Fewest neighbours that can show two clusters."""
_AXES = 8
"""Principal axes of the chunks that are kept."""
_REGRESSORS = 4
"""Principal axes of the states whose linear effect is taken out."""
_ROUNDS = 12
"""Of Lloyd's iterations; two clusters of K points settle in fewer."""


@dataclass(frozen=True, kw_only=True)
class DataModes:
    """Outcome of the data test.

    Attributes:
        num_states: States that were looked at.
        neighbours: K.
        multimodal: States around which two clusters explain more than of one lump.
        interval: Wilson's interval of multimodal / states. Neighbourhoods overlap, so it is too narrow.
        unimodal_control: The same count where the chunks were replaced by normal draws of equal covariance.
        shuffled_control: The same where each state got the chunks of K random states.
        difference: Share of multimodal states minus that of the unimodal control, on the same states.
        explained: Share of the variance of chunks that the neighbourhood explains, against random states.
        radius: Median distance to the farthest neighbour, in standard deviations of a feature.
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

    @property
    def share(self) -> float:
        """Share of states that are called multimodal."""
        return self.multimodal / self.num_states

    @property
    def is_multimodal(self) -> bool:
        """Whether there are more such states than the unimodal control shows, by its 95 % interval."""
        interval = self.difference.difference.interval
        return interval is not None and interval.low > 0.0


@dataclass(frozen=True, kw_only=True)
class LumpTest:
    """Whether K chunks are two clusters or one lump.

    The statistic is the share of variance that 2-means explains. It is compared with draws from a flat
    distribution along the principal axes of the chunks, of the same covariance (as in the gap statistic;
    Tibshirani, Walther and Hastie, 2001): of the distributions with one mode on a line, the flat one looks
    most like two clusters.

    Attributes:
        level: Share of lumps that may be called two clusters.
        num_controls: Flat draws for each set of chunks.
        min_share: Smallest cluster that counts, as a share of K: an outlier is no way of doing the task.
        min_gap: Smallest distance between the clusters, per dimension, in standard deviations of the actions.
    """

    level: float = 0.01
    num_controls: int = 200
    min_share: float = 0.1
    min_gap: float = 0.2

    def __call__(self, chunks: Float[np.ndarray, "K C"], draws: np.random.Generator) -> bool:
        """Return whether the chunks are called two clusters."""
        centred = chunks - chunks.mean(0)
        _, spread, axes = np.linalg.svd(centred, full_matrices=False)
        scores, scale = centred @ axes[:_AXES].T, spread[:_AXES] / np.sqrt(len(chunks))
        explained, share, gap = two_means(scores[None])
        if share[0] < self.min_share or gap[0] < self.min_gap * np.sqrt(chunks.shape[1]):
            return False
        # A few controls settle most cases: once too many explain as much, the rest cannot change the answer.
        at_least = 0
        for number in (min(20, self.num_controls), max(0, self.num_controls - 20)):
            flat = draws.uniform(-np.sqrt(3.0), np.sqrt(3.0), size=(number, *scores.shape)) * scale
            flat -= flat.mean(1, keepdims=True)
            at_least += int((two_means(flat)[0] >= explained[0]).sum())
            if (1 + at_least) / (1 + self.num_controls) > self.level:
                return False
        return True


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
        neighbours: K; a third of the episodes if there are fewer than 3 K.
        num_states: States to look at, drawn from all.
        seed: Of the draws.
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
        neighbours: K; a third of the episodes if there are fewer than 3 K.
        num_states: States to look at.
        seed: Of the draws.
        test: How clusters are told from a lump.

    Raises:
        DataError: There are too few episodes for the smallest neighbourhood.
    """
    test = test or LumpTest()
    first = np.flatnonzero(np.diff(episode, prepend=-1))
    count = min(neighbours, len(first) // 3)
    if count < _FEWEST:
        raise DataError(
            "There are too few episodes to see two ways.",
            got=f"{len(first)} episodes",
            expected=f"at least {3 * _FEWEST}; {3 * neighbours} for full neighbourhoods",
            hint="steps of one episode are one decision, so long episodes do not help",
        )
    draws = generator(seed, "data test")
    chosen = draws.choice(len(states), size=min(num_states, len(states)), replace=False)
    flags = np.zeros((3, len(chosen)), dtype=bool)
    inside, outside, radii = 0.0, 0.0, np.zeros(len(chosen))
    for place, state in enumerate(chosen):
        members, radii[place] = _nearest(states, states[state], first, count)
        rest = _without_linear(chunks[members], states[members])
        random = chunks[draws.choice(len(chunks), size=count, replace=False)]
        flags[0, place] = test(rest, draws)
        flags[1, place] = test(_normal_like(rest, draws), draws)
        flags[2, place] = test(random, draws)
        inside += float(chunks[members].var(0).sum())
        outside += float(random.var(0).sum())
    return DataModes(
        num_states=len(chosen),
        neighbours=count,
        multimodal=int(flags[0].sum()),
        interval=wilson(int(flags[0].sum()), len(chosen)),
        unimodal_control=int(flags[1].sum()),
        shuffled_control=int(flags[2].sum()),
        difference=paired_difference(flags[0], flags[1], seed=seed),
        explained=1.0 - inside / outside if outside > 0 else 0.0,
        radius=float(np.median(radii) / np.sqrt(max(1, states.shape[1]))),
    )


def two_means(
    points: Float[np.ndarray, "R K P"],
) -> tuple[Float[np.ndarray, " R"], Float[np.ndarray, " R"], Float[np.ndarray, " R"]]:
    """Cut each set of K centred points into two clusters (Lloyd, 1982).

    Three starts, cut at the mean of each of the first three coordinates (principal axes); the best counts.

    Returns:
        Share of the variance between the clusters, share of the smaller cluster, distance of the centres.
    """
    best = np.full(len(points), -1.0)
    share, gap = np.zeros(len(points)), np.zeros(len(points))
    total = np.maximum((points**2).sum((1, 2)), 1e-12)
    for axis in range(min(3, points.shape[2])):
        between, part, distance = _lloyd(points, points[:, :, axis] > 0)
        explained = between / total
        better = explained > best
        best, share = np.where(better, explained, best), np.where(better, part, share)
        gap = np.where(better, distance, gap)
    return best, share, gap


def _lloyd(points: np.ndarray, upper: Bool[np.ndarray, "R K"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    number = points.shape[1]
    for _ in range(_ROUNDS):
        size = upper.sum(1)
        high = np.einsum("rk,rkp->rp", upper, points)
        low = (points.sum(1) - high) / np.maximum(number - size, 1)[:, None]
        high = high / np.maximum(size, 1)[:, None]
        along, middle = high - low, (high + low) / 2
        again = np.einsum("rkp,rp->rk", points - middle[:, None], along) > 0
        if (again == upper).all():
            break
        upper = again
    size = upper.sum(1)
    high = np.einsum("rk,rkp->rp", upper, points) / np.maximum(size, 1)[:, None]
    low = np.einsum("rk,rkp->rp", ~upper, points) / np.maximum(number - size, 1)[:, None]
    squared = ((high - low) ** 2).sum(1)
    between = size * (number - size) / number * squared
    return between, np.minimum(size, number - size) / number, np.sqrt(squared)


def _nearest(
    states: np.ndarray, state: np.ndarray, first: np.ndarray, count: int
) -> tuple[Int64[np.ndarray, " K"], float]:
    """Return the nearest step of each of the `count` nearest episodes, and how far the last of them is."""
    distance = ((states - state) ** 2).sum(1)
    nearest = np.minimum.reduceat(distance, first)
    chosen = np.argpartition(nearest, count - 1)[:count]
    last = np.append(first[1:], len(states))
    members = [first[one] + int(distance[first[one] : last[one]].argmin()) for one in chosen]
    return np.array(members, dtype=np.int64), float(np.sqrt(nearest[chosen].max()))


def _without_linear(chunks: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Return the chunks less their linear regression on the main axes of the states."""
    centred = states - states.mean(0)
    basis, spread, _ = np.linalg.svd(centred, full_matrices=False)
    kept = basis[:, :_REGRESSORS][:, spread[:_REGRESSORS] > 1e-6 * max(1.0, spread[0])]
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
