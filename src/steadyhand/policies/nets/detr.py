"""The transformers of ACT: an encoder-decoder over context tokens, and the posterior of its latent."""

import math
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from steadyhand.policies.contract import VECTORS, Context
from steadyhand.policies.nets.attention import TransformerLayer
from steadyhand.policies.noise import Noise


class Posterior(nn.Module):
    """q(z | state, chunk) of a conditional VAE (Zhao et al., 2023, Fig. 4, left).

    A transformer encoder over [CLS, projected state, projected actions] with fixed sinusoids; the mean and
    the log-variance of z are read from CLS.

    Args:
        action_dim: Number A of dimensions of an action.
        horizon: Number H of predicted steps.
        state_width: V; 0 leaves the state token out.
        latent_dim: Size Z of the latent z.
        width: Width of a token.
        num_heads: Heads of each attention.
        feedforward: Width of the hidden layers of the feed-forward nets.
        num_layers: Layers.
        rate: Dropout.
    """

    position: Tensor

    def __init__(
        self,
        *,
        action_dim: int,
        horizon: int,
        state_width: int,
        latent_dim: int,
        width: int,
        num_heads: int,
        feedforward: int,
        num_layers: int,
        rate: float,
    ) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(width))
        self.state = nn.Linear(state_width, width) if state_width else None
        self.action = nn.Linear(action_dim, width)
        num_tokens = 1 + (state_width > 0) + horizon
        steps = torch.arange(num_tokens, dtype=torch.float32)
        self.register_buffer("position", sinusoids(steps, width), persistent=False)
        self.layers = layers(num_layers, width=width, num_heads=num_heads, feedforward=feedforward, rate=rate)
        self.out = nn.Linear(width, 2 * latent_dim)

    def forward(
        self,
        state: Float[Tensor, "B V"] | None,
        actions: Float[Tensor, "B H A"],
        is_pad: Bool[Tensor, "B H"],
        noise: Noise | None,
    ) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        """Return mean and log-variance of z; no token looks at a padded action."""
        tokens = [self.start.expand(len(actions), 1, -1)]
        if self.state is not None:
            assert state is not None, "the context has no state"
            tokens.append(self.state(state)[:, None])
        may_look = nn.functional.pad(~is_pad, (len(tokens), 0), value=True)[:, None, None]
        x = torch.cat([*tokens, self.action(actions)], dim=1)
        for layer in self.layers:
            x = layer(x, mask=may_look, position=self.position, noise=noise)
        mean, log_var = self.out(x[:, 0]).chunk(2, dim=1)
        return mean, log_var


class Detr(nn.Module):
    """An encoder over [projected z, context tokens] and a decoder from learnt queries (Carion et al., 2020).

    Tokens of a map carry sines of their coordinates; z and the tokens of the vector features, which lie on
    no map, a learnt position each. Positions are added to queries and keys alone.

    Args:
        horizon: H, the number of queries.
        token_width: C of the context; projected if it is not `width`.
        has_vectors: Whether some tokens may lie on no map.
        latent_dim: Size Z of the latent z.
        width: Width of a token.
        num_heads: Heads of each attention.
        feedforward: Width of the hidden layers of the feed-forward nets.
        num_encoder_layers: Layers of the encoder.
        num_decoder_layers: Layers of the decoder; the last is the output.
        rate: Dropout.
    """

    def __init__(
        self,
        *,
        horizon: int,
        token_width: int,
        has_vectors: bool,
        latent_dim: int,
        width: int,
        num_heads: int,
        feedforward: int,
        num_encoder_layers: int,
        num_decoder_layers: int,
        rate: float,
    ) -> None:
        super().__init__()
        self.width = width
        self.latent = nn.Linear(latent_dim, width)
        self.token = nn.Identity() if token_width == width else nn.Linear(token_width, width)
        self.position = nn.Parameter(torch.randn(1 + has_vectors, width))
        self.queries = nn.Parameter(torch.randn(horizon, width))
        make = partial(layers, width=width, num_heads=num_heads, feedforward=feedforward, rate=rate)
        self.encoder = make(num_encoder_layers)
        self.decoder = make(num_decoder_layers, cross=True)
        self.norm = nn.LayerNorm(width)
        for part in (self.encoder, self.decoder):
            for parameter in part.parameters():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter)

    def forward(
        self, context: Context, latent: Float[Tensor, "B Z"], noise: Noise | None
    ) -> Float[Tensor, "B H C"]:
        """Return one token for each predicted step."""
        x = torch.cat([self.latent(latent)[:, None], self.token(context.tokens)], dim=1)
        position = torch.cat([self.position[:1], self._placed(context)])
        mask = None
        if context.is_pad is not None:
            mask = nn.functional.pad(~context.is_pad, (1, 0), value=True)[:, None, None]
        for layer in self.encoder:
            x = layer(x, mask=mask, position=position, noise=noise)
        keys, y = x + position, torch.zeros_like(self.queries).expand(len(x), -1, -1)
        for layer in self.decoder:
            assert isinstance(layer, TransformerLayer)
            assert layer.cross is not None
            memory = layer.cross.keys_values(keys, x)
            y = layer(y, position=self.queries, memory=memory, memory_mask=mask, noise=noise)
        return self.norm(y)

    def _placed(self, context: Context) -> Float[Tensor, "S C"]:
        """Return what is added to each token of the context."""
        num_tokens = context.tokens.shape[1]
        groups = context.groups or ((VECTORS if context.position is None else "", 0, num_tokens),)
        placed = context.tokens.new_zeros(num_tokens, self.width)
        for name, first, end in groups:
            if context.position is not None and (name != VECTORS or end - first > 1):
                placed[first:end] = map_sines(context.position[first:end], self.width)
            if name == VECTORS and len(self.position) > 1:
                placed[first:end] = placed[first:end] + self.position[1]
        return placed


def layers(
    count: int, *, width: int, num_heads: int, feedforward: int, rate: float, cross: bool = False
) -> nn.ModuleList:
    """Return the layers of the original transformer: ReLU, normalised after each sum."""
    return nn.ModuleList(
        TransformerLayer(
            width,
            num_heads=num_heads,
            feedforward=feedforward,
            cross=cross,
            rate=rate,
            activation="relu",
            norm="post",
        )
        for _ in range(count)
    )


def sinusoids(steps: Float[Tensor, " N"], width: int) -> Float[Tensor, "N width"]:
    """Return sin and cos in turn, of steps / 10000^(2 i / width) (Vaswani et al., 2017, section 3.5)."""
    exponent = torch.arange(0, width, 2, device=steps.device) / width
    angle = steps[:, None] * torch.exp(-math.log(10000.0) * exponent)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width]


def map_sines(position: Float[Tensor, "S P"], width: int) -> Float[Tensor, "S width"]:
    """Return sinusoids of each coordinate side by side, each scaled to (0, 2 pi] over these tokens.

    With (row, column) these are the sines of DETR: its coordinates count from 1 and end at 2 pi.
    """
    low, high = position.amin(0), position.amax(0)
    scaled = (position - low + 1.0) / (high - low + 1.0 + 1e-6) * 2.0 * math.pi
    share = width // position.shape[1]
    parts = [sinusoids(coordinate, share) for coordinate in scaled.unbind(1)]
    return nn.functional.pad(torch.cat(parts, dim=1), (0, width - share * len(parts)))
