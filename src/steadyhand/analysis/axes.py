"""SVG: elements, and axes with their scales, ticks, lines and bands. Colours come from the page's CSS."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 420.0
"""Width of a chart in its own units: small enough that 12-unit text can be read on a phone."""


@dataclass(frozen=True, kw_only=True)
class Axes:
    """A rectangle of the chart and the ranges it shows; `y` of the rectangle grows downwards.

    Attributes:
        left: Left edge.
        top: Upper edge.
        width: Width.
        height: Height.
        x: First and last value of the horizontal axis.
        y: Lowest and highest value of the vertical axis.
    """

    left: float = 44.0
    top: float = 12.0
    width: float = WIDTH - 58
    height: float = 170.0
    x: tuple[float, float]
    y: tuple[float, float]

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return self.top + self.height

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where a value lies on the chart."""
        along = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + along * self.width, self.bottom - up * self.height

    def points(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """Return "x,y x,y ..." for a path."""
        places = (self.place(x, y) for x, y in zip(xs, ys, strict=True))
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)

    def line(self, xs: Sequence[float], ys: Sequence[float]) -> Markup:
        """Return a line through the points."""
        return tag("path", d=f"M{self.points(xs, ys)}", class_="line")

    def steps(self, xs: Sequence[float], ys: Sequence[float]) -> Markup:
        """Return a line that keeps each value until the next x."""
        corners = [(xs[0], ys[0])]
        for x, y in zip(xs[1:], ys[1:], strict=True):
            corners += [(x, corners[-1][1]), (x, y)]
        return self.line([x for x, _ in corners], [y for _, y in corners])

    def band(self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> Markup:
        """Return the area between two curves."""
        outline = self.points([*xs, *reversed(xs)], [*lows, *reversed(highs)])
        return tag("path", d=f"M{outline}Z", class_="band")

    def whisker(self, x: float, low: float, high: float) -> Markup:
        """Return a vertical interval."""
        (column, bottom), (_, top) = self.place(x, low), self.place(x, high)
        return tag("line", x1=column, x2=column, y1=bottom, y2=top, class_="whisker")

    def dot(self, x: float, y: float, *, radius: float = 4.0) -> Markup:
        """Return a dot."""
        column, row = self.place(x, y)
        return tag("circle", cx=column, cy=row, r=radius, class_="dot")

    def frame(
        self,
        *,
        x_ticks: Sequence[float],
        y_ticks: Sequence[float],
        x_text: Callable[[float], str] = "{:g}".format,
        y_text: Callable[[float], str] = "{:g}".format,
        flush: bool = False,
    ) -> Markup:
        """Return grid lines and tick labels; `flush` keeps the outer labels within the rectangle."""
        parts: list[Markup] = []
        right = self.left + self.width
        for y in y_ticks:
            _, row = self.place(self.x[0], y)
            zero = "axis" if y == self.y[0] else "grid"
            parts.append(tag("line", x1=self.left, x2=right, y1=row, y2=row, class_=zero))
            parts.append(tag("text", y_text(y), x=self.left - 7, y=row + 4, text_anchor="end"))
        anchors = ["middle"] * len(x_ticks)
        if flush:
            anchors[0], anchors[-1] = "start", "end"
        for x, anchor in zip(x_ticks, anchors, strict=True):
            column, _ = self.place(x, self.y[0])
            parts.append(tag("line", x1=column, x2=column, y1=self.bottom, y2=self.bottom + 4, class_="axis"))
            parts.append(tag("text", x_text(x), x=column, y=self.bottom + 18, text_anchor=anchor))
        return Markup("").join(parts)


def tag(name: str, *children: str | Iterable[str], **attributes: str | float | int) -> Markup:
    """Return an element; text is escaped unless it is markup already.

    Args:
        name: Name of the element.
        children: Text, markup, or groups of either.
        attributes: A trailing underscore is dropped and others become hyphens (`class_`, `text_anchor`).
    """
    parts = [[child] if isinstance(child, str) else child for child in children]
    inner = Markup("").join(escape(part) for group in parts for part in group)
    written = Markup("").join(
        Markup(' {}="{}"').format(
            key.rstrip("_").replace("_", "-"), value if isinstance(value, str) else f"{value:.6g}"
        )
        for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>" if inner else "<{0}{1}/>").format(name, written, inner)


def drawing(*children: Markup, height: float, label: str, width: float = WIDTH) -> Markup:
    """Return an SVG image; `label` says in words what it shows."""
    size = f"0 0 {width:g} {height:g}"
    return tag("svg", tag("title", label), children, viewBox=size, role="img", aria_label=label)


def ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Return round numbers (1, 2 or 5 times a power of ten apart) from `low` up to `high`, about `count`."""
    step = nice_step(high - low, count=count)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def nice_step(span: float, *, count: int) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that cuts `span` into at most `count` parts."""
    if not span > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor * count >= span * (1 - 1e-9))


def ceiling(value: float, *, count: int = 4) -> float:
    """Return a round number not below `value`, for the top of an axis that starts at 0."""
    step = nice_step(value, count=count)
    return max(step, math.ceil(value / step - 1e-9) * step)
