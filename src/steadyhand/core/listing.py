"""Lists in messages: the first few of many."""

from collections.abc import Sequence


def listed(items: Sequence[object], *, most: int = 8) -> str:
    """Return the first `most` items as text, and how many more there are: "3, 5, 8 and 4 more"."""
    shown = ", ".join(str(item) for item in items[:most])
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")
