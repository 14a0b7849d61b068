"""The bench end to end on the car, small: cells are kept, a refusal is a row and not an error."""

import json

import pytest

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


def test_a_bench_runs_shows_its_rows_and_goes_on_where_it_stopped(cli, tmp_path) -> None:
    said = cli(*COMMAND, "--out", "bench").out
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
    again = cli(*COMMAND, "--out", "bench").out
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
def test_wrong_names_are_refused(cli, words, text) -> None:
    said = cli(*words)
    assert said.status == 2
    assert text in said.err
