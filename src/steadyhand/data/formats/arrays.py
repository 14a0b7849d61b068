"""Flat arrays, and npz files of them: the plainest way to bring one's own data.

An npz file holds, for N steps of E episodes laid end to end:

    action            (N, A) numbers, or (N,) integers for a discrete action
    observation       (N, D), read as observation.state; or any number of observation.<name> (N, ...)
    episode_ends      (E,) exclusive cumulative ends; the last is N
    reward            (N,) optional
    terminated        (E,) bool, optional: the task ended by its own rules; otherwise it was cut
    success           (E,) bool, optional

Observations may have N + E rows instead: then each episode's last row is what was seen after its last action.
The short names of the `imitation` library (obs, acts, rews, terminal, and `indices` of split points) are
understood too. Arrays of uint8 with a shape of (height, width, 1 or 3) are images.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from steadyhand.core.errors import DataError
from steadyhand.core.specs import ACTION, STATE, FeatureSpec, discrete_spec, image_spec
from steadyhand.data.episode import Episode, Provenance, demonstration
from steadyhand.data.formats.files import check_feature_name, missing
from steadyhand.data.frames import Frames

_SHORT_NAMES = {"obs": "observation", "acts": ACTION, "rews": "reward", "terminal": "terminated"}
_OPTIONAL = ("reward", "terminated", "success")


@dataclass(frozen=True, kw_only=True)
class ArrayDataset:
    """Episodes in memory with their specs.

    Attributes:
        observation: Feature name -> spec.
        action: Spec of the action.
        control_dt: Time between steps [s].
        all_episodes: The episodes.
        chosen: Number of each in the file, if only some were chosen.
    """

    observation: dict[str, FeatureSpec]
    action: FeatureSpec
    control_dt: float
    all_episodes: tuple[Episode, ...]
    chosen: tuple[int, ...] | None = None

    @property
    def numbers(self) -> Int64[np.ndarray, " E"]:
        """Number that each episode has in the file."""
        return np.array(range(self.num_episodes) if self.chosen is None else self.chosen, dtype=np.int64)

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return len(self.all_episodes)

    @property
    def num_frames(self) -> int:
        """Number of steps."""
        return sum(len(episode) for episode in self.all_episodes)

    @property
    def lengths(self) -> Int64[np.ndarray, " E"]:
        """Number of steps of each episode."""
        return np.array([len(episode) for episode in self.all_episodes], dtype=np.int64)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Text of each task, once each."""
        return tuple(dict.fromkeys(episode.task for episode in self.all_episodes))

    def episode(self, index: int) -> Episode:
        """Return one episode."""
        return self.all_episodes[index]

    def selected(self, numbers: Sequence[int] | np.ndarray) -> "ArrayDataset":
        """Return the data set of some of the episodes."""
        kept = tuple(self.all_episodes[number] for number in numbers)
        return replace(self, all_episodes=kept, chosen=tuple(int(number) for number in numbers))

    def frames(self, observation: Sequence[str] | None = None) -> Frames:
        """Lay all episodes end to end with the named observation features, all if None."""
        names = list(self.observation) if observation is None else observation
        unknown = [name for name in names if name not in self.observation]
        if unknown:
            raise DataError("The arrays hold no such observation.", got=unknown, available=self.observation)
        return Frames.from_episodes(
            self.all_episodes,
            observation_spec={name: self.observation[name] for name in names},
            action_spec=self.action,
        )


def open_npz(
    path: Path | str, *, control_dt: float, task: str = "", rename: Mapping[str, str] | None = None
) -> ArrayDataset:
    """Read an npz file of flat arrays.

    Args:
        path: The file; never unpickled.
        control_dt: Time between steps [s]; the file does not know it.
        task: Text of the task.
        rename: Name of an array in the file -> its name here.

    Raises:
        DataError: Missing or damaged file, missing arrays, or arrays that do not fit one another.
    """
    path = Path(path)
    arrays = _renamed(_load(path), rename or {})
    observation = {
        (STATE if name == "observation" else name): value
        for name, value in arrays.items()
        if name == "observation" or name.startswith("observation.")
    }
    if ACTION not in arrays or not observation or not arrays.keys() & {"episode_ends", "indices"}:
        raise DataError(
            f"{path} lacks arrays.",
            got=sorted(arrays),
            expected="observation (or observation.<name>), action, episode_ends",
            hint="rename the arrays; the layout is described in docs/data.md",
        )
    action = arrays[ACTION]
    ends = arrays["episode_ends"] if "episode_ends" in arrays else np.append(arrays["indices"], len(action))
    return episodes_from_arrays(
        observation,
        action,
        ends,
        control_dt=control_dt,
        task=task,
        source=path.stem,
        **{name: arrays[name] for name in _OPTIONAL if name in arrays},
    )


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
) -> ArrayDataset:
    """Cut flat arrays into episodes.

    Args:
        observation: Feature name -> (N, ...) or (N + E, ...), the latter with a final row for each episode.
        action: (N, A), or (N,) integers for a discrete action.
        episode_ends: (E,) exclusive cumulative ends; the last is N.
        control_dt: Time between steps [s].
        reward: (N,).
        terminated: (E,) the task ended by its own rules; the others count as cut.
        success: (E,).
        task: Text of the task.
        source: Where the data came from.

    Raises:
        DataError: Lengths that do not fit, NaN, or unusable dtypes.
    """
    ends = _checked_ends(episode_ends, len(action))
    num_episodes, num_steps = len(ends), len(action)
    for name, value, size in (("reward", reward, num_steps), ("terminated", terminated, num_episodes)):
        _check_length(name, value, size)
    _check_length("success", success, num_episodes)
    actions, action_spec = _action(action)
    for name, value in observation.items():
        _check_rows(name, value, num_steps, num_episodes)
    features = {name: _feature(name, value) for name, value in observation.items()}
    columns = {name: column for name, (column, _) in features.items()}
    specs = {name: spec for name, (_, spec) in features.items()}
    episodes: list[Episode] = []
    for number, (first, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        seen, final = _cut(columns, num_steps, slice(first, end), number)
        is_terminated = bool(terminated[number]) if terminated is not None else False
        episodes.append(
            demonstration(
                seen,
                actions[first:end],
                control_dt=control_dt,
                reward=None if reward is None else reward[first:end],
                final_observation=final,
                terminated=is_terminated,
                truncated=not is_terminated,
                success=None if success is None else bool(success[number]),
                task=task,
                provenance=Provenance(source=source),
            )
        )
    return ArrayDataset(
        observation=specs, action=action_spec, control_dt=control_dt, all_episodes=tuple(episodes)
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
    try:
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if isinstance(arrays, np.ndarray):
                raise DataError(f"{path} holds one array, not several.", expected="an npz file")
            return {_SHORT_NAMES.get(str(name), str(name)): arrays[str(name)] for name in arrays.files}
    except FileNotFoundError as error:
        raise missing(path) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        hint = "save plain number arrays, no objects" if "pickle" in str(error) else "restore it from a copy"
        raise DataError(f"{path} cannot be read as npz.", got=error, hint=hint) from error


def _renamed(arrays: dict[str, np.ndarray], rename: Mapping[str, str]) -> dict[str, np.ndarray]:
    absent = [old for old in rename if old not in arrays]
    if absent:
        raise DataError("There is no such array to rename.", got=absent[0], available=arrays)
    names = [rename.get(name, name) for name in arrays]
    if len(set(names)) < len(names):
        raise DataError(
            "Two arrays would have the same name.", got=names, hint="rename the other one as well"
        )
    return dict(zip(names, arrays.values(), strict=True))


def _checked_ends(ends: np.ndarray, num_steps: int) -> list[int]:
    if ends.ndim != 1 or ends.dtype.kind not in "iu" or not len(ends):
        raise DataError("episode_ends must be integers of shape (E,).", got=f"{ends.dtype} {ends.shape}")
    if (np.diff(ends.astype(np.int64), prepend=0) < 1).any() or ends[-1] != num_steps:
        raise DataError(
            "Episode ends do not add up.",
            got=ends[-5:].tolist(),
            expected=f"rising, the last one {num_steps}",
            hint="episode_ends are exclusive and cumulative, not lengths",
        )
    return [int(end) for end in ends]


def _check_length(name: str, value: np.ndarray | None, size: int) -> None:
    if value is not None and value.shape != (size,):
        raise DataError(f"{name} has the wrong shape.", got=value.shape, expected=(size,))


def _check_rows(name: str, value: np.ndarray, num_steps: int, num_episodes: int) -> None:
    check_feature_name(name)
    if len(value) not in (num_steps, num_steps + num_episodes):
        raise DataError(
            f"{name} has the wrong number of rows.",
            got=len(value),
            expected=f"{num_steps}, or {num_steps + num_episodes} with a last one for each episode",
        )


def _action(action: np.ndarray) -> tuple[np.ndarray, FeatureSpec]:
    if action.dtype.kind in "iu" and (action.ndim == 1 or action.shape[1:] == (1,)):
        if len(action) and action.min() < 0:
            raise DataError("A discrete action is negative.", got=int(action.min()), expected=">= 0")
        values = action.reshape(-1, 1).astype(np.int64)
        return values, discrete_spec(int(values.max()) + 1)
    column = action[:, None] if action.ndim == 1 else action
    if column.ndim != 2:
        raise DataError("The action must have the shape (N, A).", got=action.shape)
    return _feature(ACTION, column)


def _feature(name: str, value: np.ndarray) -> tuple[np.ndarray, FeatureSpec]:
    column = value[:, None] if value.ndim == 1 else value
    if column.dtype == np.uint8 and column.ndim == 4 and column.shape[3] in (1, 3):
        return column, image_spec(*column.shape[1:])
    if column.dtype.kind not in "fiub":
        raise DataError(f"{name} does not hold numbers.", got=column.dtype)
    return column.astype(np.float32), FeatureSpec(shape=column.shape[1:])
