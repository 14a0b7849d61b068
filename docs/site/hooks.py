"""What the site adds to the pages: reference and examples from the source, links into both, navigation.

MkDocs calls the functions below by their names (https://www.mkdocs.org/dev-guide/plugins/#events).
"""

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))

import navigation
import parts
import reference

LINK = re.compile(r"\]\((?:\.\./)+(src|examples|README\.md)(/[^)#\s]*)?(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every page in its place; a page whose place nobody gave is an error of the build."""
    config.nav = navigation.of(Path(config.docs_dir))
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the source."""
    docs = Path(config.docs_dir)
    for path, text in (reference.pages(docs.parent) | parts.pages(docs)).items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, **_others: Any) -> str:
    """Lead links to files outside docs to their pages on the site, and from a method to its settings."""
    folder, _, name = page.file.src_uri.rpartition("/")
    if folder == "methods":
        markdown += parts.beside(Path(config.docs_dir), name)
    return LINK.sub(lambda match: f"]{target(match, page)}", markdown)


def target(link: re.Match[str], page: Page) -> str:
    """Where a link to a file of the project goes: to its module, to its example, or home."""
    up = "../" * page.file.src_uri.count("/")
    match link.group(1), link.group(2) or "":
        case "src", path:
            return f"[{reference.module(path.lstrip('/'))}]"
        case "examples", path:
            return f"({up}examples/{Path(path).stem or 'index'}.md)"
        case _:
            return f"({up}README.md)"
