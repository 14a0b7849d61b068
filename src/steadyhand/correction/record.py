"""What a round of an interactive remedy did, as files and reports hold it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from steadyhand.correction.burden import Burden


def best_of(success: Sequence[float | None], returns: Sequence[float]) -> int:
    """Return the place of the highest success, if it is told of all, then return, then the later one."""
    is_told = None not in success

    def place(at: int) -> tuple[float, float, int]:
        return (success[at] or 0.0) if is_told else 0.0, returns[at], at

    return max(range(len(returns)), key=place)


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """What one round did; written when the round is complete.

    Attributes:
        round: Number of the round, from 1.
        beta: Share of expert control while its data was collected.
        labels: Labels asked in this round.
        total_labels: Labels asked so far, initial demonstrations included.
        online_loss: Loss of the iterate that drove, on the data it collected, before it was trained on them;
            None in a round in which only the expert drove, or nobody was asked.
        hindsight_loss: Mean loss of this round's iterate on the data of all rounds that have an online loss.
        regret: Mean online loss so far minus `hindsight_loss`; it should fall towards 0.
        train_loss: Loss of this round's iterate on everything it was trained on.
        validation_success: Share of validation episodes that succeeded; None where nothing tells success.
        validation_return: Their mean return.
        starts_failed: Episodes of this round's collection that ended in failure, as far as that is told.
        burden: What collecting this round cost, trials of the policy alone included.
    """

    round: int
    beta: float
    labels: int
    total_labels: int
    online_loss: float | None
    hindsight_loss: float | None
    regret: float | None
    train_loss: float
    validation_success: float | None
    validation_return: float
    starts_failed: int
    burden: Burden = field(default_factory=Burden)

    @property
    def figures(self) -> dict[str, float | int]:
        """Every number of the round that there is, for whoever draws curves."""
        figures = asdict(self)
        figures |= {f"burden_{name}": value for name, value in figures.pop("burden").items()}
        del figures["round"]
        return {name: value for name, value in figures.items() if value is not None}
