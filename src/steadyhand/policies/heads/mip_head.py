"""The head behind `Mip`."""

import torch
from jaxtyping import Float
from torch import Tensor

from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Head, Loss, Prefix, Target
from steadyhand.policies.heads.mip import Mip
from steadyhand.policies.noise import Noise

_NET_TIME = 100.0


class MipHead(Head):
    """Head that `Mip` builds.

    a0 = f(o, 0, 0), a = f(o, a0, t*): deterministic, and mean-seeking like regression.
    """

    def __init__(self, config: Mip, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk
        self.net = config.net.build(context, chunk)
        self._time = config.time

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return |f(o, 0, 0) - a|^2 / t*^2 + |f(o, a + (1 - t*) z, t*) - a|^2 / (1 - t*)^2 at each step.

        Averaged over the action's dimensions; both terms are metrics, without their factors.
        """
        actions, late = target.actions, 1.0 - self._time
        start = torch.add(actions, noise.normal(*actions.shape), alpha=late)
        condition = self.net.condition(context, noise)
        embeddings = self._embeddings(actions.device)
        one = self.net(torch.zeros_like(actions), embeddings[:1], condition, noise)
        two = self.net(start, embeddings[1:], condition, noise)
        first = (one - actions).square().mean(-1)
        second = (two - actions).square().mean(-1)
        metrics = {"first": first.detach().mean(1), "second": second.detach().mean(1)}
        return Loss(value=first / self._time**2 + second / late**2, metrics=metrics)

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Return the one answer."""
        del noise, prefix
        condition = self.net.condition(context)
        embeddings = self._embeddings(context.tokens.device)
        zero = context.tokens.new_zeros(len(context.tokens), self.chunk.horizon, self.chunk.action_dim)
        return self.net(self.net(zero, embeddings[:1], condition), embeddings[1:], condition)

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Go on in the old units: nothing bounds an answer."""
        del low, high
        return False

    def _embeddings(self, device: torch.device) -> Tensor:
        return self.net.embed_times(torch.tensor([0.0, _NET_TIME * self._time], device=device))
