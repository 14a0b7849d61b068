"""Toy densities against their definitions, and the sliced Wasserstein distance against closed forms."""

import numpy as np
import pytest

from densities import mixture, mixture_log_density, ring, sliced_wasserstein, two_moons

KIND = {
    "means": np.array([[-1.0, 0.0], [2.0, 1.0]]),
    "stds": np.array([0.5, 0.3]),
    "weights": np.array([0.3, 0.7]),
}


def chance(seed=0):
    return np.random.default_rng(seed)


def test_two_moons_lie_on_their_half_circles():
    points = two_moons(4000, chance(), noise=0.0)
    upper = np.abs(np.hypot(*points.T) - 1) < 1e-9
    lower = np.abs(np.hypot(*(points - (1.0, 0.5)).T) - 1) < 1e-9
    assert (upper | lower).all()
    assert (points[upper & ~lower, 1] >= 0).all()
    assert (points[lower & ~upper, 1] <= 0.5).all()
    assert abs(upper.mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)
    noisy = two_moons(4000, chance(), noise=0.1)
    assert (noisy - points).std() == pytest.approx(0.1, rel=0.05)


def test_a_ring_is_empty_where_its_mean_is():
    points = ring(4000, chance(), radius=2.0, noise=0.05)
    away = np.hypot(*points.T)
    assert away.mean() == pytest.approx(2.0, abs=0.01)
    assert away.std() == pytest.approx(0.05, rel=0.1)
    assert np.abs(points.mean(axis=0)).max() < 0.15
    assert away.min() > 1.7
    # Every direction is as likely: the first two Fourier sums of the angle vanish.
    angle = np.arctan2(points[:, 1], points[:, 0])
    for order in (1, 2):
        assert np.abs(np.exp(1j * order * angle).mean()) < 4 / np.sqrt(4000)


def test_a_mixture_has_the_moments_of_its_parts():
    points = mixture(50_000, chance(), **KIND)
    first = points[:, 0] < 0.5
    assert first.mean() == pytest.approx(0.3, abs=0.01)
    np.testing.assert_allclose(points[first].mean(axis=0), (-1, 0), atol=0.03)
    np.testing.assert_allclose(points[~first].std(axis=0), 0.3, rtol=0.03)


def test_the_mixture_density_integrates_to_one_and_is_gaussian_for_one_part():
    axis = np.linspace(-5, 5, 501)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    assert np.exp(mixture_log_density(grid, **KIND)).sum() * 0.02**2 == pytest.approx(1, abs=1e-6)
    one = {"means": np.zeros((1, 3)), "stds": np.array([0.7]), "weights": np.ones(1)}
    entropy = -mixture_log_density(mixture(40_000, chance(), **one), **one).mean()
    assert entropy == pytest.approx(1.5 * np.log(2 * np.pi * np.e * 0.49), abs=0.02)


def test_distance_of_shifted_points_is_the_shift_over_the_root_of_the_dimension():
    """For a shift d every projection is shifted by d . u, and E[(d . u)^2] = |d|^2 / D."""
    points = chance().standard_normal((300, 2))
    found = sliced_wasserstein(points, points + np.array((3.0, 4.0)), chance(1), num_directions=4000)
    assert found == pytest.approx(5 / np.sqrt(2), rel=0.03)
    assert sliced_wasserstein(points, chance(2).permutation(points), chance(1)) == 0


def test_distance_of_samples_of_different_size_equals_their_repetition():
    one, other = chance().standard_normal((6, 2)), chance(1).standard_normal((4, 2))
    direct = sliced_wasserstein(one, other, chance(2))
    # Repeating points leaves their distribution as it is, and equal sizes pair in sorted order.
    directions = chance(2).standard_normal((2, 128))
    directions /= np.linalg.norm(directions, axis=0)
    pairs = [np.sort(np.repeat(x, k, axis=0) @ directions, axis=0) for x, k in ((one, 2), (other, 3))]
    assert direct == pytest.approx(np.sqrt(((pairs[0] - pairs[1]) ** 2).mean()), rel=1e-9)


def test_samples_of_one_density_are_nearer_than_those_of_two():
    same = sliced_wasserstein(two_moons(1000, chance(0)), two_moons(1000, chance(1)), chance(2))
    blurred = sliced_wasserstein(two_moons(1000, chance(0)), two_moons(1000, chance(1), noise=0.4), chance(2))
    assert same < 0.08
    assert blurred > 2 * same
