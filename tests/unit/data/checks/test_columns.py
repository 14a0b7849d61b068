"""Files of a data set: rows that nobody counts, clocks that drift, leap or run back, counters and tasks."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from lerobot_folders import FEATURES, rows, write_v21, write_v30
from steadyhand.core.errors import DataError
from steadyhand.data.checks import check
from steadyhand.data.checks.columns import ColumnCheck, task_problems
from steadyhand.data.dataset import open_dataset
from steadyhand.data.problems import Problem


def problems(data: Path) -> list[Problem]:
    """Return what is told of the columns."""
    return list(ColumnCheck(open_dataset(data)).problems())


def found(data: Path, code: str) -> list[Problem]:
    return [problem for problem in problems(data) if problem.code == code]


def test_rows_that_the_metadata_does_not_count(tmp_path: Path) -> None:
    root = write_v30(tmp_path / "d", [rows(seed) for seed in range(3)])
    path = root / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    for more in (1, 2):
        pq.write_table(table.take([*range(len(table)), *range(more)]), path)
        (problem,) = found(root, "rows-beyond")
        assert f"{more} row" in problem.what


def timed(tmp_path: Path, *clocks: np.ndarray, **more: Any) -> Path:
    return write_v21(tmp_path / "d", [rows(n, timestamp=clock) for n, clock in enumerate(clocks)], **more)


STEADY = np.arange(12) / 10


def test_another_rate_than_fps_says(tmp_path: Path) -> None:
    (problem,) = found(timed(tmp_path, STEADY * 1.25, STEADY * 1.25), "rate")
    assert "0.125 s apart (8 Hz); the metadata says 10 Hz" in problem.what


def test_the_rate_is_looked_at_where_no_metadata_names_the_timestamp(tmp_path: Path) -> None:
    root = timed(tmp_path, STEADY * 1.25)
    info = root / "meta/info.json"
    info.write_text(info.read_text().replace('"timestamp"', '"clock"'))
    assert "rate" in {problem.code for problem in check(root).problems} or not check(root).ok


def test_steps_that_were_dropped(tmp_path: Path) -> None:
    gap = STEADY + 0.4 * (np.arange(12) >= 7)
    (problem,) = found(timed(tmp_path, STEADY, gap), "steps-dropped")
    assert problem.where == "episode 1"
    assert "0.5 s before step 7 of episode 1" in problem.what


def test_time_that_runs_backwards_is_an_error(tmp_path: Path) -> None:
    back = STEADY.copy()
    back[[4, 5]] = back[[5, 4]]
    (problem,) = found(timed(tmp_path, back), "time-backwards")
    assert problem.severity == "error"
    assert "step 5 of episode 0" in problem.what


def test_an_episode_that_was_cut_from_a_longer_one(tmp_path: Path) -> None:
    report = check(timed(tmp_path, STEADY + 3.0, STEADY))
    (problem,) = report.problems
    assert (problem.code, problem.severity, problem.where) == ("late-start", "note", "episode 0")


def test_several_tasks(tmp_path: Path) -> None:
    both = rows(0, task_index=np.repeat([0, 1], 6), tasks=["pick", "place"])
    root = write_v21(tmp_path / "d", [both, rows(1)], tasks=("pick", "place"))
    (several,), (switch,) = task_problems(open_dataset(root)), found(root, "task-switch")
    assert several.what == "'pick', 'place'"
    assert switch.where == "episode 0"
    assert check(root).ok


@pytest.mark.parametrize("write", [write_v21, write_v30])
def test_a_task_without_a_text_is_refused_on_reading(tmp_path: Path, write: Any) -> None:
    root = write(tmp_path / "d", [rows(0, task_index=np.full(12, 1)), rows(1)])
    assert not check(root).ok
    with pytest.raises(DataError, match="without a text"):
        open_dataset(root).frames()


@pytest.mark.parametrize(
    ("task", "worst"), [([0, 0, 7, 0], "7"), ([-2, 0, 7, 0], "-2"), ([0, 0, -2, 0], "-2")]
)
def test_the_task_without_a_text_is_named(tmp_path: Path, task: list[int], worst: str) -> None:
    root = write_v30(tmp_path / "d", [rows(0, task_index=np.repeat(task, 3)), rows(1)])
    assert any(f"task_index {worst} has no text" in problem.what for problem in check(root).problems)


# Clocks, at four steps a second so that sums are exact


def clock(*between: float, first: float = 0.0) -> np.ndarray:
    """Return the times of steps that are so far apart [s]."""
    return first + np.concatenate([[0.0], np.cumsum(between)])


QUARTER = 0.25


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        # The first step may be a quarter of a step late or early.
        *[(clock(*[QUARTER] * 9, first=first), []) for first in (0.0625, -0.0625)],
        *[(clock(*[QUARTER] * 9, first=first), ["late-start"]) for first in (0.07, -0.07)],
        # A step may take half as long again as the others, or as fps says; a quarter is a drift.
        (clock(*[QUARTER] * 6, 0.3125, *[QUARTER] * 6), []),
        *[(clock(*[QUARTER] * 6, gap, *[QUARTER] * 6), ["timestamp"]) for gap in (0.32, 0.18, 0.375)],
        (clock(*[QUARTER] * 6, 0.38, *[QUARTER] * 6), ["steps-dropped"]),
        (clock(*[0.5] * 6, 0.75, *[0.5] * 6), ["rate"]),
        (clock(*[0.5] * 6, 0.76, *[0.5] * 6), ["rate", "steps-dropped"]),
        (clock(*[0.125] * 6, 0.25, *[0.125] * 6), ["rate"]),
        (clock(*[QUARTER] * 9, first=3.0) + 0.06 * (np.arange(10) > 4), ["late-start"]),
        # The rate may be off by a fiftieth; the median counts.
        *[(clock(*[QUARTER * share] * 9), []) for share in (1.019, 0.981)],
        *[(clock(*[QUARTER * share] * 9), ["rate"]) for share in (1.021, 0.979)],
        (clock(*[0.24, 0.26] * 6), []),
        (clock(*[0.26, 0.24] * 6), []),
        # Time runs forwards.
        (clock(*[QUARTER] * 6, 0.0, *[QUARTER] * 6), ["time-backwards"]),
        (clock(*[0.0] * 9), ["time-backwards"]),
        (clock(), []),
    ],
)
def test_what_a_clock_shows(tmp_path: Path, times: np.ndarray, expected: list[str]) -> None:
    root = write_v21(tmp_path / "d", [rows(0, len(times), timestamp=times)], fps=4)
    assert [one.code for one in problems(root)] == expected


def test_clocks_are_judged_episode_by_episode_and_told_at_once(tmp_path: Path) -> None:
    steady, drifting = clock(*[QUARTER] * 9), clock(*[QUARTER] * 4, 0.35, *[QUARTER] * 4)
    gap, back = clock(*[QUARTER] * 2, 0.5, *[QUARTER] * 5, 0.75), clock(*[QUARTER] * 7, -0.5, QUARTER)
    times = [steady, drifting, gap, back, clock(), gap, back, drifting, steady + 1, steady + 2]
    data = [rows(number, len(clock), timestamp=clock) for number, clock in enumerate(times)]
    told = {one.code: (one.where, one.what) for one in problems(write_v21(tmp_path / "d", data, fps=4))}
    assert told["timestamp"][0] == "episodes 1, 7"
    assert told["steps-dropped"][0] == "episodes 2, 5"
    assert "0.75 s before step 9 of episode 2" in told["steps-dropped"][1]
    assert told["time-backwards"][0] == "episodes 3, 6"
    assert told["time-backwards"][1].endswith("first at step 8 of episode 3")
    assert told["late-start"][0] == "episodes 8, 9"


# Counters, tasks, rows


@pytest.mark.parametrize("name", ["frame_index", "index"])
def test_a_counter_that_does_not_count(tmp_path: Path, name: str) -> None:
    wrong = np.arange(12, 24)
    wrong[11] = 99
    (problem,) = problems(write_v21(tmp_path / "d", [rows(0), rows(1, **{name: wrong}), rows(2)]))
    assert (problem.code, problem.severity) == (name.replace("_", "-"), "error")
    assert problem.where == "episode 1"
    assert "data repair" in problem.hint


@pytest.mark.parametrize(("number", "texts"), [(0, 0), (1, 0), (1, 1), (1, 2), (2, 2), (-1, 1)])
def test_a_task_needs_a_text_unless_it_is_the_only_one(tmp_path: Path, number: int, texts: int) -> None:
    data = [rows(0, task_index=np.full(12, number), tasks=[])]
    root = write_v21(tmp_path / "d", data, tasks=("lift", "push")[:texts])
    told = problems(root)
    assert [one.where for one in told] == ["episode 0"] * (not 0 <= number < max(texts, 1))
    assert all(f"task_index {number} has no text; there are {texts} tasks" in one.what for one in told)
    assert all("convert the episode again" in one.hint for one in told)


def test_rows_beyond_are_told_of_each_file_of_a_whole_data_set(tmp_path: Path) -> None:
    root = write_v21(tmp_path / "d", [rows(seed) for seed in range(3)])
    for number, more in ((0, 3), (2, 1)):
        path = root / f"data/chunk-000/episode_{number:06d}.parquet"
        table = pq.read_table(path)
        pq.write_table(table.take([*range(12), *range(more)]), path)
    told = {one.where[-14:]: one.what[:18] for one in found(root, "rows-beyond")}
    assert told == {"000000.parquet": "the file has 3 row", "000002.parquet": "the file has 1 row"}
    some = check(root, episodes=[0, 2]).problems
    assert not [one for one in some if one.code == "rows-beyond"]


def test_a_file_that_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    root = write_v21(tmp_path / "d", [rows(seed) for seed in range(3)])
    (root / "data/chunk-000/episode_000001.parquet").unlink()
    (problem,) = problems(root)
    assert (problem.code, problem.severity) == ("data-file", "error")
    assert problem.where.endswith("episode_000001.parquet (episodes 1 to 1)")


def test_columns_that_are_called_as_ours_are_named(tmp_path: Path) -> None:
    one = {"dtype": "float32", "shape": [1], "names": None}
    columns = {name: np.zeros(12, np.float32) for name in ("weight", "next.reward", "next.speed", "force")}
    features = {**FEATURES, **dict.fromkeys(columns, one)}
    (problem,) = check(write_v21(tmp_path / "d", [rows(0, **columns)], features)).problems
    assert (problem.code, problem.where) == ("foreign-column", "weight")
