"""The papers behind the methods of a run, from one bibliography: `papers.bib` beside this file."""

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steadyhand.core.errors import DataError
from steadyhand.core.strict import load_json

BIBLIOGRAPHY = Path(__file__).with_name("papers.bib")
DESCRIPTIONS = ("run.json", "question.json", "policy.json")
"""Files of a run that name what it was made of, each part by its "type"."""


@dataclass(frozen=True, kw_only=True)
class Paper:
    """An entry of the bibliography.

    Attributes:
        key: BibTeX key of the entry.
        describes: Names of the parts, recipes and remedies that it describes.
        text: The entry as it is printed, without the names.
    """

    key: str
    describes: frozenset[str]
    text: str


def papers() -> tuple[Paper, ...]:
    """Return all entries, in the order of the file."""
    found: list[Paper] = []
    for entry in re.split(r"(?m)^(?=@)", BIBLIOGRAPHY.read_text(encoding="utf-8"))[1:]:
        key = re.match(r"@\w+\{(\w+),", entry)
        names = re.search(r"(?m)^  keywords = \{([^}]*)\},\n", entry)
        if key is None or names is None:
            raise DataError("An entry of the bibliography names no key or no parts.", got=entry)
        text = entry.replace(names.group(0), "").strip()
        found.append(Paper(key=key.group(1), describes=frozenset(names.group(1).split(", ")), text=text))
    return tuple(found)


def cited(names: Set[str]) -> tuple[Paper, ...]:
    """Return the entries that describe any of these parts, recipes or remedies."""
    return tuple(paper for paper in papers() if paper.describes & names)


def parts_of_run(folder: Path) -> frozenset[str]:
    """Return the names of all parts that a run folder says it was made of.

    Raises:
        DataError: Nothing in the folder says that.
    """
    files = [path for name in DESCRIPTIONS for path in sorted(folder.rglob(name))]
    if not files:
        raise DataError(
            "This is no folder of a run.",
            got=folder,
            expected=f"a folder with {', '.join(DESCRIPTIONS)}",
            hint="give the folder that --out named",
        )
    names: set[str] = set()
    for path in files:
        names.update(_types(load_json(path, error=DataError)))
    return frozenset(names)


def _types(data: Any) -> Iterator[str]:
    """Yield every "type" in nested settings, and the remedies that a bench names."""
    match data:
        case dict():
            kind = data.get("type")
            if isinstance(kind, str):
                yield kind
            if isinstance(compared := data.get("remedies"), list):  # of a bench, which names them
                yield from (name for name in compared if isinstance(name, str))
            for value in data.values():
                yield from _types(value)
        case list():
            for value in data:
                yield from _types(value)
        case _:
            return
