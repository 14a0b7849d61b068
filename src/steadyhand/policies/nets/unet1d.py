"""The 1-D U-Net of Diffusion Policy (Chi et al., 2023), arranged for speed.

It computes what `ConditionalUnet1D` computes, with as many parameters, in another order:

- Every residual block scales and shifts its channels by a linear map of [time, context] (FiLM). The maps of
  all blocks are one matrix, and it is split: the context's share is multiplied once for a chunk, the time's
  once for all steps of a sampler.
- Chunks stay (B, H, C): to a 2-D convolution that is one image of B lines and H columns, channels last,
  under a kernel of one line. Kernels are stored (out, 1, tap, in) to match. On a CPU that is up to five times
  faster than `nn.Conv1d` for one chunk, and a little faster for many.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from steadyhand.core.errors import ConfigError
from steadyhand.core.settings import Count, Range, SomeWidths
from steadyhand.policies.nets.denoisers import DenoiserConfig

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.nets.unet1d_net import UNetDenoiser


@dataclass(frozen=True, kw_only=True)
class UNet(DenoiserConfig):
    """A U-Net over time with global FiLM conditioning. Default: 4.5 M parameters.

    Diffusion Policy's own sizes: (256, 512, 1024) with time_width 256 for states (66 M), (512, 1024, 2048)
    with 128 for images (250 M).

    Attributes:
        channels: Channels of each level; the chunk is halved between levels.
        kernel_size: Taps of a convolution, odd.
        time_width: Width of the time's embedding, even.
        num_groups: Groups of GroupNorm; divides every level's channels.
    """

    channels: SomeWidths = (64, 128, 256)
    kernel_size: Count = 5
    time_width: Annotated[Count, Range(multiple_of=2)] = 128
    num_groups: Count = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(width % self.num_groups for width in self.channels) or self.kernel_size % 2 == 0:
            raise ConfigError(
                "A UNet needs channels that its groups divide, and an odd kernel.",
                got=f"channels={self.channels}, num_groups={self.num_groups}, kernel_size={self.kernel_size}",
            )

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "UNetDenoiser":
        """Return the net for these sizes."""
        from steadyhand.policies.nets.unet1d_net import UNetDenoiser

        return UNetDenoiser(self, context, chunk)
