"""Flow matching: a velocity field that carries noise into action chunks."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from steadyhand.core.settings import Count
from steadyhand.policies.choices import Order
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.inpainting import Inpainting
from steadyhand.policies.nets.denoisers import DenoiserConfig
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.nets.denoising_transformer import DenoisingTransformer

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.flow_head import FlowHead


TimeLaw = Literal["beta", "uniform"]
Prediction = Literal["velocity", "sample"]


@dataclass(frozen=True, kw_only=True)
class Flow(HeadConfig):
    """Flow matching on straight paths (Lipman et al., 2023; as a policy: pi0, Black et al., 2024).

    Attributes:
        net: The velocity field, or what predicts the clean chunk.
        prediction: What the net predicts: the velocity ("velocity", as published) or the clean chunk
            ("sample"), from which the velocity follows; the latter learns faster in few steps.
        time: Distribution of the training times. "beta": 1 - (Beta(1.5, 1) * .999 + .001), more of them near
            the noise (pi0); "uniform".
        num_sample_steps: Number of steps of the sampler, each one evaluation of the net.
        order: Order of the sampler: 1 is Euler's method, as published; 2 keeps the spread better at no
            cost, see `DenoisingSampler`.
        inpainting: How a prefix of committed actions is honoured.
        likelihood_steps: Steps of `log_prob`, each two evaluations of the net and a gradient for every number
            of the chunk.
    """

    memorises_in: ClassVar[int] = 600

    net: DenoiserConfig = field(default_factory=DenoisingMLP)
    prediction: Prediction = "velocity"
    time: TimeLaw = "beta"
    num_sample_steps: Count = 10
    order: Order = 2
    inpainting: Inpainting = field(default_factory=Inpainting)
    likelihood_steps: Count = 50

    @classmethod
    def toys(cls) -> tuple["Flow", ...]:
        """Return small forms; see `Part`."""
        mlp = DenoisingMLP(hidden=(128, 128, 128), time_width=16)
        transformer = DenoisingTransformer.toys()[0]
        return (
            cls(net=mlp, likelihood_steps=2),
            cls(net=transformer, num_sample_steps=2, likelihood_steps=2),
        )

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "FlowHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.flow_head import FlowHead

        return FlowHead(self, context, chunk)
