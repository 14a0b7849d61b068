"""What a benchmark prints: one JSON line for each figure, beside its floor and what was asked of it."""

import json
from operator import ge, le
from typing import Any

_SIGNS = {">=": ge, "<=": le}


def report(
    name: str,
    *,
    value: float,
    unit: str,
    floor: float | None = None,
    floor_is: str = "",
    ratio: float | None = None,
    target: str = "",
    **setting: Any,
) -> None:
    """Print a line.

    Args:
        name: What was measured.
        value: The figure.
        unit: Unit of the figure.
        floor: Figure, in the same unit, of the least that must be done.
        floor_is: What that is.
        ratio: value / floor; give it where it is a median over pairs rather than the ratio of two medians.
        target: What was asked, such as "ratio >= 0.93" or "value >= 1e6"; empty if nothing was.
        setting: Further entries of the line.
    """
    if ratio is None and floor:
        ratio = value / floor
    met = None
    if target:
        figure, sign, bound = target.split()
        measured = {"value": value, "ratio": ratio}[figure]
        met = measured is not None and _SIGNS[sign](measured, float(bound))
    line = {
        "name": name,
        "value": rounded(value),
        "unit": unit,
        "floor": rounded(floor),
        "floor_is": floor_is,
        "ratio": rounded(ratio),
        "target": target,
        "met": met,
        **setting,
    }
    print(json.dumps(line), flush=True)


def rounded(value: float | None) -> float | int | None:
    """Round to what a reader can use: three decimals below 100, none above 10 000."""
    if value is None:
        return None
    digits = 3 if abs(value) < 100 else 1 if abs(value) < 10_000 else 0
    return round(float(value), digits) if digits else round(value)
