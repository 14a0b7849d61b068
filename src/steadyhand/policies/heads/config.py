"""What a head's settings are: the base class of all of them, ours and yours."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from steadyhand.core.errors import SpecError
from steadyhand.core.parts import Part

if TYPE_CHECKING:
    from steadyhand.core.specs import FeatureSpec
    from steadyhand.policies.contract import ChunkSpec, ContextSpec, Head

ActionKind = Literal["continuous", "discrete"]
Judgement = Literal["wrapped", "own", "none"]
_HERE = "steadyhand.policies.heads"


class HeadConfig(Part, ABC):
    """Settings of a head, the policy class: a frozen dataclass that builds the network.

    Attributes:
        judgement: How the head learns from steps that were judged good or bad (EIL). "wrapped": `Judging`
            compares its losses, which gradients can raise or lower for any action. "own": its loss reads the
            marks itself (`Head.judges`). "none": it cannot, as a policy in closed form, which is solved and
            not trained.
        memorises_in: Gradient steps in which the battery has it learn eight windows by heart.
        no_meaning: Name of a remedy -> why that remedy has no meaning for this policy class.
    """

    kind: ClassVar[str] = "head"
    ours: ClassVar[Mapping[str, str]] = {
        "Regression": f"{_HERE}.regression:Regression",
        "Gaussian": f"{_HERE}.gaussian:Gaussian",
        "Categorical": f"{_HERE}.categorical:Categorical",
        "Mixture": f"{_HERE}.mixture:Mixture",
        "Bins": f"{_HERE}.bins:Bins",
        "Diffusion": f"{_HERE}.diffusion:Diffusion",
        "Flow": f"{_HERE}.flow:Flow",
        "Mip": f"{_HERE}.mip:Mip",
        "Tokens": f"{_HERE}.tokens:Tokens",
        "Latent": f"{_HERE}.latent:Latent",
        "Act": f"{_HERE}.act:Act",
        "LogLinear": f"{_HERE}.log_linear:LogLinear",
        "Ridge": f"{_HERE}.ridge:Ridge",
        "Tabular": f"{_HERE}.tabular:Tabular",
        "Nearest": f"{_HERE}.nearest:Nearest",
        "GaussianHill": f"{_HERE}.hill:GaussianHill",
        "Primitives": f"{_HERE}.primitives:Primitives",
        "Energy": f"{_HERE}.energy:Energy",
        "Judging": f"{_HERE}.judging:Judging",
    }
    judgement: ClassVar[Judgement] = "wrapped"
    memorises_in: ClassVar[int] = 400
    no_meaning: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "Head":
        """Return the head for these sizes.

        Raises:
            SpecError: It cannot answer with such actions.
        """

    @property
    def actions(self) -> tuple[ActionKind, ...]:
        """Kinds of action that it can answer with; a policy is not built for others."""
        return ("continuous",)

    def require_actions(self, action: "FeatureSpec") -> None:
        """Raise SpecError if it cannot answer with such actions."""
        if action.kind not in self.actions:
            raise SpecError(
                f"{type(self).__name__} needs {' or '.join(self.actions)} actions.",
                got=f"{action.kind} actions",
                hint="use Categorical for discrete actions, Regression or Gaussian for continuous ones",
            )

    def why_silent(self) -> str | None:
        """Return why its loss of its own answer says nothing of the state; None if it says something."""
        return None
