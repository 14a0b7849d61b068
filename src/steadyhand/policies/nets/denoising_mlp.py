"""A residual MLP over the flattened chunk: the smallest denoiser, for short chunks and for tests."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from steadyhand.core.settings import Count, Range, SomeWidths
from steadyhand.policies.nets.denoisers import DenoiserConfig

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.nets.denoising_mlp_net import MLPDenoiser


@dataclass(frozen=True, kw_only=True)
class DenoisingMLP(DenoiserConfig):
    """Residual layers whose hidden values are scaled and shifted by time and context (FiLM).

    Attributes:
        hidden: Width of each layer; there is a residual path where two in a row are equal.
        time_width: Width of the time's embedding, even.
    """

    hidden: SomeWidths = (512, 512, 512)
    time_width: Annotated[Count, Range(multiple_of=2)] = 64

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "MLPDenoiser":
        """Return the net for these sizes."""
        from steadyhand.policies.nets.denoising_mlp_net import MLPDenoiser

        return MLPDenoiser(self, context, chunk)
