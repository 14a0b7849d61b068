"""HTML and SVG by nested calls: text is escaped unless it is markup already, so nothing can be injected."""

from collections.abc import Iterable
from html import escape
from typing import final

_NO_CHILDREN = frozenset(
    {
        "br",
        "input",
        "meta",
        "source",
        "path",
        "rect",
        "line",
        "circle",
    }  # void in HTML, shapes in SVG
)


@final
class Markup(str):
    """Text that is already HTML or SVG."""

    __slots__ = ()


def tag(name: str, *children: str | Iterable[str], **attributes: str | float | int | bool | None) -> Markup:
    """Return an element.

    Args:
        name: Name of the element.
        children: Text, markup, or groups of either.
        attributes: A trailing underscore is dropped and others become hyphens (`class_`, `data_label`);
            viewBox and the like are written as they are. True gives the bare name, None and False nothing.
    """
    head = [name]
    for key, value in attributes.items():
        label = key.rstrip("_").replace("_", "-")
        if value is True:
            head.append(f'{label}=""')
        elif value is not None and value is not False:
            head.append(f'{label}="{escape(_text(value), quote=True)}"')
    opening = " ".join(head)
    if name in _NO_CHILDREN:
        return Markup(f"<{opening}/>")
    return Markup(f"<{opening}>{group(*children)}</{name}>")


def group(*children: str | Iterable[str]) -> Markup:
    """Return children side by side."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(escape(child, quote=False))
        else:
            parts.append(group(*child))
    return Markup("".join(parts))


def _text(value: str | float | int) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
