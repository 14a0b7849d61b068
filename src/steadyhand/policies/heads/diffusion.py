"""Diffusion: a chunk is reached from noise by removing it in steps."""

from dataclasses import dataclass, field
from typing import Literal, assert_never

import torch
from jaxtyping import Float, Int
from torch import Tensor

from steadyhand.core.errors import ConfigError
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Head, Loss, Prefix, Target
from steadyhand.policies.heads.checks import require_continuous
from steadyhand.policies.heads.inpainting import Inpainting, inpaint
from steadyhand.policies.heads.schedule import (
    Guess,
    Order,
    Sampler,
    diffusion_levels,
    squared_cosine,
)
from steadyhand.policies.nets.denoiser import Condition
from steadyhand.policies.nets.denoisers import DenoiserConfig
from steadyhand.policies.nets.unet1d import UNet
from steadyhand.policies.noise import Noise

Prediction = Literal["epsilon", "sample"]
Method = Literal["ddim", "ddpm"]
Spacing = Literal["linspace", "leading"]


@dataclass(frozen=True, kw_only=True)
class Diffusion:
    """Diffusion Policy (Chi et al., 2023): DDPM's loss (Ho et al., 2020), DDIM's sampler (Song et al., 2021).

    Attributes:
        net: The denoiser.
        prediction: What it predicts: the noise ("epsilon") or the chunk ("sample").
        num_train_steps: Noise levels in training, on the squared-cosine schedule.
        sampler: "ddim": `num_sample_steps` of them; "ddpm": all of them, with noise at each (eta 1, the smaller
            of DDPM's two variances).
        num_sample_steps: Evaluations of the net in DDIM.
        order: Of DDIM without noise: 1 as published; 2 keeps the spread better at no cost, see `Sampler`.
        eta: Noise that DDIM adds at each step; 0 is deterministic after the first draw.
        spacing: Which levels DDIM visits. "leading": 90, 80, .., 0 of 100, as published; "linspace": evenly
            from the last to the first. The last level is all but pure noise (signal .0005): an "epsilon" net
            asked there has its error divided by that, so linspace is for "sample".
        inpainting: How a prefix is honoured.
    """

    net: DenoiserConfig = field(default_factory=UNet)
    prediction: Prediction = "epsilon"
    num_train_steps: int = 100
    sampler: Method = "ddim"
    num_sample_steps: int = 10
    order: Order = 2
    eta: float = 0.0
    spacing: Spacing = "leading"
    inpainting: Inpainting = field(default_factory=Inpainting)

    def __post_init__(self) -> None:
        if not 1 <= self.num_sample_steps <= self.num_train_steps:
            raise ConfigError(
                "Diffusion samples in at most as many steps as it was trained with.",
                got=f"num_sample_steps={self.num_sample_steps}",
                expected=f"1 to {self.num_train_steps}",
            )
        if not 0.0 <= self.eta <= 1.0:
            raise ConfigError("eta of DDIM lies between 0 and 1.", got=self.eta)

    @property
    def sample_steps(self) -> tuple[int, ...]:
        """Diffusion steps that the sampler visits, noisiest first."""
        last, count = self.num_train_steps - 1, self.num_sample_steps
        if self.sampler == "ddpm":
            return tuple(range(last, -1, -1))
        match self.spacing:
            case "linspace":
                return tuple(round(last * (1.0 - k / max(count - 1, 1))) for k in range(count))
            case "leading":
                stride = self.num_train_steps // count
                return tuple(stride * k for k in range(count - 1, -1, -1))
            case _:
                assert_never(self.spacing)

    def build(self, context: ContextSpec, chunk: ChunkSpec) -> "DiffusionHead":
        """Return the head for these sizes."""
        return DiffusionHead(self, context, chunk)


class DiffusionHead(Head):
    """See `Diffusion`. x_k = sqrt(abar_k) a + sqrt(1 - abar_k) eps."""

    inpaints = True
    draws = True

    def __init__(self, config: Diffusion, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        require_continuous(chunk, head="Diffusion")
        self.chunk = chunk
        self.net = config.net.build(context, chunk)
        self._config = config
        self._sampler = Sampler(
            levels=diffusion_levels(config.sample_steps, config.num_train_steps),
            order=config.order,
            eta=1.0 if config.sampler == "ddpm" else config.eta,
            is_bounded=chunk.is_bounded,
        )
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
        predicted = self.net(x, self.net.moments(time), self.net.condition(context, noise), noise)
        wanted = eps if config.prediction == "epsilon" else actions
        return Loss(value=(predicted - wanted).square().mean(-1))

    @torch.no_grad()
    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Remove noise step by step; the mode starts from zero."""
        condition = self.net.condition(context)
        moments = self.net.moments(self._sampler.times(device=context.tokens.device))

        def guesser(condition: Condition) -> Guess:
            def guess(x: Tensor, index: int) -> Tensor:
                return self._data(x, self.net(x, moments[index : index + 1], condition), index)

            return guess

        if prefix is not None:
            return inpaint(
                self._config.inpainting,
                prefix,
                noise,
                sampler=self._sampler,
                guesser=guesser,
                condition=condition,
            )
        rows = len(context.tokens)
        start = noise.normal(rows, self.chunk.horizon, self.chunk.action_dim)
        return self._sampler.walk(start, guesser(condition), noise, rows=rows)

    def noised(
        self, actions: Float[Tensor, "B H A"], eps: Float[Tensor, "B H A"], steps: Int[Tensor, " B"]
    ) -> Float[Tensor, "B H A"]:
        """Return the chunk at each row's diffusion step."""
        signal, noise = self.get_buffer("_signal"), self.get_buffer("_noise")
        return signal[steps, None, None] * actions + noise[steps, None, None] * eps

    def _data(self, x: Tensor, predicted: Tensor, index: int) -> Tensor:
        """Return the expected chunk; clipped where actions are bounded, and only there."""
        level = self._sampler.levels[index]
        if self._config.prediction == "sample":
            data = predicted
        else:
            data = torch.sub(x, predicted, alpha=level.noise) / level.signal
        return data.clamp(-1.0, 1.0) if self.chunk.is_bounded else data
