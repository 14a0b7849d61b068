"""Toy densities in the plane with more than one mode, and a distance between samples of two densities."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

Sampler = Callable[[int, np.random.Generator], Float64[np.ndarray, "N D"]]
"""Draws N points from a density."""


def two_moons(count: int, random: np.random.Generator, *, noise: float = 0.1) -> Float64[np.ndarray, "N 2"]:
    """Draw from two half circles of radius 1 that reach into each other.

    The upper one is centred at (0, 0), the lower one at (1, 0.5), equally likely.

    Args:
        count: Number of points.
        random: Where chance comes from.
        noise: Standard deviation of the offset in x and in y.
    """
    angle = random.uniform(0.0, np.pi, count)
    lower = random.random(count) < 0.5
    x = np.where(lower, 1.0 - np.cos(angle), np.cos(angle))
    y = np.where(lower, 0.5 - np.sin(angle), np.sin(angle))
    return np.stack([x, y], axis=1) + noise * random.standard_normal((count, 2))


def ring(
    count: int, random: np.random.Generator, *, radius: float = 1.0, noise: float = 0.05
) -> Float64[np.ndarray, "N 2"]:
    """Draw from a circle round the origin, whose mean is where no point lies.

    Args:
        count: Number of points.
        random: Where chance comes from.
        radius: Mean distance from the origin.
        noise: Standard deviation of that distance.
    """
    angle = random.uniform(0.0, 2.0 * np.pi, count)
    away = radius + noise * random.standard_normal(count)
    return np.stack([away * np.cos(angle), away * np.sin(angle)], axis=1)


def mixture(
    count: int,
    random: np.random.Generator,
    *,
    means: Float64[np.ndarray, "K D"],
    stds: Float64[np.ndarray, " K"],
    weights: Float64[np.ndarray, " K"],
) -> Float64[np.ndarray, "N D"]:
    """Draw from a mixture of K round Gaussians.

    Args:
        count: Number of points.
        random: Where chance comes from.
        means: (K, D).
        stds: (K,) standard deviation in every direction.
        weights: (K,) adding up to 1.
    """
    which = random.choice(len(weights), size=count, p=weights)
    spread = np.asarray(stds)[which][:, None]
    return np.asarray(means)[which] + spread * random.standard_normal((count, np.shape(means)[1]))


def mixture_log_density(
    points: Float64[np.ndarray, "N D"],
    *,
    means: Float64[np.ndarray, "K D"],
    stds: Float64[np.ndarray, " K"],
    weights: Float64[np.ndarray, " K"],
) -> Float64[np.ndarray, " N"]:
    """Return the exact log density of `mixture` [nat]; the mean of its negative is the entropy."""
    size = points.shape[1]
    distance = ((points[:, None] - np.asarray(means)) ** 2).sum(axis=2)
    stds = np.asarray(stds)
    each = np.log(weights) - 0.5 * distance / stds**2 - size * np.log(stds) - 0.5 * size * np.log(2.0 * np.pi)
    top = each.max(axis=1, keepdims=True)
    return top[:, 0] + np.log(np.exp(each - top).sum(axis=1))


def sliced_wasserstein(
    one: Float64[np.ndarray, "N D"],
    other: Float64[np.ndarray, "M D"],
    random: np.random.Generator,
    *,
    num_directions: int = 128,
) -> float:
    """Return the distance between two samples of any size, in their unit; 0 for equal samples.

    The square root of the mean over random directions of the squared 2-Wasserstein distance between the
    projections, which in one dimension is that between quantile functions (Rabin, Peyre, Delon and Bernot,
    "Wasserstein Barycenter and Its Application to Texture Mixing", SSVM 2011). The integral over quantiles is
    exact: both quantile functions are steps.

    Args:
        one: (N, D) points.
        other: (M, D) points.
        random: Draws the directions.
        num_directions: Number of directions.
    """
    directions = random.standard_normal((one.shape[1], num_directions))
    directions /= np.linalg.norm(directions, axis=0)
    first, second = np.sort(one @ directions, axis=0), np.sort(other @ directions, axis=0)
    # In units of 1 / (N M) the levels at which either function steps are whole numbers: no rounding.
    n, m = len(one), len(other)
    levels = np.unique(np.concatenate([np.arange(n + 1) * m, np.arange(m + 1) * n]))
    gap = first[levels[:-1] // m] - second[levels[:-1] // n]
    squared = (np.diff(levels)[:, None] / (n * m) * gap * gap).sum(axis=0)
    return float(np.sqrt(squared.mean()))
