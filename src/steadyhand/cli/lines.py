"""Long lines folded at a width: between words only, so that paths and names stay whole and can be copied."""

import re
import textwrap

_COPIED = ("policy: ", "report: ", "cells: ", "command: ", "next: ", "steadyhand ")
"""Lines that begin so hold a path or a command and stay whole."""


def folded(text: str, width: int, *, indent: str = "") -> str:
    """Return the text with every line folded at `width`, if it can be; words that are longer stay whole.

    Args:
        text: Lines; what goes on below a line keeps the line's own indentation.
        width: Most characters of a line.
        indent: Goes before every line that goes on, behind that indentation.
    """
    return "\n".join(_line(line, width, indent) for line in text.split("\n"))


def reflowed(text: str) -> str:
    """Return the text of a docstring with each paragraph on one line; what is indented or listed stays."""
    return re.sub(r"(?<=[^\s:])\n(?=[^\s-])", " ", text)


def _line(line: str, width: int, indent: str) -> str:
    words = line.lstrip(" ")
    own = line[: len(line) - len(words)]
    if len(line) <= width or words.startswith(_COPIED):
        return line
    return textwrap.fill(
        words,
        width,
        initial_indent=own,
        subsequent_indent=own + indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
