"""The net behind `DenoisingTransformer`."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec
from steadyhand.policies.nets.attention import LOOKS, TransformerLayer, causal_mask, init_gpt
from steadyhand.policies.nets.denoiser import Condition, Denoiser, sinusoid
from steadyhand.policies.nets.denoising_transformer import DenoisingTransformer
from steadyhand.policies.nets.dropout import dropout
from steadyhand.policies.noise import Noise


class TransformerDenoiser(Denoiser):
    """Net that `DenoisingTransformer` builds.

    The memory's tokens do not look at each other, so the keys and values of the observations are made once
    for a chunk, and those of all times at once.
    """

    _visible: Tensor | None

    def __init__(self, config: DenoisingTransformer, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        width = config.width
        self._embedding_dropout = config.embedding_dropout
        self.action = nn.Linear(chunk.action_dim, width)
        self.action_position = nn.Parameter(torch.empty(chunk.horizon, width))
        self.token = nn.Linear(context.width, width)
        self.token_position = nn.Parameter(torch.empty(1 + context.num_tokens, width))
        self.memory = nn.Sequential(nn.Linear(width, 4 * width), nn.Mish(), nn.Linear(4 * width, width))
        self.layers = nn.ModuleList(
            TransformerLayer(
                width,
                num_heads=config.num_heads,
                feedforward=4 * width,
                cross=True,
                rate=config.dropout,
            )
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, chunk.action_dim)
        init_gpt(self)
        nn.init.normal_(self.action_position, std=0.02)
        nn.init.normal_(self.token_position, std=0.02)
        self.register_buffer("_causal", causal_mask(chunk.horizon), persistent=False)
        self.register_buffer("_visible", visible_memory(context, chunk), persistent=False)
        if chunk.horizon == 1:
            self.without_gradient = dict.fromkeys(LOOKS, "one action looks at itself, whatever it asks")

    def condition(self, context: Context, noise: Noise | None = None) -> Condition:
        """Return keys and values of the context's tokens in every layer, (B, S, F), and what to look at."""
        tokens = self.token(context.tokens) + self.token_position[1:]
        parts = self._keys_values(self.memory(dropout(tokens, self._embedding_dropout, noise)))
        return (parts,) if context.is_pad is None else (parts, ~context.is_pad)

    def embed_times(self, time: Float[Tensor, " N"]) -> Float[Tensor, "N F"]:
        """Return keys and values of the time's token in every layer."""
        width = self.action_position.shape[1]
        return self._keys_values(self.memory(sinusoid(time, width) + self.token_position[0]))

    def forward(
        self,
        x: Float[Tensor, "B H A"],
        embedding: Float[Tensor, "R F"],
        condition: Condition,
        noise: Noise | None = None,
    ) -> Float[Tensor, "B H A"]:
        """Evaluate."""
        now = embedding[:, None].expand(len(x), 1, -1)
        memory = torch.cat([now, condition[0]], dim=1)
        mask = self._memory_mask(condition)
        y = dropout(self.action(x) + self.action_position, self._embedding_dropout, noise)
        for layer, part in zip(self.layers, memory.chunk(len(self.layers), dim=-1), strict=True):
            assert isinstance(layer, TransformerLayer)
            assert layer.cross is not None
            heads = part.unflatten(-1, (2, layer.cross.num_heads, -1)).permute(2, 0, 3, 1, 4)
            y = layer(y, mask=self._causal, memory=(heads[0], heads[1]), memory_mask=mask, noise=noise)
        return self.out(self.norm(y))

    def _memory_mask(self, condition: Condition) -> Tensor | None:
        if len(condition) == 1:
            return self._visible
        present = nn.functional.pad(condition[1], (1, 0), value=True)[:, None, None]
        return present if self._visible is None else present & self._visible

    def _keys_values(self, memory: Float[Tensor, "*B C"]) -> Float[Tensor, "*B F"]:
        parts: list[Tensor] = []
        for layer in self.layers:
            assert isinstance(layer, TransformerLayer)
            assert layer.cross is not None
            parts += [layer.cross.key(memory), layer.cross.value(memory)]
        return torch.cat(parts, dim=-1)


def visible_memory(context: ContextSpec, chunk: ChunkSpec) -> Bool[Tensor, "H S"] | None:
    """Return whether action h may look at memory token s; None where everything is visible.

    Token 0 is the time. An observation of step i - (O - 1) is visible from the action of the same step on.
    """
    if context.num_steps is None:
        return None
    action_step = chunk.start + torch.arange(chunk.horizon)
    token_step = torch.arange(context.num_tokens) + 1 - context.num_steps
    visible = action_step[:, None] >= token_step
    return torch.cat([torch.ones(chunk.horizon, 1, dtype=torch.bool), visible], dim=1)
