"""`steadyhand cite`: the papers of the methods that a run used, as BibTeX."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from steadyhand.cli import terminal
from steadyhand.cli.arguments import parse


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Print the BibTeX entries of the methods that a run used: policy class, encoder, remedy, executor."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    wanted = parse(Arguments, arguments, verb="cite")
    from steadyhand.recipes.papers import cited, parts_of_run

    found = cited(parts_of_run(wanted.run))
    if not found:
        terminal.say("% No part of this run comes from a paper that steadyhand knows.")
    for paper in found:
        terminal.say(f"{paper.text}\n")
    return 0
