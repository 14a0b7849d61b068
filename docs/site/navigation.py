"""The order of the pages: named sections, and inside them the order of the index of docs/README.md."""

from pathlib import Path
from typing import Any

import reference

GUIDES = ("python.md", "data.md", "envs.md", "training.md", "recipes.md", "report.md")


def of(docs: Path) -> list[Any]:
    """The navigation of the site."""
    source = docs.parent / "src" / reference.PACKAGE
    packages = [reference.page_of(package, source) for package in reference.packages(source)]
    return [
        {"Start": ["README.md"]},
        {"Guides": [*GUIDES, *listed(docs, "examples")]},
        {"Methods": listed(docs, "methods")},
        {"Results": listed(docs, "results")},
        {"Reference": packages},
        {"Project": ["architecture.md", "dependencies.md", *listed(docs, "decisions")]},
    ]


def listed(docs: Path, folder: str) -> list[str]:
    """The pages of a folder by name."""
    if folder == "examples":
        scripts = (docs.parent / "examples").glob("*.py")
        return ["examples/index.md", *sorted(f"examples/{script.stem}.md" for script in scripts)]
    return sorted(str(page.relative_to(docs)) for page in (docs / folder).glob("*.md"))
