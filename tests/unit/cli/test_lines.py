"""Long lines are folded at the width of the terminal, between words, and what is copied stays whole."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import steadyhand
from steadyhand.cli.lines import folded, reflowed


def test_lines_are_folded_between_words_and_lose_none():
    text = "  one two three " + "x" * 30 + " four five"
    lines = folded(text, 16, indent="    ").split("\n")
    assert lines == ["  one two three", "      " + "x" * 30, "      four five"]
    assert folded("short\n\nlines", 16) == "short\n\nlines"
    assert folded("state-of-the-art state-of-the-art", 20) == "state-of-the-art\nstate-of-the-art"


@pytest.mark.parametrize("text", ["report: /a folder/report.html", "  steadyhand data compact my data"])
def test_a_path_and_a_command_stay_whole(text):
    assert folded(text, 10) == text


def test_what_check_finds_is_folded_and_paths_stay_whole(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    folder = Path("a-folder-whose-name-is-long-enough") / ("that-no-line-of-eighty-characters-" + "x" * 30)
    assert cli("record", "car", "--observation", "state", "--labels", 40, "--out", folder).status == 0
    info = folder / "meta" / "info.json"
    data = json.loads(info.read_text())
    data["total_frames"] += 1
    info.write_text(json.dumps(data))
    said = cli("data", "check", folder)
    assert said.status == 1
    assert str(folder) in said.out
    long = [line for line in said.out.splitlines() if len(line) > 80]
    assert not [line for line in long if " " in line.strip()], "a line of several words is folded"


def test_errors_are_folded_but_for_what_to_do(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    np.savez("data.npz", observation=np.zeros((4, 2), np.float32), action=np.zeros((4, 1), np.float32))
    said = cli("record", "car", "--out", "x", "--set", "env.road=1")
    assert said.status == 2
    lines = said.err.splitlines()
    assert max(len(line) for line in lines if "do this" not in line) <= 40
    assert any(line.startswith(" " * 13) for line in lines)


def test_what_a_flag_means_is_one_line_in_the_source_so_that_the_help_folds_it():
    for file in Path(steadyhand.__file__).parent.glob("cli/*.py"):
        found = re.findall(r"\n    \w+: [^\n]+\n    \"\"\"([^\n]*)\n", file.read_text(encoding="utf-8"))
        assert all(text.endswith('"""') for text in found), (file.name, found)


def test_a_docstring_becomes_paragraphs_and_keeps_its_lists():
    text = "One line\nand the next.\n\nTwo:\n- a\n- b\n\n    code"
    assert reflowed(text) == "One line and the next.\n\nTwo:\n- a\n- b\n\n    code"
