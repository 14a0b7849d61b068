"""Where the metadata say that each episode lies, and what they must not say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lerobot_folders import CAMERA, FEATURES, STATE, VECTOR, VIDEO, rows, write_lines, write_v21, write_v30
from steadyhand.core.errors import DataError
from steadyhand.data.formats.extras import extras
from steadyhand.data.formats.layout import Layout, check_totals, read_info
from steadyhand.data.formats.lerobot import locate

EPISODES = "meta/episodes/chunk-000/file-000.parquet"
WITH_CAMERA = {**FEATURES, CAMERA: VIDEO}


def three(length: int = 2) -> list[Any]:
    """Return three episodes of 2, 3 and 4 steps."""
    return [rows(number, length=length + number) for number in range(3)]


def edit(root: Path, **changes: Any) -> Path:
    path = root / "meta/info.json"
    info = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in info.items() if value != "absent"}))
    return root


def change(path: Path, new: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Change the rows of a table."""
    pq.write_table(pa.Table.from_pylist(new(pq.read_table(path).to_pylist())), path)


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        *(("fps", value, "is not a positive number") for value in (0, -1, 1e9, "10", None, True, [10])),
        *(
            (key, value, f"{key} in .* is not a count")
            for key in ("total_episodes", "total_frames", "chunks_size")
            for value in (-1, 1.0, "1", True, None)
        ),
        ("fps", "absent", "lacks keys"),
        ("features", "absent", "lacks keys"),
        (
            "features",
            {**FEATURES, "timestamp": {"dtype": "string", "shape": [1]}},
            "timestamp .* wrong dtype",
        ),
    ],
)
def test_numbers_of_info_that_cannot_be_are_refused(tmp_path: Path, key: str, value: Any, what: str) -> None:
    root = edit(write_v21(tmp_path / "d", three()), **{key: value})
    with pytest.raises(DataError, match=what):
        read_info(root)


def test_info_may_leave_out_what_can_be_counted(tmp_path: Path) -> None:
    root = write_v21(tmp_path / "d", three(), robot_type="arm")
    info = read_info(root)
    assert (info.fps, info.total_episodes, info.total_frames, info.robot_type) == (10, 3, 9, "arm")
    edit(root, total_episodes="absent", total_frames="absent", chunks_size="absent", robot_type=3)
    info = read_info(root)
    assert (info.chunks_size, info.robot_type) == (1000, None)
    check_totals(info, [2, 3, 4], root)
    assert len(locate(root).episodes) == 3
    assert read_info(edit(root, chunks_size=0)).chunks_size == 1
    assert read_info(edit(root, chunks_size=7)).chunks_size == 7


@pytest.mark.parametrize(
    ("lengths", "what"),
    [
        ([1, 0, 8], "Episode 1 in .* has no steps"),
        ([3, 6], "differ in the number of episodes"),
        ([2, 3, 5], "do not add up"),
        ([2, 3, 3], "do not add up"),
    ],
)
def test_totals_must_agree(tmp_path: Path, lengths: list[int], what: str) -> None:
    info = read_info(write_v21(tmp_path / "d", three()))
    check_totals(info, [1, 1, 7], tmp_path)
    with pytest.raises(DataError, match=what):
        check_totals(info, lengths, tmp_path)


@pytest.mark.parametrize("write", [write_v21, write_v30])
@pytest.mark.parametrize(("key", "value"), [("total_episodes", 4), ("total_frames", 8)])
def test_an_incomplete_copy_is_refused_in_every_version(
    tmp_path: Path, write: Any, key: str, value: int
) -> None:
    with pytest.raises(DataError, match=f"{key} = {value}"):
        locate(write(tmp_path / "d", three(), **{key: value}))


def test_templates_are_those_of_info_or_the_usual_ones(tmp_path: Path) -> None:
    usual, fields = ("data/{a}", "videos/{a}"), ("a",)
    root = write_v21(
        tmp_path / "d", three(), WITH_CAMERA, data_path="x/{a:03d}", video_path="y/{a}/{video_key}"
    )
    assert read_info(root).templates(*usual, fields) == ("x/{a:03d}", "y/{a}/{video_key}")
    edit(root, data_path="absent", video_path=None)
    assert read_info(root).templates(*usual, fields) == usual
    edit(root, video_path="{b}", features=FEATURES)
    assert read_info(root).templates(*usual, fields) == usual  # without a video nothing is asked of its path
    edit(root, data_path="{video_key}")
    with pytest.raises(DataError, match="data_path"):
        read_info(root).templates(*usual, fields)


def test_layouts_may_be_chosen_from_and_renamed_again_and_again(tmp_path: Path) -> None:
    layout = locate(write_v21(tmp_path / "d", three(), {**WITH_CAMERA, "a": VECTOR}))
    assert layout.cameras == [CAMERA]
    some = layout.selected([2, 0])
    assert [ref.index for ref in some.episodes] == [2, 0]
    assert not some.is_whole
    assert some.all_episodes == layout.episodes
    again = some.selected([1])
    assert [ref.index for ref in again.episodes] == [0]
    assert (again.is_whole, again.all_episodes) == (False, layout.episodes)
    assert layout.selected([0, 1, 2]).is_whole
    named = layout.renamed({"a": "b", CAMERA: "cam"}).renamed({"b": "c", "cam": "eye"})
    assert [named.column_of(name) for name in ("c", "eye", STATE, "unknown")] == [
        "a",
        CAMERA,
        STATE,
        "unknown",
    ]
    assert [list(ref.videos) for ref in named.episodes] == [["eye"]] * 3
    assert named.episodes[1].videos["eye"] == layout.episodes[1].videos[CAMERA]


@pytest.mark.parametrize(
    ("names", "what"),
    [
        ({"a": "../x"}, "name that cannot be used"),
        ({"b": "c"}, "no such feature to rename"),
        ({"timestamp": "time"}, "no such feature to rename"),
        ({"a": STATE}, "would have the same name"),
        ({"a": "x", STATE: "x"}, "would have the same name"),
    ],
)
def test_names_that_cannot_be_are_refused_by_what_is_wrong(
    tmp_path: Path, names: dict[str, str], what: str
) -> None:
    layout = locate(write_v21(tmp_path / "d", three(), {**FEATURES, "a": VECTOR}))
    with pytest.raises(DataError, match=what) as error:
        layout.renamed(names)
    if "such feature" in what:
        assert error.value.rest["available"] == ["action", STATE, "a"]


def test_lines_of_v21_may_stand_in_any_order(tmp_path: Path) -> None:
    root = write_v21(tmp_path / "d", three(), WITH_CAMERA, tasks=("push", "pull"), chunks_size=2)
    lines = [{"episode_index": k, "tasks": ["pull", "push"][:k], "length": 2 + k} for k in (2, 0, 1)]
    write_lines(root / "meta/episodes.jsonl", lines)
    write_lines(
        root / "meta/tasks.jsonl", [{"task_index": k, "task": t} for k, t in ((1, "pull"), (0, "push"))]
    )
    layout = locate(root)
    assert (layout.version, layout.fps, layout.tasks) == ("v2.1", 10, ("push", "pull"))
    chunks = ["000", "000", "001"]
    for number, (ref, chunk) in enumerate(zip(layout.episodes, chunks, strict=True)):
        assert (ref.index, ref.length, ref.first_row, ref.rows_of_file) == (number, 2 + number, 0, 2 + number)
        assert ref.tasks == ("pull", "push")[:number]
        assert ref.data_path == root / f"data/chunk-{chunk}/episode_{number:06d}.parquet"
        path = root / f"videos/chunk-{chunk}/{CAMERA}/episode_{number:06d}.mp4"
        assert (ref.videos[CAMERA].path, ref.videos[CAMERA].start) == (path, 0.0)


@pytest.mark.parametrize(
    ("file", "lines", "what"),
    [
        ("tasks", [{"task_index": 0}], "A task in .* lacks entries"),
        ("tasks", [{"task": "lift"}], "A task in .* lacks entries"),
        ("tasks", [{"task_index": 0, "task": 3}], "A task in .* lacks entries"),
        ("tasks", [{"task_index": 1, "task": "lift"}], "does not number its tasks from 0"),
        ("tasks", [{"task_index": k, "task": "lift"} for k in (0, 2)], "does not number its tasks from 0"),
        ("episodes", [{"episode_index": 0}], "An episode in .* lacks entries"),
        ("episodes", [{"length": 3}], "An episode in .* lacks entries"),
        ("episodes", [{"episode_index": 0, "length": 2.5}], "An episode in .* lacks entries"),
        (
            "episodes",
            [{"episode_index": k, "length": 3} for k in (0, 1, 3)],
            r"(?s)does not number its episodes from 0.*got: +3\n.*expected: +2",
        ),
    ],
)
def test_lines_of_v21_that_do_not_add_up_are_refused(
    tmp_path: Path, file: str, lines: list[dict[str, Any]], what: str
) -> None:
    root = write_v21(tmp_path / "d", three())
    write_lines(root / f"meta/{file}.jsonl", lines)
    with pytest.raises(DataError, match=what):
        locate(root)


def in_files(root: Path) -> Layout:
    """Give the three episodes to two data files: two to the first."""

    def spread(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
        places = [(0, 0), (0, 0), (1, 5)]
        return [
            {**row, "data/chunk_index": chunk, "data/file_index": file, f"videos/{CAMERA}/file_index": number}
            for number, (row, (chunk, file)) in enumerate(zip(table, places, strict=True))
        ][::-1]  # and in another order

    change(root / EPISODES, spread)
    return locate(root)


def test_episodes_of_v30_lie_end_to_end_in_their_files(tmp_path: Path) -> None:
    root = write_v30(tmp_path / "d", three(), WITH_CAMERA, starts=[0.0, 0.25, 1.5])
    layout = in_files(root)
    first, second = root / "data/chunk-000/file-000.parquet", root / "data/chunk-001/file-005.parquet"
    assert [
        (ref.index, ref.length, ref.data_path, ref.first_row, ref.rows_of_file) for ref in layout.episodes
    ] == [(0, 2, first, 0, 5), (1, 3, first, 2, 5), (2, 4, second, 0, 4)]
    videos = [ref.videos[CAMERA] for ref in layout.episodes]
    assert [video.start for video in videos] == [0.0, 0.25, 1.5]
    assert [video.path for video in videos] == [
        root / f"videos/{CAMERA}/chunk-000/file-{number:03d}.mp4" for number in range(3)
    ]


@pytest.mark.parametrize("column", ["chunk_index", "file_index"])
def test_a_video_without_its_number_is_no_file(tmp_path: Path, column: str) -> None:
    root = write_v30(tmp_path / "d", three(), WITH_CAMERA)
    change(root / EPISODES, lambda table: [*table[:2], {**table[2], f"videos/{CAMERA}/{column}": None}])
    paths = [ref.videos[CAMERA].path for ref in locate(root).episodes]
    assert paths == [*[root / f"videos/{CAMERA}/chunk-000/file-000.mp4"] * 2, root / f"videos/{CAMERA}"]


def test_what_is_wrong_with_episodes_is_told_of_their_file_or_of_their_folder(tmp_path: Path) -> None:
    root = write_v30(tmp_path / "d", three())
    table = pq.read_table(root / EPISODES)
    pq.write_table(table.slice(1), root / EPISODES)
    with pytest.raises(DataError, match=r"file-000\.parquet do not follow one another"):
        locate(root)
    pq.write_table(table.slice(0, 1), root / EPISODES)
    pq.write_table(table.slice(2), (root / EPISODES).with_name("file-001.parquet"))
    with pytest.raises(DataError, match="meta/episodes do not follow one another"):
        locate(root)
    pq.write_table(table.slice(1), (root / EPISODES).with_name("file-001.parquet"))
    assert len(locate(root).episodes) == 3


def test_a_data_set_without_episodes_is_read_and_one_that_lost_them_is_not(tmp_path: Path) -> None:
    root = write_v30(tmp_path / "d", three(), total_episodes=0, total_frames=0)
    (root / EPISODES).unlink()
    (root / "meta/tasks.parquet").unlink()
    assert (locate(root).episodes, locate(root).tasks) == ((), ())
    with pytest.raises(DataError, match=r"no .*meta/episodes/chunk-000/file-000\.parquet"):
        locate(edit(root, total_episodes=3))


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ([0, 0], ["a", "b"]),
        ([0, None], ["a", "b"]),
        ([0.0, 0.5], ["a", "b"]),
        ([0, 2], ["a", "b"]),
        ([1, 2], ["a", "b"]),
        ([0, 1], ["a", None]),
        ([0], [3]),
    ],
)
def test_tasks_of_v30_that_are_not_numbered_from_0_are_refused(
    tmp_path: Path, numbers: list[Any], texts: list[Any]
) -> None:
    root = write_v30(tmp_path / "d", three())
    pq.write_table(pa.table({"task_index": numbers, "task": texts}), root / "meta/tasks.parquet")
    with pytest.raises(DataError, match="does not number its tasks from 0"):
        locate(root)


@pytest.mark.parametrize("column", ["task", "__index_level_0__"])
def test_tasks_of_v30_may_stand_in_any_order_under_either_name(tmp_path: Path, column: str) -> None:
    root = write_v30(tmp_path / "d", three())
    pq.write_table(
        pa.table({"task_index": [2.0, 0, 1], column: ["c", "a", "b"]}), root / "meta/tasks.parquet"
    )
    assert locate(root).tasks == ("a", "b", "c")


def test_a_file_without_a_version_that_can_be_read_is_refused(tmp_path: Path) -> None:
    root = write_v30(tmp_path / "d", three())
    for version in ("v9", 3, None, ["v3.0"]):
        with pytest.raises(DataError, match="names no format version"):
            locate(edit(root, codebase_version=version))
    (root / "meta/info.json").unlink()
    with pytest.raises(DataError, match="is not a LeRobot data set"):
        locate(root)


@pytest.mark.parametrize("write", [write_v21, write_v30])
def test_what_a_copy_would_not_hold_is_listed(tmp_path: Path, write: Any) -> None:
    plain = locate(write(tmp_path / "plain", three(), WITH_CAMERA, splits={"train": "0:3"}, total_tasks=1))
    for name in (".hidden", "stats.json"):
        (tmp_path / "plain/meta" / name).touch()
    assert extras(plain) == ()
    assert extras(plain.renamed({STATE: "observation.other"})) == ()
    assert extras(plain.selected([0])) == ()
    assert extras(plain.selected([])) == ()
    episodes = [rows(k, length=2, force=[1.0, 2.0]) for k in range(2)]
    root = write(tmp_path / "rich", episodes, operator="me", splits={"train": "0:1", "test": "1:2"})
    (root / "meta/notes.txt").touch()
    table = root / "meta" / ("episodes.jsonl" if write is write_v21 else EPISODES.removeprefix("meta/"))
    if write is write_v21:
        lines = [json.loads(line) for line in table.read_text().splitlines()]
        write_lines(table, [lines[0], {**lines[1], "weather": "fine"}])
        write_lines(root / "meta/tasks.jsonl", [{"task_index": 0, "task": "lift", "hard": True}])
    else:
        more = {"weather": "fine", "stats/action/mean": 0.0, "meta/episodes/chunk_index": 0}
        change(table, lambda lines: [{**line, **more} for line in lines])
        change(root / "meta/tasks.parquet", lambda lines: [{**line, "hard": True} for line in lines])
    assert extras(locate(root)) == (
        "weather of meta/episodes",
        "hard of meta/tasks",
        "operator of meta/info.json",
        "notes.txt of meta",
        "splits of meta/info.json (train, test)",
        "force of the data files",
    )
    assert extras(locate(edit(root, splits=[1], operator="absent")))[2:] == (
        "notes.txt of meta",
        "force of the data files",
    )
