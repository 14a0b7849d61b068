"""A small buffer of training patterns whose labels stay balanced (Pomerleau, 1991)."""

from collections.abc import Mapping
from typing import Literal, assert_never

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from steadyhand.core.errors import ConfigError, DataError

Eviction = Literal["balanced", "random", "oldest"]


class PatternBuffer:
    """Holds at most `capacity` patterns; a new one then takes the place of an old one.

    "balanced": `candidates` old ones are drawn, and the one goes that leaves the mean of the first action
    dimension (steering) nearest to `centre`; of several such, the oldest. On a long straight it is straight
    patterns that go, so that bends are not forgotten, and in a long bend those of that bend. "random" and
    "oldest" forget both.

    The published rule names the mean alone. To choose among all patterns (`candidates` = `capacity`) keeps
    the mean best and learns worst: a new pattern then replaces the one of the most similar label, and the
    buffer's labels stay for ever those of the first patterns.

    Args:
        capacity: Most patterns.
        eviction: Whose place is taken.
        generator: Random generator of "random" and "balanced".
        candidates: Number of old patterns that "balanced" chooses from.
        centre: Label that the mean is to have: straight ahead.
    """

    def __init__(
        self,
        capacity: int,
        *,
        eviction: Eviction,
        generator: np.random.Generator,
        candidates: int = 10,
        centre: float = 0.0,
    ) -> None:
        if capacity < 1 or candidates < 1:
            raise ConfigError("A buffer holds patterns.", got=(capacity, candidates), expected=">= 1")
        self._candidates = min(candidates, capacity)
        self.capacity = capacity
        self.eviction: Eviction = eviction
        self.centre = centre
        self._generator = generator
        self._columns: dict[str, np.ndarray] = {}
        self._label: np.ndarray | None = None
        self._born = np.zeros(capacity, dtype=np.int64)
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, self.capacity)

    @property
    def observation(self) -> dict[str, np.ndarray]:
        """Feature name -> (N, ...) of the N patterns that are held."""
        return {name: column[: len(self)] for name, column in self._columns.items()}

    @property
    def label(self) -> Shaped[np.ndarray, "N A"]:
        """(N, A) labels."""
        if self._label is None:
            raise DataError("The buffer is empty.", hint="add patterns first")
        return self._label[: len(self)]

    @property
    def steering(self) -> Float64[np.ndarray, " N"]:
        """(N,) what is balanced."""
        return self.label[:, 0].astype(np.float64)

    def add(self, observation: Mapping[str, np.ndarray], label: Shaped[np.ndarray, "K A"]) -> None:
        """Take in K patterns, one after the other.

        Args:
            observation: Feature -> (K, ...).
            label: (K, A).
        """
        if self._label is None:
            self._label = np.zeros((self.capacity, *label.shape[1:]), dtype=label.dtype)
            self._columns = {
                name: np.zeros((self.capacity, *value.shape[1:]), dtype=value.dtype)
                for name, value in observation.items()
            }
        for index in range(len(label)):
            place = self._count if self._count < self.capacity else self._victim(float(label[index, 0]))
            for name, column in self._columns.items():
                column[place] = observation[name][index]
            self._label[place] = label[index]
            self._born[place] = self._count
            self._count += 1

    def order(self, generator: np.random.Generator) -> Int64[np.ndarray, " N"]:
        """Return the patterns in a random order: one epoch."""
        return generator.permutation(len(self))

    def _victim(self, incoming: float) -> int:
        match self.eviction:
            case "random":
                return int(self._generator.integers(self.capacity))
            case "oldest":
                return int(np.argmin(self._born))
            case "balanced":
                steering = self.steering - self.centre
                drawn = self._generator.choice(self.capacity, self._candidates, replace=False)
                left = np.abs(steering.sum() + incoming - self.centre - steering[drawn])
                nearest = drawn[left == left.min()]
                return int(nearest[np.argmin(self._born[nearest])])
            case _:
                assert_never(self.eviction)
