"""`steadyhand parts`: what policies, envs and remedies are made of, ours and yours."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from steadyhand.cli import terminal
from steadyhand.cli.arguments import parse
from steadyhand.cli.flags import optional
from steadyhand.cli.lines import reflowed

if TYPE_CHECKING:
    from steadyhand.core.parts import Part


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """List the kinds of parts, the parts of a kind, or the settings of one.

    Parts of installed packages are listed, too, and with --plugin MODULE those of a module of your own.
    """

    kind: Annotated[tyro.conf.Positional[str], optional("[KIND]", default="list them")] = ""
    """A kind of part, such as head; or a part alone, such as Flow."""
    name: Annotated[tyro.conf.Positional[str], optional("[NAME]", default="list them")] = ""
    """A part of that kind, such as Flow."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    wanted = parse(Arguments, arguments, verb="parts")
    from steadyhand.core.parts import summary
    from steadyhand.recipes.parts import KINDS, kind_named, kinds_with, parts_of

    if not wanted.kind:
        rows = [[name, summary(kind_named(name))] for name in KINDS]
        terminal.table(["kind", "what it is"], rows, left=2)
        terminal.say("\n`steadyhand parts KIND` lists the parts of a kind.")
        return 0
    if not wanted.name and (kinds := kinds_with(wanted.kind)):
        for one in kinds:
            _describe(one, wanted.kind)
        return 0
    kind = kind_named(wanted.kind)
    if not wanted.name:
        terminal.table([kind.kind, "what it is", "whose"], [list(one) for one in parts_of(kind)], left=3)
        terminal.say(f"\n`steadyhand parts {kind.kind} NAME` shows the settings of one.")
        return 0
    _describe(kind, wanted.name)
    return 0


def _describe(kind: "type[Part]", name: str) -> None:
    """Print what a part says of itself, and its settings."""
    from steadyhand.core.parts import chosen, load_all, name_of
    from steadyhand.recipes.parts import description, settings_of

    load_all(kind)
    part = chosen(kind, name)
    terminal.heading(f"{name_of(part)} ({kind.kind})")
    terminal.say(f"{reflowed(description(part))}\n")
    settings = [[one.name, one.type, one.default or "(none)", one.text] for one in settings_of(part)]
    terminal.table(["setting", "type", "default", "what it is"], settings, left=4)
