"""Splines, tracks and the rasters around them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadyhand.envs.car.atlas import Lane
from steadyhand.envs.car.config import TIGHTEST_BEND
from steadyhand.envs.car.spline import PeriodicSpline
from steadyhand.envs.car.surface import FIELD_CELL, OFFSET, blurred, road_field, texture_raster
from steadyhand.envs.car.track import (
    CURVATURE,
    FAMILY_BLOCK,
    FAMILY_FIRST,
    HEADING,
    Track,
    load_track,
    track_number,
)

NUMBERS = [track_number(family, index) for family in FAMILY_FIRST for index in range(3)]


@given(st.integers(3, 12), st.integers(0, 10_000))
def test_spline_interpolates_and_is_smooth_across_every_knot(count, seed):
    points = np.random.default_rng(seed).uniform(-1, 1, (count, 2)) + 3 * np.stack(
        [np.cos(np.arange(count)), np.sin(np.arange(count))], axis=1
    )
    curve = PeriodicSpline.through(points)
    np.testing.assert_allclose(curve(curve.knots[:-1]), points, atol=1e-9)
    step = 1e-7 * curve.knots[-1]
    for order in range(3):
        jump = curve(curve.knots + step, order) - curve(curve.knots - step, order)
        scale = (
            np.abs(curve(curve.knots, min(order + 1, 2))).max()
            + np.ptp(curve.second) / np.diff(curve.knots).min()
        )
        assert np.abs(jump).max() <= 4 * step * scale, order


def test_spline_derivatives_match_differences():
    random = np.random.default_rng(1)
    curve = PeriodicSpline.through(random.uniform(-1, 1, (7, 2)))
    u = random.uniform(0, curve.knots[-1], 50)
    for order in (1, 2):
        numeric = (curve(u + 1e-5, order - 1) - curve(u - 1e-5, order - 1)) / 2e-5
        np.testing.assert_allclose(curve(u, order), numeric, atol=1e-4 * np.abs(numeric).max())


def test_spline_through_a_circle_converges_to_it():
    def worst(count):
        angle = np.arange(count) * 2 * np.pi / count
        curve = PeriodicSpline.through(np.stack([np.cos(angle), np.sin(angle)], axis=1))
        return np.abs(np.hypot(*curve(np.linspace(0, curve.knots[-1], 999)).T) - 1).max()

    assert worst(32) < worst(16) / 12 < worst(8) / 100


@pytest.mark.parametrize("number", NUMBERS)
def test_tracks_are_closed_even_and_as_tight_as_promised(number):
    track = load_track(number)
    table = track.table.astype(float)
    hop = np.linalg.norm(np.diff(table[:, :2], axis=0, append=table[:1, :2]), axis=1)
    np.testing.assert_allclose(hop, track.spacing, rtol=2e-4)
    assert hop.sum() == pytest.approx(track.length, rel=1e-4)
    turn = np.diff(np.unwrap(table[:, HEADING]))
    np.testing.assert_allclose(turn / track.spacing, 0.5 * (table[1:, 3] + table[:-1, 3]), atol=5e-3)
    assert TIGHTEST_BEND * 0.99 < np.abs(table[:, CURVATURE]).max() <= TIGHTEST_BEND * 1.001
    assert table[:, CURVATURE].min() < -0.3
    assert table[:, CURVATURE].max() > 0.3


@pytest.mark.parametrize("number", NUMBERS[:3])
def test_no_road_of_a_metre_touches_itself(number):
    track = load_track(number)
    s = np.arange(0.0, track.length, 0.1)
    left, right = track.at(s, 0.5), track.at(s, -0.5)
    for edge, other in itertools.product((left, right), repeat=2):
        gap = np.linalg.norm(edge[:, None] - other, axis=-1)
        along = np.abs(s[:, None] - s)
        far = np.minimum(along, track.length - along) > 3.0
        assert gap[far].min() > 0.15


def test_families_share_no_track():
    blocks = {number // FAMILY_BLOCK for number in NUMBERS}
    assert len(blocks) == len(FAMILY_FIRST)
    shapes = {load_track(number).table.tobytes() for number in NUMBERS}
    assert len(shapes) == len(NUMBERS)


def brute_force(track: Track, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    s = np.arange(0.0, track.length, 5e-4)
    centre = track.at(s)
    nearest = np.array([np.argmin(((centre - point) ** 2).sum(axis=1)) for point in points])
    ahead = track.at(s[nearest] + 1e-3) - track.at(s[nearest] - 1e-3)
    away = points - centre[nearest]
    side = np.sign(ahead[:, 0] * away[:, 1] - ahead[:, 1] * away[:, 0])
    return s[nearest], side * np.linalg.norm(away, axis=1)


def test_projection_finds_the_nearest_point_of_the_centre_line():
    track = load_track(NUMBERS[0])
    random = np.random.default_rng(3)
    s = random.uniform(0, track.length, 60)
    spots = np.array(
        [track.at(np.array([a]), b)[0] for a, b in zip(s, random.uniform(-0.4, 0.4, 60), strict=True)]
    )
    ones = np.ones(60, dtype=np.int64)
    lane = Lane(track.table, 0 * ones, len(track.table) * ones, np.full(60, track.length, dtype=np.float32))
    guess = (s + random.uniform(-0.012, 0.012, 60)).astype(np.float32)
    x, y = spots.astype(np.float32).T
    road = lane.project(x, y, np.zeros(60, dtype=np.float32), guess)
    true_s, true_lateral = brute_force(track, spots)
    np.testing.assert_allclose(road.lateral, true_lateral, atol=1e-4)
    gap = np.abs(road.s - true_s)
    assert np.minimum(gap, track.length - gap).max() < 1.5e-3


def test_field_tells_the_offset_of_every_cell_near_the_road():
    track, raster = load_track(NUMBERS[4]), road_field(NUMBERS[4], 0.6)
    random = np.random.default_rng(0)
    lines, columns = np.nonzero(np.abs(raster.cells[..., OFFSET]) * FIELD_CELL < 0.45)
    chosen = random.choice(len(lines), 80, replace=False)
    lines, columns = lines[chosen], columns[chosen]
    spots = np.stack([raster.origin[0] + FIELD_CELL * columns, raster.origin[1] + FIELD_CELL * lines], axis=1)
    np.testing.assert_allclose(
        raster.cells[lines, columns, OFFSET] * FIELD_CELL, brute_force(track, spots)[1], atol=3e-4
    )
    # and no cell on the road was missed
    shallow = track.at(random.uniform(0, track.length, 500), 0.29)
    index = np.rint((shallow - raster.origin) / FIELD_CELL).astype(int)
    assert (np.abs(raster.cells[index[:, 1], index[:, 0], OFFSET]) * FIELD_CELL < 0.33).all()


def test_grey_is_the_luma_of_the_colours():
    grey = texture_raster(NUMBERS[1], 0.6, 1.0, 1).cells.astype(float)
    colour = texture_raster(NUMBERS[1], 0.6, 1.0, 3).cells.view(np.uint8).reshape(*grey.shape, 4)
    assert np.abs(colour[..., :3] @ [0.299, 0.587, 0.114] - grey).max() <= 1.0


@pytest.mark.parametrize("sigma", [0.0, 1.5, 4.0])
def test_blur_keeps_the_light_and_spreads_it_by_its_deviation(sigma):
    """Boxes of odd width w = 2 r + 1 have variance (w^2 - 1) / 12 each, and three of them add up."""
    plane = np.zeros((61, 81), dtype=np.float32)
    plane[30, 40] = 100.0
    spread = blurred(plane, sigma)
    assert spread.sum() == pytest.approx(100.0, rel=1e-4)
    offsets = np.arange(61) - 30
    deviation = np.sqrt((spread.sum(axis=1) * offsets**2).sum() / 100.0)
    reach = round((np.sqrt(4 * sigma**2 + 1) - 1) / 2)
    assert deviation == pytest.approx(np.sqrt(3 * ((2 * reach + 1) ** 2 - 1) / 12), rel=1e-3)
    assert abs(deviation - sigma) < 0.55
    even = np.full((20, 30), 77.0, dtype=np.float32)
    assert np.allclose(blurred(even, sigma), 77.0, atol=1e-3)
