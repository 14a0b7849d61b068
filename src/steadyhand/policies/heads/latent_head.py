"""The head behind `Latent`."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from steadyhand.policies.contract import (
    ChunkSpec,
    Context,
    ContextSpec,
    Head,
    Likelihood,
    Loss,
    Prefix,
    Target,
)
from steadyhand.policies.heads.latent import Latent
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.nets.normal import HALF_LOG_TWO_PI, kl_to_standard_normal
from steadyhand.policies.noise import Noise


class LatentHead(Head):
    """Head that `Latent` builds. Mode: f(0, context). Sample: f(z, context) with z ~ N(0, I)."""

    likelihood: Likelihood = "lower_bound"
    draws = True
    draw_table: Tensor

    def __init__(self, config: Latent, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk
        self._config = config
        width, num_values = context.num_tokens * context.width, chunk.horizon * chunk.action_dim
        self._size = config.latent_dim or 2 * chunk.action_dim
        self.encoder = mlp(
            (width + num_values, *config.encoder, 2 * self._size), activation=config.activation
        )
        self.decoder = mlp((width + self._size, *config.decoder, num_values), activation=config.activation)
        source = torch.Generator("cpu").manual_seed(0)
        table = torch.randn(config.num_draws, self._size, generator=source, device="cpu")
        self.register_buffer("draw_table", table, persistent=False)

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return the negative evidence bound in nats, shared among the steps; metric: the KL.

        A step has -log N(a; f, std^2) and the n-th part of the KL, n the steps that are there and have a
        weight: their sum over the window is the negative bound, and their weights still count step by step.
        """
        target = replace(target, is_pad=target.is_absent)
        mean, log_var = self.posterior(context, target)
        latent = mean + (0.5 * log_var).exp() * noise.normal(*mean.shape)
        kl = kl_to_standard_normal(mean, log_var)
        num_steps = (~target.is_pad).sum(1).clamp(min=1)
        share = self._config.kl_weight * kl / num_steps
        value = share[:, None] - self._log_density(self.decode(context, latent), target.actions)
        return Loss(value=value, metrics={"kl": kl.detach()})

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Draw z, and answer with what it stands for."""
        del prefix
        chunk = self.decode(context, noise.normal(len(context.tokens), self._size))
        if self._config.low_noise:
            return chunk
        return chunk + self._config.std * noise.normal(*chunk.shape)

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Go on in the old units: nothing bounds an answer."""
        del low, high
        return False

    def log_prob(self, context: Context, target: Target) -> Float[Tensor, " B"]:
        """Return the importance-weighted bound on log p of each chunk (Burda et al., 2016, eq. 8).

        log (1/K) sum_k N(chunk; f(z_k), std^2) N(z_k; 0, I) / q(z_k | chunk), z_k ~ q: over draws of K, its
        mean is at most log p, at least the evidence bound, and grows with K. The draws behind it are the same
        for every chunk and call, so the figure is one such value, not their mean: it may lie above log p by
        chance.
        """
        count = self._config.num_draws
        mean, log_var = self.posterior(context, target)
        noise = self.draw_table[None].expand(len(mean), -1, -1)
        latent = mean[:, None] + (0.5 * log_var).exp()[:, None] * noise
        chunk = self.decode(context.rows(count), latent.flatten(0, 1)).unflatten(0, (-1, count))
        density = self._log_density(chunk, target.actions[:, None])
        density = density.masked_fill(target.is_pad[:, None], 0.0).sum(-1)
        prior = -0.5 * latent.square().sum(-1)
        drawn = -0.5 * noise.square().sum(-1) - 0.5 * log_var.sum(1, keepdim=True)
        return (density + prior - drawn).logsumexp(1) - math.log(count)

    def posterior(
        self, context: Context, target: Target
    ) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        """Return mean and log-variance of q(z | chunk, context); padded steps count as zeros."""
        chunk = target.actions.masked_fill(target.is_pad[..., None], 0.0).flatten(1)
        mean, log_var = self.encoder(torch.cat([context.flat(), chunk], dim=1)).chunk(2, dim=1)
        return mean, log_var

    def decode(self, context: Context, latent: Float[Tensor, "B Z"]) -> Float[Tensor, "B H A"]:
        """Return f(z, context)."""
        flat = self.decoder(torch.cat([context.flat(), latent], dim=1))
        return flat.unflatten(1, (self.chunk.horizon, self.chunk.action_dim))

    def _log_density(self, mean: Tensor, actions: Tensor) -> Tensor:
        """Return log N(actions; mean, std^2), summed over dimensions."""
        score = (actions - mean) / self._config.std
        constant = math.log(self._config.std) + HALF_LOG_TWO_PI
        return (-0.5 * score.square() - constant).sum(-1)
