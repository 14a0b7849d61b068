"""What is written for LeRobot, column by column, against loops over the steps; where files end."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steadyhand.core.errors import DataError
from steadyhand.core.specs import FeatureSpec, image_spec
from steadyhand.data.episode import Branch, EpisodeOrigin
from steadyhand.data.formats import lerobot_v3_writer
from steadyhand.data.formats.blocks import EpisodeBlock
from steadyhand.data.formats.lerobot_v3_writer import EpisodeWriter, info_json
from steadyhand.data.formats.schema import describe
from steadyhand.data.formats.sidecar import FOLDER, Ending, Sidecar, sidecar_table
from steadyhand.data.formats.video import Mp4Writer
from steadyhand.data.stats import sample_indices
from toy_episodes import smooth_image

STATE, CAMERA = "observation.state", "observation.images.top"
SPECS = {STATE: FeatureSpec(shape=(3,)), "observation.level": FeatureSpec(shape=(1,))}
SEEING = {**SPECS, CAMERA: image_spec(18, 20, 1)}
ACTION = FeatureSpec(shape=(2,))
FPS = 7


def block_of(
    lengths: Sequence[int], *, specs: dict[str, FeatureSpec] = SPECS, seed: int = 0, width: int = 2
) -> EpisodeBlock:
    """Return episodes of random numbers, whose tasks change after their first step."""
    rng = np.random.default_rng(seed)
    total, count = sum(lengths), len(lengths)
    action = rng.normal(size=(total, width)).astype(np.float32)
    seen = {name: rng.normal(size=(total, *spec.shape)).astype(np.float32) for name, spec in specs.items()}
    if CAMERA in seen:
        seen[CAMERA] = np.stack([smooth_image(18, 20, 1, seed + t / 5) for t in range(total)])
    return EpisodeBlock(
        lengths=np.array(lengths),
        observation=seen,
        steps={
            "action": action,
            "expert_action": action + 1,
            "expert_action_valid": rng.random(total) < 0.5,
            "actor": rng.integers(0, 4, total).astype(np.uint8),
            "intervention": rng.random(total) < 0.5,
            "weight": rng.random(total).astype(np.float32),
            "reward": rng.normal(size=total).astype(np.float32),
        },
        terminated=np.arange(count) % 3 == 0,
        truncated=np.arange(count) % 3 == 1,
        succeeded=np.arange(count) % 2 == 0,
        task_runs=[
            (("reach", 1), ("push", length - 1)) if length > 1 else (("push", 1),) for length in lengths
        ],
    )


def writer_for(root: Path, specs: dict[str, FeatureSpec] = SPECS, **options: Any) -> EpisodeWriter:
    def stage(relative: str) -> Path:
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    image_format, width = options.pop("image_format", "png"), options.pop("width", 2)
    action = FeatureSpec(shape=(width,))
    return EpisodeWriter(
        root,
        stage,
        features=describe(specs, action, image_format=image_format, fps=FPS, codec="h264"),
        **{"fps": FPS, "codec": "h264", "first_episode": 0, "first_index": 0, "tasks": [], **options},
    )


def rows_of_episodes(root: Path) -> list[dict[str, Any]]:
    files = sorted((root / "meta/episodes").rglob("*.parquet"))
    return [row for path in files for row in pq.read_table(path).to_pylist()]


def test_columns_say_of_each_step_what_its_episode_says() -> None:
    lengths = [3, 1, 4, 2]
    block = block_of(lengths)
    columns = block.columns(fps=FPS, first_episode=5, first_index=40, task_index={"push": 2, "reach": 7})
    step = 0
    for number, length in enumerate(lengths):
        for t in range(length):
            is_last = t == length - 1
            expected = {
                "timestamp": np.float32(t / FPS),
                "frame_index": t,
                "episode_index": 5 + number,
                "index": 40 + step,
                "task_index": 7 if t == 0 and length > 1 else 2,
                "next.done": is_last and number % 3 != 2,
                "next.truncated": is_last and number % 3 == 1,
                "next.success": is_last and number % 2 == 0,
                "next.reward": block.steps["reward"][step],
                "weight": block.steps["weight"][step],
            }
            assert {name: columns[name][step] for name in expected} == expected
            np.testing.assert_array_equal(columns["expert_action"][step], block.steps["action"][step] + 1)
            np.testing.assert_array_equal(columns[STATE][step], block.observation[STATE][step])
            step += 1
    assert {len(column) for column in columns.values()} == {10}
    assert columns["timestamp"].dtype == np.float32
    assert {columns[name].dtype for name in ("frame_index", "episode_index", "index", "task_index")} == {
        np.dtype(np.int64)
    }


def test_rows_of_episodes_count_on_from_what_was_there(tmp_path: Path) -> None:
    tasks = ["pull", "push"]
    writer = writer_for(tmp_path, first_episode=5, first_index=40, tasks=tasks)
    writer.add(block_of([3, 1]))
    writer.add(block_of([4], seed=1))
    writer.close()
    # The writer is still held: its files must be whole by now.
    rows = rows_of_episodes(tmp_path)
    assert [row["episode_index"] for row in rows] == [5, 6, 7]
    assert [row["length"] for row in rows] == [3, 1, 4]
    assert [row["dataset_from_index"] for row in rows] == [40, 43, 44]
    assert [row["dataset_to_index"] for row in rows] == [43, 44, 48]
    assert [row["tasks"] for row in rows] == [["reach", "push"], ["push"], ["reach", "push"]]
    assert writer.tasks is tasks
    assert tasks == ["pull", "push", "reach"]
    assert (writer.next_episode, writer.next_index) == (8, 48)
    (path,) = writer.data_paths
    table = pq.read_table(path)
    assert table.column("index").to_pylist() == list(range(40, 48))
    assert table.column("task_index").to_pylist() == [2, 1, 1, 1, 2, 1, 1, 1]
    state = np.array(table.column(STATE).to_pylist(), dtype=np.float32)
    np.testing.assert_array_equal(
        state, np.concatenate([block_of([3, 1]).observation[STATE], block_of([4], seed=1).observation[STATE]])
    )
    for row, part in zip(rows, np.split(state.astype(np.float64), [3, 4]), strict=True):
        assert row[f"stats/{STATE}/count"] == [len(part)]
        for key, expected in {
            "min": part.min(axis=0),
            "max": part.max(axis=0),
            "mean": part.mean(axis=0),
            "std": part.std(axis=0),
            "q10": np.quantile(part, 0.1, axis=0),
            "q99": np.quantile(part, 0.99, axis=0),
        }.items():
            np.testing.assert_allclose(row[f"stats/{STATE}/{key}"], expected, rtol=1e-12, atol=1e-12)


def test_new_files_stand_beside_the_earlier_ones(tmp_path: Path) -> None:
    for _ in range(2):
        writer = writer_for(tmp_path)
        writer.add(block_of([2]))
        writer.close()
    names = [
        path.name for folder in ("data", "meta/episodes") for path in (tmp_path / folder).rglob("*.parquet")
    ]
    assert sorted(names) == ["file-000.parquet", "file-000.parquet", "file-001.parquet", "file-001.parquet"]
    assert [row["data/file_index"] for row in rows_of_episodes(tmp_path)] == [0, 1]
    assert [row["meta/episodes/file_index"] for row in rows_of_episodes(tmp_path)] == [0, 1]


def test_an_episode_lies_in_one_row_group_and_short_ones_share_it(tmp_path: Path) -> None:
    writer = writer_for(tmp_path)
    writer.add(block_of([150, 60, 200, 10, 199, 1, 5]))
    writer.close()
    metadata = pq.ParquetFile(writer.data_paths[0]).metadata
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert sizes == [150 + 60, 200, 10 + 199, 1 + 5]


@pytest.mark.parametrize(("length", "share"), [(40, 2.9), (400, 3.6)])
def test_a_file_of_steps_ends_before_it_would_be_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, share: float
) -> None:
    width = 200
    row = (
        2 * 4 * width
    )  # of two columns of random floats, which take half as much again with their dictionary
    limit = share * length * row / (1024 * 1024)
    monkeypatch.setattr(lerobot_v3_writer, "DATA_FILES_SIZE_MB", limit)
    writer = writer_for(tmp_path, width=width)
    writer.add(block_of([length] * 3, width=width))
    writer.add(block_of([length] * 2, width=width, seed=1))
    writer.close()
    rows = rows_of_episodes(tmp_path)
    assert [(row["data/chunk_index"], row["data/file_index"]) for row in rows] == [
        (0, 0),
        (0, 0),
        (0, 1),
        (0, 1),
        (0, 2),
    ]
    tables = [pq.read_table(path) for path in writer.data_paths]
    assert [path.name for path in writer.data_paths] == [f"file-00{number}.parquet" for number in range(3)]
    assert [len(table) // length for table in tables] == [2, 2, 1]
    assert [index for table in tables for index in table.column("index").to_pylist()] == list(
        range(5 * length)
    )


@pytest.mark.parametrize(("blocks", "groups"), [([1, 2, 2], [3, 2]), ([1, 2], [3]), ([4, 1], [4, 1])])
def test_rows_of_episodes_are_written_in_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: list[int], groups: list[int]
) -> None:
    monkeypatch.setattr(lerobot_v3_writer, "_EPISODES_PER_GROUP", 3)
    writer = writer_for(tmp_path)
    for count in blocks:
        writer.add(block_of([2] * count))
    writer.close()
    metadata = pq.ParquetFile(tmp_path / "meta/episodes/chunk-000/file-000.parquet").metadata
    assert [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)] == groups
    assert [row["episode_index"] for row in rows_of_episodes(tmp_path)] == list(range(sum(blocks)))


def test_videos_begin_each_episode_with_a_key_frame_and_end_before_they_are_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if each frame took 1000 bytes: the encoder itself holds some back.
    monkeypatch.setattr(Mp4Writer, "size_bytes", property(lambda self: 1000 * self.num_frames))
    monkeypatch.setattr(lerobot_v3_writer, "VIDEO_FILES_SIZE_MB", 10_500 / (1024 * 1024))
    writer = writer_for(tmp_path, SEEING, image_format="mp4")
    writer.add(block_of([4, 3, 3], specs=SEEING))
    writer.add(block_of([5, 4, 6], specs=SEEING, seed=1))
    writer.close()
    places = [(0, 0, 4), (0, 4, 7), (0, 7, 10), (1, 0, 5), (1, 5, 9), (2, 0, 6)]  # file, first frame, end
    for row, (file, begin, end) in zip(rows_of_episodes(tmp_path), places, strict=True):
        place = {key: row[f"videos/{CAMERA}/{key}"] for key in ("chunk_index", "file_index")}
        assert place == {"chunk_index": 0, "file_index": file}
        assert row[f"videos/{CAMERA}/from_timestamp"] == pytest.approx(begin / FPS)
        assert row[f"videos/{CAMERA}/to_timestamp"] == pytest.approx(end / FPS)
        assert np.shape(row[f"stats/{CAMERA}/mean"]) == (3, 1, 1)  # grey frames become colour
    for number, (frames, starts) in enumerate([(10, {0, 4, 7}), (9, {0, 5}), (6, {0})]):
        path = tmp_path / f"videos/{CAMERA}/chunk-000/file-{number:03d}.mp4"
        with av.open(str(path)) as container:
            packets = sorted(
                (packet.pts, packet.is_keyframe)
                for packet in container.demux(video=0)
                if packet.pts is not None
            )
        keys = [place for place, (_, is_key) in enumerate(packets) if is_key]
        assert len(packets) == frames
        assert starts <= set(keys)
        assert set(range(frames)) - set(keys), "not every frame is a key"
    told = (tmp_path / f"videos/{CAMERA}/chunk-000/file-000.mp4").read_bytes()
    assert b"crf=30.0 " in told  # as info.json says
    assert b"keyint=2 " in told


@pytest.mark.parametrize("image_format", ["png", "mp4"])
def test_pixels_of_sampled_frames_are_counted(tmp_path: Path, image_format: str) -> None:
    specs = {**SPECS, CAMERA: image_spec(18, 20, 3), "observation.images.grey": image_spec(6, 5, 1)}
    rng = np.random.default_rng(0)
    blocks = [block_of(lengths, specs=specs) for lengths in ([4, 2], [3])]
    for block in blocks:
        total = int(block.lengths.sum())
        block.observation[CAMERA] = rng.integers(0, 256, (total, 18, 20, 3), dtype=np.uint8)
        block.observation["observation.images.grey"] = rng.integers(0, 9, (total, 6, 5, 1), dtype=np.uint8)
    writer = writer_for(tmp_path, specs, image_format=image_format)
    for block in blocks:
        writer.add(block)
    writer.close()
    for name, channels in ((CAMERA, 3), ("observation.images.grey", 3 if image_format == "mp4" else 1)):
        counts = np.zeros((channels, 256), dtype=int)
        for block in blocks:
            for part in np.split(block.observation[name], block.ends[:-1]):
                for image in part[sample_indices(len(part))]:
                    for pixel in image.reshape(-1, image.shape[-1]):
                        for channel in range(channels):
                            counts[channel, pixel[channel % len(pixel)]] += 1
        found, frames = writer.histograms[name]
        assert frames == 9
        np.testing.assert_array_equal(found, counts)
        rows = rows_of_episodes(tmp_path)
        assert [row[f"stats/{name}/count"] for row in rows] == [[4], [2], [3]]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists open files")
@pytest.mark.parametrize("image_format", ["png", "mp4"])
def test_a_writer_that_is_given_up_or_done_holds_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_format: str
) -> None:
    monkeypatch.setattr(lerobot_v3_writer, "_EPISODES_PER_GROUP", 2)

    def held() -> set[str]:
        names: list[str] = []
        for path in list(Path("/proc/self/fd").iterdir()):
            with suppress(FileNotFoundError):  # closed meanwhile
                names.append(str(path.readlink()))
        return {Path(name).suffix for name in names if name.startswith(str(tmp_path))}

    specs = {**SPECS, CAMERA: image_spec(18, 20, 1)}
    for end in ("close", "discard"):
        writer = writer_for(tmp_path / end, specs, image_format=image_format)
        writer.add(block_of([60, 60], specs=specs))
        assert ".parquet" in held()
        getattr(writer, end)()
        assert held() == set(), end
    assert not list((tmp_path / "discard").rglob("*.mp4"))


def test_info_has_the_keys_and_limits_of_lerobot() -> None:
    info = info_json(
        {"a": {"shape": [1]}}, fps=7, robot_type="arm", num_episodes=3, num_frames=40, num_tasks=2
    )
    assert list(info.items())[:6] == [
        ("codebase_version", "v3.0"),
        ("fps", 7),
        ("features", {"a": {"shape": [1]}}),
        ("total_episodes", 3),
        ("total_frames", 40),
        ("total_tasks", 2),
    ]
    assert (info["chunks_size"], info["data_files_size_in_mb"], info["video_files_size_in_mb"]) == (
        1000,
        100,
        200,
    )
    assert (info["robot_type"], info["splits"]) == ("arm", {"train": "0:3"})


KINDS = {
    "observation.level": FeatureSpec(shape=(1,)),
    STATE: FeatureSpec(shape=(3,)),
    "observation.grid": FeatureSpec(shape=(2, 4)),
    CAMERA: image_spec(6, 5, 3),
}


def ending(seed: int) -> tuple[Ending, dict[str, np.ndarray] | None]:
    rng = np.random.default_rng(seed)
    final = {
        name: rng.integers(0, 256, spec.shape, dtype=np.uint8)
        if spec.kind == "image"
        else rng.normal(size=spec.shape).astype(np.float32)
        for name, spec in KINDS.items()
    }
    told = Ending(
        terminated=seed % 2 == 0,
        truncated=seed % 2 == 1,
        success=[None, True, False][seed % 3],
        provenance=EpisodeOrigin(source="rollout", seed=seed, start="{}", round=seed + 1, outcome="time"),
        branch=[None, Branch(parent=0, step=seed), Branch(parent=2, step=0)][seed % 3],
    )
    return told, final if seed % 4 else None


def sidecar_of(root: Path, change: Callable[[Any], Any] = lambda table: table) -> Sidecar:
    """Write seven episodes in files of 1, 4 and 2."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for first, end in ((0, 1), (1, 5), (5, 7)):
        table = sidecar_table([ending(seed) for seed in range(first, end)], first=first, observation=KINDS)
        pq.write_table(change(table), folder / f"episodes-{first:08d}.parquet")
    return Sidecar(root, KINDS)


def test_endings_and_final_observations_come_back_from_several_files(tmp_path: Path) -> None:
    sidecar = sidecar_of(tmp_path)
    assert sidecar.endings == [ending(seed)[0] for seed in range(7)]
    for seed in range(7):
        found, expected = sidecar.final_observation(seed), ending(seed)[1]
        assert (found is None) == (expected is None)
        for name, value in (expected or {}).items():
            assert found is not None
            assert found[name].dtype == value.dtype
            np.testing.assert_array_equal(found[name], value)
    row = pq.read_table(next((tmp_path / FOLDER).glob("episodes-00000000.parquet"))).to_pylist()[0]
    assert {name: row[name] for name in ("episode_index", "branch_parent", "branch_step", "success")} == {
        "episode_index": 0,
        "branch_parent": -1,
        "branch_step": -1,
        "success": None,
    }


def with_value(name: str, value: Any) -> Callable[[Any], Any]:
    """Change what the last row of a table says."""

    def change(table: Any) -> Any:
        column = table.column(name)
        values = [*column.to_pylist()[:-1], value]
        kind = table.schema.field(name).type
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array(values, type=kind))

    return change


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("episode_index", 9),
        ("episode_index", None),
        ("terminated", None),
        ("branch_step", None),
        ("source", None),
    ],
)
def test_a_row_of_another_episode_or_with_gaps_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(DataError, match="does not belong to episode 0"):
        sidecar_of(tmp_path, with_value(name, value))


def test_a_final_observation_that_is_not_whole_is_none(tmp_path: Path) -> None:
    sidecar = sidecar_of(tmp_path, with_value(f"final/{STATE}", None))
    assert [sidecar.final_observation(seed) is None for seed in range(7)] == [
        seed in (0, 4, 6) for seed in range(7)
    ]
