"""A diagonal Gaussian for each step of the chunk, with an exact likelihood."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from steadyhand.core.settings import Positive, Range, Widths
from steadyhand.policies.choices import Activation
from steadyhand.policies.heads.config import HeadConfig

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.gaussian_head import GaussianHead


Spread = Literal["state", "global", "fixed"]


@dataclass(frozen=True, kw_only=True)
class Gaussian(HeadConfig):
    """Maximum likelihood of a diagonal Gaussian (robomimic's BC-Gaussian: Mandlekar et al., 2021).

    Attributes:
        std: "state": the net predicts it; "global": one learnt vector; "fixed": `init_std` for ever, which is
            regression with a likelihood.
        init_std: Standard deviation before training, in normalised units.
        min_std: Lower bound of the standard deviation, in normalised units. If it is too small,
            near-duplicate actions make the loss spike.
        squash: Pass the Gaussian through tanh, so that no sample leaves [-1, 1]; needs actions normalised to
            that. `init_std` and `min_std` are then those before tanh. Targets are moved to 1e-3 inside the
            ends, which are infinitely far away before tanh.
        hidden: Width of each layer between context and chunk; empty for one linear layer.
        activation: Activation after each hidden layer.
    """

    std: Spread = "state"
    init_std: Positive = 0.1
    min_std: Annotated[float, Range(gt=0, lt="init_std")] = 0.01
    squash: bool = False
    hidden: Widths = ()
    activation: Activation = "relu"

    def why_silent(self) -> str | None:
        """Return why its loss of its own answer says nothing of the state."""
        if self.std != "state":
            return "its standard deviation is the same in every state, and so is -log p of its mean"
        return None

    @classmethod
    def toys(cls) -> tuple["Gaussian", ...]:
        """Return small forms; see `Part`."""
        return (
            cls(),
            cls(std="global"),
            cls(std="fixed", hidden=(16,)),
            cls(squash=True, init_std=0.5),
        )

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "GaussianHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.gaussian_head import GaussianHead

        return GaussianHead(self, context, chunk)
