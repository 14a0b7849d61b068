"""The head behind `Judging`."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from steadyhand.policies.contract import Context, Data, Fit, Head, Loss, Prefix, Target
from steadyhand.policies.heads.judgement import (
    bad_loss,
    by_kind,
    explicit_data,
    explicit_only,
    good_loss,
    of_one_kind,
    own_kind,
)
from steadyhand.policies.heads.judging import Judging
from steadyhand.policies.kinds import EXPLICIT
from steadyhand.policies.noise import Noise

_MOMENTUM = 0.95
"""Share of the running bound that a batch leaves as it was: some 20 batches are remembered."""


class JudgingHead(Head):
    """Head that `Judging` builds; in all but the loss it is the head that it wraps."""

    judges = True
    levels: Tensor
    num_seen: Tensor

    def __init__(self, config: Judging, head: Head) -> None:
        super().__init__()
        self.chunk = head.chunk
        self.likelihood = head.likelihood
        self.inpaints = head.inpaints
        self.draws = head.draws
        self._config = config
        self.head = head
        self.register_buffer("levels", torch.zeros(2))
        self.register_buffer("num_seen", torch.zeros((), dtype=torch.long))

    @property
    def bound(self) -> Float[Tensor, ""]:
        """B, in units of the head's loss."""
        return self.levels[1]

    @property
    def margin(self) -> Float[Tensor, ""]:
        """m, in units of the head's loss."""
        return self._config.margin * (self.levels[1] - self.levels[0])

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return the head's loss at explicit steps, l1 and l2 at judged ones; in training, follow B.

        Metrics: those of the head, and "judging", 1 once judged steps count.
        """
        kind = own_kind(target, self.chunk)
        target, share = of_one_kind(target, self.chunk)
        inner = self.head.loss(context, target, noise)
        score = inner.value
        known = (self.num_seen >= self._config.settle).to(score.dtype)
        value = by_kind(
            kind,
            explicit=score,
            good=known * good_loss(score, self.bound, self.margin),
            bad=known * bad_loss(score, self.bound, self.margin),
        )
        value = value * share if value.shape[1] == 1 else value.masked_fill(target.is_absent, 0.0)
        if self.training:
            present = ~target.is_absent if score.shape[1] > 1 else ~target.is_absent.all(1, keepdim=True)
            self._follow(score.detach(), present & (kind == EXPLICIT))
        return Loss(value=value, metrics={**inner.metrics, "judging": known.expand(len(value)).clone()})

    @torch.no_grad()
    def _follow(self, score: Float[Tensor, "B K"], counts: Bool[Tensor, "B K"]) -> None:
        explicit = score[counts]
        if len(explicit) == 0:
            return
        at = torch.tensor([0.5, self._config.quantile], device=score.device, dtype=score.dtype)
        now = explicit.quantile(at)
        before = torch.where(self.num_seen > 0, self.levels, now)
        self.levels.copy_(before + (1.0 - _MOMENTUM) * (now - before))
        self.num_seen += 1

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Shaped[Tensor, "B H A"]:
        """Draw as the head does."""
        return self.head.sample(context, noise, prefix)

    def mode(self, context: Context) -> Shaped[Tensor, "B H A"]:
        """Answer as the head does."""
        return self.head.mode(context)

    def log_prob(self, context: Context, target: Target) -> Float[Tensor, " B"]:
        """Return the head's likelihood."""
        return self.head.log_prob(context, target)

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Widen the head; where its units change, so do those of its loss, and B is found anew."""
        if not self.head.widen(low, high):
            return False
        self.num_seen.zero_()
        return True

    def prepare(self, data: Data, fit: Fit, noise: Noise) -> None:
        """Prepare the head on explicit steps alone: no codebook is made of what the robot did wrong."""

        def fit_explicit(
            module: nn.Module,
            loss: Callable[[Context, Target, Noise], Float[Tensor, ""]],
            *,
            num_steps: int,
            learning_rate: float,
        ) -> None:
            fit(
                module,
                lambda context, target, drawn: loss(context, explicit_only(target), drawn),
                num_steps=num_steps,
                learning_rate=learning_rate,
            )

        self.head.prepare(explicit_data(data), fit_explicit, noise)
