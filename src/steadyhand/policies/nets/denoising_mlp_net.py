"""The net behind `DenoisingMLP`."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec
from steadyhand.policies.nets.denoiser import Condition, Denoiser, FilmMap, TimeMLP
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.noise import Noise


class MLPDenoiser(Denoiser):
    """Net that `DenoisingMLP` builds. A layer is y + silu((1 + scale) * (W y) + shift)."""

    def __init__(self, config: DenoisingMLP, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        self._shape = (chunk.horizon, chunk.action_dim)
        sizes = (chunk.horizon * chunk.action_dim, *config.hidden)
        self.time = TimeMLP(config.time_width)
        # FiLM's shift is the bias.
        self.layers = nn.ModuleList(nn.Linear(low, high, bias=False) for low, high in pairwise(sizes))
        self.out = nn.Linear(sizes[-1], sizes[0])
        self._widths = [2 * width for width in config.hidden]
        self.film = FilmMap(config.time_width, context.num_tokens * context.width, sum(self._widths))

    def condition(self, context: Context, noise: Noise | None = None) -> Condition:
        """Return the context's share of every layer's scale and shift, (B, F)."""
        del noise
        return (self.film(context.flat(), is_time=False),)

    def embed_times(self, time: Float[Tensor, " N"]) -> Float[Tensor, "N F"]:
        """Return the time's share of every layer's scale and shift."""
        return self.film(F.silu(self.time(time)), is_time=True)

    def forward(
        self,
        x: Float[Tensor, "B H A"],
        embedding: Float[Tensor, "R F"],
        condition: Condition,
        noise: Noise | None = None,
    ) -> Float[Tensor, "B H A"]:
        """Evaluate."""
        del noise
        y = x.flatten(1)
        for layer, film in zip(
            self.layers, (condition[0] + embedding).split(self._widths, dim=1), strict=True
        ):
            scale, shift = film.chunk(2, dim=1)
            z = layer(y)
            z = F.silu(torch.addcmul(z + shift, z, scale))
            y = y + z if y.shape == z.shape else z
        return self.out(y).unflatten(1, self._shape)
