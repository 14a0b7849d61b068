"""A plain function as an expert: of one observation or of a batch, which is found out by asking it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from steadyhand.core.errors import CapabilityError, SpecError, SteadyhandError
from steadyhand.core.specs import FeatureSpec
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.experts.config import feature_of
from steadyhand.experts.network import CallableExpert

Seen = np.ndarray | dict[str, np.ndarray]
"""What a function is asked about: the array of one feature, or all features by name."""


def function_expert(
    function: Callable[[Any], Any], env: BatchEnv, *, feature: str = "", batched: bool | None = None
) -> CallableExpert:
    """Return a function as the expert of an env.

    It is given the array of `feature`; if none is named, that of the only feature that the env shows, or a
    dictionary of all features (those that only experts may see included) where there are several.

    Args:
        function: Observation -> action, of one observation (A,) or of a batch (B, A).
        env: The env that it is to act in. To find out whether the function takes a batch it is asked about a
            few first observations, for which a row of the env is reset.
        feature: Which feature it reads, "state" standing for "observation.state".
        batched: Whether it takes a batch, where that is known; it is then not asked beforehand.

    Raises:
        SpecError: It answers neither one observation nor a batch rightly, or both, but differently.
    """
    spec = env.spec
    name = feature_of(feature, env)
    if batched is None:
        batched = _takes_batches(function, _probes(env, name), spec.action)
    ask = function if batched else _row_by_row(function)
    return CallableExpert(ask, action=spec.action, feature=name, name=_name(function))


def _row_by_row(function: Callable[[Any], Any]) -> Callable[[Any], np.ndarray]:
    """Return a function of a batch that asks about one observation after the other."""

    def ask(batch: Seen) -> np.ndarray:
        return np.stack([np.asarray(function(row)) for row in _rows(batch)])

    return ask


def _rows(batch: Seen) -> list[Seen]:
    if isinstance(batch, np.ndarray):
        return list(batch)
    count = len(next(iter(batch.values())))
    return [{name: value[row] for name, value in batch.items()} for row in range(count)]


def _probes(env: BatchEnv, feature: str | None) -> Seen:
    """Return a batch of first observations, of a size that no axis of a feature or of the action has."""
    spec = env.spec
    sizes = {size for one in (*spec.observation.values(), spec.action) for size in one.shape}
    count = next(number for number in range(2, len(sizes) + 3) if number not in sizes)
    row = np.array([0])
    seen: list[Mapping[str, np.ndarray]] = []
    for start in env.starts("train", count):
        _put(env, start)
        seen.append({**env.observe(row), **env.privileged(row)})
    batch = {name: np.concatenate([one[name] for one in seen]) for name in seen[0]}
    return batch if feature is None else batch[feature]


def _put(env: BatchEnv, start: Start) -> None:
    """Put the first row at a start, or all of them where an env resets all or none."""
    try:
        env.reset([start], np.array([0]))
    except CapabilityError:
        env.reset([start] * env.num_rows, np.arange(env.num_rows))


def _takes_batches(function: Callable[[Any], Any], batch: Seen, action: FeatureSpec) -> bool:
    rows = _rows(batch)
    together = _answer(function, batch, (len(rows), *action.shape))
    alone = [_answer(function, row, action.shape) for row in rows]
    each = None if any(isinstance(one, str) for one in alone) else np.stack([np.asarray(a) for a in alone])
    if isinstance(together, str):
        if each is not None:
            return False
        raise SpecError(
            f"The expert {_name(function)} answers neither one observation nor a batch.",
            got=f"of one: {next(one for one in alone if isinstance(one, str))}; of {len(rows)}: {together}",
            expected=f"an array {list(action.shape)} of one, or {[len(rows), *action.shape]} of {len(rows)}",
            hint="it is given " + _words(rows[0]) + "; name another feature with feature=",
        )
    if each is not None and not np.allclose(together, each, rtol=1e-3, atol=1e-5):
        raise SpecError(
            f"The expert {_name(function)} answers one observation otherwise than the same one in a batch.",
            got=f"{each[0].tolist()} alone, {together[0].tolist()} among {len(rows)}",
            hint="say which is meant, with batched=True or batched=False; at random it must not be",
        )
    return True


def _answer(function: Callable[[Any], Any], seen: Seen, shape: tuple[int, ...]) -> np.ndarray | str:
    """Return the answer, in this shape, or in words what is wrong with it."""
    copy = seen.copy() if isinstance(seen, np.ndarray) else {name: one.copy() for name, one in seen.items()}
    try:
        answer = np.asarray(function(copy))
    except (SteadyhandError, MemoryError, RecursionError):
        raise
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if answer.dtype.kind not in "biuf":
        return f"{answer.dtype}, no real numbers"
    short = shape[-1] == 1 and answer.shape == shape[:-1]
    if answer.shape != shape and not short:
        return f"shape {answer.shape}"
    return answer.reshape(shape)


def _words(row: Seen) -> str:
    if isinstance(row, np.ndarray):
        return f"an array {list(row.shape)}, or {['rows', *row.shape]} for a batch"
    return f"a dictionary of {', '.join(row)}"


def _name(function: Callable[[Any], Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
