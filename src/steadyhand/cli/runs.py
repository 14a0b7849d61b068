"""`steadyhand runs` and `steadyhand show`: which runs there are, and what came of one."""

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from steadyhand.cli import terminal
from steadyhand.cli.arguments import parse

if TYPE_CHECKING:
    from steadyhand.recipes.listing import RunSummary


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """List the runs below a folder, the latest first: what they are, how far, and what came of them."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="[FOLDER]")] = Path("runs")
    """Where to look, also in folders within it; recordings are listed, too."""


@dataclass(frozen=True, kw_only=True)
class ShowArguments:
    """Show what came of a run: its results, the command that made it, and its report."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run, as `steadyhand runs` lists it."""
    open: bool = False
    """Open the report in a browser."""


def main(arguments: list[str]) -> int:
    """Run the verb `runs`."""
    chosen = parse(Arguments, arguments, verb="runs")
    from steadyhand.recipes.listing import runs_below

    found = runs_below(chosen.folder)
    if not found:
        terminal.say(f"There are no runs in {chosen.folder}.")
        return 0
    rows = [_row(one) for one in found]
    terminal.table(["run", "kind", "when", "env or data", "policy", "state", "result"], rows, left=7)
    terminal.say("\n`steadyhand show RUN` shows one.")
    return 0


def _row(one: "RunSummary") -> list[str]:
    when = f"{one.begun:%Y-%m-%d %H:%M}"
    return [str(one.folder), one.kind, when, one.about, one.policy, one.state, one.result]


def show(arguments: list[str]) -> int:
    """Run the verb `show`."""
    from steadyhand.core.errors import ConfigError

    chosen = parse(ShowArguments, arguments, verb="show")
    from steadyhand.recipes.listing import summary_of, texts

    one, page = summary_of(chosen.run), chosen.run / "report.html"
    if chosen.open and not page.is_file():
        raise ConfigError(
            "This run has no report.", got=f"{chosen.run}, {one.state}", hint=f"steadyhand show {chosen.run}"
        )
    _say_what_it_is(one)
    if (chosen.run / "report.json").is_file():
        from steadyhand.analysis.report import read_report

        report = read_report(chosen.run / "report.json")
        terminal.results(report)
        terminal.say(f"\n{report.verdict}")
    elif one.result:
        terminal.say(f"result: {one.result}")
        for line in texts(chosen.run / "result.json", "warnings"):
            terminal.say(line)
    if (chosen.run / "policy" / "policy.json").is_file():
        terminal.say(f"\npolicy: {chosen.run / 'policy'}")
    if page.is_file():
        terminal.say(f"report: {page.resolve()}")
    if chosen.open and not webbrowser.open(page.resolve().as_uri()):
        terminal.say("There is no browser here that could open it.")
    return 0


def _say_what_it_is(one: "RunSummary") -> None:
    from steadyhand.recipes.listing import texts

    terminal.heading(str(one.folder))
    terminal.say(f"{one.kind}, {one.state}, begun {one.begun:%Y-%m-%d %H:%M}")
    for name, text in (("env or data", one.about), ("policy", one.policy)):
        if text:
            terminal.say(f"{name}: {text}")
    for command in texts(one.folder / "provenance.json", "command"):
        terminal.say(f"command: {command}")
