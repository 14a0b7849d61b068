"""Which code made a result: the commit of the tree that it lies in, and whether that has been changed."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from steadyhand.core import provenance
from steadyhand.core.provenance import Provenance
from steadyhand.core.question import NUMERICS


@pytest.fixture
def commit_at(monkeypatch: pytest.MonkeyPatch):
    """Return the commit that is told where the package lies elsewhere."""

    def at(file: Path) -> str:
        monkeypatch.setattr(provenance, "__file__", str(file))
        provenance._commit.cache_clear()
        return Provenance.of_this_process().commit

    yield at
    provenance._commit.cache_clear()


def git(folder: Path, *words: str) -> str:
    mine = ("-c", "user.name=x", "-c", "user.email=x@y")
    return subprocess.check_output(["git", *mine, *words], cwd=folder, text=True).strip()


def test_the_commit_is_marked_where_the_package_differs_from_it(tmp_path: Path, commit_at) -> None:
    core = tmp_path / "src" / "steadyhand" / "core"
    core.mkdir(parents=True)
    here, beside, outside = core / "provenance.py", core.parent / "a.py", core.parents[1] / "b.py"
    for file in (here, beside, outside):
        file.write_text("one")
    git(tmp_path, "init", "-q")
    assert commit_at(here) == ""  # a file that git does not track
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    commit = git(tmp_path, "rev-parse", "HEAD")
    outside.write_text("two")  # is no code of the package
    (core / "new.py").write_text("untracked")
    assert commit_at(here) == commit
    beside.write_text("two")
    assert commit_at(here) == f"{commit}+"


def test_a_package_outside_of_a_tree_tells_the_commit_that_it_was_installed_from(
    tmp_path: Path, commit_at, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Installed:
        def __init__(self, text: str | None) -> None:
            self.text = text

        def read_text(self, name: str) -> str | None:
            return self.text if name == "direct_url.json" else "wrong file"

    for text, commit in (
        ('{"vcs_info": {"commit_id": "abc"}}', "abc"),
        ('{"url": "file:///x"}', ""),
        (None, ""),
        ("{", ""),
    ):
        monkeypatch.setattr(provenance, "distribution", lambda _, text=text: Installed(text))
        assert commit_at(tmp_path / "provenance.py") == commit


def test_a_result_is_stale_once_numbers_have_been_altered() -> None:
    now = Provenance.of_this_process()
    assert now.numerics == NUMERICS
    assert not now.is_stale
    assert replace(now, numerics=NUMERICS - 1).is_stale
