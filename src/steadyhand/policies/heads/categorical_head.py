"""The head behind `Categorical`."""

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from steadyhand.policies.contract import (
    ChunkSpec,
    Context,
    ContextSpec,
    Head,
    LazyMetrics,
    Likelihood,
    Loss,
    Prefix,
    Target,
)
from steadyhand.policies.heads.categorical import Categorical
from steadyhand.policies.heads.drawing import draw_class
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.noise import Noise


class CategoricalHead(Head):
    """Head that `Categorical` builds. Mode: the likeliest class. Sample: a class by its probability."""

    likelihood: Likelihood = "exact"

    def __init__(self, config: Categorical, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        assert chunk.num_classes is not None
        self._num_classes = chunk.num_classes
        self.chunk = chunk
        num_outputs = chunk.horizon * self._num_classes
        sizes = (context.num_tokens * context.width, *config.hidden, num_outputs)
        self.net = mlp(sizes, activation=config.activation)

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return -log p of each step in nats; metric: the share of a row's steps that are right."""
        del noise
        logits = self.net(context.flat()).view(-1, self._num_classes)
        classes = target.actions.flatten()
        value = F.cross_entropy(logits, classes, reduction="none").view(-1, self.chunk.horizon)

        def metrics() -> dict[str, Tensor]:
            right = logits.detach().argmax(1).eq(classes).float()
            return {"accuracy": right.view(-1, self.chunk.horizon).mean(1)}

        return Loss(value=value, metrics=LazyMetrics(metrics))

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Int64[Tensor, "B H 1"]:
        """Draw every step independently; without noise the likeliest class."""
        del prefix
        return draw_class(self.logits(context), noise)[..., None]

    def log_prob(self, context: Context, target: Target) -> Float[Tensor, " B"]:
        """Return log p of each chunk, exact."""
        log_prob = self.logits(context).log_softmax(-1).gather(-1, target.actions)[..., 0]
        return log_prob.masked_fill(target.is_pad, 0.0).sum(1)

    def logits(self, context: Context) -> Float[Tensor, "B H K"]:
        """Return unnormalised log-probabilities of the classes."""
        return self.net(context.flat()).view(-1, self.chunk.horizon, self._num_classes)
