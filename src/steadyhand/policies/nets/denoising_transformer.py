"""The transformer of Diffusion Policy (Chi et al., 2023): action tokens attend to time and observations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from steadyhand.core.settings import Count, Range, Rate
from steadyhand.policies.nets.denoisers import DenoiserConfig

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.nets.denoising_transformer_net import TransformerDenoiser


@dataclass(frozen=True, kw_only=True)
class DenoisingTransformer(DenoiserConfig):
    """Causal self-attention over the chunk, cross-attention to [time, tokens]. Default: 9 M parameters.

    Where the encoder gives one token for each observed step, an action looks at no observation later than
    itself, as in the paper; other tokens are seen by all.

    Attributes:
        width: Width of a token; the feed-forward layers are four times as wide.
        num_layers: Number of decoder layers.
        num_heads: Heads of each attention.
        embedding_dropout: Dropout rate of the tokens, after their positions are added.
        dropout: Everywhere else. The paper's: .01 on Push-T, .1 on kitchen, .3 on images.
    """

    width: Annotated[Count, Range(multiple_of=2), Range(multiple_of="num_heads")] = 256
    num_layers: Count = 8
    num_heads: Count = 4
    embedding_dropout: Rate = 0.0
    dropout: Rate = 0.1

    @property
    def exempt(self) -> Mapping[str, str]:
        """Laws that it need not hold to."""
        return {"memorises": "it learns eight windows by heart only in several thousand steps"}

    @classmethod
    def toys(cls) -> tuple["DenoisingTransformer", ...]:
        """Return small forms; see `Part`."""
        return (cls(width=16, num_layers=1, num_heads=2, dropout=0.0),)

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "TransformerDenoiser":
        """Return the net for these sizes."""
        from steadyhand.policies.nets.denoising_transformer_net import TransformerDenoiser

        return TransformerDenoiser(self, context, chunk)
