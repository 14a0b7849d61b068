"""What lies on the ground around a track, as rasters: distance to the road's edge, and paint."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Float32, Shaped

from steadyhand.core.seeding import generator
from steadyhand.envs.car.config import TIGHTEST_BEND
from steadyhand.envs.car.track import COS, CURVATURE, SIN, Track, X, Y, load_track

DISTANCE_CELL = 0.025
TEXTURE_CELL = 0.01
BEYOND = 0.3
"""How far beyond the edge the distance is exact [m]; farther out it is -BEYOND."""

LINE_WIDTH = 0.02
LINE_INSET = 0.03
DASH_PERIOD = 0.6

ASPHALT = (94.0, 95.0, 99.0)
GRASS = (70.0, 118.0, 58.0)
PAINT = (232.0, 230.0, 222.0)
DASH = (226.0, 178.0, 62.0)
LUMA = (0.299, 0.587, 0.114)
"""Grey of a colour (ITU-R BT.601)."""


@dataclass(frozen=True, eq=False)
class Raster:
    """A grid over the ground; cells[i, j] lies at origin + cell * (j, i).

    Attributes:
        cells: (rows, columns); the row is y, the column x.
        origin: Position of the middle of cells[0, 0] [m].
        cell: Edge of a cell [m].
    """

    cells: Shaped[np.ndarray, "rows columns"]
    origin: tuple[float, float]
    cell: float


@dataclass(frozen=True, eq=False)
class RoadCoordinates:
    """Arc length and lateral offset of the cells of a raster that lie near the road.

    Attributes:
        shape: Of the raster.
        origin: Position of the middle of its first cell [m].
        index: (K,) flat index of the cells near the road.
        s: (K,) arc length [m].
        lateral: (K,) offset to the left [m].
    """

    shape: tuple[int, int]
    origin: tuple[float, float]
    index: Shaped[np.ndarray, " K"]
    s: Float32[np.ndarray, " K"]
    lateral: Float32[np.ndarray, " K"]


def road_coordinates(track: Track, *, cell: float, band: float, margin: float) -> RoadCoordinates:
    """Find arc length and offset of every cell within `band` metres of the centre line.

    The band is walked in steps finer than a cell, from the outside in, so that the nearest stretch of road
    has the last word; then each cell is projected exactly.
    """
    table = track.table
    low = table[:, [X, Y]].min(axis=0).astype(np.float64) - margin
    high = table[:, [X, Y]].max(axis=0).astype(np.float64) + margin
    columns, rows = (np.ceil((high - low) / cell).astype(int) + 1).tolist()
    stretch = 1.0 + TIGHTEST_BEND * band
    step = 0.7 * cell / stretch
    s = np.arange(0.0, track.length, step)
    nearest = np.rint(s / track.spacing).astype(np.int32) % len(table)
    centre, side = track.at(s), track.at(s, 1.0)
    side -= centre
    sample = np.full(rows * columns, -1, dtype=np.int32)
    for offset in np.arange(band + cell, 0.0, -0.7 * cell).tolist() + [0.0]:
        for signed in (offset, -offset):
            spot = np.rint((centre + signed * side - low) / cell).astype(np.int64)
            sample[spot[:, 1] * columns + spot[:, 0]] = nearest
    index = np.flatnonzero(sample >= 0)
    row = table[sample[index]]
    east = (low[0] + cell * (index % columns)).astype(np.float32) - row[:, X]
    north = (low[1] + cell * (index // columns)).astype(np.float32) - row[:, Y]
    along = east * row[:, COS] + north * row[:, SIN]
    across = north * row[:, COS] - east * row[:, SIN]
    ahead = along / (1.0 - row[:, CURVATURE] * across)
    return RoadCoordinates(
        shape=(rows, columns),
        origin=(float(low[0]), float(low[1])),
        index=index,
        s=(sample[index] * track.spacing + ahead).astype(np.float32),
        lateral=(across - 0.5 * row[:, CURVATURE] * ahead * along).astype(np.float32),
    )


@lru_cache(maxsize=64)
def distance_raster(number: int, road_width: float) -> Raster:
    """Return float32 distances to the nearest road edge [m], positive on the road."""
    half = 0.5 * road_width
    band = half + BEYOND
    road = road_coordinates(load_track(number), cell=DISTANCE_CELL, band=band, margin=band + 0.5)
    cells = np.full(road.shape[0] * road.shape[1], -BEYOND, dtype=np.float32)
    cells[road.index] = np.maximum(half - np.abs(road.lateral), -BEYOND)
    return Raster(cells.reshape(road.shape), road.origin, DISTANCE_CELL)


@lru_cache(maxsize=64)
def texture_raster(number: int, road_width: float, margin: float, channels: Literal[1, 3]) -> Raster:
    """Return the painted ground: uint8 grey for one channel, uint32 RGBA (red lowest) for three."""
    track = load_track(number)
    half = 0.5 * road_width
    road = road_coordinates(track, cell=TEXTURE_CELL, band=half + 0.05, margin=margin + half)
    size = road.shape[0] * road.shape[1]
    random = generator(number, "car", "texture")
    noise = random.standard_normal(size, dtype=np.float32)
    offset = np.abs(road.lateral)
    on_road = offset <= half
    index, offset, s = road.index[on_road], offset[on_road], road.s[on_road]
    edge = np.abs(offset - (half - LINE_INSET)) <= 0.5 * LINE_WIDTH
    dashes = max(1, round(track.length / DASH_PERIOD))
    dash = (offset <= 0.5 * LINE_WIDTH) & (np.mod(s * (dashes / track.length), 1.0) < 0.5)
    patches = _patches(road.shape, random)

    planes: list[np.ndarray] = []
    for channel in range(3):
        plane = GRASS[channel] * (1.0 + 0.16 * noise + 0.1 * patches)
        plane[index] = ASPHALT[channel] + 5.0 * noise[index] + 4.0 * patches[index]
        plane[index[edge]] = PAINT[channel] + 6.0 * noise[index[edge]]
        plane[index[dash]] = DASH[channel] + 6.0 * noise[index[dash]]
        planes.append(np.clip(plane, 0.0, 255.0))
    if channels == 1:
        grey = sum(weight * plane for weight, plane in zip(LUMA, planes, strict=True))
        cells = np.rint(grey).astype(np.uint8)
    else:
        red, green, blue = (np.rint(plane).astype(np.uint32) for plane in planes)
        cells = red | (green << np.uint32(8)) | (blue << np.uint32(16)) | np.uint32(0xFF000000)
    return Raster(cells.reshape(road.shape), road.origin, TEXTURE_CELL)


def _patches(shape: tuple[int, int], random: np.random.Generator) -> Float32[np.ndarray, " cells"]:
    """Smooth random patches of about half a metre, values around [-1, 1]."""
    step = round(0.5 / TEXTURE_CELL)
    coarse = random.uniform(-1.0, 1.0, (shape[0] // step + 2, shape[1] // step + 2)).astype(np.float32)

    def blend(values: np.ndarray, count: int) -> np.ndarray:
        position = np.arange(count, dtype=np.float32) / step
        low = position.astype(np.int64)
        t = (position - low)[:, None]
        t = t * t * (3.0 - 2.0 * t)
        return values[low] * (1.0 - t) + values[low + 1] * t

    return np.ascontiguousarray(blend(blend(coarse, shape[0]).T, shape[1]).T).ravel()
