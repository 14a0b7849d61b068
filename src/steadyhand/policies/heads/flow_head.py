"""The head behind `Flow`."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from steadyhand.core.errors import CapabilityError
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Likelihood, Loss, Target
from steadyhand.policies.heads.denoising import DenoisingHead, require_whole
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.schedule import DenoisingSampler, Level, flow_levels
from steadyhand.policies.nets.normal import HALF_LOG_TWO_PI
from steadyhand.policies.noise import Noise

_NET_TIME = 100.0
"""A net's clock runs from 0 to 100."""
_MOST_NUMBERS = 64
"""Chunks with more numbers get no likelihood: its cost grows with their square."""


class FlowHead(DenoisingHead):
    """Head that `Flow` builds.

    t = 0 is noise, t = 1 is data: x_t = (1 - t) eps + t a, and the net learns a - eps, or a.

    Its likelihood is exact up to the error of the solver; "none" for chunks of more than 64 numbers, and for
    a net that predicts the chunk: its velocity (a - x_t) / (1 - t) is not known at the data.
    """

    likelihood: Likelihood = "exact"

    def __init__(self, config: Flow, context: ContextSpec, chunk: ChunkSpec) -> None:
        sampler = DenoisingSampler(levels=flow_levels(config.num_sample_steps), order=config.order)
        super().__init__(config.net, context, chunk, sampler=sampler, inpainting=config.inpainting)
        self._config = config
        if chunk.horizon * chunk.action_dim > _MOST_NUMBERS or config.prediction == "sample":
            self.likelihood = "none"

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return the squared error of the prediction at each step, averaged over the action's dimensions."""
        actions = target.actions
        time = self.draw_time(noise, len(actions))
        start = noise.normal(*actions.shape)
        x = torch.lerp(start, actions, time[:, None, None])
        condition = self.net.condition(context, noise)
        predicted = self.net(x, self.net.embed_times(_NET_TIME * time), condition, noise)
        wanted = actions if self._config.prediction == "sample" else actions - start
        return Loss(value=(predicted - wanted).square().mean(-1))

    def expected(
        self, x: Float[Tensor, "B H A"], predicted: Float[Tensor, "B H A"], level: Level
    ) -> Float[Tensor, "B H A"]:
        """Return the clean chunk: the end of the straight line along the velocity, or what the net says."""
        if self._config.prediction == "sample":
            return predicted
        return torch.add(x, predicted, alpha=level.noise)

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Go on in the old units: nothing bounds an answer."""
        del low, high
        return False

    @torch.no_grad()
    def log_prob(self, context: Context, target: Target) -> Float[Tensor, " B"]:
        """Return log p of each whole chunk, exact up to the error of the solver; without gradients.

        log p(a) = log N(x_0; 0, I) - int_0^1 div v(x_t, t) dt, x_t the path that ends in x_1 = a: the
        instantaneous change of variables (Chen et al., 2018, eq. 8), by the midpoint rule from t = 1 back to
        0. Steps lie at 1 - t = (k / n)^2, closest at the data, where the paths of a narrow density bend. The
        divergence is exact: one gradient for each of the H * A numbers.

        It is the density of the flow itself: `num_sample_steps` large steps only come near to it.

        Raises:
            CapabilityError: The chunk has more than 64 numbers, the net predicts the chunk, or a window has
                padded steps: the density of some steps alone is an integral over the others, which is not
                known.
        """
        if self._config.prediction == "sample":
            raise CapabilityError(
                "A flow whose net predicts the clean chunk has no likelihood.",
                got='prediction="sample"',
                expected='prediction="velocity"',
                hint="train with the velocity, or use a head with a closed-form likelihood, such as Mixture",
            )
        num_values = self.chunk.horizon * self.chunk.action_dim
        if num_values > _MOST_NUMBERS:
            raise CapabilityError(
                "The likelihood of a flow is worked out for short chunks only.",
                got=f"{self.chunk.horizon} steps x {self.chunk.action_dim} dimensions = {num_values} numbers",
                expected=f"at most {_MOST_NUMBERS}",
                hint="use a shorter horizon, or a head with a closed-form likelihood, such as Mixture",
            )
        require_whole(target, head="Flow")
        count = self._config.likelihood_steps
        times = [1.0 - (k / count) ** 2 for k in range(count + 1)]
        middles = [0.5 * (late + early) for late, early in pairwise(times)]
        device = context.tokens.device
        condition = self.net.condition(context)
        starts, halves = (
            self.net.embed_times(_NET_TIME * torch.tensor(t, device=device)) for t in (times[:-1], middles)
        )
        x, divergence = target.actions, torch.zeros(len(target.actions), device=device)
        for k, (late, early) in enumerate(pairwise(times)):
            length = late - early
            middle = torch.sub(x, self.net(x, starts[k : k + 1], condition), alpha=0.5 * length)
            with torch.enable_grad():
                middle = middle.requires_grad_()
                velocity = self.net(middle, halves[k : k + 1], condition)
            divergence = torch.add(divergence, _divergence(velocity, middle), alpha=length)
            x = torch.sub(x, velocity.detach(), alpha=length)
        return (-0.5 * x.square() - HALF_LOG_TWO_PI).sum((1, 2)) - divergence

    def draw_time(self, noise: Noise, rows: int) -> Float[Tensor, " B"]:
        """Draw training times, 0 for noise and 1 for data."""
        uniform = noise.uniform(rows)
        if self._config.time == "uniform":
            return uniform
        # The distribution function of Beta(1.5, 1) is x^1.5.
        return 1.0 - (0.999 * uniform.pow(1.0 / 1.5) + 0.001)


def _divergence(velocity: Float[Tensor, "B H A"], x: Float[Tensor, "B H A"]) -> Float[Tensor, " B"]:
    """Return sum_i dv_i / dx_i of each row; a row's velocity depends on no other row."""
    total = x.new_zeros(len(x))
    for index in torch.eye(x[0].numel(), device=x.device):
        direction = index.view_as(x[0])
        (gradient,) = torch.autograd.grad(velocity, x, direction.expand_as(x), retain_graph=True)
        total += (gradient * direction).sum((1, 2))
    return total
