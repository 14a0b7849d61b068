"""The head behind `Tabular`."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

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
from steadyhand.policies.heads.drawing import draw_class
from steadyhand.policies.heads.tabular import Tabular
from steadyhand.policies.noise import Noise

_TOLERANCE = 1e-4
"""Contexts no further apart than this, in every feature, are the same: room for rounding in an encoder."""


class TabularHead(Head):
    """Head that `Tabular` builds. Mode: the commonest class. Sample: by frequency, each step on its own."""

    likelihood: Likelihood = "exact"
    closed_form = True
    data_sized = ("keys", "counts")
    keys: Tensor
    counts: Tensor

    def __init__(self, config: Tabular, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        assert chunk.num_classes is not None
        self._num_classes = chunk.num_classes
        self.chunk = chunk
        self._config = config
        self.register_buffer("keys", torch.zeros(0, context.num_tokens * context.width))
        self.register_buffer("counts", torch.zeros(0, chunk.horizon, self._num_classes))

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return -log p of each step in nats; metric: whether the context was seen."""
        del noise
        index, is_seen = self.row(context)
        log_prob = self._log_prob(index, is_seen).gather(-1, target.actions)[..., 0]
        return Loss(value=-log_prob, metrics={"seen": is_seen.float()})

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Int64[Tensor, "B H 1"]:
        """Draw every step by its frequencies."""
        del prefix
        return draw_class(self._log_prob(*self.row(context)), noise)[..., None]

    def log_prob(self, context: Context, target: Target) -> Float[Tensor, " B"]:
        """Return log p of each chunk, exact."""
        log_prob = self._log_prob(*self.row(context)).gather(-1, target.actions)[..., 0]
        return log_prob.masked_fill(target.is_pad, 0.0).sum(1)

    def prepare(self, data: Data, fit: Fit, noise: Noise) -> None:
        """Count, each action with its weight."""
        del fit, noise
        self.keys, self.counts = self.keys[:0], self.counts[:0]
        for context, target in data():
            # Again where a key was left out for another that was left out: near is not transitive.
            while not (is_known := self.row(context)[1]).all():
                new = _distinct(context.flat()[~is_known])
                self.keys = torch.cat([self.keys, new])
                empty = self.counts.new_zeros(len(new), *self.counts.shape[1:])
                self.counts = torch.cat([self.counts, empty])
            seen = F.one_hot(target.actions[..., 0], self._num_classes) * target.weight[..., None]
            self.counts.index_add_(0, self.row(context)[0], seen)

    def probabilities(self, context: Context) -> Float[Tensor, "B H K"]:
        """Return pi of every class at each step."""
        return self._log_prob(*self.row(context)).exp()

    def row(self, context: Context) -> tuple[Int64[Tensor, " B"], Bool[Tensor, " B"]]:
        """Return the table's row for each context, and whether there is one (else row 0)."""
        flat = context.flat()
        if len(self.keys) == 0:
            nowhere = torch.zeros(len(flat), dtype=torch.long, device=flat.device)
            return nowhere, nowhere.bool()
        distance, index = torch.cdist(flat, self.keys, p=torch.inf).min(1)
        is_seen = distance <= _TOLERANCE
        return index.masked_fill(~is_seen, 0), is_seen

    def _log_prob(self, index: Int64[Tensor, " B"], is_seen: Bool[Tensor, " B"]) -> Float[Tensor, "B H K"]:
        if len(self.counts) == 0:
            count = self.counts.new_zeros(len(index), *self.counts.shape[1:])
        else:
            count = self.counts[index] * is_seen[:, None, None]
        smoothed = count + self._config.prior
        return (smoothed / smoothed.sum(-1, keepdim=True)).log()


def _distinct(keys: Float[Tensor, "B D"]) -> Float[Tensor, "N D"]:
    """Return the keys (one or more) that are within the tolerance of none before them."""
    keys = keys.unique(dim=0)
    first = (torch.cdist(keys, keys, p=torch.inf) <= _TOLERANCE).int().argmax(1)
    return keys[first == torch.arange(len(keys), device=keys.device)]
