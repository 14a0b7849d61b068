"""Names that people give: of files, and of modules, which alone are imported."""

import sys
from pathlib import Path

import pytest

from steadyhand.core import modules
from steadyhand.core.errors import ConfigError
from steadyhand.core.modules import imported, module_name
from steadyhand.core.names import file_name
from steadyhand.policies.encoders.config import EncoderConfig


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "..", "", " ", ". .", "a\\b", "a?", "x" * 121, "a\0b", "a\x1b[2J"]
)
def test_a_name_that_would_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be that of a file"):
        file_name(name, what="The name of a policy")


@pytest.mark.parametrize("name", ["HG-DAgger, round 2", ".a", "x" * 120, "\u00fcber"])
def test_other_names_are_kept_as_they_are(name: str) -> None:
    assert file_name(name, what="x") == name


def test_a_module_may_be_named_by_its_file() -> None:
    assert module_name("envs/reach.py") == module_name("./envs/reach.py") == "envs.reach"
    assert module_name("envs.reach") == "envs.reach"


def test_a_module_is_imported_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m_here.py").write_text("HEIGHT = 3")
    (tmp_path / "m_there.py").write_text("HEIGHT = 4")
    (tmp_path / "m_broken.py").write_text("import not_to_be_found_anywhere")
    (tmp_path / "m_raises.py").write_text("1 / 0")
    assert imported("m_here").HEIGHT == 3
    assert imported("m_there.py").HEIGHT == 4
    assert sys.path.count("") == 1
    with pytest.raises(ConfigError, match=r"A module of that name is not to be found\.\n.*not_to_be_found"):
        imported("not_to_be_found_anywhere")
    with pytest.raises(ConfigError, match=r"m_broken cannot be imported\.\n.*ModuleNotFoundError"):
        imported("m_broken")
    with pytest.raises(ConfigError, match=r"m_raises cannot be imported\.\n.*ZeroDivisionError"):
        imported("m_raises")


def test_a_module_of_parts_shows_its_parts_and_its_own_functions() -> None:
    def mine() -> None: ...
    def _private() -> None: ...
    def other() -> None: ...

    mine.__module__ = _private.__module__ = "package.encoders"
    there = {"__name__": "package.encoders", "mine": mine, "_private": _private, "other": other, "one": 1}
    assert modules.listing(EncoderConfig, there) == sorted(
        [*EncoderConfig.ours, "EncoderConfig", "mine", "__name__"]
    )
