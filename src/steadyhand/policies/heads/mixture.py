"""A mixture of diagonal Gaussians, over the chunk as a whole or for each step, with an exact likelihood."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from steadyhand.core.settings import Count, Positive, Range, Widths
from steadyhand.policies.choices import Activation
from steadyhand.policies.heads.config import HeadConfig

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.mixture_head import MixtureHead


@dataclass(frozen=True, kw_only=True)
class Mixture(HeadConfig):
    """Maximum likelihood of a mixture density (Bishop, 1994; robomimic's BC-GMM: Mandlekar et al., 2021).

    Deviation: by default one component speaks for the whole chunk, with means that start at the k-means
    centres of the training chunks. A mixture for each step of its own (`joint=False`, the published form)
    draws a mode anew at every step, and its chunks cross from one mode to another.

    Attributes:
        num_modes: Number K of components.
        joint: One component for the chunk, or one for each step.
        init_std: Standard deviation before training, in normalised units.
        min_std: Lower bound of the standard deviation, in normalised units.
        low_noise: When the policy drives, draw inside a component with std 1e-4, as published.
            `log_prob` is that of the true density either way.
        tanh_mean: Pass the means through tanh, as published; needs actions normalised to [-1, 1].
        hidden: Width of each layer between context and output; empty for one linear layer.
        activation: Activation after each hidden layer.
    """

    num_modes: Count = 5
    joint: bool = True
    init_std: Positive = 0.1
    min_std: Annotated[float, Range(gt=0, lt="init_std")] = 1e-4
    low_noise: bool = True
    tanh_mean: bool = False
    hidden: Widths = ()
    activation: Activation = "relu"

    @classmethod
    def toys(cls) -> tuple["Mixture", ...]:
        """Return small forms; see `Part`."""
        return cls(num_modes=3), cls(num_modes=3, joint=False, tanh_mean=True)

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "MixtureHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.mixture_head import MixtureHead

        return MixtureHead(self, context, chunk)
