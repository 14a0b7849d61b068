"""Minimal iterative policy: regression, and once more with its own answer as a start."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from steadyhand.core.settings import OpenShare
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.nets.denoisers import DenoiserConfig
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.mip_head import MipHead


@dataclass(frozen=True, kw_only=True)
class Mip(HeadConfig):
    """Two-step regression ("Much ado about noising", 2025).

    Attributes:
        net: The net, the same for both steps.
        time: Time t* that the net is told in the second step; 1 - t* is the noise on its start in training.
    """

    memorises_in: ClassVar[int] = 1000

    net: DenoiserConfig = field(default_factory=DenoisingMLP)
    time: OpenShare = 0.9

    @classmethod
    def toys(cls) -> tuple["Mip", ...]:
        """Return small forms; see `Part`."""
        return (cls(net=DenoisingMLP(hidden=(128, 128, 128), time_width=16)),)

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "MipHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.mip_head import MipHead

        return MipHead(self, context, chunk)
