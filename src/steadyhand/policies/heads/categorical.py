"""A categorical distribution over discrete actions, with an exact likelihood."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from steadyhand.core.settings import Widths
from steadyhand.policies.choices import Activation
from steadyhand.policies.heads.config import ActionKind, HeadConfig

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.categorical_head import CategoricalHead


@dataclass(frozen=True, kw_only=True)
class Categorical(HeadConfig):
    """Maximum likelihood of discrete actions, each step of the chunk on its own.

    Attributes:
        hidden: Width of each layer between context and logits; empty for one linear layer.
        activation: Activation after each hidden layer.
    """

    hidden: Widths = ()
    activation: Activation = "relu"

    @property
    def actions(self) -> tuple[ActionKind, ...]:
        """Classes alone."""
        return ("discrete",)

    @classmethod
    def toys(cls) -> tuple["Categorical", ...]:
        """Return small forms; see `Part`."""
        return (cls(hidden=(16,)),)

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "CategoricalHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.categorical_head import CategoricalHead

        return CategoricalHead(self, context, chunk)
