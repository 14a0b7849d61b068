"""The head behind `Diffusion`."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Likelihood, Loss, Target
from steadyhand.policies.heads.denoising import DenoisingHead, require_whole
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.schedule import DenoisingSampler, Level, diffusion_levels, squared_cosine
from steadyhand.policies.nets.denoiser import repeat_rows
from steadyhand.policies.noise import Noise


class DiffusionHead(DenoisingHead):
    """Head that `Diffusion` builds. x_k = sqrt(abar_k) a + sqrt(1 - abar_k) eps."""

    likelihood: Likelihood = "lower_bound"
    low: Tensor
    high: Tensor

    def __init__(self, config: Diffusion, context: ContextSpec, chunk: ChunkSpec) -> None:
        sampler = DenoisingSampler(
            levels=diffusion_levels(config.sample_steps, config.num_train_steps),
            order=config.order,
            eta=1.0 if config.sampler == "ddpm" else config.eta,
        )
        super().__init__(config.net, context, chunk, sampler=sampler, inpainting=config.inpainting)
        self._config = config
        ends = torch.ones(chunk.action_dim)
        self.register_buffer("low", -ends)
        self.register_buffer("high", ends)
        alpha_bar = squared_cosine(config.num_train_steps)
        self.register_buffer("_signal", alpha_bar.sqrt().float(), persistent=False)
        self.register_buffer("_noise", (1.0 - alpha_bar).sqrt().float(), persistent=False)

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return the squared error of the prediction at each step, averaged over the action's dimensions."""
        config, actions = self._config, target.actions
        steps = (noise.uniform(len(actions)) * config.num_train_steps).long()
        eps = noise.normal(*actions.shape)
        x = self.noised(actions, eps, steps)
        time = steps * (100.0 / config.num_train_steps)
        predicted = self.net(x, self.net.embed_times(time), self.net.condition(context, noise), noise)
        wanted = eps if config.prediction == "epsilon" else actions
        return Loss(value=(predicted - wanted).square().mean(-1))

    @torch.no_grad()
    def log_prob(self, context: Context, target: Target) -> Float[Tensor, " B"]:
        """Return the evidence bound on log p of each whole chunk; without gradients.

        Every term of Ho et al. (2020), eq. 5, for the chain whose reverse steps have the variance beta_k,
        their first choice (section 3.2): the last step back has beta_1 as well, and is a density. Costs
        `num_train_steps` evaluations of `likelihood_draws` noisy chunks each. Their noise is the same for
        every chunk and call: the figure is one estimate of the bound, and may lie above log p by chance.

        Raises:
            CapabilityError: A window has padded steps: the bound holds for whole chunks.
        """
        require_whole(target, head="Diffusion")
        config, actions, count = self._config, target.actions, self._config.likelihood_draws
        levels = diffusion_levels(range(config.num_train_steps), config.num_train_steps)[:-1]
        source = torch.Generator("cpu").manual_seed(0)
        embeddings = self.net.embed_times(
            torch.tensor([level.time for level in levels], device=actions.device)
        )
        condition = repeat_rows(self.net.condition(context), count)
        last = levels[-1]
        # What is left of the data after the last level, against N(0, I).
        bound = -0.5 * ((last.signal * actions).square() + _excess(last.noise**2)).sum((1, 2))
        for k, level in enumerate(levels):
            eps = torch.randn(count, *actions.shape[1:], generator=source, device="cpu").to(actions.device)
            x = (level.signal * actions[:, None] + level.noise * eps).flatten(0, 1)
            data = self.expected(x, self.net(x, embeddings[k : k + 1], condition), level)
            error = (data.unflatten(0, (-1, count)) - actions[:, None]).square().sum((2, 3)).mean(1)
            factor, constant = _term(levels[k - 1], level) if k else _first_term(level)
            bound = bound - 0.5 * (factor * error + constant * actions[0].numel())
        return bound

    def noised(
        self, actions: Float[Tensor, "B H A"], eps: Float[Tensor, "B H A"], steps: Int[Tensor, " B"]
    ) -> Float[Tensor, "B H A"]:
        """Return the chunk at each row's diffusion step."""
        signal, noise = self.get_buffer("_signal"), self.get_buffer("_noise")
        return signal[steps, None, None] * actions + noise[steps, None, None] * eps

    def expected(
        self, x: Float[Tensor, "B H A"], predicted: Float[Tensor, "B H A"], level: Level
    ) -> Float[Tensor, "B H A"]:
        """Return the expected chunk; clipped where actions are bounded, and only there."""
        if self._config.prediction == "sample":
            data = predicted
        else:
            data = torch.sub(x, predicted, alpha=level.noise) / level.signal
        return data.clamp(self.low, self.high) if self.chunk.is_bounded else data

    @property
    def sampler(self) -> DenoisingSampler:
        """The walk from noise to data, within the range of bounded actions."""
        if not self.chunk.is_bounded:
            return self._sampler
        return replace(self._sampler, bounds=(self.low, self.high))

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Clip farther out, in the old units: noise has no other."""
        if self.chunk.is_bounded:
            self.low.copy_(torch.minimum(self.low, low))
            self.high.copy_(torch.maximum(self.high, high))
        return False


def _excess(variance: float) -> float:
    """Return v - 1 - log v: twice the KL from N(0, v) to N(0, 1)."""
    return variance - 1.0 - math.log(variance)


def _term(before: Level, level: Level) -> tuple[float, float]:
    """Return factor and constant: twice the KL of one number at a level is factor * error^2 + constant.

    From q(x_k-1 | x_k, a) = N(.. + c a, w) to N(.. + c a', beta) with c = sqrt(abar_k-1) beta / (1 - abar_k)
    and w = beta (1 - abar_k-1) / (1 - abar_k) (Ho et al., 2020, eq. 7); `before` has less noise.
    """
    beta = 1.0 - (level.signal / before.signal) ** 2
    slope = before.signal * beta / level.noise**2
    return slope**2 / beta, _excess((before.noise / level.noise) ** 2)


def _first_term(level: Level) -> tuple[float, float]:
    """Return the same for -2 log N(a; a', beta_1), the step from the first level to the data."""
    beta = level.noise**2
    return 1.0 / beta, math.log(2.0 * math.pi * beta)
