"""From journal to LeRobotDataset v3.0: new files beside the earlier ones, all at once or not at all."""

import os
import shutil
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from steadyhand.core.digests import sealed
from steadyhand.core.errors import DataError
from steadyhand.data.dataset import StoredDataset
from steadyhand.data.formats.columns import to_array
from steadyhand.data.formats.files import open_parquet, read_sealed
from steadyhand.data.formats.layout import INFO
from steadyhand.data.formats.lerobot_v3 import TASKS_PATH
from steadyhand.data.formats.lerobot_v3_writer import (
    EpisodeWriter,
    info_json,
    open_writer,
    stats_json,
    tasks_table,
)
from steadyhand.data.formats.schema import describe
from steadyhand.data.formats.sidecar import FOLDER, sidecar_table
from steadyhand.data.formats.video import VideoCodec, has_encoder
from steadyhand.data.journal import JOURNAL_PATH, JournalReader
from steadyhand.data.records import MAGIC
from steadyhand.data.spec import StoreSpec
from steadyhand.data.staging import StagedFiles, write_json_indented
from steadyhand.data.stats import QUANTILES, FeatureStats, array_stats, histogram_stats
from steadyhand.data.video_digests import stage_video_digests

HISTOGRAMS_PATH = f"{FOLDER}/image_histograms.json"
_STATS_PATH = "meta/stats.json"


def video_codec() -> VideoCodec:
    """Return AV1 as LeRobot does, or H.264 where PyAV was built without it."""
    return "av1" if has_encoder("av1") else "h264"


def features_of(spec: StoreSpec) -> dict[str, dict[str, Any]]:
    """Return "features" of the info.json of a store."""
    return describe(
        spec.observation,
        spec.action,
        image_format=spec.image_format,
        fps=spec.fps,
        codec=video_codec(),
    )


def write_empty_info(root: Path, spec: StoreSpec) -> None:
    """Write the info.json of a store without episodes."""
    info = info_json(
        features_of(spec),
        fps=spec.fps,
        robot_type=spec.robot_type,
        num_episodes=0,
        num_frames=0,
        num_tasks=0,
    )
    write_json_indented(root / INFO, info)


def compact(
    root: Path, spec: StoreSpec, dataset: StoredDataset, journal: JournalReader, *, set_damage_aside: bool
) -> int:
    """Move the finished episodes of the journal into new files; the caller holds the writer lock.

    Episodes that are still open move to the new journal.

    Returns:
        Number of episodes moved.

    Raises:
        DataError: The journal is damaged, and the damage is not to be set aside.
    """
    if journal.damages and not set_damage_aside:
        raise DataError(
            f"{journal.path} is damaged: compacting it would leave the damaged bytes behind.",
            got=f"{sum(d.size for d in journal.damages)} bytes in {len(journal.damages)} places, "
            f"{len(journal)} whole episodes",
            hint="restore it from a copy, or set the damage aside: steadyhand data compact FOLDER "
            "--set-damage-aside moves what can be read and keeps the journal as it is beside it",
        )
    if not len(journal) and not journal.damages:
        return 0
    stage = StagedFiles(root)
    if journal.damages:
        _keep_aside(stage.path(_free_name(root)), journal.path)
    if not len(journal):
        _write_journal(stage.path(JOURNAL_PATH), journal)
        stage.commit()
        return 0
    features = _features(spec, dataset, journal)
    writer = EpisodeWriter(
        root,
        stage.path,
        features=features,
        fps=spec.fps,
        codec=video_codec(),
        first_episode=len(dataset.stored),
        first_index=sum(dataset.stored.lengths),
        tasks=list(dataset.layout.tasks),
    )
    try:
        _write_episodes(writer, journal, spec, stage, first=len(dataset.stored))
        writer.close()
        stage_video_digests(root, stage)
        _write_metadata(root, spec, dataset, writer, stage, features=features)
        _write_journal(stage.path(JOURNAL_PATH), journal)
    except BaseException:
        try:
            writer.discard()
        finally:
            stage.discard()
        raise
    stage.commit()
    return len(journal)


def _features(spec: StoreSpec, dataset: StoredDataset, journal: JournalReader) -> dict[str, dict[str, Any]]:
    """Return the columns to write: as in the files before, and `next.success` only where anything told it.

    LeRobot knows no third value: in an episode that stays open among others the column is False throughout.
    """
    features = features_of(spec)
    before = dataset.layout.features
    told = any(success is not None for success in journal.successes)
    if "next.success" not in before if len(dataset.stored) else not told:
        del features["next.success"]
    return features


def _write_episodes(
    writer: EpisodeWriter, journal: JournalReader, spec: StoreSpec, stage: StagedFiles, *, first: int
) -> None:
    empty = sidecar_table([], first=first, observation=spec.observation)
    with open_writer(stage.path(f"{FOLDER}/episodes-{first:08d}.parquet"), empty.schema) as sidecar:
        for block, rows in journal.blocks():
            number = writer.next_episode
            writer.add(block)
            sidecar.write_table(sidecar_table(rows, first=number, observation=spec.observation))


def _write_metadata(
    root: Path,
    spec: StoreSpec,
    dataset: StoredDataset,
    writer: EpisodeWriter,
    stage: StagedFiles,
    *,
    features: Mapping[str, Mapping[str, Any]],
) -> None:
    pq.write_table(tasks_table(writer.tasks), stage.path(TASKS_PATH), write_page_checksum=True)
    histograms = _merged_histograms(root, writer.histograms)
    entries = {name: {"frames": n, "counts": counts.tolist()} for name, (counts, n) in histograms.items()}
    write_json_indented(stage.path(HISTOGRAMS_PATH), sealed({"cameras": entries}))
    files = [*dict.fromkeys(ref.data_path for ref in dataset.layout.episodes), *writer.data_paths]
    values = {
        name: _column_stats(files, name, feature)
        for name, feature in features.items()
        if feature["dtype"] not in ("image", "video")
    }
    images = {name: histogram_stats(counts, num_frames=n) for name, (counts, n) in histograms.items()}
    write_json_indented(stage.path(_STATS_PATH), stats_json(values, images))
    info = info_json(
        features,
        fps=spec.fps,
        robot_type=spec.robot_type,
        num_episodes=writer.next_episode,
        num_frames=writer.next_index,
        num_tasks=len(writer.tasks),
    )
    write_json_indented(stage.path(INFO), info)


def _column_stats(files: Sequence[Path], name: str, feature: Mapping[str, Any]) -> FeatureStats:
    """Return the exact statistics of one column of all files; one number of a step at a time is widened."""
    shape, dtype = tuple(feature["shape"]), feature["dtype"]
    parts: list[np.ndarray] = []
    for path in files:
        column = open_parquet(path).read([name]).column(name)
        parts.append(to_array(column, shape=shape, dtype=dtype, name=name, path=path))
    flat = (parts[0] if len(parts) == 1 else np.concatenate(parts)).reshape(sum(map(len, parts)), -1)
    del parts
    single = [array_stats(flat[:, place : place + 1]) for place in range(flat.shape[1])]
    fields = {
        key: np.array([getattr(one, key) for one in single]).reshape(shape)
        for key in ("min", "max", "mean", "std", *QUANTILES)
    }
    return FeatureStats(**fields, count=len(flat))


def _merged_histograms(
    root: Path, new: Mapping[str, tuple[np.ndarray, int]]
) -> dict[str, tuple[np.ndarray, int]]:
    path = root / HISTOGRAMS_PATH
    merged = dict(new)
    if not path.exists():
        return merged
    before = read_sealed(path)["cameras"]
    try:
        for name, entry in before.items():
            counts, frames = merged[name]
            merged[name] = (counts + np.array(entry["counts"], dtype=np.int64), frames + int(entry["frames"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is damaged.", got=error, hint="restore it from a copy") from error
    return merged


def _write_journal(path: Path, journal: JournalReader) -> None:
    with path.open("wb") as file:
        file.write(MAGIC)
        for entry in (piece for pieces in journal.open.values() for piece in pieces):
            for offset in entry.records:
                file.write(journal.record(offset))


def _free_name(root: Path) -> str:
    """Return a name beside the journal that is not taken."""
    taken = {path.name for path in (root / FOLDER).glob("journal-damaged-*.bin")}
    names = (f"journal-damaged-{number}.bin" for number in count())
    return f"{FOLDER}/{next(name for name in names if name not in taken)}"


def _keep_aside(place: Path, journal: Path) -> None:
    """Give the old journal a second name, without a copy where the file system can."""
    try:
        os.link(journal, place)
    except OSError:
        shutil.copyfile(journal, place)
