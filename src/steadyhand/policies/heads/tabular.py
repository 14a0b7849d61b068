"""A table of action frequencies for each distinct context."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from steadyhand.core.settings import Positive
from steadyhand.policies.heads.config import ActionKind, HeadConfig, Judgement

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.tabular_head import TabularHead


@dataclass(frozen=True, kw_only=True)
class Tabular(HeadConfig):
    """Counts with Laplace smoothing: pi(a | s) = (n(s, a) + prior) / (n(s) + prior K).

    The maximum-likelihood policy of a finite MDP, with `prior` imaginary demonstrations of every action. Made
    for discrete features through `StateMLP(hidden=())`. Where a context was never seen, it is uniform.

    Attributes:
        prior: Added to every count; positive, so that no action is impossible.
    """

    judgement: ClassVar[Judgement] = "none"
    no_meaning: ClassVar[Mapping[str, str]] = {
        "noise-bc": (
            "the inputs of a table are classes: nothing lies beside a class, and a number cannot be added to "
            "it"
        ),
        **dict.fromkeys(
            ("ccil", "ccil-implicit"),
            "a corrective label lies at s - f(s, a), f a residual with a bounded slope in s. States that are "
            "classes have neither differences nor slopes",
        ),
        "eil": "counts can be added, and a hinge of its loss is no count: what was bad needs a minus",
    }
    prior: Positive = 1.0

    @property
    def actions(self) -> tuple[ActionKind, ...]:
        """Classes alone."""
        return ("discrete",)

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "TabularHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.tabular_head import TabularHead

        return TabularHead(self, context, chunk)
