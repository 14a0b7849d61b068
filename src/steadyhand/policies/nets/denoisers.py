"""What a denoising net's settings are: the base class of all of them, ours and yours."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from steadyhand.core.parts import Part, located

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.nets.denoiser import Denoiser

_HERE = "steadyhand.policies.nets"


class DenoiserConfig(Part, ABC):
    """Settings of the net within diffusion, flow and two-step regression."""

    kind: ClassVar[str] = "net"
    ours: ClassVar[Mapping[str, str]] = (
        located(f"{_HERE}.unet1d", "UNet")
        | located(f"{_HERE}.denoising_transformer", "DenoisingTransformer")
        | located(f"{_HERE}.denoising_mlp", "DenoisingMLP")
    )

    @abstractmethod
    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "Denoiser":
        """Return the net for these sizes."""
