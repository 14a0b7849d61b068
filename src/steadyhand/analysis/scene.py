"""A further scene of a report: the paths that several drivers took, side by side."""

from dataclasses import dataclass

from steadyhand.analysis.axes import drawing
from steadyhand.analysis.markup import Markup, tag

_WIDTH = 320.0


@dataclass(frozen=True, kw_only=True)
class Paths:
    """The paths of one driver in the plane [m].

    Attributes:
        name: Who drives.
        outcome: What came of it, in a few words.
        lines: One (x, y), (x, y), ... for each episode.
        failed: Whether each episode failed.
    """

    name: str
    outcome: str
    lines: tuple[tuple[tuple[float, float], ...], ...]
    failed: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Drivers beside each other in one place.

    Attributes:
        title: What is seen.
        text: What it shows.
        discs: (x, y, radius) of each obstacle [m].
        extent: (x0, x1, y0, y1) of every panel [m].
        panels: One for each driver.
        note: A remark below.
    """

    title: str
    text: str
    discs: tuple[tuple[float, float, float], ...]
    extent: tuple[float, float, float, float]
    panels: tuple[Paths, ...]
    note: str = ""


def section(scene: Scene | None) -> Markup:
    """Return the scene as a section of the page; nothing if there is none."""
    if scene is None:
        return Markup("")
    figures = [
        tag(
            "figure",
            tag("figcaption", tag("strong", panel.name), tag("span", panel.outcome, class_="quiet")),
            _draw(scene, panel, f"s{index}"),
        )
        for index, panel in enumerate(scene.panels)
    ]
    note = tag("p", scene.note, class_="note") if scene.note else Markup("")
    return tag(
        "section", tag("h2", scene.title), tag("p", scene.text), tag("div", figures, class_="trio"), note
    )


def _draw(scene: Scene, panel: Paths, colour: str) -> Markup:
    x0, x1, y0, y1 = scene.extent
    scale = _WIDTH / (x1 - x0)
    height = (y1 - y0) * scale
    discs = [
        tag("circle", cx=(x - x0) * scale, cy=(y1 - y) * scale, r=radius * scale, class_="disc")
        for x, y, radius in scene.discs
    ]
    lines: list[Markup] = []
    for line, failed in zip(panel.lines, panel.failed, strict=True):
        points = [((x - x0) * scale, (y1 - y) * scale) for x, y in line]
        trace = "M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        lines.append(tag("path", d=trace, class_=f"path {colour}"))
        if failed:
            x, y = points[-1]
            lines.append(tag("path", d=f"M{x - 3:.1f},{y - 3:.1f}l6,6m0,-6l-6,6", class_="cross"))
    label = f"Paths of {panel.name}: {panel.outcome}."
    return drawing(*discs, *lines, width=_WIDTH, height=height, label=label)
