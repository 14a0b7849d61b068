"""The episodes that lie in the files of a data set, read when they are asked for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from steadyhand.core.errors import DataError
from steadyhand.core.protocol import Actor
from steadyhand.core.specs import ACTION, FeatureSpec
from steadyhand.data.episode import Episode
from steadyhand.data.formats.columns import to_array
from steadyhand.data.formats.files import ParquetSource, open_parquet
from steadyhand.data.formats.layout import EpisodeRef, Layout
from steadyhand.data.formats.schema import (
    EXPERT_ACTION,
    STEP_FEATURES,
    action_spec,
    is_discrete,
    observation_specs,
)
from steadyhand.data.formats.sidecar import FOLDER, Ending, Sidecar
from steadyhand.data.image_cache import Camera, cached_images
from steadyhand.data.spec import StoreSpec

Columns = dict[str, np.ndarray]
"""Column name -> (T, ...); the actions, our step columns and the observation features that were asked for."""


class StoredEpisodes:
    """Reads the files behind a layout.

    Args:
        layout: What the metadata says.
        spec: The store's own spec, if it is a store.

    Raises:
        DataError: No action, no observation, or extras that do not fit the episodes.
    """

    def __init__(self, layout: Layout, spec: StoreSpec | None) -> None:
        self.layout = layout
        self.lengths = [ref.length for ref in layout.episodes]
        self.control_dt = 1.0 / layout.fps if spec is None else spec.control_dt
        self._sidecar = None
        self.observation: dict[str, FeatureSpec]
        self.action: FeatureSpec
        if spec is None:
            self.observation = observation_specs(layout.features)
            self.action = action_spec(layout.features, num_classes=self._num_classes())
        else:
            self.observation, self.action = dict(spec.observation), spec.action
            self._sidecar = Sidecar(layout.root, self.observation)
            if len(self._sidecar.endings) != len(layout.episodes):
                raise DataError(
                    f"{layout.root / FOLDER} does not fit meta/episodes.",
                    got=f"{len(self._sidecar.endings)} rows",
                    expected=f"{len(layout.episodes)} episodes",
                    hint="another program edited the data; without meta/steadyhand it can be read as it is",
                )
        if not self.observation:
            raise DataError("The data set has no observation.", available=sorted(layout.features))

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def endings(self) -> list[Ending]:
        """How each episode ended, as far as the files say."""
        return [Ending()] * len(self) if self._sidecar is None else self._sidecar.endings

    def columns(self, refs: Sequence[EpisodeRef], names: Sequence[str]) -> list[Columns]:
        """Return the columns of numbers of each episode.

        Args:
            refs: Which episodes.
            names: Which observation features, cameras excluded.

        Raises:
            DataError: Missing, short or damaged files, or values that cannot be.
        """
        features = self.layout.features
        wanted = {ACTION: self.action.dtype} | {name: self.observation[name].dtype for name in names}
        if EXPERT_ACTION in features and features[EXPERT_ACTION].shape == self.action.shape:
            wanted[EXPERT_ACTION] = self.action.dtype
        wanted |= {
            name: dtype
            for name, dtype in STEP_FEATURES.items()
            if name in features and features[name].shape == (1,) and _castable(features[name].dtype, dtype)
        }
        read = self.read(refs, wanted)
        return [_completed(columns, ref.length) for columns, ref in zip(read, refs, strict=True)]

    def column(self, name: str) -> np.ndarray:
        """Return a whole column, (N, *shape), as it is stored.

        Raises:
            DataError: No such column, or it holds images or text.
        """
        feature = self.layout.features.get(name)
        if feature is None or feature.is_image or feature.dtype == "string":
            raise DataError("There is no such column of numbers.", got=name, available=self.layout.features)
        parts = self.read(self.layout.episodes, {name: feature.dtype})
        return np.concatenate([np.empty((0, *feature.shape), feature.dtype), *(part[name] for part in parts)])

    def episode(self, index: int, names: Sequence[str]) -> Episode:
        """Return one episode with the named observation features."""
        ref = self.layout.episodes[index]
        columns = self.columns([ref], [name for name in names if self.observation[name].kind != "image"])[0]
        for name in names:
            if self.observation[name].kind == "image":
                columns[name] = self.images(name, index)
        ending = self.endings[index]
        final = None if self._sidecar is None else self._sidecar.final_observation(index)
        success = ending.success
        if self._sidecar is None and "next.success" in self.layout.features:
            success = bool(columns["next.success"][-1])
        return Episode(
            observation={name: columns[name] for name in names},
            action=columns[ACTION],
            expert_action=columns[EXPERT_ACTION],
            expert_action_valid=columns["expert_action_valid"],
            actor=columns["actor"],
            intervention=columns["intervention"],
            weight=columns["weight"],
            reward=columns["next.reward"],
            final_observation=None if final is None else {name: final[name] for name in names},
            terminated=ending.terminated,
            truncated=ending.truncated,
            success=success,
            task=ref.tasks[0] if ref.tasks else "",
            control_dt=self.control_dt,
            provenance=ending.provenance,
            branch=ending.branch,
        )

    def images(self, name: str, index: int, steps: np.ndarray | None = None) -> UInt8[np.ndarray, "n h w c"]:
        """Return images of one episode, all or those at `steps`."""
        ref = self.layout.episodes[index]
        camera = self._camera(name)
        camera.require([ref])
        return camera.read(ref, steps)

    def cached(
        self, name: str, refs: Sequence[EpisodeRef], folder: Path | None
    ) -> UInt8[np.ndarray, "n h w c"]:
        """Return all images of episodes, memory mapped."""
        return cached_images(self._camera(name), refs, root=self.layout.root, folder=folder)

    def image_file(self, name: str, ref: EpisodeRef) -> Path:
        """Return the file that holds the images of an episode."""
        return self._camera(name).file(ref)

    def _camera(self, name: str) -> Camera:
        return Camera(self.layout, name, channels=self.observation[name].shape[2])

    def _num_classes(self) -> int | None:
        """Return the number of values of a discrete action of foreign data: one more than the largest."""
        feature = self.layout.features.get(ACTION)
        if feature is None or feature.dtype in ("string", "image", "video") or not is_discrete(feature):
            return None
        values = self.column(ACTION)
        return int(values.max()) + 1 if values.size and values.min() >= 0 else None

    def read(self, refs: Sequence[EpisodeRef], wanted: Mapping[str, str]) -> list[Columns]:
        """Read columns under their declared dtype, then convert; every file is opened once."""
        by_file: dict[Path, list[int]] = {}
        for place, ref in enumerate(refs):
            by_file.setdefault(ref.data_path, []).append(place)
        out: list[Columns] = [{} for _ in refs]
        for path, places in by_file.items():
            source = open_parquet(path)
            names = list(wanted)
            if "episode_index" in source.columns and "episode_index" not in wanted:
                names.append("episode_index")
            first = min(refs[place].first_row for place in places)
            last = max(refs[place].first_row + refs[place].length for place in places)
            table = source.read(names, first=first, length=last - first)
            for name in names:
                feature = self.layout.features.get(name)
                shape, stored = ((1,), "int64") if feature is None else (feature.shape, feature.dtype)
                array = to_array(table.column(name), shape=shape, dtype=stored, name=name, path=path)
                array = array.astype(wanted.get(name, stored), copy=False)
                for place in places:
                    start = refs[place].first_row - first
                    out[place][name] = array[start : start + refs[place].length]
            for place in places:
                owner = out[place].get("episode_index")
                _check_owner(owner, refs[place], source)
                if "episode_index" not in wanted:
                    out[place].pop("episode_index", None)
        return out


def _castable(stored: str, wanted: str) -> bool:
    return (np.dtype(stored).kind == "b") == (np.dtype(wanted).kind == "b") if stored != "string" else False


def _completed(columns: Columns, length: int) -> Columns:
    """Add the columns that foreign data lack: every step is a valid demonstration of weight 1."""
    for name in STEP_FEATURES:
        if name in columns:
            columns[name] = columns[name].reshape(length)
    columns.setdefault(EXPERT_ACTION, columns[ACTION])
    columns.setdefault("expert_action_valid", np.ones(length, dtype=bool))
    columns.setdefault("actor", np.full(length, Actor.EXPERT, dtype=np.uint8))
    columns.setdefault("intervention", np.zeros(length, dtype=bool))
    columns.setdefault("weight", np.ones(length, dtype=np.float32))
    columns.setdefault("next.reward", np.zeros(length, dtype=np.float32))
    return columns


def _check_owner(owner: np.ndarray | None, ref: EpisodeRef, source: ParquetSource) -> None:
    if owner is not None and (owner != ref.index).any():
        raise DataError(
            f"Rows of {source.path} belong to another episode than the metadata says.",
            got=f"episode {int(owner[owner != ref.index][0])}",
            expected=f"episode {ref.index} in rows {ref.first_row} to {ref.first_row + ref.length - 1}",
            hint="metadata and data come from different copies; copy the whole folder again",
        )
