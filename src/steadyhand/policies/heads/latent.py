"""A conditional variational autoencoder over chunks, with MLPs."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from steadyhand.core.errors import ConfigError
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
from steadyhand.policies.heads.checks import require_continuous
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.nets.mlp import Activation, mlp
from steadyhand.policies.nets.normal import HALF_LOG_TWO_PI, kl_to_standard_normal
from steadyhand.policies.noise import Noise


@dataclass(frozen=True, kw_only=True)
class Latent(HeadConfig):
    """CVAE (Sohn et al., 2015; robomimic's VAE head: Mandlekar et al., 2021) with the prior N(0, I).

        z ~ N(0, I),  chunk | z, context ~ N(f(z, context), std^2),  trained through q(z | chunk, context).

    Attributes:
        latent_dim: Z, the size of z; twice the action's dimensions if None.
        encoder: Hidden layers of q.
        decoder: Hidden layers of f.
        std: Of the chunk given z, in normalised units. With kl_weight = 1 it sets what z is worth: an
            error of 1 costs 1 / (2 std^2) nats.
        kl_weight: Of the KL; 1 is the evidence bound.
        low_noise: Answer with f(z, context) when it drives, without the spread around it.
        num_draws: Draws of z behind one figure of `log_prob`.
        activation: After each hidden layer.
    """

    latent_dim: int | None = None
    encoder: tuple[int, ...] = (300, 400)
    decoder: tuple[int, ...] = (300, 400)
    std: float = 0.1
    kl_weight: float = 1.0
    low_noise: bool = True
    num_draws: int = 64
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        for name in ("latent_dim", "num_draws"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"{name} must be positive.", got=value, expected=">= 1")
        if not (self.std > 0.0 and self.kl_weight >= 0.0):
            raise ConfigError(
                "Latent needs std > 0 and kl_weight >= 0.", got=f"std={self.std}, kl_weight={self.kl_weight}"
            )

    def build(self, context: ContextSpec, chunk: ChunkSpec) -> "LatentHead":
        """Return the head for these sizes."""
        return LatentHead(self, context, chunk)


class LatentHead(Head):
    """See `Latent`. Mode: f(0, context). Sample: f(z, context) with z ~ N(0, I)."""

    likelihood: Likelihood = "lower_bound"
    draws = True
    draw_table: Tensor

    def __init__(self, config: Latent, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        require_continuous(chunk, head="Latent")
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
        drawn = -0.5 * noise.square().sum(-1) - 0.5 * log_var.sum(-1, keepdim=True)
        return (density + prior - drawn).logsumexp(1) - math.log(count)

    def posterior(
        self, context: Context, target: Target
    ) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        """Return mean and log-variance of q(z | chunk, context); padded steps count as zeros."""
        chunk = target.actions.masked_fill(target.is_pad[..., None], 0.0).flatten(1)
        mean, log_var = self.encoder(torch.cat([context.flat(), chunk], dim=1)).chunk(2, dim=-1)
        return mean, log_var

    def decode(self, context: Context, latent: Float[Tensor, "B Z"]) -> Float[Tensor, "B H A"]:
        """Return f(z, context)."""
        flat = self.decoder(torch.cat([context.flat(), latent], dim=1))
        return flat.unflatten(-1, (self.chunk.horizon, self.chunk.action_dim))

    def _log_density(self, mean: Tensor, actions: Tensor) -> Tensor:
        """Return log N(actions; mean, std^2), summed over dimensions."""
        score = (actions - mean) / self._config.std
        constant = math.log(self._config.std) + HALF_LOG_TWO_PI
        return (-0.5 * score.square() - constant).sum(-1)
