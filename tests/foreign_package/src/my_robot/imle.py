"""A head that only recalls: near each demonstration lies a sample, and others lie anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Head, Loss, Prefix, Target
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.noise import Noise


@dataclass(frozen=True, kw_only=True)
class Imle(HeadConfig):
    """Implicit maximum likelihood (Li and Malik, 2018): only the sample nearest to a demonstration is pulled.

    Attributes:
        num_draws: Number of samples that compete for each demonstration.
    """

    num_draws: int = 8

    @classmethod
    def toys(cls) -> tuple["Imle", ...]:
        """Return small forms."""
        return (cls(num_draws=4),)

    @property
    def exempt(self) -> Mapping[str, str]:
        """Laws that it need not hold to."""
        return {"memorises": "only the nearest of several samples is taught, so that others stay anywhere"}

    def build(self, context: ContextSpec, chunk: ChunkSpec) -> "ImleHead":
        """Return the head for these sizes."""
        return ImleHead(self, context, chunk)


class ImleHead(Head):
    """See `Imle`."""

    draws = True

    def __init__(self, config: Imle, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk
        self._num_draws = config.num_draws
        self._size = chunk.horizon * chunk.action_dim
        self.net = nn.Linear(context.num_tokens * context.width + self._size, self._size)

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return the squared error of the nearest of several samples, over the steps that are there."""
        samples = self._answers(context.rows(self._num_draws), noise)
        error = (samples.unflatten(0, (-1, self._num_draws)) - target.actions[:, None]).square().mean(-1)
        whole = error.masked_fill(target.is_absent[:, None], 0.0).sum(-1)
        return Loss(value=error[torch.arange(len(error)), whole.argmin(1)])

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Draw."""
        del prefix
        return self._answers(context, noise)

    def _answers(self, context: Context, noise: Noise) -> Tensor:
        flat = context.flat()
        drawn = noise.normal(len(flat), self._size)
        return self.net(torch.cat([flat, drawn], -1)).view(-1, self.chunk.horizon, self.chunk.action_dim)
