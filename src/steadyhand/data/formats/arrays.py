"""Flat arrays, and npz files of them: the plainest way to bring one's own data.

An npz file holds, for N steps of E episodes laid end to end:

    action            (N, A) numbers; or (N,) whole numbers, choices if `classes` says so
    classes           (2,) optional: lowest and highest number of a discrete action, as the env counts them
    observation       (N, D), read as observation.state; or any number of observation.<name> (N, ...)
    episode_ends      (E,) exclusive cumulative ends; the last is N
    reward            (N,) optional
    terminated        (E,) bool, optional: the task ended by its own rules; otherwise it was cut
    success           (E,) bool, or 0, 1 and NaN where it is not known, optional

Observations may have N + E rows instead: then each episode's last row is what was seen after its last action.
Whole numbers are numbers unless somebody says that they are choices.

The names of the `imitation` library (obs, acts, rews, terminal, and `indices` of split points) and of D4RL
(observations, actions, rewards, terminals) are understood too, and `terminated` with one entry a step. For
episode_ends may stand `step_type` (N,): 0 for the first step of an episode, 1 within it, 2 for its last.

What `steadyhand.core.pictures` recognises becomes pictures of (height, width, 1 or 3) uint8; those called
observation are observation.images.main, and observation.<name> is observation.images.<name>, as in an env.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from steadyhand.core.errors import DataError, SpecError
from steadyhand.core.pictures import picture_format
from steadyhand.core.specs import ACTION, IMAGES, STATE, FeatureSpec, class_spec
from steadyhand.core.strict import require_file
from steadyhand.data.base import Dataset
from steadyhand.data.episode import Episode, EpisodeOrigin, demonstration
from steadyhand.data.formats.array_parts import (
    check_reward,
    check_rows,
    check_values,
    checked_ends,
    declared_classes,
    told_ends,
    verdicts,
)
from steadyhand.data.formats.columns import as_float32, whole_numbers
from steadyhand.data.formats.files import missing, reading
from steadyhand.data.formats.schema import is_observation
from steadyhand.data.frames import Frames
from steadyhand.data.pictures import Size
from steadyhand.data.selection import Episodes, chosen_episodes

_OTHER_NAMES = {
    **{"obs": "observation", "acts": ACTION, "rews": "reward", "terminal": "terminated"},
    **{"observations": "observation", "actions": ACTION, "rewards": "reward", "terminals": "terminated"},
}
"""Of the `imitation` library, and of D4RL."""

_OPTIONAL = ("reward", "terminated", "success")
_ENDS = ("episode_ends", "indices", "step_type")
_IMAGE = "observation.image"
"""How the names of pictures begin: observation.image, observation.images.front."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ArrayDataset(Dataset):
    """Episodes in memory with their specs.

    Attributes:
        observation: Feature name -> spec.
        action: Spec of the action.
        control_dt: Time between steps [s].
        all_episodes: The episodes.
        chosen: Number of each in the file, if only some were chosen.
        unread: Names of the arrays in the file that nothing reads.
    """

    observation: dict[str, FeatureSpec]
    action: FeatureSpec
    control_dt: float
    all_episodes: tuple[Episode, ...]
    chosen: tuple[int, ...] | None = None
    unread: tuple[str, ...] = ()

    @property
    def numbers(self) -> Int64[np.ndarray, " E"]:
        """Number that each episode has in the file."""
        return np.array(range(self.num_episodes) if self.chosen is None else self.chosen, dtype=np.int64)

    @property
    def where(self) -> str:
        """Where the data are, in words."""
        return "in memory"

    @property
    def lengths(self) -> Int64[np.ndarray, " E"]:
        """Number of steps of each episode."""
        return np.array([len(episode) for episode in self.all_episodes], dtype=np.int64)

    def episode(self, index: int, *, observation: Sequence[str] | None = None) -> Episode:
        """Return one episode; see `Dataset.episode`."""
        return self.all_episodes[index].with_features(list(self._specs(observation)))

    def frames(self, observation: Sequence[str] | None = None, *, picture_size: Size | None = None) -> Frames:
        """Lay all episodes end to end with the named features, all if None; see `Dataset.frames`."""
        return Frames.from_episodes(
            self.all_episodes, observation_spec=self._specs(observation), action_spec=self.action
        ).with_pictures(picture_size)

    def _specs(self, observation: Sequence[str] | None) -> dict[str, FeatureSpec]:
        names = list(self.observation) if observation is None else observation
        unknown = [name for name in names if name not in self.observation]
        if unknown:
            raise DataError("The arrays hold no such observation.", got=unknown, available=self.observation)
        return {name: self.observation[name] for name in names}


def open_npz(
    path: Path | str,
    *,
    control_dt: float,
    task: str = "",
    rename: Mapping[str, str] | None = None,
    classes: tuple[int, int] | None = None,
    episodes: Episodes | None = None,
) -> ArrayDataset:
    """Read an npz file of flat arrays.

    Args:
        path: The file; never unpickled.
        control_dt: Time between steps [s]; the file does not know it.
        task: Text of the task.
        rename: Name of an array in the file -> its name here.
        classes: Lowest and highest number of a discrete action; None takes the file's `classes`, if it has
            any.
        episodes: Which episodes to read, as numbers or as a text such as "0-9,!4"; all of them if None.

    Raises:
        DataError: Missing or damaged file, missing arrays, or arrays that do not fit one another.
    """
    path = Path(path)
    return from_arrays(
        _load(path),
        name=path,
        control_dt=control_dt,
        task=task,
        rename=rename,
        classes=classes,
        episodes=episodes,
    )


def from_arrays(
    arrays: Mapping[str, np.ndarray],
    *,
    control_dt: float,
    name: Path = Path("arrays"),
    task: str = "",
    rename: Mapping[str, str] | None = None,
    classes: tuple[int, int] | None = None,
    episodes: Episodes | None = None,
) -> ArrayDataset:
    """Read flat arrays that are named as in an npz file.

    Args:
        arrays: Name -> array.
        control_dt: Time between steps [s].
        name: What errors call them.
        task: Text of the task.
        rename: New names of arrays, as `open_npz` takes them.
        classes: Lowest and highest number of a discrete action, as `open_npz` takes them.
        episodes: Which episodes to read, as `open_npz` takes them.

    Raises:
        DataError: Missing arrays, or arrays that do not fit one another.
    """
    with reading(name):
        arrays = _named(dict(arrays), rename or {})
    observation = {key: value for key, value in arrays.items() if is_observation(key)}
    there = {
        "observation (or observation.<name>)": bool(observation),
        ACTION: ACTION in arrays,
        "episode_ends, the number of steps up to the end of each episode ([N] for one)": bool(
            arrays.keys() & set(_ENDS)
        ),
    }
    if not all(there.values()):
        raise DataError(
            f"{name} lacks arrays.",
            got=sorted(arrays),
            expected="also " + ", ".join(key for key, is_there in there.items() if not is_there),
            hint="if they have other names, say so: --rename NAME=action, or rename={'NAME': 'action'}",
        )
    action = arrays[ACTION]
    with reading(name, hint="store the array anew, or leave it out of the file"):
        check_values(ACTION, action)
        dataset = episodes_from_arrays(
            observation,
            action,
            told_ends(arrays, len(action)),
            control_dt=control_dt,
            task=task,
            source=name.stem,
            episodes=episodes,
            classes=classes or declared_classes(arrays.get("classes")),
            **{key: arrays[key] for key in _OPTIONAL if key in arrays},
        )
    used = {ACTION, "classes", *_OPTIONAL, next(key for key in _ENDS if key in arrays)}
    unread = [key for key in arrays if key not in used and not is_observation(key)]
    return replace(dataset, unread=tuple(unread))


def episodes_from_arrays(
    observation: Mapping[str, np.ndarray],
    action: np.ndarray,
    episode_ends: np.ndarray,
    *,
    control_dt: float,
    reward: np.ndarray | None = None,
    terminated: np.ndarray | None = None,
    success: np.ndarray | None = None,
    task: str = "",
    source: str = "arrays",
    classes: tuple[int, int] | None = None,
    episodes: Episodes | None = None,
) -> ArrayDataset:
    """Cut flat arrays into episodes.

    Args:
        observation: Feature name -> (N, ...) or (N + E, ...), the latter with a final row for each episode.
        action: (N, A) numbers, or (N,) whole numbers.
        episode_ends: (E,) exclusive cumulative ends; the last is N.
        control_dt: Time between steps [s].
        reward: (N,).
        terminated: (E,), or (N,) of which the last step of each episode counts: the task ended by its own
            rules; the others count as cut.
        success: (E,).
        task: Text of the task.
        source: Where the data came from.
        classes: Lowest and highest number of a discrete action, as the env counts them; None means that
            actions are numbers.
        episodes: Which episodes to keep; all of them if None.

    Raises:
        DataError: Lengths that do not fit, NaN, unusable dtypes, pictures that cannot be read, or an action
            outside `classes`.
    """
    check_values(ACTION, action)
    ends = checked_ends(episode_ends, len(action))
    num_episodes, num_steps = len(ends), len(action)
    if terminated is not None and terminated.shape == (num_steps,):
        terminated = terminated[np.array(ends) - 1]
    check_reward(reward, num_steps)
    outcomes, own_end = verdicts("success", success, num_episodes), _terminated(terminated, num_episodes)
    actions, action_spec = _action(action, classes)
    columns: dict[str, np.ndarray] = {}
    specs: dict[str, FeatureSpec] = {}
    for name, value in observation.items():
        check_rows(name, value, num_steps, num_episodes)
        column, spec = _feature(name, value)
        called = _picture_name(name) if spec.kind == "image" else name
        if called in columns:
            raise DataError("Two arrays are the same feature.", got=called, hint="rename one of them")
        columns[called], specs[called] = column, spec
    kept: list[Episode] = []
    numbers = range(num_episodes) if episodes is None else chosen_episodes(episodes, num_episodes).tolist()
    for number in numbers:
        first, end = ends[number - 1] if number else 0, ends[number]
        seen, final = _cut(columns, num_steps, slice(first, end), number)
        try:
            episode = demonstration(
                seen,
                actions[first:end],
                control_dt=control_dt,
                reward=None if reward is None else reward[first:end],
                final_observation=final,
                terminated=own_end[number],
                truncated=not own_end[number],
                success=outcomes[number],
                task=task,
                provenance=EpisodeOrigin(source=source),
            )
        except DataError as error:
            advice = f"leave it out (--episodes '!{number}') or repair the value"
            told = error.rest | {"hint": error.rest.get("hint") or advice}
            raise DataError(f"Episode {number} is damaged. {error.what}", **told) from error
        kept.append(episode)
    return ArrayDataset(
        observation=specs,
        action=action_spec,
        control_dt=control_dt,
        all_episodes=tuple(kept),
        chosen=None if episodes is None else tuple(numbers),
    )


def _cut(
    columns: Mapping[str, np.ndarray], num_steps: int, steps: slice, number: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]:
    """Return the observations of episode `number`, and the final one if every feature has a row for it."""
    seen: dict[str, np.ndarray] = {}
    final: dict[str, np.ndarray] = {}
    for name, column in columns.items():
        shift = number if len(column) != num_steps else 0
        seen[name] = column[steps.start + shift : steps.stop + shift]
        if len(column) != num_steps:
            final[name] = column[steps.stop + shift]
    return seen, final if len(final) == len(columns) else None


def _load(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        raise missing(path)
    require_file(path, error=DataError)
    try:
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if isinstance(arrays, np.ndarray):
                raise DataError(f"{path} holds one array, not several.", expected="an npz file")
            return {str(name): arrays[str(name)] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        hint = "save plain number arrays, no objects" if "pickle" in str(error) else "restore it from a copy"
        raise DataError(f"{path} cannot be read as npz.", got=error, hint=hint) from error


def _named(arrays: dict[str, np.ndarray], rename: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Return the arrays under our names: as they were renamed, or as other libraries name them."""
    absent = [old for old in rename if old not in arrays]
    if absent:
        raise DataError(
            "There is no such array to rename.", got=absent[0], available=arrays, hint="name one of these"
        )
    names = {name: rename.get(name, name) for name in arrays}
    for name, ours in _OTHER_NAMES.items():
        if names.get(name) == name and ours not in names.values():
            names[name] = ours
    names = {name: STATE if ours == "observation" else ours for name, ours in names.items()}
    twice = [name for name in names.values() if list(names.values()).count(name) > 1]
    if twice:
        raise DataError("Two arrays would have the same name.", got=twice[0], hint="rename the other, too")
    return {names[name]: value for name, value in arrays.items()}


def _terminated(value: np.ndarray | None, num_episodes: int) -> list[bool]:
    """Return whether each episode ended by its own rules; False where nothing says so."""
    found = verdicts("terminated", value, num_episodes)
    if value is not None and None in found:
        raise DataError(
            "terminated holds NaN.", got=f"NaN for episode {found.index(None)}", expected="0 or 1"
        )
    return [bool(one) for one in found]


def _action(action: np.ndarray, classes: tuple[int, int] | None) -> tuple[np.ndarray, FeatureSpec]:
    column = action[:, None] if action.ndim == 1 else action
    if column.ndim != 2:
        raise DataError("The action must have the shape (N, A).", got=action.shape)
    if classes is None:
        return as_float32(column, name=ACTION), FeatureSpec(shape=column.shape[1:])
    if column.shape[1] != 1:
        raise DataError(
            "Only an action of one number can be one of several classes.",
            got=f"{column.shape[1]} numbers a step",
            expected="(N,) or (N, 1)",
            hint="leave classes out",
        )
    values = whole_numbers(column, name=ACTION)
    try:
        spec = class_spec(classes)
        spec.check(values, name=ACTION)
    except SpecError as error:
        raise DataError(error.what, **error.rest) from error
    return values, spec


def _picture_name(name: str) -> str:
    if name.startswith(_IMAGE):
        return name
    return f"{IMAGES}main" if name == STATE else f"{IMAGES}{name.removeprefix('observation.')}"


def _feature(name: str, value: np.ndarray) -> tuple[np.ndarray, FeatureSpec]:
    try:
        picture = picture_format(
            value.shape[1:],
            value.dtype,
            name=name,
            limits=lambda: (float(value.min()), float(value.max())),
            is_declared=name.startswith(_IMAGE),
        )
        if picture is not None:
            return picture.read(value, name=name), picture.spec
    except SpecError as error:
        raise DataError(error.what, **error.rest) from error
    column = value[:, None] if value.ndim == 1 else value
    return as_float32(column, name=name), FeatureSpec(shape=column.shape[1:])
