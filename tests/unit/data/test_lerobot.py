"""Reading what LeRobot wrote, and writing what LeRobot would have written."""

import json
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from steadyhand.core.errors import DataError
from steadyhand.core.specs import FeatureSpec, image_spec
from steadyhand.data.dataset import open_dataset
from steadyhand.data.episode import demonstration
from steadyhand.data.store import EpisodeStore
from toy_episodes import episode

DEFAULTS = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
STATE, ENVIRONMENT = "observation.state", "observation.environment_state"


@pytest.fixture(scope="session")
def peers(shared_data: Path) -> Path:
    return shared_data / "written-by-peers"


def twin(peer: Path, root: Path, *, image_format: str) -> Path:
    """Write three of the peer's episodes with our writer."""
    theirs = open_dataset(peer)
    with EpisodeStore.create(
        root,
        observation=theirs.observation,
        action=theirs.action,
        control_dt=theirs.control_dt,
        image_format=image_format,
    ) as store:
        for number in range(12 if image_format == "png" else 3):
            store.append(theirs.episode(number))
        store.compact()
    return root


def schema_of(path: Path) -> dict[str, str]:
    schema = pq.read_schema(path)
    return {name: str(schema.field(name).type) for name in schema.names}


def test_state_data_equal_the_parquet_they_wrote(peers: Path) -> None:
    dataset = open_dataset(peers / "lerobot-v30-state")
    table = pq.read_table(peers / "lerobot-v30-state/data/chunk-000/file-000.parquet")
    frames = dataset.frames()
    for name, column in ((STATE, frames.observation[STATE]), ("action", frames.action)):
        np.testing.assert_array_equal(column, np.array(table.column(name).to_pylist(), dtype=np.float32))
    assert frames.episode_ends.tolist() == list(range(200, 20_001, 200))
    assert dataset.fps == 10
    assert dataset.tasks == ("push",)
    one = dataset.episode(37)
    np.testing.assert_array_equal(one.action, frames.action[7400:7600])
    np.testing.assert_array_equal(one.expert_action, one.action)
    assert one.expert_action_valid.all()
    assert (one.weight == 1).all()
    assert frames.expert_action is not None
    assert (frames.weight == 1).all()


def test_video_frames_equal_pyav_in_order(peers: Path, tmp_path: Path) -> None:
    root = peers / "lerobot-v30-video"
    dataset = open_dataset(root, cache_dir=tmp_path)
    camera = "observation.image"
    chosen = [*range(0, 4000, 13), 1523, 3999]
    with av.open(str(root / f"videos/{camera}/chunk-000/file-000.mp4")) as container:
        decoded = list(enumerate(container.decode(video=0)))
        whole = {i: frame.to_ndarray(format="rgb24") for i, frame in decoded if i in chosen}
    assert dataset.observation[camera] == image_spec(96, 96, 3)
    images = dataset.frames((camera,)).observation[camera]
    assert len(images) == len(decoded) == 4000
    for number in chosen:
        np.testing.assert_array_equal(images[number], whole[number])
    np.testing.assert_array_equal(dataset.image(camera, 7, 123), whole[1523])
    np.testing.assert_array_equal(dataset.episode(19).observation[camera], images[3800:])


@pytest.mark.parametrize(
    ("peer", "image_format"), [("lerobot-v30-state", "png"), ("lerobot-v30-video", "mp4")]
)
def test_layout_is_theirs_field_by_field(peers: Path, tmp_path: Path, peer: str, image_format: str) -> None:
    theirs, ours = peers / peer, twin(peers / peer, tmp_path, image_format=image_format)
    data = "data/chunk-000/file-000.parquet"
    their_schema, our_schema = schema_of(theirs / data), schema_of(ours / data)
    assert their_schema.items() <= our_schema.items()
    assert [name for name in our_schema if name in their_schema] == list(their_schema)
    their_file, our_file = pq.ParquetFile(theirs / data), pq.ParquetFile(ours / data)
    for file in (their_file, our_file):
        group = file.metadata.row_group(1)
        assert group.num_rows == 200
        assert {group.column(i).compression for i in range(group.num_columns)} == {"SNAPPY"}
        assert group.column(0).has_dictionary_page
    described = [
        json.loads(file.schema_arrow.metadata[b"huggingface"])["info"]["features"]
        for file in (their_file, our_file)
    ]
    assert described[0].items() <= described[1].items()

    episodes = "meta/episodes/chunk-000/file-000.parquet"
    their_columns, our_columns = schema_of(theirs / episodes), schema_of(ours / episodes)
    assert their_columns.items() <= our_columns.items()
    assert [name for name in our_columns if name in their_columns] == list(their_columns)
    first = pq.read_table(theirs / episodes).slice(0, 1).to_pylist()[0]
    mine = pq.read_table(ours / episodes).slice(0, 1).to_pylist()[0]
    for name, value in first.items():
        if "/q" not in name and not name.startswith("stats/observation.image/"):
            np.testing.assert_allclose(mine[name], value, rtol=1e-5, atol=1e-6) if name != "tasks" else None
    assert mine["tasks"] == first["tasks"]
    if image_format == "png":
        groups = pq.ParquetFile(ours / episodes).metadata
        assert groups.num_rows == 12  # in groups of up to a thousand: theirs of ten make a long footer
    else:
        key = "stats/observation.image/mean"
        np.testing.assert_allclose(np.ravel(mine[key]), np.ravel(first[key]), atol=0.01)
        assert mine["stats/observation.image/count"] == [100]


def test_tasks_open_in_pandas_as_theirs(peers: Path, tmp_path: Path) -> None:
    ours = twin(peers / "lerobot-v30-state", tmp_path, image_format="png")
    paths = [root / "meta/tasks.parquet" for root in (peers / "lerobot-v30-state", ours)]
    metadata = [json.loads(pq.read_schema(path).metadata[b"pandas"]) for path in paths]
    for one in metadata:
        del one["creator"]
    assert metadata[0] == metadata[1]
    assert pq.read_table(paths[0]).equals(pq.read_table(paths[1]))


@pytest.mark.parametrize(
    ("peer", "image_format"), [("lerobot-v30-state", "png"), ("lerobot-v30-video", "mp4")]
)
def test_info_and_stats_have_their_keys(peers: Path, tmp_path: Path, peer: str, image_format: str) -> None:
    ours = twin(peers / peer, tmp_path, image_format=image_format)
    theirs_info, our_info = (json.loads((r / "meta/info.json").read_text()) for r in (peers / peer, ours))
    assert list(our_info) == list(theirs_info)
    for key in set(theirs_info) - {"total_episodes", "total_frames", "splits", "features"}:
        assert our_info[key] == theirs_info[key], key
    for name, feature in theirs_info["features"].items():
        assert our_info["features"][name] == feature, name
    assert our_info["splits"] == {"train": f"0:{our_info['total_episodes']}"}
    theirs_stats, our_stats = (json.loads((r / "meta/stats.json").read_text()) for r in (peers / peer, ours))
    assert set(theirs_stats) <= set(our_stats)
    for name, entry in theirs_stats.items():
        assert list(our_stats[name]) == list(entry)
        for key, value in entry.items():
            assert np.shape(our_stats[name][key]) == np.shape(value), (name, key)


def test_quantiles_in_stats_are_exact_after_two_compactions(tmp_path: Path) -> None:
    episodes = [episode(seed, length=20 + 9 * seed) for seed in range(4)]
    with EpisodeStore.create(
        tmp_path,
        observation={
            "observation.state": FeatureSpec(shape=(3,)),
            "observation.grid": FeatureSpec(shape=(2, 4)),
        },
        action=FeatureSpec(shape=(2,)),
        control_dt=0.1,
    ) as store:
        for one in episodes:
            store.append(one)
            store.compact()
    stats = json.loads((tmp_path / "meta/stats.json").read_text())
    action = np.concatenate([one.action for one in episodes]).astype(np.float64)
    for key, q in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
        np.testing.assert_allclose(stats["action"][key], np.quantile(action, q, axis=0))
    np.testing.assert_allclose(stats["index"]["q01"], np.quantile(np.arange(len(action)), 0.01))
    assert stats["index"]["count"] == [len(action)]


def test_png_images_written_twice_keep_exact_pixel_statistics(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    spec = {"observation.images.a": image_spec(6, 5, 3)}
    images = [rng.integers(0, 256, (n, 6, 5, 3), dtype=np.uint8) for n in (4, 7)]
    with EpisodeStore.create(
        tmp_path, observation=spec, action=FeatureSpec(shape=(1,)), control_dt=0.5
    ) as store:
        for part in images:
            action = np.zeros((len(part), 1), dtype=np.float32)
            store.append(demonstration({"observation.images.a": part}, action, control_dt=0.5))
            store.compact()
    stats = json.loads((tmp_path / "meta/stats.json").read_text())["observation.images.a"]
    pixels = np.concatenate(images).reshape(-1, 3) / 255
    np.testing.assert_allclose(np.ravel(stats["q90"]), np.quantile(pixels, 0.9, axis=0))
    np.testing.assert_allclose(np.ravel(stats["std"]), pixels.std(axis=0))
    assert np.shape(stats["mean"]) == (3, 1, 1)
    column = pq.read_table(tmp_path / "data/chunk-000/file-000.parquet").column("observation.images.a")
    assert str(column.type) == "struct<bytes: binary, path: string>"
    assert "video" not in json.loads((tmp_path / "meta/info.json").read_text())["features"]


def test_unitree_v21_trains_on_state_though_videos_are_missing(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "lerobot-v21-unitree-g1"
    dataset = open_dataset(root, cache_dir=tmp_path)
    assert (dataset.num_episodes, dataset.num_frames, dataset.fps) == (100, 35_965, 30)
    assert dataset.observation[STATE].names is not None
    assert dataset.observation[STATE].names[0] == "kLeftShoulderPitch"
    frames = dataset.frames((STATE,))
    assert frames.observation[STATE].shape == (35_965, 26)
    table = pq.read_table(root / "data/chunk-000/episode_000041.parquet")
    np.testing.assert_array_equal(
        dataset.episode(41, observation=(STATE,)).action,
        np.array(table.column("action").to_pylist(), dtype=np.float32),
    )
    camera = "observation.images.cam_high"
    with pytest.raises(DataError, match="no images for 97 of 100 episodes") as error:
        dataset.frames((STATE, camera))
    assert "episode 1, episode 2, episode 4" in str(error.value)
    image = dataset.image(camera, 1, 300)
    with av.open(str(root / f"videos/chunk-000/{camera}/episode_000001.mp4")) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == 300:
                np.testing.assert_array_equal(image, frame.to_ndarray(format="rgb24"))
                break
