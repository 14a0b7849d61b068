"""Actions cut into bins: one classification for each number of the chunk, on its own or one after another."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from steadyhand.core.settings import Count, NotNegative, Range, Widths
from steadyhand.policies.choices import Activation
from steadyhand.policies.heads.config import HeadConfig

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.bins_head import BinsHead


Dependence = Literal["autoregressive", "independent"]
Decode = Literal["centre", "uniform"]


@dataclass(frozen=True, kw_only=True)
class Bins(HeadConfig):
    """Maximum likelihood over uniform bins, 256 of them as in RT-1 and RT-2 (Brohan et al., 2022 and 2023).

    Deviation: a GRU over the tokens of the whole chunk stands where those have a large transformer over the
    tokens of one step; bins span the range of the data, not its 1 % and 99 % quantiles (OpenVLA).

    Attributes:
        num_bins: Number of bins of each action dimension.
        dependence: "autoregressive": each number given those before it, step by step and dimension by
            dimension. "independent": all given the context alone (RT-1), which cannot hold two modes apart.
        temperature: Logits are divided by it when a chunk is drawn; 0 takes the likeliest bin each time.
        decode: Answer with the bin's "centre", or with a "uniform" draw inside it.
        width: Width of the GRU and its tokens.
        hidden: Width of each layer between context and logits, or between context and the GRU's first state.
        activation: Activation after each hidden layer.
    """

    num_bins: Annotated[int, Range(ge=2)] = 256
    dependence: Dependence = "autoregressive"
    temperature: NotNegative = 1.0
    decode: Decode = "centre"
    width: Count = 128
    hidden: Widths = ()
    activation: Activation = "relu"

    @classmethod
    def toys(cls) -> tuple["Bins", ...]:
        """Return small forms; see `Part`."""
        return cls(num_bins=32, width=64), cls(num_bins=32, dependence="independent", decode="uniform")

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "BinsHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.bins_head import BinsHead

        return BinsHead(self, context, chunk)
