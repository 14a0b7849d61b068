"""A residual MLP over the flattened chunk: the smallest denoiser, for short chunks and for tests."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from steadyhand.core.errors import ConfigError
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

    hidden: tuple[int, ...] = (512, 512, 512)
    time_width: int = 64

    def __post_init__(self) -> None:
        if not self.hidden or self.time_width % 2:
            raise ConfigError(
                "DenoisingMLP needs a hidden layer and an even time_width.",
                got=f"hidden={self.hidden}, time_width={self.time_width}",
            )

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "MLPDenoiser":
        """Return the net for these sizes."""
        from steadyhand.policies.nets.denoising_mlp_net import MLPDenoiser

        return MLPDenoiser(self, context, chunk)
