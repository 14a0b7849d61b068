"""Runs the documentation: the python blocks of README.md and docs/, and what their shell blocks ask for."""

import os
import re
import shlex
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).parent


class Understood(BaseException):
    """Raised in place of running a verb."""


def check_shell(example: Example) -> None:
    """Let the command line read every `steadyhand` line, and look up make targets and scripts."""
    for line in str(example.parsed).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        match words:
            case ["steadyhand", *arguments]:
                # A loop's variable stands for one of its values; a number suits every place here.
                check_steadyhand([re.sub(r"\$\w+", "0", argument) for argument in arguments])
            case ["make", *targets]:
                makefile = (ROOT / "Makefile").read_text()
                for target in targets:
                    assert "=" in target or re.search(rf"^{target}:", makefile, re.MULTILINE), line
            case ["python", script, *_] if script.endswith(".py"):
                assert (ROOT / script).is_file(), line
            case _:
                continue


def check_steadyhand(arguments: list[str]) -> None:
    """Parse the arguments of a verb as it does itself: unknown verbs, flags and choices fail."""
    import tyro

    from steadyhand.cli.main import main

    parse = tyro.cli

    def stop_after_parsing(*args: Any, **kwargs: Any) -> None:
        parse(*args, **kwargs)
        raise Understood

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tyro, "cli", stop_after_parsing)
        try:
            status = main(arguments)
        except Understood:
            return
        except SystemExit as end:
            status = end.code
    assert status == 0, f"steadyhand {shlex.join(arguments)} leaves with {status}"


def enter(namespace: dict[str, Any]) -> None:
    """Run a document's blocks in a folder of their own."""
    namespace["_folder"], namespace["_home"] = TemporaryDirectory(), Path.cwd()
    os.chdir(namespace["_folder"].name)


def leave(namespace: dict[str, Any]) -> None:
    """Go back, and throw the folder away."""
    os.chdir(namespace["_home"])
    namespace["_folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser(language="sh", evaluator=check_shell),
        CodeBlockParser(language="bash", evaluator=check_shell),
        SkipParser(),
    ],
    patterns=["README.md", "docs/**/*.md", "docs/*.md"],
    setup=enter,
    teardown=leave,
).pytest()
