"""A page for each part, made from its settings: what it is, its fields, its page, its papers."""

import re
from functools import cache
from pathlib import Path

from steadyhand.core.parts import Part, load_all, summary
from steadyhand.recipes.papers import cited
from steadyhand.recipes.parts import KINDS, description, kind_named, settings_of


@cache
def parts() -> dict[str, list[type[Part]]]:
    """Our parts by kind."""
    found = {kind: load_all(kind_named(kind)) for kind in KINDS}
    return {
        kind: [part for part in some if part.__module__.startswith("steadyhand.")]
        for kind, some in found.items()
    }


def path(kind: str, part: type[Part]) -> str:
    """Where the page of a part stands on the site."""
    return f"parts/{kind}/{part.__name__}.md"


def pages(docs: Path) -> dict[str, str]:
    """All pages of parts, and their index."""
    made = {path(kind, part): page(docs, part) for kind, some in parts().items() for part in some}
    return {"parts/index.md": index(), **made}


def index() -> str:
    """What parts there are, kind by kind."""
    lines = [
        "# Parts",
        "What policies, envs and remedies are made of; on the command line `steadyhand parts KIND NAME`.",
    ]
    for kind, some in parts().items():
        rows = [f"| [{part.__name__}]({kind}/{part.__name__}.md) | {plain(summary(part))} |" for part in some]
        lines += [f"## {kind}", "\n".join(["| part | what it is |", "|---|---|", *rows])]
    return "\n\n".join(lines) + "\n"


def page(docs: Path, part: type[Part]) -> str:
    """The page of a part."""
    lines = [f"# {part.__name__}", plain(description(part))]
    text = method(docs, part)
    if text is not None:
        lines.append(
            f"What it does, its equations and where it fails: [{title(text)}](../../methods/{text.name})."
        )
    rows = [
        f"| `{one.name}` | `{cell(one.type)}` | {default(one.default)} | {plain(one.text)} |"
        for one in settings_of(part)
    ]
    if rows:
        lines += [
            "## Settings",
            "\n".join(["| setting | type | default | what it is |", "|---|---|---|---|", *rows]),
        ]
    lines += ["## In code", f"[{part.__module__}.{part.__name__}][]"]
    papers = cited({part.__name__})
    if papers:
        lines += ["## Papers", "```bibtex\n" + "\n\n".join(paper.text for paper in papers) + "\n```"]
    return "\n\n".join(lines) + "\n"


def method(docs: Path, part: type[Part]) -> Path | None:
    """The method page of a part: the one of its name, or else the first that imports it."""
    slug = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", part.__name__).lower()
    own = docs / "methods" / f"{slug}.md"
    if own.exists():
        return own
    imports = re.compile(rf"^from .* import .*\b{part.__name__}\b|^\| `{part.__name__}[`(]", re.MULTILINE)
    return next(
        (text for text in sorted((docs / "methods").glob("*.md")) if imports.search(text.read_text())), None
    )


def beside(docs: Path, name: str) -> str:
    """Links to the settings of the parts of a method page."""
    own = [
        f"[{part.__name__}](../{path(kind, part)})"
        for kind, some in parts().items()
        for part in some
        if (text := method(docs, part)) is not None and text.name == name
    ]
    return f"\n\n**All settings:** {', '.join(own)}.\n" if own else ""


def title(page: Path) -> str:
    """The heading of a page."""
    return page.read_text().splitlines()[0].removeprefix("# ")


def plain(text: str) -> str:
    """Text of a docstring as Markdown: no tables, no references by accident."""
    return re.sub(r"(?<![`\\])([|\[\]<>*])", r"\\\1", text)


def default(text: str) -> str:
    """A default in a table."""
    return f"`{cell(text)}`" if text else "must be given"


def cell(text: str) -> str:
    """Code in a table."""
    return text.replace("|", "\\|").replace("\n", " ")
