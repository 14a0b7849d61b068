"""What tyro says of flags that it cannot read, in the form of all other errors: it draws boxes of its own."""

import io
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr

from steadyhand.core.errors import ConfigError

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ROW = re.compile(r"^(?:\u2502| ) (.*?) *\u2502?$")
"""A row within a box, or where the output is not UTF-8, two spaces; titles stand elsewhere."""
_RULE = re.compile(r"^[\u2500-]{8,}$")
_HELP = "For full helptext"


@contextmanager
def in_our_words(verb: str) -> Generator[None]:
    """Raise what tyro says in the block before it leaves with status 2 as a `ConfigError`.

    Args:
        verb: Whose flags are read, such as "train" or "data check".
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            yield
    except SystemExit as end:
        error = _read(said.getvalue(), verb) if end.code == 2 else None
        if error is not None:
            raise error from None
        sys.stderr.write(said.getvalue())
        raise
    sys.stderr.write(said.getvalue())


def _read(text: str, verb: str) -> ConfigError | None:
    """Return the error in a box, or None if there is no box."""
    rows = [match[1] for line in _COLOUR.sub("", text).splitlines() if (match := _ROW.match(line))]
    parts: list[list[str]] = [[]]
    for row in rows:
        if _RULE.match(row):
            parts.append([])
        else:
            parts[-1].append(row)
    what = [row for row in _paragraph(parts[0]) if not row.startswith(" ")]
    if not what:
        return None
    details = [row for part in parts if not part[:1] or not part[0].startswith(_HELP) for row in part]
    named = _named([row for row in details if row.startswith(" ")])
    hint = f"`steadyhand {verb} --help` lists what it takes"
    return _in_words(" ".join(what).rstrip(".:"), named, hint)


def _in_words(said: str, named: list[str], hint: str) -> ConfigError:
    """Return what tyro says in one sentence, with what was got and what is available apart from it."""
    expected = "; ".join(named) or None
    if found := re.fullmatch(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)", said):
        got, flag, choices = found.groups()
        available = [one.strip(" '\"") for one in choices.split(",") if one]
        return ConfigError(f"{flag} takes no such value.", got=got, available=available)
    if found := re.fullmatch(r"Error parsing (\S+): .*?(\[.*\]|'.*')", said):
        got = found[2].strip("[]'")
        return ConfigError(f"{found[1]} takes no such value.", got=got, expected=expected, hint=hint)
    if found := re.fullmatch(r"Unrecognized options: (.*)", said):
        return ConfigError("There is no such option.", got=found[1], expected=expected, hint=hint)
    if found := re.fullmatch(r"Missing value for argument '(.*)'\. Expected .*", said):
        return ConfigError(f"{found[1]} lacks its value.", expected=expected, hint=hint)
    if said.startswith("Missing from"):
        names = [one.partition(":")[0].partition(" ")[0] for one in named]
        is_one = len(names) == 1
        what = f"{' and '.join(names)} {'is' if is_one else 'are'} missing."
        return ConfigError(what, expected=expected, hint=hint)
    return ConfigError(f"{said}.", expected=expected, hint=hint)


def _paragraph(rows: list[str]) -> list[str]:
    return rows[: rows.index("")] if "" in rows else rows


def _named(rows: list[str]) -> list[str]:
    """Return each option of indented rows with its help: the help stands deeper, or all below one option."""
    indents = [len(row) - len(row.lstrip()) for row in rows]
    one = len(set(indents)) == 1
    options: list[list[str]] = []
    for row, indent in zip(rows, indents, strict=True):
        if not options or (indent == min(indents) and not one):
            options.append([])
        options[-1].append(row.strip())
    return [f"{head}: {' '.join(rest)}" if rest else head for head, *rest in options]
