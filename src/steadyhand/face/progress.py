"""How far long work is: a bar where a person watches, lines otherwise, on standard error."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Protocol

from steadyhand.core.strict import plain


class Tick(Protocol):
    """Reports progress."""

    def __call__(self, done: int, total: int, text: str = "") -> None:
        """Say how much is done, of how much, and perhaps a few words."""
        ...


OFTEN_S = 0.05
"""Time between two changes of a bar: showing more would slow the work [s]."""
LEAST_S = 1.0
"""Time between two lines about the progress of the same work [s]."""


def is_watched() -> bool:
    """Whether a person is watching, at a terminal or in a notebook that can show bars."""
    if sys.stderr.isatty():
        return True
    return "ipykernel" in sys.modules and find_spec("ipywidgets") is not None


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Generator[Callable[[str], Tick]]:
    """Show how far long work is while the block runs.

    Yields a function that starts a piece of work: given a name, it returns what is called with (done, total)
    and perhaps a few words. Where a person watches, bars with the time left are shown, and nothing of them
    stays; otherwise a line at every tenth, of work that takes longer than a second.

    Args:
        label: What is done, such as "driving".
        quiet: Show nothing.
    """
    if quiet:
        yield lambda _: _nothing
        return
    if not is_watched():
        yield lambda name: Tenths(f"{label} {name}".strip())
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:

        def start(name: str) -> Tick:
            task = bar.add_task(escape(plain(f"{label} {name}".strip())), total=None, text="")
            shown = 0.0

            def tick(done: int, total: int, text: str = "") -> None:
                nonlocal shown
                if done < total and time.monotonic() - shown < OFTEN_S:
                    return
                shown = time.monotonic()
                bar.update(task, completed=done, total=total, visible=done < total, text=text)

            return tick

        yield start


def _nothing(done: int, total: int, text: str = "") -> None:
    del done, total, text


class Tenths:
    """Writes a line to stderr at every tenth of a piece of work, but not more often than once a second.

    Args:
        label: What is done.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._began = self._last = time.monotonic()
        self._tenth = 0

    def __call__(self, done: int, total: int, text: str = "") -> None:
        """Take in that `done` of `total` are done."""
        tenth, now = 10 * done // max(total, 1), time.monotonic()
        if tenth <= self._tenth or now - self._last < LEAST_S:
            return
        self._tenth, self._last = tenth, now
        left = (now - self._began) * (total - done) / done
        words = [f"{self._label}: {done} of {total}", text, f"{left:.0f} s left" if done < total else ""]
        sys.stderr.write(plain(", ".join(word for word in words if word)) + "\n")
        sys.stderr.flush()
