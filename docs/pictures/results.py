"""The figures of the results, from the same cells as their tables.

python docs/pictures/results.py
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "benchmarks")]

from draw import STYLE, save  # noqa: E402
from markupsafe import Markup  # noqa: E402

from steadyhand.analysis.axes import drawing, tag  # noqa: E402

LINE, LEFT, RIGHT = 19.0, 150.0, 430.0


def rows_of(page: str, table: str) -> list[list[str]]:
    """The cells of a table of a page, without its head."""
    text = (HERE.parent / "results" / page).read_text()
    lines = text.split(f"<!-- {table} -->\n")[1].split(f"<!-- end {table} -->")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]


def rates(entries: list[tuple[str, float, float, float]], *, title: str, label: str, name: str) -> None:
    """Draw a line for each entry: a dot at its rate, and its interval, all in percent."""
    parts = [tag("text", title, x=0, y=14)]
    bottom = 26 + LINE * len(entries)
    for percent in (0, 25, 50, 75, 100):
        x = _place(percent)
        parts.append(tag("line", x1=x, x2=x, y1=22, y2=bottom, class_="grid"))
        parts.append(tag("text", f"{percent} %", x=x, y=bottom + 16, text_anchor="middle"))
    for number, (entry, value, low, high) in enumerate(entries):
        y = 34 + LINE * number
        colour = "#e4572e" if entry in ("cloning", "regression") else "#00897b"
        parts += [
            tag("text", entry, x=LEFT - 8, y=y + 4, text_anchor="end"),
            tag("line", x1=_place(low), x2=_place(high), y1=y, y2=y, class_="whisker", stroke=colour),
            tag("circle", cx=_place(value), cy=y, r=4, fill=colour),
        ]
    picture = drawing(tag("style", Markup(STYLE)), *parts, height=bottom + 24, width=450, label=label)
    save(picture, HERE / name)


def _place(percent: float) -> float:
    return LEFT + (RIGHT - LEFT) * percent / 100.0


def remedies() -> None:
    """Success in the regime Goldilocks, with its interval."""
    entries = []
    for title, _, rate, *_ in rows_of("remedies.md", "car goldilocks"):
        value, low, high = map(float, re.findall(r"\d+", rate))
        entries.append((title, value, low, high))
    rates(
        entries,
        title="Cars kept on the road (regime Goldilocks, ten seeds, 64 starts)",
        label="Success of each remedy with its interval; cloning is at 81 percent.",
        name="remedies.svg",
    )


def policies() -> None:
    """Rollouts that pass the tree: mean over seeds, and the lowest and highest seed."""
    entries = []
    for title, _, collisions, *_ in rows_of("policies.md", "even"):
        value, *seeds = (100.0 - float(number) for number in re.findall(r"\d+\.\d", collisions))
        entries.append((title, value, min(seeds), max(seeds)))
    rates(
        sorted(entries, key=lambda entry: -entry[1]),
        title="Rollouts that pass the tree (even split; lowest to highest of three seeds)",
        label="Share of rollouts of each policy class that pass the tree; regression never does.",
        name="policies.svg",
    )


if __name__ == "__main__":
    remedies()
    policies()
