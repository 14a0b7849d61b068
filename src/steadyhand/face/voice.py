"""What the face says while it works: lines on standard error, apart from any output."""

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
    """Return what takes the lines of a function that may be told to be quiet."""
    return silent if quiet else aloud
