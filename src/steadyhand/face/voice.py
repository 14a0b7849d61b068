"""Lines that the face prints while it works: on standard error, apart from any output."""

import sys
from collections.abc import Callable

Say = Callable[[str], None]
"""Takes a line."""


def aloud(line: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"{line}\n")


def silent(line: str) -> None:
    """Say nothing."""
    del line


def voice(*, quiet: bool) -> Say:
    """Return a function that prints a line, or one that does nothing if `quiet`."""
    return silent if quiet else aloud
