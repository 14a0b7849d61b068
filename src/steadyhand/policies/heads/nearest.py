"""Nearest neighbours: the chunk that was demonstrated where things looked most alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from steadyhand.core.settings import Count, Positive
from steadyhand.policies.heads.config import ActionKind, HeadConfig, Judgement

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.nearest_head import NearestHead


@dataclass(frozen=True, kw_only=True)
class Nearest(HeadConfig):
    """Executes the chunk of the nearest stored window (VINN: Pari et al., 2022, here with chunks).

    Needs no training and is hard to fool: the floor that any net must beat, and a test of features and
    normalisation. Distances are Euclidean over the encoder's context, each feature divided by its standard
    deviation. With more than one neighbour the mode is their mean weighted by softmax(-distance /
    temperature), which mixes modes; a sample is one of them, drawn by the same weights.

    Attributes:
        num_neighbours: Number k of neighbours.
        temperature: Temperature of the weights, in standardised units of distance.
    """

    judgement: ClassVar[Judgement] = "none"
    no_meaning: ClassVar[Mapping[str, str]] = {
        "noise-bc": (
            "what has the least mean error under noise is kernel regression, sum y_i N(x; x_i, s^2) / "
            "sum N(x; x_i, s^2) (Nadaraya, Watson): a mean of all windows, and no nearest one for any s > 0"
        ),
        "eil": "a stored window can be answered with or left out; nothing makes it less likely up to a bound",
    }
    num_neighbours: Count = 1
    temperature: Positive = 1.0

    @property
    def actions(self) -> tuple[ActionKind, ...]:
        """Numbers, or classes."""
        return ("continuous", "discrete")

    def why_silent(self) -> str:
        """Return why its loss of its own answer says nothing of the state."""
        return "its loss is the distance from its own answer, and 0 there"

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "NearestHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.nearest_head import NearestHead

        return NearestHead(self, context, chunk)
