"""Judging: EIL's value terms for any head that is trained, with the head's own loss as its score."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

from steadyhand.core.errors import ConfigError
from steadyhand.core.settings import Count, Positive, Range
from steadyhand.policies.heads.config import ActionKind, HeadConfig, Judgement
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.regression import Regression

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.judging_head import JudgingHead


@dataclass(frozen=True, kw_only=True)
class Judging(HeadConfig):
    """Q(s, a) = the loss that the head has for action a at state s: how unlike itself the action is.

    Explicit steps have the head's own loss. A good step has max(0, Q - B + m): what nobody objected to has to
    stay about as likely as the labels are. A bad step has max(0, B - Q + m): what made the human take over
    has to become less likely than nearly all labels, and no more than that, so that a log-likelihood is not
    pushed to minus infinity.

    B and m are set, not learned: B is the running `quantile` of the loss over explicit steps, m is `margin`
    times its distance from their median. So they are in the units of the loss, whatever these are: squared
    errors of 1e-3 or nats of a whole chunk. A learned B would first have to travel there at the optimiser's
    pace, and until it arrives l1 imitates the robot. They follow the labels while training, and are constants
    for the gradient.

    Judging begins after `settle` batches. Before a head knows the labels, being unlike itself means nothing:
    B is as large as the labels' range, l2 throws the answers that far away from what was bad, in whichever
    direction they happen to lie, and being flat there never lets them return.

    Deviation: the ranking loss of the explicit constraint is the head's own; both have their least value
    where the human's action is the head's answer.

    Attributes:
        head: The head, whose training loss is a score of (s, a) that gradients can move.
        quantile: Quantile of the explicit losses, 0 to 1, at which "good enough" ends.
        margin: Margin m, as a multiple of the distance between that quantile and the median.
        settle: Number of batches with labels before judged steps count; give training several times as many.
    """

    judgement: ClassVar[Judgement] = "own"
    head: HeadConfig = field(default_factory=Regression)
    quantile: Annotated[float, Range(gt=0.5, lt=1)] = 0.9
    margin: Positive = 0.5
    settle: Count = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head.judgement != "wrapped":
            raise ConfigError(
                "Judging needs a head whose loss gradients can lower or raise for any action.",
                got=type(self.head).__name__,
                expected="a head that is trained by gradients, and does not read judgements itself",
                hint="Primitives and Energy are made for judged steps; a closed form cannot learn from them",
            )

    @property
    def actions(self) -> tuple[ActionKind, ...]:
        """What the head within can answer."""
        return self.head.actions

    def why_silent(self) -> str | None:
        """Return why the loss of the head within says nothing of the state."""
        return self.head.why_silent()

    @classmethod
    def toys(cls) -> tuple["Judging", ...]:
        """Return small forms; see `Part`."""
        return cls(head=Gaussian(), settle=1), cls(head=Mixture(num_modes=3), settle=1)

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "JudgingHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.judging_head import JudgingHead

        return JudgingHead(self, self.head.build(context, chunk))
