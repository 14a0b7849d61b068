"""The bench end to end on the car, small: cells are kept, a refusal is a row and not an error."""

import json

import pytest

from steadyhand.cli.main import main

COMMAND = [
    *(
        "bench",
        "remedies",
        "car",
        "--observation",
        "state",
        "--only",
        "cloning",
        "noise",
        "dagger",
        "diff-dagger",
    ),
    *("--seeds", "2", "--labels", "40", "--rounds", "2", "--episodes", "2", "--steps", "20", "--starts", "4"),
    *("--set", "env.max_episode_steps=20", "--set", "budget.validation_starts=2"),
]


def test_a_bench_runs_shows_its_rows_and_goes_on_where_it_stopped(tmp_path, capsys) -> None:
    out = ["--out", str(tmp_path / "bench")]
    assert main([*COMMAND, *out]) == 0
    said = capsys.readouterr().out
    cells = sorted((tmp_path / "bench" / "cells").glob("*.json"))
    assert len(cells) == 8
    for path in cells:
        data = json.loads(path.read_text())
        if "diff-dagger" in path.name:
            assert "refusal" in data
        else:
            assert len(data["success"]) == 4
            assert data["labels"] == 40
            assert data["burden"]["labels"] == 40
    assert "Diff-DAgger does not fit here" in said
    assert "noise injection" in said
    cells[0].unlink()
    before = {path: path.stat().st_mtime_ns for path in cells[1:]}
    assert main([*COMMAND, *out]) == 0
    again = capsys.readouterr().out
    assert again.count(" seed ") == 1
    assert cells[0].is_file()
    assert before == {path: path.stat().st_mtime_ns for path in cells[1:]}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["bench", "towers"], "available: remedies"),
        (["bench", "remedies", "car", "--only", "prayer"], "no such remedy"),
    ],
)
def test_wrong_names_are_refused(words, text, capsys) -> None:
    assert main(words) == 2
    assert text in capsys.readouterr().err
