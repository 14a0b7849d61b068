"""The head behind `LogLinear`."""

import torch
from jaxtyping import Float, Int64, Shaped
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
from steadyhand.policies.heads.action_range import ActionRange
from steadyhand.policies.heads.drawing import draw_class
from steadyhand.policies.heads.log_linear import LogLinear
from steadyhand.policies.noise import Noise


class LogLinearHead(Head):
    """Head that `LogLinear` builds. Mode: the likeliest class or the centre of the likeliest bin.

    Sample: a class; or a bin, and a point inside it, evenly. The density is constant inside a bin.
    """

    likelihood: Likelihood = "exact"
    draws = True
    bumps: Tensor

    def __init__(self, config: LogLinear, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk
        self._is_discrete = chunk.num_classes is not None
        self._num_bins = chunk.num_classes or config.num_bins
        num_bumps = chunk.num_classes or config.num_bumps
        self.theta = nn.Linear(
            context.num_tokens * context.width, chunk.horizon * chunk.action_dim * num_bumps
        )
        if self._is_discrete:
            return
        self.range = ActionRange(chunk)
        centre = torch.arange(0.5, config.num_bins) / config.num_bins
        place = torch.linspace(0.0, 1.0, num_bumps)
        score = (centre - place[:, None]) * (num_bumps - 1)
        self.register_buffer("bumps", torch.exp(-0.5 * score.square()), persistent=False)

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return -log p of each step in nats, of the class or of the normalised action."""
        del noise
        return Loss(value=-self._log_density(context, target))

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Shaped[Tensor, "B H A"]:
        """Draw every step and dimension independently."""
        del prefix
        index = draw_class(self.logits(context), noise)
        if self._is_discrete:
            return index
        inside = noise.uniform(*index.shape)
        return self.range.from_unit((index + inside) / self._num_bins)

    def log_prob(self, context: Context, target: Target) -> Float[Tensor, " B"]:
        """Return log p of each chunk, exact; an action outside the grid counts as in the bin at its edge."""
        return self._log_density(context, target).masked_fill(target.is_pad, 0.0).sum(1)

    def prepare(self, data: Data, fit: Fit, noise: Noise) -> None:
        """Lay the grid over the range of the training actions, once, unless that is [-1, 1] already."""
        del fit, noise
        if not self._is_discrete:
            self.range.find(data)

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Refuse labels outside the range that the bins divide."""
        self.range.require_inside(low, high, head="LogLinear")
        return False

    def logits(self, context: Context) -> Float[Tensor, "B H A K"]:
        """Return theta . phi of every class or bin."""
        weight = self.theta(context.flat()).unflatten(1, (self.chunk.horizon, self.chunk.action_dim, -1))
        return weight if self._is_discrete else weight @ self.bumps

    def _log_density(self, context: Context, target: Target) -> Float[Tensor, "B H"]:
        log_prob = self.logits(context).log_softmax(-1)
        index = target.actions if self._is_discrete else self._bin(target.actions)
        chosen = log_prob.gather(-1, index[..., None])[..., 0].sum(-1)
        if self._is_discrete:
            return chosen
        return chosen - (self.range.width / self._num_bins).log().sum()

    def _bin(self, actions: Float[Tensor, "B H A"]) -> Int64[Tensor, "B H A"]:
        return (self.range.to_unit(actions) * self._num_bins).long().clamp(0, self._num_bins - 1)
