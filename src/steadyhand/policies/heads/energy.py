"""Energy: EIL with continuous actions, by sampling."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from steadyhand.core.settings import Count, Positive, Range, SomeWidths, Whole
from steadyhand.policies.choices import Activation
from steadyhand.policies.heads.config import HeadConfig, Judgement

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.energy_head import EnergyHead


@dataclass(frozen=True, kw_only=True)
class Energy(HeadConfig):
    """pi(s) = argmin_a Q(s, a) with a net Q over state and chunk; see `judgement` for the losses.

    The other actions a' of the ranking loss are drawn: a third each from the training chunks, evenly from a
    cube, and near the shown action. Their margin is m times their distance from it (root mean square over the
    chunk's numbers): a smooth Q cannot keep a fixed margin from a neighbour. The answer is the best of the
    stored training chunks, then of clouds around the best so far, each half as wide as the one before.

    Deviation: the paper chooses from a discrete library (`Primitives`); lC is a mean over the drawn actions
    where the library's is a sum.

    Attributes:
        margin: Margin m of judged steps, and per unit of distance in the ranking loss.
        num_others: Number of other actions for each label, a multiple of 3.
        num_stored: Number of training chunks that are kept as candidates.
        num_refinements: Number of clouds; 0 answers with stored chunks alone.
        cloud_size: Number of candidates in each cloud.
        hidden: Width of each hidden layer of Q.
        activation: Activation after each hidden layer.
    """

    judgement: ClassVar[Judgement] = "own"
    margin: Positive = 1.0
    num_others: Annotated[Count, Range(multiple_of=3)] = 48
    num_stored: Count = 128
    num_refinements: Whole = 6
    cloud_size: Count = 48
    hidden: SomeWidths = (128, 128)
    activation: Activation = "relu"

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "EnergyHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.energy_head import EnergyHead

        return EnergyHead(self, context, chunk)
