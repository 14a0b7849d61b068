"""k-means against every partition of small sets, and against its own definition."""

from itertools import product

import pytest
import torch
from torch import Tensor

from steadyhand.policies.nets.kmeans import kmeans, nearest_centre, squared_distances
from steadyhand.policies.noise import GeneratorNoise


def points(seed: int, rows: int, width: int = 2) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def cost(data: Tensor, centres: Tensor) -> float:
    return torch.cdist(data, centres).square().amin(1).sum().item()


def least_cost(data: Tensor, num_centres: int) -> float:
    """Try every assignment of points to centres."""
    best = float("inf")
    for owner in product(range(num_centres), repeat=len(data)):
        group = torch.tensor(owner)
        parts = [data[group == k] for k in range(num_centres)]
        total = sum((part - part.mean(0)).square().sum().item() for part in parts if len(part))
        best = min(best, total)
    return best


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_centres", [2, 3])
def test_the_best_of_several_starts_is_the_best_partition(seed: int, num_centres: int) -> None:
    data = points(seed, 7)
    centres = kmeans(data, num_centres, GeneratorNoise.seeded(seed), num_starts=10)
    assert cost(data, centres) == pytest.approx(least_cost(data, num_centres), rel=1e-4)


def test_every_centre_is_the_mean_of_its_points() -> None:
    data = points(0, 500, 3)
    centres = kmeans(data, 6, GeneratorNoise.seeded(1), num_iterations=200)
    owner = nearest_centre(data, centres)
    for k in range(6):
        torch.testing.assert_close(data[owner == k].mean(0), centres[k], atol=1e-5, rtol=0)


def test_distances_are_those_of_torch() -> None:
    data, centres = points(0, 20, 5), points(1, 4, 5)
    torch.testing.assert_close(squared_distances(data, centres), torch.cdist(data, centres).square())


def test_fewer_points_than_centres_wrap_around() -> None:
    data = points(0, 3)
    assert torch.equal(kmeans(data, 5, GeneratorNoise.seeded(0)), data[[0, 1, 2, 0, 1]])
    assert torch.equal(kmeans(data, 3, GeneratorNoise.seeded(0)), data)


def test_entries_that_do_not_count_are_their_columns_mean_where_a_point_is_a_centre() -> None:
    data = torch.tensor([[1.0, 2.0], [3.0, 99.0], [5.0, 6.0], [7.0, -99.0]])
    counts = torch.tensor([[True, True], [True, False], [True, True], [True, False]])
    centres = kmeans(data, 4, GeneratorNoise.seeded(0), counts=counts)
    assert centres.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 4.0]]
    unknown = kmeans(data, 4, GeneratorNoise.seeded(0), counts=torch.tensor([[True, False]]).expand(4, 2))
    assert unknown[:, 1].tolist() == [0.0] * 4


def test_rare_points_get_a_centre_of_their_own() -> None:
    """Three distinct values, 100 : 1 : 1; equal starts would leave centres dead."""
    data = torch.cat([torch.zeros(100, 1), torch.ones(1, 1), 5 * torch.ones(1, 1)])
    for seed in range(5):
        centres = kmeans(data, 3, GeneratorNoise.seeded(seed), num_starts=1)
        assert sorted(centres[:, 0].tolist()) == [0.0, 1.0, 5.0]


def test_equal_points_are_no_trouble() -> None:
    centres = kmeans(torch.ones(50, 2), 4, GeneratorNoise.seeded(0))
    assert torch.equal(centres, torch.ones(4, 2))


def test_entries_that_do_not_count_do_not_matter() -> None:
    data = torch.cat([points(0, 40) - 4, points(1, 40) + 4])
    counts = torch.ones(80, 2, dtype=torch.bool)
    counts[::3, 1] = False
    spoilt = torch.where(counts, data, 1e3)
    one = kmeans(data, 2, GeneratorNoise.seeded(0), counts=counts)
    two = kmeans(spoilt, 2, GeneratorNoise.seeded(0), counts=counts)
    torch.testing.assert_close(one, two)
    low = one[one[:, 0].argmin()]
    rows = torch.arange(40)
    torch.testing.assert_close(low[0], data[:40, 0].mean())
    torch.testing.assert_close(low[1], data[:40, 1][rows % 3 != 0].mean())


def test_the_same_noise_gives_the_same_centres() -> None:
    data = points(3, 300)
    one, two = (kmeans(data, 8, GeneratorNoise.seeded(7)) for _ in range(2))
    assert torch.equal(one, two)
