"""The bench end to end on the car, small: cells are kept, a refusal is a row and not an error."""

from dataclasses import replace

import pytest

from steadyhand.recipes.experiment import Experiment

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
    store = Experiment(name="cells", folder=tmp_path / "bench").store
    cells = dict(store.read())
    assert len(cells) == 8
    for name, row in cells.items():
        if name.startswith("diff-dagger"):
            assert "refusal" in row.result
            continue
        assert [len(fit["success"]) for fit in row.result["fits"]] == [4, 4]
        assert row.result["labels"] == row.result["burden"]["labels"] == 40
        assert row.provenance.command.endswith("--out bench")
    assert "Diff-DAgger does not fit here" in said
    assert "noise injection" in said
    assert "Each: 4 test starts, 2 seeds, 40 labels, the best of 2 fits on 2 validation starts" in said
    # One cell is forgotten; the others carry what nothing would compute again.
    kept = {**cells, "noise-seed-0": replace(cells["noise-seed-0"], settings={})}
    store.keep(kept.values())
    again = cli(*COMMAND, "--out", "bench").out
    assert again.count(" seed ") == 1
    assert store.read() == {**kept, "noise-seed-0": store.read()["noise-seed-0"]}
    assert store.read()["noise-seed-0"].result == cells["noise-seed-0"].result


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["bench", "towers"], "available: remedies"),
        (["bench", "remedies", "car", "--only", "prayer"], "no such remedy"),
        ([*COMMAND, "--fits", "1"], "not be compared on equal terms"),
    ],
)
def test_wrong_names_are_refused(cli, words, text) -> None:
    said = cli(*words)
    assert said.status == 2
    assert text in said.err
