"""The head behind `Gaussian`."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from steadyhand.policies.contract import (
    ChunkSpec,
    Context,
    ContextSpec,
    Head,
    LazyMetrics,
    Likelihood,
    Loss,
    Prefix,
    Target,
)
from steadyhand.policies.heads.checks import refuse_to_widen, require_bounded
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.nets.normal import log_normal
from steadyhand.policies.noise import Noise

_EDGE = 1e-3
"""Squashed targets stay this far inside [-1, 1]; atanh(1 - 1e-3) = 3.8."""


class GaussianHead(Head):
    """Head that `Gaussian` builds.

    Mode: the mean (squashed: its tanh, the median). Sample: mean + std * normal noise.
    """

    likelihood: Likelihood = "exact"

    def __init__(self, config: Gaussian, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        if config.squash:
            require_bounded(chunk, what="Gaussian(squash=True)")
        self.chunk = chunk
        self._config = config
        num_values = chunk.horizon * chunk.action_dim
        num_outputs = 2 * num_values if config.std == "state" else num_values
        sizes = (context.num_tokens * context.width, *config.hidden, num_outputs)
        self.net = mlp(sizes, activation=config.activation)
        self._shift = math.log(math.expm1(config.init_std - config.min_std))
        if config.std == "global":
            self.raw_std = nn.Parameter(torch.zeros(chunk.horizon, chunk.action_dim))

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return -log p of each step in nats, of the normalised action; metric: the mean std of a row."""
        del noise
        mean, std = self.distribution(context)
        metrics = LazyMetrics(lambda: {"std": std.detach().expand_as(mean).mean((1, 2))})
        return Loss(value=-self._log_density(target.actions, mean, std), metrics=metrics)

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Draw every step and dimension independently."""
        del prefix
        mean, std = self.distribution(context)
        drawn = mean + std * noise.normal(*mean.shape)
        return drawn.tanh() if self._config.squash else drawn

    def log_prob(self, context: Context, target: Target) -> Float[Tensor, " B"]:
        """Return log p of each chunk, exact."""
        mean, std = self.distribution(context)
        return self._log_density(target.actions, mean, std).masked_fill(target.is_pad, 0.0).sum(1)

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Go on in the old units, unless tanh bounds every answer."""
        del low, high
        if self._config.squash:
            raise refuse_to_widen(head="Gaussian(squash=True)", why="tanh holds its answers in that range")
        return False

    def distribution(self, context: Context) -> tuple[Float[Tensor, "B H A"], Float[Tensor, "... H A"]]:
        """Return mean and standard deviation, normalised; before tanh, if squashed."""
        config = self._config
        output = self.net(context.flat())
        if config.std == "state":
            mean, raw = output.unflatten(1, (2, self.chunk.horizon, self.chunk.action_dim)).unbind(1)
            return mean, F.softplus(raw + self._shift) + config.min_std
        mean = output.unflatten(1, (self.chunk.horizon, self.chunk.action_dim))
        if config.std == "global":
            return mean, F.softplus(self.raw_std + self._shift) + config.min_std
        return mean, torch.full_like(mean[0], config.init_std)

    def _log_density(self, value: Tensor, mean: Tensor, std: Tensor) -> Float[Tensor, "B H"]:
        """Return log p of each step."""
        if not self._config.squash:
            return log_normal(value, mean, std).sum(-1)
        raw = value.clamp(_EDGE - 1.0, 1.0 - _EDGE).atanh()
        # log d tanh(x) / dx = log(1 - tanh(x)^2), which cancels for large x; this form does not.
        log_slope = 2.0 * (math.log(2.0) - raw - F.softplus(-2.0 * raw))
        return (log_normal(raw, mean, std) - log_slope).sum(-1)
