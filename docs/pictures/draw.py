"""Small charts for the pages, on the axes of the report, as SVG files that follow light and dark."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from steadyhand.analysis.axes import Axes, drawing, tag

COLOURS = ("#00897b", "#e4572e", "#5b6ee1", "#b8860b", "#8e44ad")
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #444; }
.axis { stroke: #888; } .grid { stroke: #8883; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.thin { fill: none; stroke-width: .8; opacity: .55; }
.dot { stroke: none; } .whisker { stroke-width: 2; } .band { opacity: .18; stroke: none; }
.shape { fill: #8884; stroke: #888; } .faint { stroke: #8886; fill: none; }
@media (prefers-color-scheme: dark) { text { fill: #ccc; } }
"""


@dataclass(kw_only=True)
class Chart:
    """One pair of axes; marks are added, then `save` writes the file.

    Attributes:
        x: Ends of the horizontal axis.
        y: Ends of the vertical axis.
        x_ticks: Where it is numbered.
        y_ticks: Likewise.
        x_title: What it is.
        y_title: Likewise, above the axis.
        height: Of the rectangle.
        width: Of the drawing.
        x_text: Words of a tick.
        y_text: Likewise.
        left: Room for the numbers.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    x_ticks: Sequence[float] = ()
    y_ticks: Sequence[float] = ()
    x_title: str = ""
    y_title: str = ""
    height: float = 190.0
    width: float = 440.0
    x_text: Callable[[float], str] = "{:g}".format
    y_text: Callable[[float], str] = "{:g}".format
    left: float = 44.0
    parts: list[Markup] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    @property
    def axes(self) -> Axes:
        """The rectangle."""
        return Axes(
            x=self.x,
            y=self.y,
            top=46.0,
            left=self.left,
            width=self.width - self.left - 14,
            height=self.height,
        )

    def line(self, xs: Sequence[float], ys: Sequence[float], *, name: str = "", thin: bool = False) -> None:
        """Add a curve, and its name to the key."""
        points = self.axes.points([float(x) for x in xs], [float(y) for y in ys])
        kind = "thin" if thin else "line"
        self.parts.append(tag("path", d=f"M{points}", class_=kind, stroke=self.colour(name)))

    def dots(self, xs: Sequence[float], ys: Sequence[float], *, name: str = "", radius: float = 3.5) -> None:
        """Add dots, and their name to the key."""
        for x, y in zip(xs, ys, strict=True):
            column, row = self.axes.place(float(x), float(y))
            self.parts.append(
                tag("circle", cx=round(column, 1), cy=round(row, 1), r=radius, fill=self.colour(name))
            )

    def whisker(self, x: float, low: float, high: float, *, name: str = "") -> None:
        """Add a vertical interval."""
        (column, bottom), (_, top) = self.axes.place(x, low), self.axes.place(x, high)
        ends = {"x1": column, "x2": column, "y1": bottom, "y2": top}
        self.parts.append(tag("line", **ends, class_="whisker", stroke=self.colour(name)))

    def circle(self, x: float, y: float, radius: float) -> None:
        """Add a disc, `radius` in units of x."""
        column, row = self.axes.place(x, y)
        edge, _ = self.axes.place(x + radius, y)
        self.parts.append(tag("circle", cx=column, cy=row, r=edge - column, class_="shape"))

    def outline(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        """Add a faint line without a name."""
        self.parts.append(
            tag("path", d=f"M{self.axes.points(list(map(float, xs)), list(map(float, ys)))}", class_="faint")
        )

    def text(self, x: float, y: float, words: str, *, anchor: str = "middle") -> None:
        """Add words."""
        column, row = self.axes.place(x, y)
        self.parts.append(tag("text", words, x=column, y=row, text_anchor=anchor))

    def colour(self, name: str) -> str:
        """The colour of a name, which stands in the key from now on."""
        if name and name not in self.names:
            self.names.append(name)
        return COLOURS[self.names.index(name)] if name else "#888"

    def save(self, path: Path, *, label: str) -> None:
        """Write the picture; `label` says in words what it shows."""
        axes = self.axes
        frame = axes.frame(x_ticks=self.x_ticks, y_ticks=self.y_ticks, x_text=self.x_text, y_text=self.y_text)
        key, place = [], 0.0
        for name in self.names:
            key.append(tag("rect", x=place, y=6, width=10, height=10, rx=2, fill=self.colour(name)))
            key.append(tag("text", name, x=place + 14, y=15))
            place += 28.0 + 6.4 * len(name)
        titles = [
            tag("text", self.y_title, x=0, y=36),
            tag("text", self.x_title, x=axes.left + axes.width, y=axes.bottom + 34, text_anchor="end"),
        ]
        height = axes.bottom + (40 if self.x_title else 24)
        picture = drawing(
            tag("style", Markup(STYLE)),
            frame,
            *self.parts,
            *key,
            *titles,
            height=height,
            width=self.width,
            label=label,
        )
        save(picture, path)


def save(picture: Markup, path: Path) -> None:
    """Write a drawing as a file of its own."""
    path.write_text(str(picture).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n")
