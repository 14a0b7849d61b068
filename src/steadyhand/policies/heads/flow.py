"""Flow matching: a velocity field that carries noise into action chunks."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from steadyhand.core.errors import ConfigError
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Head, Loss, Prefix, Target
from steadyhand.policies.heads.checks import require_continuous
from steadyhand.policies.heads.inpainting import Inpainting, inpaint
from steadyhand.policies.heads.schedule import Guess, Order, Sampler, flow_levels
from steadyhand.policies.nets.denoiser import Condition
from steadyhand.policies.nets.denoisers import DenoiserConfig
from steadyhand.policies.nets.unet1d import UNet
from steadyhand.policies.noise import Noise

TimeLaw = Literal["beta", "uniform"]
_NET_TIME = 100.0
"""A net's clock runs from 0 to 100."""


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Flow matching on straight paths (Lipman et al., 2023; as a policy: pi0, Black et al., 2024).

    Attributes:
        net: The velocity field.
        time: Law of the training times. "beta": 1 - (Beta(1.5, 1) * .999 + .001), more of them near the noise
            (pi0); "uniform".
        num_sample_steps: Steps of the sampler, each one evaluation of the net.
        order: 1 is Euler's method, as published; 2 keeps the spread better at no cost, see `Sampler`.
        inpainting: How a prefix is honoured.
    """

    net: DenoiserConfig = field(default_factory=UNet)
    time: TimeLaw = "beta"
    num_sample_steps: int = 10
    order: Order = 2
    inpainting: Inpainting = field(default_factory=Inpainting)

    def __post_init__(self) -> None:
        if self.num_sample_steps < 1:
            raise ConfigError("Flow takes at least one step.", got=self.num_sample_steps)

    def build(self, context: ContextSpec, chunk: ChunkSpec) -> "FlowHead":
        """Return the head for these sizes."""
        return FlowHead(self, context, chunk)


class FlowHead(Head):
    """See `Flow`. t = 0 is noise, t = 1 is data: x_t = (1 - t) eps + t a, and the net learns a - eps."""

    inpaints = True
    draws = True

    def __init__(self, config: Flow, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        require_continuous(chunk, head="Flow")
        self.chunk = chunk
        self.net = config.net.build(context, chunk)
        self._config = config
        self._sampler = Sampler(levels=flow_levels(config.num_sample_steps), order=config.order)

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return the squared error of the velocity at each step, averaged over the action's dimensions."""
        actions = target.actions
        time = self.draw_time(noise, len(actions))
        start = noise.normal(*actions.shape)
        x = torch.lerp(start, actions, time[:, None, None])
        condition = self.net.condition(context, noise)
        velocity = self.net(x, self.net.moments(_NET_TIME * time), condition, noise)
        return Loss(value=(velocity - (actions - start)).square().mean(-1))

    @torch.no_grad()
    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Integrate from noise to data; the mode starts from zero."""
        condition = self.net.condition(context)
        moments = self.net.moments(self._sampler.times(device=context.tokens.device))

        def guesser(condition: Condition) -> Guess:
            def guess(x: Tensor, index: int) -> Tensor:
                velocity = self.net(x, moments[index : index + 1], condition)
                return torch.add(x, velocity, alpha=self._sampler.levels[index].noise)

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

    def draw_time(self, noise: Noise, rows: int) -> Float[Tensor, " B"]:
        """Draw training times, 0 for noise and 1 for data."""
        uniform = noise.uniform(rows)
        if self._config.time == "uniform":
            return uniform
        # The distribution function of Beta(1.5, 1) is x^1.5.
        return 1.0 - (0.999 * uniform.pow(1.0 / 1.5) + 0.001)
