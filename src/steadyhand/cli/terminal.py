"""What verbs say on the terminal: plain lines, tables and progress, on stderr where results go to stdout."""

import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

console = Console(file=sys.stdout, highlight=False, soft_wrap=False)


Tick = Callable[[int, int], None]
"""Reports progress: how much is done, of how much."""


def say(text: str = "") -> None:
    """Print a line."""
    console.print(text, markup=False)


def heading(text: str) -> None:
    """Print a line that starts a new part."""
    console.print(f"\n[bold]{text}[/bold]")


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Print a table; the first column is left aligned, the others right."""
    grid = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, header in enumerate(headers):
        grid.add_column(header, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        grid.add_row(*row)
    console.print(grid)


@contextmanager
def progress(label: str) -> Generator[Tick]:
    """Show a progress bar with the time left while the block runs, and nothing when it is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)

        def tick(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield tick
