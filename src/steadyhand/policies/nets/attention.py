"""Multi-head attention and the transformer layer around it (Vaswani et al., 2017)."""

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.policies.choices import Activation
from steadyhand.policies.nets.dropout import dropout
from steadyhand.policies.nets.mlp import activation_layer
from steadyhand.policies.noise import Noise

KeysValues = tuple[Float[Tensor, "B N S D"], Float[Tensor, "B N S D"]]
"""Keys and values of a memory, split into N heads of D = width / N: made once, attended to many times."""
LOOKS = ("layers.*.attention.query.*", "layers.*.attention.key.*")
"""Parameters of a transformer that say which tokens look at which others: nothing where there is one."""


class Attention(nn.Module):
    """Scaled dot-product attention with N heads.

    Args:
        width: Width of queries, memory and output, a multiple of `num_heads`.
        num_heads: Number N of heads.
        rate: Share of attention weights that are dropped in training.
    """

    without_gradient: Mapping[str, str] = {"key.bias": "what is added to all keys changes no weight"}

    def __init__(self, width: int, *, num_heads: int, rate: float = 0.0) -> None:
        super().__init__()
        if width % num_heads:
            raise ConfigError(
                "The width of a transformer must be a multiple of its heads.",
                got=f"width {width}, {num_heads} heads",
            )
        self.num_heads = num_heads
        self.rate = rate
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        for layer in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.out.bias)

    def keys_values(self, keys: Float[Tensor, "B S C"], values: Float[Tensor, "B S C"]) -> KeysValues:
        """Return the projected memory; keys may carry positions that values do not."""
        return self._split(self.key(keys)), self._split(self.value(values))

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        memory: KeysValues,
        *,
        mask: Bool[Tensor, "..."] | None = None,
        noise: Noise | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Attend.

        Args:
            x: Queries before their projection.
            memory: What `keys_values` returned.
            mask: True where a query may look; broadcast to (B, N, T, S). None lets it look everywhere.
            noise: Source of dropout in training.
        """
        queries = self._split(self.query(x))
        keys, values = memory
        if self.rate and noise is not None and noise.augments:
            scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
            if mask is not None:
                scores = scores.masked_fill(~mask, -torch.inf)
            mixed = dropout(scores.softmax(-1), self.rate, noise) @ values
        else:
            mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class TransformerLayer(nn.Module):
    """Self-attention, cross-attention if asked for, and a feed-forward net, each on a residual path.

    Args:
        width: Width of a token.
        num_heads: Heads of either attention.
        feedforward: Width of the hidden layer.
        cross: Whether there is a memory to attend to.
        rate: Dropout on each residual branch and inside the feed-forward net.
        attention_rate: Dropout on attention weights; `rate` if None.
        activation: Inside the feed-forward net.
        norm: "pre": normalise before each branch (GPT-2); "post": after each sum (the original, DETR).
    """

    def __init__(
        self,
        width: int,
        *,
        num_heads: int,
        feedforward: int,
        cross: bool = False,
        rate: float = 0.0,
        attention_rate: float | None = None,
        activation: Activation = "gelu",
        norm: Literal["pre", "post"] = "pre",
    ) -> None:
        super().__init__()
        on_weights = rate if attention_rate is None else attention_rate
        self._rate = rate
        self._is_pre = norm == "pre"
        self.attention = Attention(width, num_heads=num_heads, rate=on_weights)
        self.attention_norm = nn.LayerNorm(width)
        self.cross = Attention(width, num_heads=num_heads, rate=on_weights) if cross else None
        self.cross_norm = nn.LayerNorm(width) if cross else None
        self.up = nn.Linear(width, feedforward)
        self.activation = activation_layer(activation)()
        self.down = nn.Linear(feedforward, width)
        self.feedforward_norm = nn.LayerNorm(width)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        *,
        mask: Bool[Tensor, "..."] | None = None,
        position: Float[Tensor, "..."] | None = None,
        memory: KeysValues | None = None,
        memory_mask: Bool[Tensor, "..."] | None = None,
        noise: Noise | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Transform the tokens.

        Args:
            x: Tokens.
            mask: True where a token may look at another; broadcast to (B, N, T, T).
            position: Added to queries and keys, not to values, as in DETR; broadcast to x.
            memory: `self.cross.keys_values(...)`, for a layer with cross-attention.
            memory_mask: True where a token may look at the memory; broadcast to (B, N, T, S).
            noise: Source of dropout in training.
        """

        def attend(y: Tensor) -> Tensor:
            placed = y if position is None else y + position
            return self.attention(placed, self.attention.keys_values(placed, y), mask=mask, noise=noise)

        x = self._branch(x, self.attention_norm, attend, noise)
        if self.cross is not None:
            cross, norm = self.cross, self.cross_norm
            assert memory is not None, "a layer with cross-attention needs a memory"
            assert norm is not None

            def look(y: Tensor) -> Tensor:
                placed = y if position is None else y + position
                return cross(placed, memory, mask=memory_mask, noise=noise)

            x = self._branch(x, norm, look, noise)

        def think(y: Tensor) -> Tensor:
            return self.down(dropout(self.activation(self.up(y)), self._rate, noise))

        return self._branch(x, self.feedforward_norm, think, noise)

    def _branch(
        self, x: Tensor, norm: nn.Module, branch: Callable[[Tensor], Tensor], noise: Noise | None
    ) -> Tensor:
        if self._is_pre:
            return x + dropout(branch(norm(x)), self._rate, noise)
        return norm(x + dropout(branch(x), self._rate, noise))


def causal_mask(length: int, *, device: torch.device | str = "cpu") -> Bool[Tensor, "T T"]:
    """Return the mask that lets each token look at itself and what came before."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def init_gpt(module: nn.Module) -> None:
    """Give linear layers and embeddings the weights of GPT-2: normal with std 0.02, biases zero."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=0.02)
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
