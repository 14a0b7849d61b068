"""Occupancy maps as SVG small multiples on one colour scale."""

import math
from collections.abc import Sequence

from steadyhand.analysis.axes import drawing
from steadyhand.analysis.markup import Markup, tag
from steadyhand.analysis.results import Occupancy, OccupancyMaps, Polyline

LEVELS = 7
"""Shades; each stands for twice the share of time of the one before."""

_SIDE = 240.0


def highest_share(panel: OccupancyMaps) -> float:
    """Return the largest share of time in one cell of any map: the darkest shade."""
    return max(max(max(row) for row in one.counts) / _total(one) for one in panel.maps)


def level(share: float, highest: float) -> int:
    """Return the shade of a cell, 1 to LEVELS, or 0 for a cell that was never visited."""
    if share <= 0:
        return 0
    return max(1, LEVELS + math.ceil(math.log2(share / highest) - 1e-9))


def occupancy_chart(panel: OccupancyMaps, one: Occupancy) -> Markup:
    """Draw one map with the outline underneath, north up, equal scale on both axes."""
    x0, x1, y0, y1 = panel.extent
    scale = _SIDE / max(x1 - x0, y1 - y0)
    height = (y1 - y0) * scale
    highest, total, side = highest_share(panel), _total(one), panel.cell * scale
    cells: dict[int, list[str]] = {}
    for row, counts in enumerate(one.counts):
        for column, count in enumerate(counts):
            shade = level(count / total, highest)
            if shade:
                corner = f"M{column * side:.1f},{height - (row + 1) * side:.1f}"
                cells.setdefault(shade, []).append(f"{corner}h{side:.2f}v{side:.2f}h-{side:.2f}z")
    outline = [
        tag("path", d=_trace(line, x0, y1, scale), class_="outline") for line in panel.outline if line.x
    ]
    shades = [tag("path", d="".join(cells[shade]), class_=f"heat h{shade}") for shade in sorted(cells)]
    label = f"Where {one.name} drove; total variation distance to the expert {one.distance:.2f}."
    return drawing(*outline, *shades, width=(x1 - x0) * scale, height=height, label=label)


def legend() -> Markup:
    """Draw the shades from rare to frequent."""
    swatches = [
        tag("rect", x=index * 16, y=0, width=16, height=12, class_=f"heat h{index + 1}")
        for index in range(LEVELS)
    ]
    return drawing(*swatches, width=16.0 * LEVELS, height=12.0, label="Shades from rare to frequent")


def _trace(line: Polyline, x0: float, y1: float, scale: float) -> str:
    points: Sequence[tuple[float, float]] = list(zip(line.x, line.y, strict=True))
    return "M" + " ".join(f"{(x - x0) * scale:.1f},{(y1 - y) * scale:.1f}" for x, y in points)


def _total(one: Occupancy) -> int:
    return sum(map(sum, one.counts))
