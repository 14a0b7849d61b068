"""Damaged data sets: always a DataError that names the place, and `check` finds them all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lerobot_folders import rows, write_v30
from steadyhand.core.errors import DataError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.checks import check
from steadyhand.data.dataset import open_dataset
from steadyhand.data.episode import demonstration
from steadyhand.data.formats.video import write_mp4
from steadyhand.data.info import summarise
from steadyhand.data.store import EpisodeStore
from toy_episodes import ACTION_SPEC, CAMERAS, episode

DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
VIDEO = "videos/observation.images.front/chunk-000/file-000.mp4"
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "d"
    with EpisodeStore.create(
        root, observation=CAMERAS, action=ACTION_SPEC, control_dt=0.1, image_format="mp4"
    ) as store:
        for seed in range(3):
            store.append(episode(seed, length=8, specs=CAMERAS))
        store.compact()
    shutil.rmtree(root / "meta/steadyhand")  # as if it came from elsewhere
    return root


def v21(root: Path, *, length: int = 6) -> Path:
    """Write a data set as LeRobot v2.1 lays it out."""
    features = {
        "observation.state": {"dtype": "float64", "shape": [2], "names": {"motors": ["a", "b"]}},
        "action": {"dtype": "float64", "shape": [2], "names": None},
        "observation.images.top": {
            "dtype": "video",
            "shape": [32, 48, 3],
            "names": ["height", "width", "channel"],
        },
        "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    }
    info = {
        "codebase_version": "v2.1",
        "fps": 10,
        "features": features,
        "total_episodes": 2,
        "total_frames": 2 * length,
        "chunks_size": 1,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "lift"}\n')
    lines = [json.dumps({"episode_index": i, "tasks": ["lift"], "length": length}) for i in range(2)]
    (root / "meta/episodes.jsonl").write_text("\n".join(lines) + "\n")
    for i in range(2):
        values = np.random.default_rng(i).normal(size=(length, 2))
        table = pa.table(
            {
                "observation.state": pa.array(values.tolist()),
                "action": pa.array((values + 1).tolist()),
                "episode_index": pa.array([i] * length),
            }
        )
        path = root / f"data/chunk-{i:03d}/episode_{i:06d}.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table, path)
        frames = [np.full((32, 48, 3), 20 * t + 60 * i, dtype=np.uint8) for t in range(length)]
        write_mp4(root / f"videos/chunk-{i:03d}/observation.images.top/episode_{i:06d}.mp4", frames, fps=10)
    return root


def edit_info(**changes: object) -> Damage:
    def damage(root: Path) -> None:
        path = root / "meta/info.json"
        info = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({key: value for key, value in info.items() if value != "absent"}))

    return damage


def edit_feature(name: str, feature: object) -> Damage:
    def damage(root: Path) -> None:
        features = json.loads((root / "meta/info.json").read_text())["features"]
        edit_info(features={**features, name: feature})(root)

    return damage


def edit_table(path: str, change: Callable[[pa.Table], pa.Table]) -> Damage:
    def damage(root: Path) -> None:
        pq.write_table(change(pq.read_table(root / path)), root / path)

    return damage


def with_column(name: str, values: Callable[[pa.ChunkedArray], object]) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array(values(table.column(name))))

    return change


def with_nan(column: pa.ChunkedArray) -> list[list[float]]:
    rows = column.to_pylist()
    rows[9][1] = float("nan")
    return rows


def cut(path: str, share: float) -> Damage:
    def damage(root: Path) -> None:
        data = (root / path).read_bytes()
        (root / path).write_bytes(data[: int(len(data) * share)])

    return damage


def plain(values: list[object]) -> Callable[[pa.ChunkedArray], list[object]]:
    return lambda column: values * (len(column) // len(values))


DAMAGES: dict[str, Damage] = {
    "no info": lambda root: (root / "meta/info.json").unlink(),
    "info is no JSON": lambda root: (root / "meta/info.json").write_text("{"),
    "info is a list": lambda root: (root / "meta/info.json").write_text("[]"),
    "info is binary": lambda root: (root / "meta/info.json").write_bytes(b"\xff\xfe\x00"),
    "info nests too deep": lambda root: (root / "meta/info.json").write_text("[" * 100_000),
    "unknown version": edit_info(codebase_version="v9.9"),
    "no version": edit_info(codebase_version="absent"),
    "no fps": edit_info(fps="absent"),
    "fps is text": edit_info(fps="10"),
    "fps is zero": edit_info(fps=0),
    "features is a list": edit_info(features=[]),
    "no action": edit_info(features={"observation.state": {"dtype": "float32", "shape": [3]}}),
    "feature without shape": edit_feature("action", {"dtype": "float32"}),
    "feature of negative shape": edit_feature("action", {"dtype": "float32", "shape": [-2]}),
    "feature with an empty axis": edit_feature("action", {"dtype": "float32", "shape": [2, 0]}),
    "feature with half an axis": edit_feature("action", {"dtype": "float32", "shape": [2, 1.5]}),
    "feature of unknown dtype": edit_feature("action", {"dtype": "object", "shape": [2]}),
    "feature of another shape": edit_feature("action", {"dtype": "float32", "shape": [3]}),
    "feature of another kind": edit_feature("action", {"dtype": "int64", "shape": [2]}),
    "feature that is no column": edit_feature("observation.x", {"dtype": "float32", "shape": [2]}),
    "feature name climbs": edit_feature("../observation.x", {"dtype": "video", "shape": [8, 8, 3]}),
    "feature name is a path": edit_feature("observation/x", {"dtype": "float32", "shape": [2]}),
    "data path climbs": edit_info(
        data_path="../d/data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    ),
    "data path is absolute": edit_info(data_path="/etc/passwd"),
    "data path reads attributes": edit_info(data_path="{chunk_index.__class__}"),
    "data path has other fields": edit_info(data_path="data/{secret}.parquet"),
    "data path is very wide": edit_info(data_path="data/{file_index:0999999999d}.parquet"),
    "data path is no text": edit_info(data_path=3),
    "data path is no template": edit_info(data_path="data/{file_index"),
    "video path climbs": edit_info(video_path="videos/../../{video_key}/{chunk_index}/{file_index}.mp4"),
    "more episodes promised": edit_info(total_episodes=4),
    "more steps promised": edit_info(total_frames=25),
    "no tasks": lambda root: (root / "meta/tasks.parquet").unlink(),
    "no episodes": lambda root: (root / EPISODES).unlink(),
    "episodes cut": cut(EPISODES, 0.5),
    "episode lengths differ": edit_table(EPISODES, with_column("length", plain([7, 9, 8]))),
    "episode ends overlap": edit_table(EPISODES, with_column("dataset_to_index", plain([9, 16, 24]))),
    "episode missing": edit_table(EPISODES, lambda table: table.slice(0, 2)),
    "episode column missing": edit_table(EPISODES, lambda table: table.drop_columns(["length"])),
    "episode entry null": edit_table(EPISODES, with_column("length", plain([8, None, 8]))),
    "episode task null": edit_table(EPISODES, with_column("tasks", plain([["", None]]))),
    "episode task no text": edit_table(EPISODES, with_column("tasks", plain([[3]]))),
    "no data": lambda root: (root / DATA).unlink(),
    "data cut": cut(DATA, 0.6),
    "data empty": lambda root: (root / DATA).write_bytes(b""),
    "data is noise": lambda root: (root / DATA).write_bytes(np.random.default_rng(0).bytes(5000)),
    "data short": edit_table(DATA, lambda table: table.slice(0, 20)),
    "data of other episodes": edit_table(DATA, lambda table: table.slice(8).take(list(range(16)) * 2)),
    "data column missing": edit_table(DATA, lambda table: table.drop_columns(["action"])),
    "NaN": edit_table(DATA, with_column("action", with_nan)),
    "null": edit_table(DATA, with_column("action", plain([[1.0, None], None]))),
    "ragged": edit_table(DATA, with_column("action", plain([[1.0], [1.0, 2.0, 3.0]]))),
    "text for numbers": edit_table(DATA, with_column("action", plain([["a", "b"]]))),
    "no video": lambda root: (root / VIDEO).unlink(),
    "video cut": cut(VIDEO, 0.4),
    "video is noise": lambda root: (root / VIDEO).write_bytes(np.random.default_rng(0).bytes(5000)),
    "video short": lambda root: write_short(root / VIDEO) and None,
    "video of another size": lambda root: write_short(root / VIDEO, 30, (32, 32)) and None,
}


def write_short(path: Path, length: int = 10, size: tuple[int, int] = (16, 24)) -> int:
    return write_mp4(path, [np.zeros((*size, 3), dtype=np.uint8)] * length, fps=10)


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_a_data_error_and_is_listed(whole: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / "d"
    shutil.copytree(whole, root)
    DAMAGES[name](root)
    with pytest.raises(DataError):
        open_dataset(root, cache_dir=tmp_path / "cache").frames()
    report = check(root)
    assert not report.ok
    assert all(problem.what for problem in report.problems)
    if name.startswith("video"):
        frames = open_dataset(root).frames(("observation.state",)) if "path" not in name else None
        assert frames is None or len(frames) == 24


def test_an_undamaged_copy_has_no_errors(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "d")
    assert check(tmp_path / "d").ok
    assert len(open_dataset(tmp_path / "d").frames()) == 24


def test_check_lists_several_problems_at_once(whole: Path, tmp_path: Path) -> None:
    root = tmp_path / "d"
    shutil.copytree(whole, root)
    for name in ("NaN", "video cut"):
        DAMAGES[name](root)
    edit_table(DATA, with_column("frame_index", lambda column: [5] * len(column)))(root)
    codes = [problem.code for problem in check(root).problems]
    assert {"data-file", "frame-index", "video-damaged"} <= set(codes)
    assert codes.count("frame-index") == 3


def test_v21_round_trip(tmp_path: Path) -> None:
    dataset = open_dataset(v21(tmp_path / "d"))
    assert dataset.observation["observation.state"] == FeatureSpec(shape=(2,), names=("a", "b"))
    frames = dataset.frames(("observation.state", "observation.images.top"))
    values = np.concatenate([np.random.default_rng(i).normal(size=(6, 2)) for i in range(2)])
    np.testing.assert_array_equal(frames.observation["observation.state"], values.astype(np.float32))
    assert frames.action.dtype == np.float32
    levels = frames.observation["observation.images.top"].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(levels, [20 * t + 60 * i for i in range(2) for t in range(6)], atol=3)
    assert dataset.episode(1, observation=("observation.state",)).task == "lift"
    assert check(tmp_path / "d").ok


V21_DAMAGES: dict[str, Damage] = {
    "episodes is no JSON": lambda root: (root / "meta/episodes.jsonl").write_text("{\n"),
    "episodes is a list": lambda root: (root / "meta/episodes.jsonl").write_text("[1]\n"),
    "episode without length": lambda root: (root / "meta/episodes.jsonl").write_text(
        '{"episode_index": 0}\n'
    ),
    "episode left out": lambda root: (root / "meta/episodes.jsonl").write_text(
        '{"episode_index": 0, "length": 6}\n{"episode_index": 2, "length": 6}\n'
    ),
    "no episodes": lambda root: (root / "meta/episodes.jsonl").unlink(),
    "no tasks": lambda root: (root / "meta/tasks.jsonl").unlink(),
    "episode short": edit_table("data/chunk-001/episode_000001.parquet", lambda table: table.slice(0, 3)),
    "video short": lambda root: (
        write_short(root / "videos/chunk-001/observation.images.top/episode_000001.mp4", 3, (32, 48)) and None
    ),
}


@pytest.mark.parametrize("name", V21_DAMAGES)
def test_v21_damage_is_a_data_error(tmp_path: Path, name: str) -> None:
    root = v21(tmp_path / "d")
    V21_DAMAGES[name](root)
    with pytest.raises(DataError):
        open_dataset(root).frames()
    assert not check(root).ok


def test_damaged_store_files_are_data_errors(tmp_path: Path) -> None:
    for name, damage in {
        "spec": lambda root: (root / "meta/steadyhand/store.json").write_text("{}"),
        "journal": lambda root: (root / "meta/steadyhand/journal.bin").write_bytes(b"something else"),
        "sidecar": lambda root: next((root / "meta/steadyhand").glob("*.parquet")).unlink(),
    }.items():
        root = tmp_path / name
        with EpisodeStore.create(
            root,
            observation={"observation.state": FeatureSpec(shape=(1,))},
            action=ACTION_SPEC,
            control_dt=0.1,
        ) as store:
            store.append(
                demonstration(
                    {"observation.state": np.ones((3, 1), dtype=np.float32)},
                    np.zeros((3, 2), dtype=np.float32),
                    control_dt=0.1,
                )
            )
            store.compact()
        damage(root)
        with pytest.raises(DataError):
            open_dataset(root)


def test_images_are_cached_and_rebuilt_when_the_file_changes(whole: Path, tmp_path: Path) -> None:
    root = tmp_path / "d"
    shutil.copytree(whole, root)
    camera = "observation.images.front"
    first = open_dataset(root).frames((camera,)).observation[camera]
    assert isinstance(first, np.memmap)
    files = list((root / ".cache/steadyhand").glob("*.npy"))
    assert len(files) == 1
    stamp = files[0].stat().st_mtime_ns
    open_dataset(root).frames((camera,))
    assert files[0].stat().st_mtime_ns == stamp
    write_short(root / VIDEO, 24)
    second = open_dataset(root).frames((camera,)).observation[camera]
    assert second.max() < 10 < first.max()


def test_content_warnings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def one(seed: int) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.default_rng(seed)
        action = np.cumsum(generator.normal(size=(60, 2)), axis=0).astype(np.float32) / 20
        state = np.concatenate([action, np.full((60, 1), 0.5, dtype=np.float32)], axis=1)
        return state, action

    def store_of(root: Path, pairs: list[tuple[np.ndarray, np.ndarray]]) -> set[str]:
        spec = FeatureSpec(shape=(pairs[0][0].shape[1],))
        with EpisodeStore.create(
            root, observation={"observation.state": spec}, action=FeatureSpec(shape=(2,)), control_dt=0.1
        ) as store:
            for state, action in pairs:
                store.append(demonstration({"observation.state": state}, action, control_dt=0.1))
            store.compact()
        return {problem.code for problem in check(root).problems}

    good = [(rng.normal(size=(60, 2)).astype(np.float32), one(seed)[1]) for seed in range(6)]
    assert store_of(tmp_path / "good", good) == set()
    assert "duplicate" in store_of(tmp_path / "copy", [*good, good[2]])
    assert "constant" in store_of(tmp_path / "dead", [one(seed) for seed in range(6)])
    jump = [(state.copy(), action.copy()) for state, action in good]
    jump[3][1][30] += 40
    assert "action-jump" in store_of(tmp_path / "jump", jump)
    idle = [(np.repeat(state[:1], 60, axis=0), np.repeat(action[:1], 60, axis=0)) for state, action in good]
    assert "idle" in store_of(tmp_path / "idle", [*good[:2], *idle])
    echo = [(action, action) for _, action in good]
    assert "action-is-observation" in store_of(tmp_path / "echo", echo)
    stats = tmp_path / "good/meta/stats.json"
    stats.write_text(stats.read_text().replace('"mean"', '"average"'))
    assert "stored-stats" in {problem.code for problem in check(tmp_path / "good").problems}


def test_summary_counts(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "d")
    summary = summarise(open_dataset(tmp_path / "d"))
    assert (summary.num_episodes, summary.num_frames, summary.length) == (3, 24, (8, 8.0, 8))
    assert summary.tasks == {"reach": 2, "push the block": 1}
    assert summary.duration_s == pytest.approx(2.4)
    assert [camera.available for camera in summary.cameras] == [3, 3]
    assert summary.size_bytes > 1000


@pytest.mark.parametrize(
    ("column", "change"),
    [("dataset_from_index", 1), ("dataset_to_index", 1), ("dataset_to_index", -1), ("episode_index", 1)],
)
def test_episodes_that_do_not_follow_one_another(tmp_path: Path, column: str, change: int) -> None:
    root = write_v30(tmp_path / "d", [rows(0), rows(1)])
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[1] += change
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, pa.array(values)), path)
    with pytest.raises(DataError, match="do not follow one another"):
        open_dataset(root)


def test_pictures_that_are_not_there_are_named_and_so_is_the_end_of_a_short_video(
    whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "d")
    camera = "observation.images.front"
    write_short(tmp_path / "d" / VIDEO, length=10)
    dataset = open_dataset(tmp_path / "d").stored
    assert dataset.images(camera, 0).shape == (8, 16, 24, 3)
    with pytest.raises(DataError, match="no picture for step 2 of episode 1") as refusal:
        dataset.images(camera, 1)
    assert "recorded at 1.0000 s" in refusal.value.rest["got"]
    assert refusal.value.rest["expected"] == (
        "a frame within a quarter step, 0.025 s; the last is at 0.9000 s"
    )
    assert refusal.value.rest["hint"].startswith("the video is shorter than its episode; leave the episode")
    (tmp_path / "d" / VIDEO).unlink()
    with pytest.raises(DataError, match="has no images for 1 of 1 episodes"):
        dataset.images(camera, 2)
