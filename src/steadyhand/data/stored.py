"""The episodes that lie in the files of a data set, read when they are asked for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

from steadyhand.core.errors import DataError
from steadyhand.core.protocol import Actor
from steadyhand.core.specs import ACTION, FeatureSpec, class_spec
from steadyhand.data.camera import StoredCamera
from steadyhand.data.episode import STEP_COLUMNS, Episode, TaskRun, texts_of
from steadyhand.data.formats.layout import EpisodeRef, Layout
from steadyhand.data.formats.schema import (
    EXPERT_ACTION,
    OWN_COLUMNS,
    STEP_FEATURES,
    SUCCESS,
    action_spec,
    observation_specs,
    picture_of,
)
from steadyhand.data.formats.sidecar import FOLDER, Ending, Sidecar
from steadyhand.data.image_cache import cached_images
from steadyhand.data.pictures import Size
from steadyhand.data.rows import Columns, read_columns, task_numbers
from steadyhand.data.spec import StoreSpec


class StoredEpisodes:
    """Reads the files behind a layout.

    Args:
        layout: What the metadata says.
        spec: The store's own spec, if it is a store.
        classes: Lowest and highest number of a discrete action; a store knows them itself.

    Raises:
        DataError: No action, no observation, extras that do not fit the episodes, or classes that are not
            those of the store.
    """

    def __init__(
        self, layout: Layout, spec: StoreSpec | None, *, classes: tuple[int, int] | None = None
    ) -> None:
        self.layout = layout
        self.lengths = [ref.length for ref in layout.episodes]
        self.control_dt = 1.0 / layout.fps if spec is None else spec.control_dt
        self._sidecar = None
        self._cameras: dict[str, StoredCamera] = {}
        self.observation: dict[str, FeatureSpec]
        self.action: FeatureSpec
        if spec is None:
            self.observation = observation_specs(layout.features)
            self.action = action_spec(layout.features, classes=classes)
        else:
            self.observation, self.action = dict(spec.observation), spec.action
            if classes is not None and self.action.classes != class_spec(classes).classes:
                raise DataError(
                    f"{layout.root} says itself what its action is.",
                    got=class_spec(classes).describe(),
                    expected=self.action.describe(),
                    hint="leave classes out",
                )
            self._sidecar = Sidecar(layout.root, self.observation)
            if layout.is_whole and len(self._sidecar.endings) != len(layout.episodes):
                raise DataError(
                    f"{layout.root / FOLDER} does not fit meta/episodes.",
                    got=f"{len(self._sidecar.endings)} rows",
                    expected=f"{len(layout.episodes)} episodes",
                    hint="another program edited the data; without meta/steadyhand it can be read as it is",
                )
        if not self.observation:
            raise DataError(
                "The data set has no observation.",
                got="no feature whose name begins with 'observation.'",
                available=sorted(layout.features),
                hint="if it has another name, say so: --rename NAME=observation.state",
            )

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def endings(self) -> list[Ending]:
        """How each episode ended, as far as the files say."""
        if self._sidecar is None:
            return [Ending()] * len(self)
        return [self._sidecar.endings[ref.index] for ref in self.layout.episodes]

    def read(self, refs: Sequence[EpisodeRef], wanted: Mapping[str, str]) -> list[Columns]:
        """Return columns of numbers of each episode; see `read_columns`."""
        return read_columns(self.layout, refs, wanted)

    def columns(
        self, refs: Sequence[EpisodeRef], names: Sequence[str], *, told: Sequence[str] = ()
    ) -> list[Columns]:
        """Return the columns of numbers of each episode, actions and our own columns included.

        Args:
            refs: Which episodes.
            names: Which observation features, cameras excluded.
            told: Which step columns of LeRobot, such as next.reward; those that there are come as (T,),
                next.success as it is stored.

        Raises:
            DataError: Missing, short or damaged files, or values that cannot be.
        """
        wanted = {ACTION: self.action.dtype} | {name: self.observation[name].dtype for name in names}
        if self._sidecar is not None:
            wanted[EXPERT_ACTION] = self.action.dtype
            wanted |= {name: STEP_FEATURES[name] for name in OWN_COLUMNS if name != EXPERT_ACTION}
        features = self.layout.features
        if self._sidecar is None:
            for name in names:
                picture_of(name, features[name], lambda: (0.0, 255.0))  # or refuses
        wanted |= {
            name: STEP_FEATURES[name] if name != SUCCESS else features[name].dtype
            for name in told
            if name in features and features[name].is_scalar
        }
        read = self.read(refs, wanted)
        if self.action.kind == "discrete":
            for columns, ref in zip(read, refs, strict=True):
                self.action.check(columns[ACTION], name=f"The action of episode {ref.index}")
        return [_completed(columns, ref.length) for columns, ref in zip(read, refs, strict=True)]

    @property
    def foreign(self) -> tuple[str, ...]:
        """Columns that are called as ours are but, in data of another origin, are ordinary columns."""
        if self._sidecar is not None:
            return ()
        return tuple(name for name in OWN_COLUMNS if name in self.layout.features)

    def task_runs(self, refs: Sequence[EpisodeRef]) -> list[tuple[TaskRun, ...]]:
        """Return the tasks of each episode as its rows say, and how many steps each took.

        Raises:
            DataError: Missing or damaged files, or a task_index without a text.
        """
        texts = self.layout.tasks
        numbers = task_numbers(self.layout, refs)
        if numbers is None or len(texts) < 2:
            return [((_listed(ref.tasks or texts), ref.length),) for ref in refs]
        runs: list[tuple[TaskRun, ...]] = []
        for column in numbers:
            starts = np.flatnonzero(np.diff(column, prepend=-1))
            counts = np.diff(starts, append=len(column))
            pairs = zip(column[starts], counts, strict=True)
            runs.append(tuple((texts[int(number)], int(count)) for number, count in pairs))
        return runs

    def column(self, name: str) -> np.ndarray:
        """Return a whole column, (N, *shape), as it is stored.

        Raises:
            DataError: No such column, or it holds images or text.
        """
        feature = self.layout.features.get(name)
        if feature is None or not feature.is_number:
            raise DataError("There is no such column of numbers.", got=name, available=self.layout.features)
        parts = self.read(self.layout.episodes, {name: feature.dtype})
        return np.concatenate([np.empty((0, *feature.shape), feature.dtype), *(part[name] for part in parts)])

    def episode(self, index: int, names: Sequence[str]) -> Episode:
        """Return one episode with the named observation features."""
        ref = self.layout.episodes[index]
        numbers = [name for name in names if self.observation[name].kind != "image"]
        columns = self.columns([ref], numbers, told=("next.reward", SUCCESS))[0]
        for name in names:
            if self.observation[name].kind == "image":
                columns[name] = self.images(name, index)
        ending = Ending() if self._sidecar is None else self._sidecar.endings[ref.index]
        final = None if self._sidecar is None else self._sidecar.final_observation(ref.index)
        success = ending.success
        if self._sidecar is None and SUCCESS in columns:
            success = _verdict(columns[SUCCESS][-1], ref)
        tasks = self.task_runs([ref])[0]
        columns["reward"] = columns.get("next.reward", np.zeros(ref.length, dtype=np.float32))
        return Episode(
            observation={name: columns[name] for name in names},
            **{name: columns[name] for name in STEP_COLUMNS},
            final_observation=None if final is None else {name: final[name] for name in names},
            terminated=ending.terminated,
            truncated=ending.truncated,
            success=success,
            task=tasks[0][0],
            step_tasks=texts_of(tasks) if len(tasks) > 1 else (),
            control_dt=self.control_dt,
            provenance=ending.provenance,
            branch=ending.branch,
        )

    def images(self, name: str, index: int, steps: np.ndarray | None = None) -> Shaped[np.ndarray, "n ..."]:
        """Return pictures (n, h, w, c) or depth maps (n, h, w) of one episode, all or those at `steps`."""
        ref = self.layout.episodes[index]
        camera = self._camera(name)
        camera.require([ref])
        return camera.read(ref, steps)

    def cached(
        self, name: str, refs: Sequence[EpisodeRef], folder: Path | None, size: Size | None
    ) -> UInt8[np.ndarray, "n h w c"]:
        """Return all images of episodes, memory mapped; made smaller if `size` is given."""
        return cached_images(self._camera(name), refs, root=self.layout.root, folder=folder, size=size)

    def image_file(self, name: str, ref: EpisodeRef) -> Path:
        """Return the file that holds the images of an episode."""
        return self._camera(name).file(ref)

    def image_files(self, name: str) -> list[Path]:
        """Return the file that holds the images of each episode."""
        camera = self._camera(name)
        return [camera.file(ref) for ref in self.layout.episodes]

    def _camera(self, name: str) -> StoredCamera:
        if name not in self._cameras:
            spec = self.observation.get(name)
            self._cameras[name] = StoredCamera(self.layout, name, shape=None if spec is None else spec.shape)
        return self._cameras[name]


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
    return columns


def _verdict(value: np.generic, ref: EpisodeRef) -> bool:
    """Return what the last row of an episode says of its success."""
    number = float(value)
    if number not in (0.0, 1.0):
        raise DataError(
            f"{SUCCESS} holds neither bools nor 0 and 1.",
            got=f"{number:g} in the last row of episode {ref.index}",
            expected="True or 1, False or 0",
            hint=f"if it means something else, give it another name: --rename {SUCCESS}=progress",
        )
    return bool(number)


def _listed(tasks: Sequence[str]) -> str:
    """Return the task of an episode whose rows do not say which of several it is."""
    return "; ".join(dict.fromkeys(tasks))
