"""What lies on the ground around a track, as rasters: a field of road geometry, and paint."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Float32, Shaped
from numpy.lib.stride_tricks import sliding_window_view

from steadyhand.core.seeding import generator
from steadyhand.envs.car.config import TIGHTEST_BEND
from steadyhand.envs.car.track import COS, CURVATURE, HEADING, SIN, Track, X, Y, load_track

FIELD_CELL = 0.025
TEXTURE_CELL = 0.01
PICTURE_CELL = 0.006
BEYOND = 0.3
"""How far beyond the edge the field is exact [m]; farther out the offset is half the road plus BEYOND."""

BEND_WINDOW = 1.5
"""The bend that a cell tells is the tightest one within this distance along the road [m]."""

OFFSET, NORMAL_X, NORMAL_Y, BEND_LEFT, BEND_RIGHT = range(5)
FIELD_COLUMNS = 8

LINE_WIDTH = 0.04
LINE_INSET = 0.04
DASH_PERIOD = 0.6

_COLOURS = np.array(
    [
        (70.0, 118.0, 58.0),  # grass
        (94.0, 95.0, 99.0),  # asphalt
        (232.0, 230.0, 222.0),  # edge lines
        (226.0, 178.0, 62.0),  # dashes
    ],
    dtype=np.float32,
)
LUMA = np.array((0.299, 0.587, 0.114), dtype=np.float32)
"""Grey of a colour (ITU-R BT.601)."""


@dataclass(frozen=True, eq=False)
class Raster:
    """A grid over the ground; cells[i, j] lies at origin + cell * (j, i).

    Attributes:
        cells: (rows, columns, ...); the row is y, the column x.
        origin: Position [m] of the middle of cells[0, 0].
        cell: Edge of a cell [m].
    """

    cells: Shaped[np.ndarray, "rows columns ..."]
    origin: tuple[float, float]
    cell: float


@dataclass(frozen=True, eq=False)
class RoadCoordinates:
    """Arc length and lateral offset of the cells of a raster that lie near the road.

    Attributes:
        shape: Lines and columns of the raster.
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
    for offset in (*np.arange(band + cell, 0.0, -0.7 * cell).tolist(), 0.0):
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
def road_field(number: int, road_width: float) -> Raster:
    """Return the geometry of the road for ray tracing, (rows, columns, 8) float32, in units of a cell.

    Each cell holds its offset to the left of the centre line, the gradient of the offset (the road's unit
    normal, x and y), and twice the bend towards the left and the right edge: how fast the offset of a
    straight path may accelerate that way. Three zeros fill the cell up to 32 bytes, which NumPy gathers
    fastest.
    """
    half = 0.5 * road_width
    band = half + BEYOND
    track = load_track(number)
    road = road_coordinates(track, cell=FIELD_CELL, band=band, margin=band + 0.5)
    reach = int(BEND_WINDOW / track.spacing)
    bends = [_tightest(sign * track.table[:, CURVATURE], reach) for sign in (-1.0, 1.0)]
    cells = np.zeros((road.shape[0] * road.shape[1], FIELD_COLUMNS), dtype=np.float32)
    cells[:, OFFSET] = (half + BEYOND) / FIELD_CELL
    sample = np.rint(road.s / track.spacing).astype(np.int64)
    rest = road.s - sample * track.spacing
    sample %= len(track.table)
    heading = track.table[sample, HEADING] + track.table[sample, CURVATURE] * rest
    cells[road.index, OFFSET] = road.lateral / FIELD_CELL
    cells[road.index, NORMAL_X] = -np.sin(heading)
    cells[road.index, NORMAL_Y] = np.cos(heading)
    for column, bend in zip((BEND_LEFT, BEND_RIGHT), bends, strict=True):
        cells[road.index, column] = 2.0 * FIELD_CELL * (bend / (1.0 - bend * half))[sample]
    return Raster(cells.reshape(*road.shape, FIELD_COLUMNS), road.origin, FIELD_CELL)


def _tightest(curvature: np.ndarray, reach: int) -> np.ndarray:
    """Return the largest positive curvature within `reach` samples of each sample of a closed track."""
    bend = np.maximum(curvature, 0.0)
    around = np.concatenate([bend[-reach:], bend, bend[:reach]])
    return sliding_window_view(around, 2 * reach + 1).max(axis=1)


@lru_cache(maxsize=64)
def texture_raster(
    number: int, road_width: float, margin: float, channels: Literal[1, 3], blur: float = 0.0
) -> Raster:
    """Return the ground as the camera sees it: uint8 grey, or uint32 RGBA with red lowest.

    Args:
        number: The track.
        road_width: Edge to edge [m].
        margin: Ground beyond the centre line on every side [m].
        channels: 1 for grey, 3 for colour.
        blur: Standard deviation of the light that a point gathers [m].
    """
    track = load_track(number)
    road = road_coordinates(track, cell=TEXTURE_CELL, band=0.5 * road_width + 0.05, margin=margin)
    materials = _COLOURS if channels == 3 else _COLOURS @ LUMA[:, None]
    planes = _paint(track, road, road_width, materials, cell=TEXTURE_CELL, roughness=1.0)
    planes = [blurred(plane.reshape(road.shape), blur / TEXTURE_CELL).ravel() for plane in planes]
    cells = np.rint(planes[0]).astype(np.uint8) if channels == 1 else _rgba(planes)
    return Raster(cells.reshape(road.shape), road.origin, TEXTURE_CELL)


@lru_cache(maxsize=16)
def picture_raster(number: int, road_width: float) -> Raster:
    """Return the ground as people see it, smoother and finer than for the camera: uint32 RGBA, red lowest."""
    track = load_track(number)
    road = road_coordinates(track, cell=PICTURE_CELL, band=0.5 * road_width + 0.15, margin=3.0)
    planes = _paint(track, road, road_width, _COLOURS, cell=PICTURE_CELL, roughness=0.3)
    return Raster(_rgba(planes).reshape(road.shape), road.origin, PICTURE_CELL)


def _paint(
    track: Track,
    road: RoadCoordinates,
    road_width: float,
    materials: Float32[np.ndarray, "4 C"],
    *,
    cell: float,
    roughness: float,
) -> list[np.ndarray]:
    """Return C planes of grass, asphalt, lines and dashes, (cells,) float32 in [0, 255]."""
    half = 0.5 * road_width
    random = generator(track.number, "car", "texture")
    noise = random.standard_normal(road.shape[0] * road.shape[1], dtype=np.float32)
    noise *= np.float32(roughness)
    patches = _patches(road.shape, random, cell=cell)
    here, offset = road.index, np.abs(road.lateral)
    dashes = max(1, round(track.length / DASH_PERIOD))
    period = track.length / dashes
    along = np.abs(np.mod(road.s, np.float32(period)) - np.float32(0.5 * period))

    def inside(distance: np.ndarray) -> np.ndarray:
        return np.clip(0.5 - distance / np.float32(cell), 0.0, 1.0)

    on_road = inside(offset - half)
    edge = inside(np.abs(offset - (half - LINE_INSET)) - 0.5 * LINE_WIDTH)
    dash = inside(offset - 0.5 * LINE_WIDTH) * inside(along - np.float32(0.25 * period))
    grain, rough = noise[here], noise[here] * np.float32(5.0) + patches[here] * np.float32(4.0)
    noise *= np.float32(0.16)
    noise += np.float32(0.1) * patches
    noise += np.float32(1.0)
    planes: list[np.ndarray] = []
    for grass, asphalt, paint, yellow in materials.T:
        plane = noise * grass
        value = plane[here]
        value += on_road * (asphalt + rough - value)
        value += edge * (paint + 6.0 * grain - value)
        value += dash * (yellow + 6.0 * grain - value)
        plane[here] = value
        planes.append(np.clip(plane, 0.0, 255.0, out=plane))
    return planes


def blurred(plane: Float32[np.ndarray, "rows columns"], sigma: float) -> Float32[np.ndarray, "rows columns"]:
    """Return the plane under three box filters, which together come close to a Gaussian.

    Wells (1986), "Efficient synthesis of Gaussian filters by cascaded uniform filters": n boxes of width w
    have the variance n (w^2 - 1) / 12. Beyond the rim the plane goes on as on the rim.

    Args:
        plane: Values.
        sigma: Standard deviation [cells]; the width is rounded to the next odd number of cells.
    """
    reach = round((np.sqrt(4.0 * sigma**2 + 1.0) - 1.0) / 2.0)
    if reach == 0:
        return plane
    width = 2 * reach + 1
    # Single precision carries running sums of a few thousand cells once their mean is taken off.
    mean = plane.mean()
    plane = plane - mean
    for _ in range(3):
        for axis in (0, 1):
            rows = [(reach + 1, reach), (0, 0)] if axis == 0 else [(0, 0), (reach + 1, reach)]
            total = np.cumsum(np.pad(plane, rows, mode="edge"), axis=axis, dtype=np.float32)
            if axis == 0:
                plane = total[width:] - total[:-width]
            else:
                plane = total[:, width:] - total[:, :-width]
            plane *= np.float32(1.0 / width)
    return plane + mean


def _rgba(planes: list[np.ndarray]) -> Shaped[np.ndarray, " cells"]:
    red, green, blue = (np.rint(plane).astype(np.uint32) for plane in planes)
    return red | (green << np.uint32(8)) | (blue << np.uint32(16)) | np.uint32(0xFF000000)


def _patches(
    shape: tuple[int, int], random: np.random.Generator, *, cell: float
) -> Float32[np.ndarray, " cells"]:
    """Smooth random patches of about half a metre, values around [-1, 1]."""
    step = round(0.5 / cell)
    coarse = random.uniform(-1.0, 1.0, (shape[0] // step + 2, shape[1] // step + 2))
    coarse = coarse.astype(np.float32)

    def blend(values: np.ndarray, count: int) -> np.ndarray:
        position = np.arange(count, dtype=np.float32) / np.float32(step)
        low = position.astype(np.int64)
        t = (position - low).astype(np.float32)[:, None]
        t = t * t * (np.float32(3.0) - np.float32(2.0) * t)
        mixed = values[low]
        mixed += t * (values[low + 1] - mixed)
        return mixed

    return np.ascontiguousarray(blend(blend(coarse.T, shape[1]).T, shape[0])).ravel()
