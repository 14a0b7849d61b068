"""Two groups in many dimensions that no single neighbourhood is large enough to show: pictures, long chunks.

A direction in which the chunks fall into two groups is looked for in one half of them (projection pursuit for
the least kurtosis; Hyvarinen and Oja, 1997, for the iteration), and tried on the other half, so that looking
for it costs no false alarms. On a line, the flat distribution is the one-lump distribution that looks most
like two (as for the dip; Hartigan and Hartigan, 1985). Groups that the state tells apart are no two ways:
where they are mixed among the nearest states, they are.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float

from steadyhand.core.seeding import generator

_SIZES = (64, 256, 1024)
_CENTRES = 2
_DIMENSIONS = 20
_STARTS = 20
_STEPS = 30
_NULLS = 4000
_LEAST = 0.1  # share of the smaller group
_MIXED = 0.6  # of what chance would mix
_NEAREST = 5
_LEVEL = 0.01


@dataclass(frozen=True, kw_only=True)
class WideTest:
    """What was found in wide neighbourhoods.

    Attributes:
        p_value: p-value of the hypothesis that there is one lump, corrected for everything that was tried.
        num_states: States of the neighbourhood with the clearest groups, each of another episode.
        mixing: How often nearest states belong to different groups, against chance: 0 if the state tells the
            groups apart, 1 if it knows nothing of them.
        share: Share of the smaller group.
        is_multimodal: Whether there are two groups that the state does not tell apart.
    """

    p_value: float
    num_states: int
    mixing: float
    share: float
    is_multimodal: bool


def wide_sizes(num_episodes: int) -> tuple[int, ...]:
    """Return the sizes of wide neighbourhoods: none below 64 episodes."""
    if num_episodes < _SIZES[0]:
        return ()
    return (*(size for size in _SIZES if size < num_episodes), min(num_episodes, _SIZES[-1]))


def num_centres(size: int, num_episodes: int) -> int:
    """Return how many neighbourhoods of a size are looked at."""
    return 1 if size == num_episodes else _CENTRES


def split_in_two(
    states: Float[np.ndarray, "K D"],
    chunks: Float[np.ndarray, "K C"],
    *,
    draws: np.random.Generator,
    min_gap: float,
    spread: Float[np.ndarray, " C"],
) -> WideTest:
    """Look for two groups of chunks that the state does not tell apart.

    Args:
        states: Normalised states.
        chunks: Chunks less what is linear in the state.
        draws: For the order and the starts of the search.
        min_gap: Smallest distance of the groups, per dimension, in `spread`.
        spread: Standard deviation of each dimension over all data.
    """
    order = draws.permutation(len(chunks))
    halves = np.array_split(order, 2)
    best = (2.0, np.zeros(len(chunks)))
    for here, there in ((halves[0], halves[1]), (halves[1], halves[0])):
        middle, whiten = _whitening(chunks[here])
        direction = _least_kurtosis((chunks[here] - middle) @ whiten, draws)
        line = ((chunks - middle) @ whiten) @ direction
        p_value = _p_value(line[there])
        if p_value < best[0]:
            best = (p_value, line)
    p_value, line = min(1.0, 2.0 * best[0]), best[1]
    upper = line > _cut(line)
    share = float(min(upper.mean(), 1.0 - upper.mean()))
    apart = (chunks[upper].mean(0) - chunks[~upper].mean(0)) / spread if share > 0.0 else np.zeros(1)
    mixing = _mixing(states, upper) if share > 0.0 else 0.0
    is_wide = bool(np.sqrt((apart**2).mean()) >= min_gap)
    return WideTest(
        p_value=p_value,
        num_states=len(chunks),
        mixing=mixing,
        share=share,
        is_multimodal=is_wide and mixing >= _MIXED,
    )


def clearest(tests: list[WideTest]) -> WideTest | None:
    """Return the clearest finding among neighbourhoods, its p-value corrected for their number."""
    if not tests:
        return None
    best = min(tests, key=lambda test: (not test.is_multimodal, test.p_value))
    p_value = min(1.0, best.p_value * len(tests))
    return WideTest(
        p_value=p_value,
        num_states=best.num_states,
        mixing=best.mixing,
        share=best.share,
        is_multimodal=best.is_multimodal and p_value <= _LEVEL,
    )


def explained_on_a_line(values: Float[np.ndarray, "R K"]) -> Float[np.ndarray, " R"]:
    """Return the share of variance that the best cut of K numbers explains, each side a tenth at least."""
    ordered = np.sort(values, axis=1)
    count = ordered.shape[1]
    below = np.arange(1, count)
    sums = np.cumsum(ordered, axis=1)
    mean = sums[:, -1:] / count
    between = (sums[:, :-1] - below * mean) ** 2 * (1.0 / below + 1.0 / (count - below))
    inner = (below >= _LEAST * count) & (below <= (1.0 - _LEAST) * count)
    total = np.maximum(((ordered - mean) ** 2).sum(axis=1), 1e-300)
    return between[:, inner].max(axis=1) / total


def _cut(line: Float[np.ndarray, " K"]) -> float:
    ordered = np.sort(line)
    count = len(ordered)
    below = np.arange(1, count)
    sums = np.cumsum(ordered)
    between = (sums[:-1] - below * sums[-1] / count) ** 2 * (1.0 / below + 1.0 / (count - below))
    between[(below < _LEAST * count) | (below > (1.0 - _LEAST) * count)] = -1.0
    place = int(between.argmax())
    return float((ordered[place] + ordered[place + 1]) / 2.0)


def _p_value(line: Float[np.ndarray, " K"]) -> float:
    flat = _flat_shares(len(line))
    found = explained_on_a_line(line[None])[0]
    return float((1 + (flat >= found).sum()) / (1 + len(flat)))


@lru_cache(maxsize=16)
def _flat_shares(count: int) -> np.ndarray:
    draws = generator(count, "flat shares")
    parts = [explained_on_a_line(draws.uniform(size=(500, count))) for _ in range(_NULLS // 500)]
    return np.concatenate(parts)


def _whitening(chunks: Float[np.ndarray, "K C"]) -> tuple[np.ndarray, np.ndarray]:
    middle = chunks.mean(axis=0)
    _, spread, axes = np.linalg.svd(chunks - middle, full_matrices=False)
    kept = min(_DIMENSIONS, max(1, len(chunks) // 10), int((spread > 1e-6 * max(spread[0], 1e-12)).sum()))
    kept = max(kept, 1)
    scale = np.maximum(spread[:kept], 1e-12) / np.sqrt(len(chunks))
    return middle, axes[:kept].T / scale


def _least_kurtosis(white: Float[np.ndarray, "K P"], draws: np.random.Generator) -> Float[np.ndarray, " P"]:
    """Return the direction in which white points look most like two groups, of many local optima."""
    size = white.shape[1]
    directions = np.concatenate([np.eye(size), draws.standard_normal((_STARTS, size))])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for _ in range(_STEPS):
        directions = (white.T @ (white @ directions.T) ** 3 / len(white)).T - 3.0 * directions
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    return directions[explained_on_a_line((white @ directions.T).T).argmax()]


def _mixing(states: Float[np.ndarray, "K D"], upper: Bool[np.ndarray, " K"]) -> float:
    """Return how often nearest states belong to different groups, as a share of what chance would give."""
    chance = 2.0 * upper.mean() * (1.0 - upper.mean())
    squares = (states**2).sum(axis=1)
    distance = squares[:, None] + squares - 2.0 * states @ states.T
    if states.shape[1] == 0 or np.ptp(distance) < 1e-12:
        return 1.0
    np.fill_diagonal(distance, np.inf)
    nearest = np.argpartition(distance, _NEAREST, axis=1)[:, :_NEAREST]
    return float((upper[nearest] != upper[:, None]).mean() / chance)
