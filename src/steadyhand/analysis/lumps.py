"""Two clusters or one lump: the question that is asked of the chunks around one state."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

_AXES = 8
"""Principal axes of the chunks that are kept."""
_ROUNDS = 12
"""Of Lloyd's iterations; two clusters of K points settle in fewer."""


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
