"""What verbs say on the terminal: plain lines, tables and pictures, on stdout.

Names and texts come from files and envs of other people: what would steer a terminal is written out as
escapes.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from steadyhand.cli.lines import folded
from steadyhand.core.strict import plain

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8

    from steadyhand.analysis.results import Report
    from steadyhand.core.statistics import Estimate, Interval
    from steadyhand.correction.record import RoundRecord

console = Console(file=sys.stdout, highlight=False, soft_wrap=False)


def say(text: str = "", *, style: str = "", indent: int = 0) -> None:
    """Print lines, long ones folded between words, and indented by so many spaces where they go on."""
    lines = folded(plain(text), console.width, indent=" " * indent)
    console.print(Text(lines, style=style), soft_wrap=True)


def heading(text: str) -> None:
    """Print a line that starts a new part."""
    console.print()
    say(text, style="bold")


def counted(number: int, noun: str) -> str:
    """Return "1 episode" or "3 episodes"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


_COLOURS = {"error": "bold red", "warning": "yellow", "note": "dim"}


def finding(severity: str, title: str, what: str, hint: str) -> None:
    """Print one finding: how grave, where, what is wrong, what to do; long lines are folded under it."""
    margin = " " * 9
    line = Text(folded(plain(f"{severity:<8} {title}"), console.width, indent=margin))
    line.stylize(_COLOURS.get(severity, ""), 0, len(severity))
    console.print(line, soft_wrap=True)
    say(margin + what)
    if hint:
        say(f"{margin}do this: {hint}", style="dim")


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> None:
    """Print a table; the first `left` columns are left aligned, the others right."""
    has_header = any(headers)
    grid = Table(box=None, pad_edge=False, header_style="bold", show_header=has_header)
    for number, header in enumerate(headers):
        grid.add_column(Text(plain(header)), justify="left" if number < left else "right", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(plain(cell)) for cell in row))
    console.print(grid)


def shows_pictures() -> bool:
    """Whether a picture can be shown."""
    return console.is_terminal and console.color_system in ("truecolor", "256")


def picture(pixels: "UInt8[np.ndarray, 'h w 3']", *, columns: int = 72) -> None:
    """Show a picture, two pixels a character: the upper one in its ink, the lower one behind it."""
    import numpy as np
    from PIL import Image

    width = min(columns, console.width)
    height = 2 * max(1, round(width * pixels.shape[0] / pixels.shape[1] / 2))
    small = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
    for above, below in zip(small[::2].tolist(), small[1::2].tolist(), strict=True):
        line = Text()
        for ink, behind in zip(above, below, strict=True):
            line.append(
                "\u2580", style=f"rgb({','.join(map(str, ink))}) on rgb({','.join(map(str, behind))})"
            )
        console.print(line)


def online(record: "RoundRecord") -> str:
    """Return how the iterate that drove did on the states it came to, in words."""
    if record.online_loss is not None:
        return f"online loss {record.online_loss:.4g}"
    return "no label was asked" if record.labels == 0 else "the expert drove"


def results(report: "Report") -> None:
    """Print the table of a comparison; where nothing tells success its column is a dash."""
    is_told = report.tells_success
    rows: list[list[str]] = []
    for one in report.results:
        interval = one.success_interval
        failure = "-" if one.median_first_failure is None else f"{one.median_first_failure:.1f} s"
        rows.append(
            [
                one.name,
                "-" if one.num_successes is None else f"{one.num_successes}/{one.num_starts}",
                *([] if interval is None or not is_told else [_percents(interval)]),
                f"{one.mean_return.value:.1f}",
                *([] if is_told else [_spread(one.mean_return)]),
                failure,
                "-" if one.cost.labels is None else str(one.cost.labels),
                "-" if one.cost.wall_s is None else f"{one.cost.wall_s:.1f} s",
            ]
        )
    headers = ["", "success", "95 % interval", "return", "half failed by", "labels", "training"]
    if not is_told:
        headers[2:5] = ["return", "95 % interval", "half ended by"]
    say()
    table(headers, rows)
    for one in report.results:
        if one.note:
            say(f"{one.name}: {one.note}")
    say(f"success: {report.success.words}")
    for caveat in report.caveats:
        say(f"note: {caveat}")
    _modes(report)


def _percents(interval: "Interval") -> str:
    return f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %"


def _spread(mean: "Estimate") -> str:
    if mean.interval is None:
        return "-"
    return f"{mean.interval.low:.1f} to {mean.interval.high:.1f}"


def _modes(report: "Report") -> None:
    """Print which ways were taken, where the env knows its ways, and the mean-versus-sample test."""
    rows: list[list[str]] = []
    for one in report.results:
        if (modes := one.modes) is None:
            continue
        given, distance = modes.conditional_entropy, modes.distance
        few = 0 < modes.num_modes <= 4
        rows.append(
            [
                one.name,
                " ".join(f"{100 * share:.0f}" for share in modes.shares) if few else "",
                "-" if modes.entropy is None else f"{modes.entropy.value:.2f}",
                "-" if given is None else f"{given.value.value:.2f}",
                "-" if distance is None else f"{distance.value.value:.2f}",
                f"{modes.covered}/{modes.available}",
                f"{modes.valid}/{one.num_starts}",
                "-" if modes.persistence is None else f"{modes.persistence.value:.2f}",
            ]
        )
    if rows:
        say()
        table(["", "shares %", "entropy", "per start", "distance", "ways", "valid", "kept"], rows)
    for test in report.mean_tests:
        if test.success is None:
            sample, mean = f"returned {test.sample_return:.1f} on average", f"{test.mean_return:.1f}"
        else:
            sample, mean = f"succeeded {test.sample_successes} times", f"{test.mean_successes} times"
        say(f"\n{test.name}: a sample {sample}, the mean of {test.num_samples} samples {mean}")
