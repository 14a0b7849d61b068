"""Where policies spend their time: counts on one grid, and their distance to the expert's.

Covariate shift is a difference between state distributions. In two dimensions it can be seen and measured.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float32, Int64

from steadyhand.analysis.results import Occupancy, OccupancyMaps, Polyline
from steadyhand.core.errors import DataError

Paths = Sequence[Float32[np.ndarray, "_ 2"]]
"""One (t, 2) path for each episode [m]."""


def occupancy_maps(
    expert: str,
    paths: Mapping[str, Paths],
    *,
    outline: Sequence[Float[np.ndarray, "_ 2"]] = (),
    num_cells: int = 80,
) -> OccupancyMaps:
    """Count steps on one grid of square cells that covers every path.

    Args:
        expert: The name in `paths` to which the others are compared; it is shown first.
        paths: Who drove -> the paths of its episodes, from the same starts.
        outline: Lines to draw underneath, such as the edges of the road [m].
        num_cells: Cells along the longer side.

    Raises:
        DataError: `expert` is not among the paths, or someone has no steps.
    """
    if expert not in paths:
        raise DataError("The expert has no paths to compare to.", got=expert, available=list(paths))
    for name, group in paths.items():
        if not any(len(path) for path in group):
            raise DataError(f"{name} has no steps on the map.", got=f"{len(group)} paths")
    points = np.concatenate([path for group in paths.values() for path in group] + [*outline])
    low, high = points.min(0).astype(np.float64), points.max(0).astype(np.float64)
    cell = max(float((high - low).max()) / num_cells, 1e-6)
    shape = np.maximum(np.ceil((high - low) / cell), 1).astype(np.int64)
    counts = {name: _count(group, low, cell, shape) for name, group in paths.items()}
    halves = [_count(paths[expert][part::2], low, cell, shape) for part in (0, 1)]
    order = [expert, *(name for name in paths if name != expert)]
    return OccupancyMaps(
        extent=(*_span(float(low[0]), int(shape[0]), cell), *_span(float(low[1]), int(shape[1]), cell)),
        cell=cell,
        maps=tuple(
            Occupancy(
                name=name,
                counts=tuple(tuple(row) for row in counts[name].tolist()),
                distance=total_variation(counts[name], counts[expert]),
            )
            for name in order
        ),
        outline=tuple(
            Polyline(x=_rounded(line[:, 0], cell), y=_rounded(line[:, 1], cell)) for line in outline
        ),
        floor=total_variation(*halves) if all(half.any() for half in halves) else None,
    )


def total_variation(a: Int64[np.ndarray, "h w"], b: Int64[np.ndarray, "h w"]) -> float:
    """Return half the sum of |p - q| of two grids of counts: 0 for equal shares, 1 for no cell in common."""
    if a.shape != b.shape or not a.any() or not b.any():
        raise DataError(
            "Occupancy can only be compared on one grid, with steps in both.",
            got=f"{a.shape} with {int(a.sum())} steps, {b.shape} with {int(b.sum())} steps",
        )
    return float(0.5 * np.abs(a / a.sum() - b / b.sum()).sum())


def _count(paths: Paths, low: np.ndarray, cell: float, shape: np.ndarray) -> Int64[np.ndarray, "h w"]:
    counts = np.zeros((int(shape[1]), int(shape[0])), dtype=np.int64)
    for path in paths:
        column, row = np.clip(((path - low) / cell).astype(np.int64), 0, shape - 1).T
        np.add.at(counts, (row, column), 1)
    return counts


def _span(low: float, cells: int, cell: float) -> tuple[float, float]:
    return low, low + cells * cell


def _rounded(values: np.ndarray, cell: float) -> tuple[float, ...]:
    """Drop the digits that a map of such cells cannot show, to keep the file small."""
    digits = max(0, 2 - math.floor(math.log10(cell)))
    return tuple(np.round(values.astype(np.float64), digits).tolist())
