"""The order of the pages. Folders whose pages stand by name need no line here for a new page."""

from pathlib import Path
from typing import Any

import parts
import reference

IN_DEPTH = ("python.md", "data.md", "envs.md", "training.md", "recipes.md", "experiments.md", "report.md")
GUIDES = (
    "your-data",
    "your-env",
    "your-expert",
    "your-robot",
    "your-encoder",
    "dagger-with-your-simulator",
    "clusters",
)


def of(docs: Path) -> list[Any]:
    """The navigation of the site."""
    source = docs.parent / "src" / reference.PACKAGE
    packages = [reference.page_of(package, source) for package in reference.packages(source)]
    guides = [f"guides/{name}.md" for name in GUIDES]
    return [
        {"Start": ["README.md", "start.md", *listed(docs, "choose"), "glossary.md"]},
        {"Course": ["course/README.md", *listed(docs, "course")]},
        {"Guides": [*guides, *IN_DEPTH, {"Examples": examples(docs.parent)}]},
        {"Methods": listed(docs, "methods")},
        {"Results": listed(docs, "results")},
        {"Reference": ["parts/index.md", *of_parts(), {"Modules": packages}]},
        {"Project": ["status.md", "architecture.md", "dependencies.md", *listed(docs, "decisions")]},
    ]


def of_parts() -> list[Any]:
    """The pages of parts, kind by kind."""
    return [
        {kind.capitalize(): [parts.path(kind, part) for part in some]} for kind, some in parts.parts().items()
    ]


def listed(docs: Path, folder: str) -> list[str]:
    """The pages of a folder by name, without its index."""
    pages = (page for page in (docs / folder).glob("*.md") if page.stem != "README")
    return sorted(str(page.relative_to(docs)) for page in pages)


def examples(root: Path) -> list[str]:
    """The pages of the examples, the index first."""
    return [
        "examples/index.md",
        *sorted(f"examples/{script.stem}.md" for script in (root / "examples").glob("*.py")),
    ]
