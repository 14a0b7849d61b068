"""Rows of files behind episodes: each episode's own in any choice of them, the clock and tasks of steps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lerobot_folders import FEATURES, STATE, rows, write_v21, write_v30
from steadyhand.core.errors import DataError
from steadyhand.data.checks import check
from steadyhand.data.dataset import open_dataset
from steadyhand.data.formats.layout import Layout
from steadyhand.data.rows import has_column, read_columns, step_times, task_numbers

LENGTHS = (3, 5, 2, 7, 4, 6)


def layout_of(root: Path, write: Any = write_v30, **more: Any) -> tuple[Layout, list[dict[str, Any]]]:
    data = [rows(number, length) for number, length in enumerate(LENGTHS)]
    return open_dataset(write(root, data, **more)).layout, data


@pytest.mark.parametrize("write", [write_v21, write_v30])
@pytest.mark.parametrize("chosen", [(0, 1, 2), (0, 2, 4), (1, 3, 4), (0, 1, 3), (4, 2, 1), (5,), ()])
def test_episodes_are_read_in_any_choice_and_order(tmp_path: Path, write: Any, chosen: Any) -> None:
    layout, data = layout_of(tmp_path / "d", write)
    refs = [layout.episodes[number] for number in chosen]
    found = read_columns(layout, refs, {"action": "float64", STATE: "float32"})
    assert [set(columns) for columns in found] == [{"action", STATE}] * len(chosen)
    for columns, number in zip(found, chosen, strict=True):
        np.testing.assert_array_equal(columns["action"], data[number]["action"])
        assert (columns["action"].dtype, columns[STATE].dtype) == (np.float64, np.float32)
        np.testing.assert_array_equal(columns[STATE], data[number][STATE])


def test_the_number_of_the_episode_is_a_column_where_it_is_asked_for(tmp_path: Path) -> None:
    layout, _ = layout_of(tmp_path / "d")
    found = read_columns(layout, layout.episodes[1:3], {"episode_index": "int64", "index": "float32"})
    assert [columns["episode_index"].ravel().tolist() for columns in found] == [[1] * 5, [2] * 2]
    assert [columns["index"].ravel().tolist() for columns in found] == [[3, 4, 5, 6, 7], [8, 9]]


def changed(root: Path, name: str, values: Any) -> None:
    """Put another column into the one file of a data set."""
    path = root / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index(name), name, pa.array(values)), path)


def test_only_what_becomes_float32_is_rounded_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout, _ = layout_of(tmp_path / "d")
    counter = 2**40 + np.arange(27)
    changed(tmp_path / "d", "index", counter)
    for dtype in ("int64", "float64"):
        found = read_columns(layout, layout.episodes[1:2], {"index": dtype})
        assert found[0]["index"].ravel().tolist() == counter[3:8].tolist()
    assert not caplog.records
    read_columns(layout, layout.episodes[1:2], {"index": "float32"})
    assert "index, entry 0, is read as float32, which makes 4 of 4 changes" in caplog.text


@pytest.mark.parametrize("absent", [("episode_index",), ("episode_index", "frame_index", "index")])
def test_rows_whose_episode_nothing_tells_are_refused_on_reading(tmp_path: Path, absent: Any) -> None:
    root = write_v30(tmp_path / "d", [rows(0), rows(1)], absent=absent)
    path = root / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    assert open_dataset(root).frames().action.shape == (24, 2)
    pq.write_table(pa.concat_tables([table.slice(0, 5), table]), path)
    assert not check(root).ok
    with pytest.raises(DataError, match="do not count"):
        open_dataset(root).frames()


def test_choices_that_are_stored_as_floats_are_whole_numbers(tmp_path: Path) -> None:
    layout, _ = layout_of(tmp_path / "d")
    choices = np.arange(54.0).reshape(27, 2)
    changed(tmp_path / "d", "action", choices.tolist())
    found = read_columns(layout, layout.episodes[1:2], {"action": "int64"})
    np.testing.assert_array_equal(found[0]["action"], np.arange(6, 16).reshape(5, 2))
    choices[4, 1] += 0.5
    changed(tmp_path / "d", "action", choices.tolist())
    with pytest.raises(DataError, match="action"):
        read_columns(layout, layout.episodes[1:2], {"action": "int64"})


def test_indices_are_whole_numbers_whatever_the_metadata_say(tmp_path: Path) -> None:
    layout, _ = layout_of(tmp_path / "d")
    info = tmp_path / "d/meta/info.json"
    described = json.loads(info.read_text())
    described["features"]["index"] = {"dtype": "float32", "shape": [1], "names": None}
    info.write_text(json.dumps(described))
    counter = 2**40 + np.arange(27)
    changed(tmp_path / "d", "index", counter)
    layout = open_dataset(tmp_path / "d").layout
    (found,) = read_columns(layout, layout.episodes[:1], {"index": "int64"})
    assert found["index"].ravel().tolist() == counter[:3].tolist()


def test_one_row_of_another_episode_is_refused(tmp_path: Path) -> None:
    layout, _ = layout_of(tmp_path / "d")
    owners = np.repeat(np.arange(6), LENGTHS)
    owners[12] = 4
    changed(tmp_path / "d", "episode_index", owners)
    with pytest.raises(DataError, match="another episode") as refusal:
        read_columns(layout, layout.episodes, {"action": "float32"})
    assert refusal.value.rest["got"] == "episode 4"
    assert refusal.value.rest["expected"] == "episode 3 in rows 10 to 16"
    assert len(read_columns(layout, layout.episodes[:3], {"action": "float32"})) == 3


@pytest.mark.parametrize(
    ("row", "where"), [(0, "step 0 of episode 0"), (8, "step 0 of episode 2"), (16, "step 6 of episode 3")]
)
def test_a_value_that_cannot_be_is_told_by_its_step(tmp_path: Path, row: int, where: str) -> None:
    layout, data = layout_of(tmp_path / "d")
    action = np.concatenate([one["action"] for one in data])
    action[row, 1] = np.nan
    changed(tmp_path / "d", "action", action.tolist())
    with pytest.raises(DataError, match=where):
        read_columns(layout, layout.episodes, {"action": "float32"})


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    layout, _ = layout_of(tmp_path / "d")
    with pytest.raises(DataError, match="lacks columns") as refusal:
        read_columns(layout, layout.episodes, {"action": "float32", "speed": "float32"})
    assert refusal.value.rest["got"] == ["speed"]


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        # The clock; without one the numbers of the steps; without those the rows. Four steps a second.
        ((), [[7.0, 7.5, 7.75], [1.0]]),
        (("timestamp",), [[0.75, 1.0, 1.25], [0.5]]),
        (("timestamp", "frame_index"), [[0.0, 0.25, 0.5], [0.0]]),
    ],
)
def test_when_steps_were_recorded(tmp_path: Path, absent: Any, expected: list[list[float]]) -> None:
    columns = (
        {"timestamp": np.array([7.0, 7.5, 7.75]), "frame_index": np.array([3, 4, 5])},
        {"timestamp": np.array([1.0]), "frame_index": np.array([2])},
    )
    data = [rows(number, len(one["timestamp"]), **one) for number, one in enumerate(columns)]
    layout = open_dataset(write_v30(tmp_path / "d", data, fps=4, absent=absent)).layout
    assert [times.tolist() for times in step_times(layout, layout.episodes)] == expected
    assert [has_column(layout.episodes, name) for name in ("action", "timestamp")] == [True, not absent]
    assert step_times(layout, []) == []
    assert not has_column([], "action")


@pytest.mark.parametrize(
    ("numbers", "texts", "says"),
    [
        ([0, 1, 1], 2, None),
        ([0, 0, 0], 0, None),
        ([0, 2, 5], 2, "2 in step 1 of episode 0 0 to 1"),
        ([0, 1, -1], 2, "-1 in step 2 of episode 0 0 to 1"),
        ([0, 1, 0], 0, "1 in step 1 of episode 0 0 to 0"),
    ],
)
def test_which_task_steps_have(tmp_path: Path, numbers: list[int], texts: int, says: str | None) -> None:
    one = rows(0, 3, task_index=np.array(numbers), tasks=[])
    root = write_v21(tmp_path / "d", [one], tasks=("lift", "push")[:texts])
    layout = open_dataset(root).layout
    if says is None:
        found = task_numbers(layout, layout.episodes)
        assert found is not None
        assert [number.tolist() for number in found] == [numbers]
    else:
        with pytest.raises(DataError, match="without a text") as refusal:
            task_numbers(layout, layout.episodes)
        assert f"{refusal.value.rest['got']} {refusal.value.rest['expected']}".startswith(says)


def test_without_a_column_of_tasks_none_are_known(tmp_path: Path) -> None:
    layout = open_dataset(write_v21(tmp_path / "d", [rows(0)], FEATURES, absent=("task_index",))).layout
    assert task_numbers(layout, layout.episodes) is None
