"""The pages agree with the tree around them."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def links(page: Path) -> list[Path]:
    targets = [target.split("#")[0] for target in LINK.findall(page.read_text())]
    return [(page.parent / target).resolve() for target in targets if target and "://" not in target]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert [str(target) for target in links(page) if not target.exists()] == []


def test_the_index_leads_to_every_page() -> None:
    """In one click, or in two where a folder has an index of its own."""
    index = ROOT / "docs" / "README.md"
    own = [page for page in links(index) if page.name == "README.md"]
    reached = {index, *links(index), *(target for page in own for target in links(page))}
    assert {page for page in PAGES if "docs" in page.parts} - reached == set()


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(chain(project["dependencies"], *project["optional-dependencies"].values()))
    names = {re.split(r"[\s<>=\[]", requirement)[0] for requirement in wanted} - {"steadyhand"}
    tables = (ROOT / "docs" / "dependencies.md").read_text()
    assert set(re.findall(r"^\| `([^`]+)` \|", tables, re.MULTILINE)) == names


def test_the_layers_are_those_that_are_checked() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    checked = [layer.replace("steadyhand.", "") for layer in contract["layers"]]
    page = (ROOT / "docs" / "architecture.md").read_text()
    block = page[page.index("    testing\n") :].split("\n\n")[0]
    drawn = [re.split(r"\s{2,}", line.strip())[0] for line in block.splitlines()]
    assert drawn == checked


def test_the_line_of_a_field_stands_alone() -> None:
    """In a hover, in `--help`, on a page: it says what the field is, not where else to read it."""
    ellipsis = re.compile(
        r'^ +(?:\w+: |""")(?:(?:Of|As|See|Likewise|Ditto|Its|Those|These)\b.*|[A-Za-z]\.)$', re.MULTILINE
    )
    files = chain((ROOT / "src").rglob("*.py"), (ROOT / "benchmarks").rglob("*.py"))
    found = {str(file.relative_to(ROOT)): ellipsis.findall(file.read_text()) for file in files}
    assert {file: lines for file, lines in found.items() if lines} == {}
