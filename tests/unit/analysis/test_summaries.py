"""Episodes become the numbers of a report: derived by hand from tiny arrays."""

from dataclasses import replace

import numpy as np
import pytest

from outcomes import episodes
from steadyhand.analysis.occupancy import occupancy_maps, total_variation
from steadyhand.analysis.summary import error_curve, summarise
from steadyhand.core.errors import DataError
from steadyhand.core.statistics import bootstrap_mean, wilson


def summary(first_failure, **changes):
    failed = np.isfinite(first_failure)
    lengths = np.where(failed, first_failure / 0.5, 20).astype(np.int64)
    made = episodes("Cloning", ~failed, np.arange(len(failed), dtype=np.float64), lengths, control_dt=0.5)
    return summarise(replace(made, **changes))


def test_a_summary_by_hand():
    result = summary(np.array([np.inf, 2.0, 4.0, np.inf, 3.0]))
    assert result.successes == (True, False, False, True, False)
    assert result.first_failure == (None, 2.0, 4.0, None, 3.0)
    assert result.lengths == (20, 4, 8, 20, 6)
    assert result.median_first_failure == 4.0
    assert (result.num_successes, result.num_starts, result.duration) == (2, 5, 10.0)
    assert result.success_interval == wilson(2, 5)
    assert result.mean_return == bootstrap_mean(np.arange(5.0), seed=0)


@pytest.mark.parametrize(
    ("failures", "median"),
    [
        ([1.0, np.inf], 1.0),
        ([1.0, np.inf, np.inf], None),
        ([2.0], 2.0),
        ([np.inf], None),
        ([3.0, 1.0, 2.0], 2.0),
    ],
)
def test_the_median_is_the_time_by_which_half_had_failed(failures, median):
    assert summary(np.array(failures)).median_first_failure == median


@pytest.mark.parametrize(
    "change",
    [
        {"returns": np.zeros(3)},
        {"lengths": np.zeros(1, dtype=np.int64)},
        {"error": np.zeros((3, 4))},
    ],
)
def test_columns_of_different_lengths_are_refused(change, unchecked_shapes):
    with pytest.raises(DataError, match="do not add up"):
        summary(np.array([1.0, 2.0]), **change)


def test_no_episodes_are_refused():
    with pytest.raises(DataError):
        summary(np.zeros(0))


def test_an_error_curve_by_hand():
    nan = np.nan
    error = np.array([[1.0, 2.0, 3.0, 4.0, 5.0], [3.0, -2.0, nan, nan, nan]])
    curve = error_curve(error, control_dt=0.1, num_bins=3)
    assert curve.time == pytest.approx((0.1, 0.3, 0.45))
    assert curve.mean == pytest.approx((2.0, 3.5, 5.0))
    assert curve.alive == (2, 1, 1)
    assert curve.p10[1] == pytest.approx(3.1)
    assert curve.p90[1] == pytest.approx(3.9)


def test_an_error_curve_ends_with_the_longest_episode():
    error = np.full((2, 1000), np.nan)
    error[0, :7] = 1.0
    curve = error_curve(error, control_dt=0.1, num_bins=100)
    assert len(curve.time) == 7
    assert error_curve(error[1:], control_dt=0.1).time == ()


def test_total_variation_by_hand(unchecked_shapes):
    a, b = np.array([[4, 0]]), np.array([[1, 1]])
    assert total_variation(a, a * 3) == 0.0
    assert total_variation(a, b) == total_variation(b, a) == 0.5
    assert total_variation(a, np.array([[0, 9]])) == 1.0
    with pytest.raises(DataError, match="one grid"):
        total_variation(a, b.T)
    with pytest.raises(DataError, match="one grid"):
        total_variation(a, np.zeros((1, 2), dtype=np.int64))


def test_maps_count_every_step_in_its_cell():
    path = np.array([[0.0, 0.0], [3.9, 0.1], [4.0, 2.0], [4.0, 2.0]], dtype=np.float32)
    panel = occupancy_maps("Expert", {"Clone": [path[:1]], "Expert": [path, path[:0]]}, num_cells=4)
    expert, clone = panel.maps
    assert (expert.name, clone.name) == ("Expert", "Clone")
    assert panel.extent == (0.0, 4.0, 0.0, 2.0)
    assert panel.cell == 1.0
    assert expert.counts == ((1, 0, 0, 1), (0, 0, 0, 2))
    assert clone.counts == ((1, 0, 0, 0), (0, 0, 0, 0))
    assert (expert.distance, clone.distance) == (0.0, 0.75)
    assert panel.floor is None


def test_the_floor_is_the_distance_between_halves_of_the_expert():
    here, there = np.zeros((3, 2), dtype=np.float32), np.ones((3, 2), dtype=np.float32)
    assert occupancy_maps("E", {"E": [here, there, here, there]}).floor == 1.0
    assert occupancy_maps("E", {"E": [here, here, there, there]}).floor == 0.0


def test_an_outline_widens_the_map():
    path = np.zeros((2, 2), dtype=np.float32)
    panel = occupancy_maps("E", {"E": [path]}, outline=[np.array([[-1.0, -2.0], [1.0, 2.0]])])
    assert panel.extent[0] == -1.0
    assert panel.extent[3] == pytest.approx(2.0)
    assert panel.outline[0].x == (-1.0, 1.0)


def test_maps_need_an_expert_and_steps():
    path = np.zeros((2, 2), dtype=np.float32)
    with pytest.raises(DataError, match="no paths to compare"):
        occupancy_maps("Expert", {"Clone": [path]})
    with pytest.raises(DataError, match="no steps"):
        occupancy_maps("Expert", {"Expert": [path], "Clone": [path[:0]]})
