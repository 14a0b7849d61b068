"""k-means against every partition of small sets, and against its own definition."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from steadyhand.policies.nets.kmeans import kmeans, nearest_centre, squared_distances
from steadyhand.policies.noise import GeneratorNoise, Noise


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
    once = torch.tensor([[True, True], [True, False], [True, False], [True, False]])
    assert kmeans(data, 4, GeneratorNoise.seeded(0), counts=once)[:, 1].tolist() == [2.0] * 4


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


class Told(Noise):
    """Answers with the numbers that it was told."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = torch.tensor(numbers)

    def normal(self, *shape: int) -> Tensor:
        raise NotImplementedError

    def uniform(self, *shape: int) -> Tensor:
        return self.numbers.view(shape)


@pytest.mark.parametrize(
    ("drawn", "starts"),
    [
        # From 0 the squared distances of (0, 2, -2, 4, 0) are (0, 4, 4, 16, 0): a ladder of 0, 4, 8, 24, 24.
        ((0.0, 0.0), (0.0, 2.0)),  # what is a centre already is not drawn again
        ((0.0, 4 / 24), (0.0, -2.0)),
        ((0.0, 0.3), (0.0, -2.0)),
        ((0.0, 0.34), (0.0, 4.0)),
        ((0.0, 0.999), (0.0, 4.0)),
        # From 4 they are (16, 4, 36, 0, 16), and next to -2 (4, 4, 0, 0, 4).
        ((0.7, 0.1), (4.0, 0.0)),
        ((0.7, 0.25), (4.0, 2.0)),
        ((0.7, 0.5), (4.0, -2.0)),
        ((0.7, 0.5, 0.2), (4.0, -2.0, 0.0)),
        ((0.7, 0.5, 0.5), (4.0, -2.0, 2.0)),
        ((0.7, 0.5, 0.2, 0.1), (4.0, -2.0, 0.0, 2.0)),
    ],
)
def test_starts_are_drawn_in_proportion_to_their_squared_distance(drawn, starts) -> None:
    data = torch.tensor([[0.0], [2.0], [-2.0], [4.0], [0.0]])
    centres = kmeans(data, len(starts), Told(*drawn), num_starts=1, num_iterations=0)
    assert centres[:, 0].tolist() == list(starts)


def by_hand(data: np.ndarray, counts: np.ndarray, centres: np.ndarray, num_iterations: int) -> np.ndarray:
    """Lloyd's iterations in loops: means over what counts, and the worst served point for a dead centre."""
    centres = centres.copy()
    for _ in range(num_iterations):
        away = np.array(
            [[(c * (p - q) ** 2).sum() for q in centres] for p, c in zip(data, counts, strict=True)]
        )
        owner, least = away.argmin(1), away.min(1)
        for k in range(len(centres)):
            for column in range(data.shape[1]):
                mine = (owner == k) & counts[:, column]
                if mine.any():
                    centres[k, column] = data[mine, column].mean()
        worst = iter(np.argsort(-least))
        for k in range(len(centres)):
            if not (owner == k).any() and least.max() > 0:
                centres[k] = data[next(worst)]
    return centres


@pytest.mark.parametrize("num_iterations", [1, 2, 5])
@pytest.mark.parametrize("share", [1.0, 0.6])
def test_iterations_are_those_of_lloyd(num_iterations: int, share: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(6):
        data = (0.02 * rng.normal(size=(9, 3))).astype(np.float32)  # any scale will do
        counts = rng.random(data.shape) < share
        counts[0] = True
        filled = np.where(counts, data, (data * counts).sum(0) / counts.sum(0)).astype(np.float32)
        first = filled[0]
        away = (counts * (filled - first) ** 2).sum(1).cumsum()
        second = filled[np.searchsorted(away, 0.5 * away[-1], side="right")]
        centres = kmeans(
            torch.from_numpy(data),
            2,
            Told(0.0, 0.5),
            counts=torch.from_numpy(counts),
            num_starts=1,
            num_iterations=num_iterations,
        )
        wanted = by_hand(
            filled.astype(float), counts, np.stack([first, second]).astype(float), num_iterations
        )
        np.testing.assert_allclose(centres, wanted, atol=1e-6)


def test_a_centre_that_loses_all_its_points_restarts_at_the_one_that_is_worst_served() -> None:
    """From 0, 6 and 14 the middle one moves to 9.25: then 6 is nearer to the first, 9.9 to the last."""
    values = [0.0] + 30 * [2.9] + [6.0] + 5 * [9.9] + 20 * [10.1] + [14.0]
    data = torch.tensor(values)[:, None]
    first, last = (30 * 2.9 + 6) / 32, (5 * 9.9 + 20 * 10.1) / 25
    for num_iterations, wanted in (
        (0, [0.0, 6.0, 14.0]),
        (1, [30 * 2.9 / 31, (6 + 5 * 9.9) / 6, (20 * 10.1 + 14) / 21]),
        (2, [first, 14.0, (5 * 9.9 + 20 * 10.1 + 14) / 26]),
        (3, [first, 14.0, last]),
        (50, [first, 14.0, last]),
    ):
        centres = kmeans(data, 3, Told(0.0, 0.09, 0.95), num_starts=1, num_iterations=num_iterations)
        assert centres[:, 0].tolist() == pytest.approx(wanted, rel=1e-5)


def test_a_column_that_never_counts_near_a_centre_stays_at_its_mean() -> None:
    data = torch.tensor([[0.0, 3.0], [1.0, 5.0], [10.0, 7.0], [11.0, 8.0]])
    counts = torch.tensor([[True, True], [True, False], [True, False], [True, False]])
    centres = kmeans(data, 2, Told(0.0, 0.9), counts=counts, num_starts=1)
    assert centres.tolist() == [[0.5, 3.0], [10.5, 3.0]]


def test_distances_leave_out_what_does_not_count() -> None:
    data, centres, counts = points(0, 6, 3), points(1, 4, 3), points(2, 6, 3) > 0
    found = squared_distances(data, centres, counts=counts)
    wanted = [[(c * (p - q) ** 2).sum().item() for q in centres] for p, c in zip(data, counts, strict=True)]
    torch.testing.assert_close(found, torch.tensor(wanted))
    assert nearest_centre(data, centres, counts=counts).tolist() == [row.index(min(row)) for row in wanted]


def test_the_last_point_may_be_a_start():
    data = torch.tensor([[0.0], [1.0], [10.0]])  # squared distances from the first: 0, 1, 100
    for drawn, second in ((0.009, 1.0), (0.9, 10.0), (1.0 - 2.0**-24, 10.0)):
        starts = kmeans(data, 2, Told(0.0, drawn), num_iterations=0, num_starts=1)
        assert starts[:, 0].tolist() == [0.0, second]
