"""A head: the median of the demonstrations, with the likelihood of a Laplace distribution."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Head, Loss, Prefix, Target
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.noise import Noise


@dataclass(frozen=True, kw_only=True)
class Laplace(HeadConfig):
    """Maximum likelihood of a Laplace distribution with one learnt width for each number.

    Attributes:
        min_width: Lower bound of the width, in normalised units.
    """

    min_width: float = 0.01

    def why_silent(self) -> str:
        """Return why its loss of its own answer says nothing of the state."""
        return "its width is the same in every state"

    def build(self, context: ContextSpec, chunk: ChunkSpec) -> "LaplaceHead":
        """Return the head for these sizes."""
        return LaplaceHead(self, context, chunk)


class LaplaceHead(Head):
    """See `Laplace`."""

    likelihood = "exact"

    def __init__(self, config: Laplace, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk
        self._min_width = config.min_width
        self.middle = nn.Linear(context.num_tokens * context.width, chunk.horizon * chunk.action_dim)
        self.log_width = nn.Parameter(torch.full((chunk.horizon, chunk.action_dim), -1.0))

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return -log p of each step."""
        del noise
        return Loss(value=-self._log_density(context, target.actions))

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Draw by the inverse of the distribution function; the median where there is no noise."""
        del prefix
        middle = self._middle(context)
        half = noise.uniform(*middle.shape) - 0.5
        return middle - self._width() * half.sign() * torch.log1p(-2.0 * half.abs())

    def mode(self, context: Context) -> Float[Tensor, "B H A"]:
        """Return the median."""
        return self._middle(context)

    def log_prob(self, context: Context, target: Target) -> Float[Tensor, " B"]:
        """Return log p of the steps that are not padded."""
        return self._log_density(context, target.actions).masked_fill(target.is_pad, 0.0).sum(1)

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Go on in the old units: nothing here is bounded."""
        del low, high
        return False

    def _log_density(self, context: Context, actions: Tensor) -> Tensor:
        width = self._width()
        return (-(actions - self._middle(context)).abs() / width - width.log() - math.log(2.0)).sum(-1)

    def _middle(self, context: Context) -> Tensor:
        return self.middle(context.flat()).view(-1, self.chunk.horizon, self.chunk.action_dim)

    def _width(self) -> Tensor:
        return self._min_width + self.log_width.exp()
