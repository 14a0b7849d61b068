"""The head behind `Mixture`."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from steadyhand.policies.contract import (
    ChunkSpec,
    Context,
    ContextSpec,
    Data,
    Fit,
    Head,
    Likelihood,
    Loss,
    Prefix,
    Target,
)
from steadyhand.policies.heads.checks import is_aligned, refuse_to_widen, require_bounded
from steadyhand.policies.heads.drawing import draw_class, gather_chunks
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.nets.kmeans import kmeans
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.nets.normal import log_normal
from steadyhand.policies.noise import Noise

_LOW_NOISE = 1e-4
"""Standard deviation inside a component when it drives (robomimic), in normalised units."""
_EDGE = 1e-3
"""Where tanh bounds the means, start means stay this far inside."""


@dataclass(frozen=True, kw_only=True)
class MixtureOutput:
    """Weights, means and spreads. G groups of T steps: G = 1, T = H if joint, else G = H, T = 1."""

    logits: Float[Tensor, "B G K"]
    mean: Float[Tensor, "B G K T A"]
    std: Float[Tensor, "B G K T A"]


class MixtureHead(Head):
    """Head that `Mixture` builds.

    Mode: the mean of the likeliest component. Sample: a component, then inside it.
    """

    likelihood: Likelihood = "exact"
    draws = True
    is_prepared: Tensor

    def __init__(self, config: Mixture, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        if config.tanh_mean:
            require_bounded(chunk, what="Mixture(tanh_mean=True)")
        self.chunk = chunk
        self._config = config
        self.inpaints = config.joint
        self._steps = chunk.horizon if config.joint else 1
        self._is_aligned = not config.joint and is_aligned(context, chunk)
        self._groups = 1 if config.joint or self._is_aligned else chunk.horizon
        num_outputs = self._groups * config.num_modes * (1 + 2 * self._steps * chunk.action_dim)
        width = context.width if self._is_aligned else context.num_tokens * context.width
        self.net = mlp((width, *config.hidden, num_outputs), activation=config.activation)
        self._shift = math.log(math.expm1(config.init_std - config.min_std))
        self.register_buffer("is_prepared", torch.zeros((), dtype=torch.bool))

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return -log p in nats of the normalised chunk (B, 1) if joint, else of each step (B, H).

        Metrics: the mean std of a row, and exp(entropy of the weights), the components in use.
        """
        del noise
        output = self.output(context)
        log_weight = output.logits.detach().log_softmax(-1)
        metrics = {
            "std": output.std.detach().flatten(1).mean(1),
            "modes": (-(log_weight.exp() * log_weight).sum(-1)).exp().mean(1),
        }
        # A step without a weight leaves the product as padding does.
        return Loss(value=-self._log_density(output, target.actions, target.is_absent), metrics=metrics)

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Draw one component for the chunk (or for each step), then the values inside it.

        A prefix turns the weights of joint components into p(component | prefix) by Bayes' rule, in which the
        log density of a step counts by its weight; frozen steps (weight 1) are held besides.
        """
        output = self.output(context)
        logits = output.logits
        prefix = prefix if self.inpaints else None
        if prefix is not None:
            density = log_normal(prefix.actions[:, None, None], output.mean, output.std).sum(-1)
            logits = logits + (density * prefix.weight[:, None, None]).sum(-1)
        index = draw_class(logits, noise)[..., None, None, None]
        mean = output.mean.take_along_dim(index, 2)[:, :, 0]
        std = _LOW_NOISE if self._config.low_noise else output.std.take_along_dim(index, 2)[:, :, 0]
        chunk = (mean + std * noise.normal(*mean.shape)).flatten(1, 2)
        if prefix is None:
            return chunk
        return torch.where(prefix.weight[..., None] >= 1.0, prefix.actions, chunk)

    def log_prob(self, context: Context, target: Target) -> Float[Tensor, " B"]:
        """Return log p of each chunk, exact."""
        density = self._log_density(self.output(context), target.actions, target.is_pad)
        return density[:, 0] if self._config.joint else density.masked_fill(target.is_pad, 0.0).sum(1)

    def prepare(self, data: Data, fit: Fit, noise: Noise) -> None:
        """Start the means at the k-means centres of the training chunks (or steps).

        The centres go into the bias of the output layer and its weights become small, so that every context
        starts with the same well-spread components. A policy that is trained further keeps what it has.
        """
        del fit
        if bool(self.is_prepared):
            return
        chunks, valid = gather_chunks(data)
        if self._config.joint:
            counts = valid[..., None].expand_as(chunks).flatten(1)
            centres = kmeans(chunks.flatten(1), self._config.num_modes, noise, counts=counts)
        else:
            centres = kmeans(chunks[valid], self._config.num_modes, noise)
        if self._config.tanh_mean:
            centres = centres.clamp(_EDGE - 1.0, 1.0 - _EDGE).atanh()
        self._start_at(centres)
        self.is_prepared.fill_(True)  # noqa: FBT003

    @torch.no_grad()
    def _start_at(self, centres: Float[Tensor, "K TA"]) -> None:
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        last.weight *= 0.1
        logits, mean, _ = self._split(last.bias[None])
        logits.zero_()
        mean.copy_(centres.view(1, 1, len(centres), self._steps, -1).expand_as(mean))

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Go on in the old units, unless tanh bounds every mean."""
        del low, high
        if self._config.tanh_mean:
            raise refuse_to_widen(head="Mixture(tanh_mean=True)", why="tanh holds its means in that range")
        return False

    def output(self, context: Context) -> MixtureOutput:
        """Return the parameters of the density, normalised."""
        if self._is_aligned:
            logits, mean, raw = self._split(self.net(context.tokens).flatten(0, 1))
            logits, mean, raw = (
                x.unflatten(0, (-1, self.chunk.horizon))[:, :, 0] for x in (logits, mean, raw)
            )
        else:
            logits, mean, raw = self._split(self.net(context.flat()))
        if self._config.tanh_mean:
            mean = mean.tanh()
        return MixtureOutput(
            logits=logits, mean=mean, std=F.softplus(raw + self._shift) + self._config.min_std
        )

    def _split(self, output: Float[Tensor, "N P"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return views of logits (N, G, K), means and raw spreads (N, G, K, T, A)."""
        shape = (self._groups, self._config.num_modes, self._steps, self.chunk.action_dim)
        sizes = [math.prod(shape[:2]), math.prod(shape), math.prod(shape)]
        logits, mean, raw = output.split(sizes, 1)
        return logits.unflatten(1, shape[:2]), mean.unflatten(1, shape), raw.unflatten(1, shape)

    def _log_density(
        self, output: MixtureOutput, actions: Float[Tensor, "B H A"], is_absent: Bool[Tensor, "B H"]
    ) -> Float[Tensor, "B G"]:
        """Return log sum_k pi_k prod N(...) over the steps of each group; absent steps count as 1."""
        value = actions.unflatten(1, (-1, self._steps))[:, :, None]
        density = log_normal(value, output.mean, output.std).sum(-1)
        if self._config.joint:
            density = density.masked_fill(is_absent[:, None, None], 0.0)
        return (output.logits.log_softmax(-1) + density.sum(-1)).logsumexp(-1)
