"""What every look at the numbers has in common: it takes blocks as they come, and tells at the end."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64

from steadyhand.core.listing import listed
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.checks.blocks import Block
from steadyhand.data.problems import Problem


class Detector(ABC):
    """One kind of finding; what it keeps does not grow with the number of steps."""

    @abstractmethod
    def take(self, block: Block) -> None:
        """Look at the next steps."""

    @abstractmethod
    def problems(self) -> Iterator[Problem]:
        """Tell what was found."""


def episodes(numbers: Sequence[object]) -> str:
    """Return "episode 3" or "episodes 3, 5, 8", the first few."""
    return f"episode{'s' if len(numbers) > 1 else ''} {listed(numbers)}"


def dimension(spec: FeatureSpec, place: int) -> str:
    """Return the number of a dimension, and its name if it has one."""
    return f"{place} ({spec.names[place]})" if spec.names else str(place)


def flat(column: np.ndarray) -> Float64[np.ndarray, "N D"]:
    """Return a column with one axis for the values of a step."""
    return np.asarray(column, dtype=np.float64).reshape(len(column), -1)
