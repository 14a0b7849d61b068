"""`steadyhand tour`: the whole loop in two minutes."""

import shutil
import webbrowser
from dataclasses import dataclass, replace
from pathlib import Path

from steadyhand.cli import terminal
from steadyhand.cli.arguments import parse, with_overrides
from steadyhand.cli.flags import Overrides
from steadyhand.face.progress import progress


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Clone a race car, watch it leave the road, correct it on the same budget of labels; then pass a tree.

    Writes a report with videos, plots and numbers. A run that was interrupted goes on where it stopped.
    """

    out: Path = Path("runs/tour")
    """Folder of the run."""
    seed: int = 3
    """Seed of everything random; 3 is the median of five, see docs/results/first-loop.md."""
    overwrite: bool = False
    """Start afresh if the folder holds a run already."""
    open: bool = False
    """Open the report in a browser when it is done."""
    set: Overrides = ()
    """Change any field of run.json, as path=value; for example dagger.rounds=10."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    chosen = parse(Arguments, arguments, verb="tour")
    from steadyhand.correction.record import RoundRecord
    from steadyhand.recipes.tour import TourListener, TourRun, tour

    if chosen.overwrite and (chosen.out / "run.json").is_file():
        shutil.rmtree(chosen.out)
    run = with_overrides(replace(TourRun(), seed=chosen.seed), chosen.set)

    def on_round(record: RoundRecord) -> None:
        kept = round((record.validation_success or 0.0) * run.dagger.validation_starts)
        terminal.say(
            f"  round {record.round}: {record.total_labels} labels, {terminal.online(record)}, "
            f"{kept} of {run.dagger.validation_starts} validation starts stayed on"
        )

    with progress("driving") as bar:
        report, page = tour(
            run, chosen.out, watch=TourListener(stage=terminal.heading, round=on_round, rollout=bar)
        )
    terminal.results(report)
    terminal.say(f"\n{report.verdict}")
    if report.scene is not None:
        rows = [[panel.name, panel.outcome] for panel in report.scene.panels]
        terminal.say("\nA tree with two ways round it:")
        terminal.table(["", ""], rows, left=2)
    terminal.say(f"\nreport: {page.resolve()}")
    if chosen.open:
        webbrowser.open(page.resolve().as_uri())
    return 0
