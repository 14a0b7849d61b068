"""The arrays that say where episodes end and how: what they may hold, and what is made of it."""

from collections.abc import Mapping

import numpy as np

from steadyhand.core.errors import DataError
from steadyhand.data.formats.files import check_feature_name


def told_ends(arrays: Mapping[str, np.ndarray], num_steps: int) -> np.ndarray:
    """Return the exclusive ends of the episodes, whichever way a file says them."""
    if "episode_ends" in arrays:
        return arrays["episode_ends"]
    if "indices" in arrays:
        return np.append(arrays["indices"], num_steps)
    kinds = arrays["step_type"]
    expected = f"({num_steps},): 0 for the first step of an episode, 1 within it, 2 for its last"
    if kinds.shape != (num_steps,) or not num_steps or kinds[0] != 0 or not np.isin(kinds, (0, 1, 2)).all():
        raise DataError(
            "step_type does not tell the episodes apart.",
            got=f"{kinds.dtype} {kinds.shape}, beginning with {kinds.reshape(-1)[:3].tolist()}",
            expected=expected,
        )
    goes_on = np.flatnonzero((kinds[:-1] == 2) & (kinds[1:] != 0))
    if len(goes_on):
        row = int(goes_on[0])
        raise DataError(
            "step_type ends an episode that goes on.",
            got=f"{kinds[row : row + 2].tolist()} in rows {row} and {row + 1}",
            expected=expected,
            hint="begin the next episode with 0",
        )
    return np.append(np.flatnonzero(kinds == 0)[1:], num_steps)


def checked_ends(ends: np.ndarray, num_steps: int) -> list[int]:
    """Return the exclusive ends of the episodes.

    Raises:
        DataError: They are no integers of shape (E,) that rise to `num_steps`.
    """
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


def check_reward(value: np.ndarray | None, num_steps: int) -> None:
    """Raise DataError unless there is no reward, or it is a real number for each step."""
    if value is None:
        return
    if value.dtype.kind not in "fiub":
        raise DataError("reward does not hold numbers.", got=value.dtype, expected="real numbers")
    _check_length("reward", value, num_steps)


def verdicts(name: str, value: np.ndarray | None, num_episodes: int) -> list[bool | None]:
    """Return what an array says of each episode: True, False, or None where it holds NaN or is absent.

    Raises:
        DataError: Another shape than (E,), or a value that is neither a bool nor 0, 1 or NaN.
    """
    if value is None:
        return [None] * num_episodes
    _check_length(name, value, num_episodes)
    if value.dtype.kind not in "fiub":
        raise DataError(f"{name} holds neither bools nor 0 and 1.", got=value.dtype)
    unknown = np.isnan(value) if value.dtype.kind == "f" else np.zeros(value.shape, dtype=bool)
    wrong = np.flatnonzero(~unknown & (value != 0) & (value != 1))
    if len(wrong):
        raise DataError(
            f"{name} holds neither bools nor 0 and 1.",
            got=f"{value[wrong[0]].item()} for episode {int(wrong[0])}",
            expected="True or 1, False or 0, or NaN where success is not known",
        )
    return [None if absent else bool(one) for one, absent in zip(value, unknown, strict=True)]


def _check_length(name: str, value: np.ndarray, size: int) -> None:
    if value.shape != (size,):
        raise DataError(f"{name} has the wrong shape.", got=value.shape, expected=(size,))


def check_values(name: str, value: np.ndarray) -> None:
    """Raise DataError unless an array has rows, each of at least one real number."""
    if value.dtype.kind not in "fiub":
        raise DataError(f"{name} does not hold numbers.", got=value.dtype)
    if value.ndim == 0 or 0 in value.shape[1:]:
        raise DataError(
            f"{name} has no values for a step.",
            got=f"shape {value.shape}",
            expected="(N, ...), a row of one number or more for each step",
            hint="store the values of all steps, end to end",
        )


def check_rows(name: str, value: np.ndarray, num_steps: int, num_episodes: int) -> None:
    """Raise DataError unless an observation has a row a step, and maybe a last one for each episode."""
    check_feature_name(name)
    check_values(name, value)
    if len(value) not in (num_steps, num_steps + num_episodes):
        raise DataError(
            f"{name} has the wrong number of rows.",
            got=len(value),
            expected=f"{num_steps}, or {num_steps + num_episodes} with a last one for each episode",
        )


def declared_classes(value: np.ndarray | None) -> tuple[int, int] | None:
    """Return the lowest and the highest number of a discrete action, as a file declares them.

    Raises:
        DataError: They are no two integers.
    """
    if value is None:
        return None
    if value.shape != (2,) or value.dtype.kind not in "iu":
        raise DataError(
            "classes must be two integers: the lowest and the highest number of a discrete action.",
            got=f"{value.dtype} {value.shape}",
        )
    return int(value[0]), int(value[1])
