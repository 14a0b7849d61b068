"""Pages made from the source: the API reference, one page for each package, and the examples."""

import ast
from pathlib import Path

PACKAGE = "steadyhand"


def pages(root: Path) -> dict[str, str]:
    """All made pages, by their path in the site."""
    return api(root / "src" / PACKAGE) | examples(root / "examples")


def module(path: str) -> str:
    """The dotted name of a file or folder, given by its path below src."""
    return path.removesuffix("/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def packages(source: Path) -> list[Path]:
    """Folders with modules, the package itself first."""
    return sorted(file.parent for file in source.rglob("__init__.py"))


def page_of(package: Path, source: Path) -> str:
    """Where the reference of a package stands on the site."""
    name = ".".join(package.relative_to(source).parts)
    return f"reference/{name or 'index'}.md"


def api(source: Path) -> dict[str, str]:
    """A page for each package, with its modules in the order of their names."""
    made = {}
    for package in packages(source):
        name = module(f"{PACKAGE}/{package.relative_to(source)}".removesuffix("/."))
        modules = sorted(file.stem for file in package.glob("*.py") if not file.stem.startswith("_"))
        parts = [f"# {name}", f"::: {name}\n    options:\n      show_root_toc_entry: false"]
        parts += [f"::: {name}.{stem}" for stem in modules]
        made[page_of(package, source)] = "\n\n".join(parts) + "\n"
    return made


def examples(folder: Path) -> dict[str, str]:
    """A page for each script: what it says of itself, then the script."""
    made, index = {}, ["# Examples", "Scripts that run as they are, each in a minute or two."]
    for script in sorted(folder.glob("*.py")):
        code = script.read_text()
        summary = (ast.get_docstring(ast.parse(code)) or "").split("\n\n")[0].replace("\n", " ")
        title = script.stem[3:].replace("_", " ").capitalize()
        made[f"examples/{script.stem}.md"] = (
            f"# {title}\n\n```sh\npython examples/{script.name}\n```\n\n```python\n{code}```\n"
        )
        index.append(f"- [{title}]({script.stem}.md): {summary}")
    return made | {"examples/index.md": "\n\n".join([*index[:2], "\n".join(index[2:])]) + "\n"}
