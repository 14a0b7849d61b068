"""What a step is worth in training, and as what it counts: all that training hears of a remedy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from steadyhand.core.errors import DataError
from steadyhand.data.episode import Episode


@dataclass(frozen=True, kw_only=True, eq=False)
class Marks:
    """One episode's steps as training sees them.

    Attributes:
        weight: (T,) training weight, in place of the episode's own; 0 leaves a step out.
        kind: (T,) EXPLICIT, GOOD or BAD (`policies.contract`); None means EXPLICIT everywhere. At steps that
            no expert labelled the target is the executed action: a weight there imitates the robot itself.
    """

    weight: Float32[np.ndarray, " T"]
    kind: Int64[np.ndarray, " T"] | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.weight).all() and (self.weight >= 0).all()):
            raise DataError("Training weights are finite and not negative.", got=float(self.weight.min()))


def plain(episode: Episode) -> Marks:
    """Return the marks that an episode has without any weighting: its weight where an expert was asked."""
    return Marks(weight=(episode.weight * episode.expert_action_valid).astype(np.float32))


def check_marks(episodes: Sequence[Episode], marks: Sequence[Marks]) -> None:
    """Raise DataError unless there is one `Marks` of the right length for each episode."""
    got, expected = [len(one.weight) for one in marks], [len(episode) for episode in episodes]
    if got != expected:
        raise DataError(
            "Marks do not fit the episodes.", got=got[:8], expected=f"{expected[:8]} steps, in the same order"
        )
