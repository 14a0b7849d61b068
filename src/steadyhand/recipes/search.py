"""The search for a method's own settings: as many for every method, tried on seeds that no result uses.

Settings are drawn at random (Bergstra and Bengio, 2012): every number of the method that is no count, and
the learning rate, is multiplied by a factor between a quarter and four, evenly in its logarithm. The first
setting is the one that the method was given.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from steadyhand.core.errors import ConfigError
from steadyhand.core.seeding import generator
from steadyhand.core.settings import Count, Settings
from steadyhand.correction.human import SimulatedHuman
from steadyhand.correction.remedy import Remedy
from steadyhand.training.config import TrainConfig

_FACTOR = 4.0
_DRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class Search(Settings):
    """How settings are looked for.

    Attributes:
        trials: Settings that are tried of each method, the given ones included; 1 looks for none.
        seeds: Seeds with which each is tried; none of them is one of the results'.
    """

    trials: Count = 1
    seeds: Count = 2


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One setting.

    Attributes:
        method: The method.
        training: Training of its fits.
        changes: What differs from the given one, in words; empty for that one.
    """

    method: Remedy
    training: TrainConfig
    changes: str = ""


def candidates(method: Remedy, training: TrainConfig, *, trials: int, name: str) -> list[Candidate]:
    """Return as many settings of a method; always the same for the same arguments.

    The human who teaches, and whatever counts labels, rounds and episodes, is part of the question and stays.

    Args:
        method: The method as it was given.
        training: Training that belongs to the method.
        trials: How many.
        name: Name of the method, from which the draws are made.
    """
    found = [Candidate(method=method, training=training)]
    random = generator(0, "search", name)
    paths = [*_numbers(method)]
    for _ in range(_DRAWS):
        if len(found) == trials:
            break
        factors = np.exp(random.uniform(-np.log(_FACTOR), np.log(_FACTOR), size=len(paths) + 1))
        try:
            changed: Any = method
            for path, factor in zip(paths, factors, strict=False):
                changed = _scaled(changed, path, float(factor))
        except ConfigError:
            continue  # such as a share above 1
        rate = float(f"{training.learning_rate * factors[-1]:.2g}")
        words = [f"{'.'.join(path)} {_at(changed, path):g}" for path in paths]
        found.append(
            Candidate(
                method=changed,
                training=replace(training, learning_rate=rate),
                changes=", ".join([*words, f"learning rate {rate:g}"]),
            )
        )
    if len(found) < trials:
        raise ConfigError(
            f"{name} has too few settings for this search.",
            got=f"{len(found)} of {trials} settings in {_DRAWS} draws",
            hint="ask for fewer trials",
        )
    return found


def _numbers(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the places of positive numbers that are no counts."""
    if not is_dataclass(value) or isinstance(value, SimulatedHuman):
        return
    for one in fields(value):
        inner = getattr(value, one.name)
        if isinstance(inner, float) and np.isfinite(inner) and inner > 0.0:
            yield (*path, one.name)
        else:
            yield from _numbers(inner, (*path, one.name))


def _scaled(value: Any, path: tuple[str, ...], factor: float) -> Any:
    first, *rest = path
    inner = getattr(value, first)
    changed = _scaled(inner, tuple(rest), factor) if rest else float(f"{inner * factor:.2g}")
    return replace(value, **{first: changed})


def _at(value: Any, path: tuple[str, ...]) -> float:
    for name in path:
        value = getattr(value, name)
    return value
