"""The head behind `Primitives`."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from steadyhand.policies.contract import (
    ChunkSpec,
    Context,
    ContextSpec,
    Data,
    Fit,
    Head,
    Loss,
    Prefix,
    Target,
)
from steadyhand.policies.heads.checks import refuse_to_widen
from steadyhand.policies.heads.drawing import gather_chunks
from steadyhand.policies.heads.judgement import (
    bad_loss,
    by_kind,
    good_loss,
    of_one_kind,
    own_kind,
    ranking_loss,
)
from steadyhand.policies.heads.primitives import Primitives
from steadyhand.policies.nets.kmeans import kmeans, nearest_centre
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.noise import Noise

_BOUND = 0.0
"""B. Q has an offset of its own, so that any other bound is the same problem."""


class PrimitivesHead(Head):
    """Head that `Primitives` builds. G = 1, T = H for continuous actions; G = H, T = 1 for discrete."""

    judges = True
    library: Tensor
    is_prepared: Tensor

    def __init__(self, config: Primitives, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk
        self._config = config
        self._num_groups = 1 if chunk.num_classes is None else chunk.horizon
        size = config.num_primitives if chunk.num_classes is None else chunk.num_classes
        width = context.num_tokens * context.width
        self.net = mlp((width, *config.hidden, self._num_groups * size), activation=config.activation)
        if chunk.num_classes is None:
            self.register_buffer("library", torch.randn(size, chunk.horizon * chunk.action_dim))
        self.register_buffer("is_prepared", torch.zeros((), dtype=torch.bool))

    def scores(self, context: Context) -> Float[Tensor, "B G N"]:
        """Return Q(s, a_i), low where good."""
        return self.net(context.flat()).unflatten(1, (self._num_groups, -1))

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return l1, l2 or lC of each window (B, 1), or step (B, H) for discrete actions.

        Metrics: the score of the chosen primitive, and the share of explicit labels that are ranked first.
        """
        del noise
        scores = self.scores(context)
        if self.chunk.num_classes is None:
            kind = own_kind(target, self.chunk)
            target, share = of_one_kind(target, self.chunk)
            index = self._nearest(target)
        else:
            kind = own_kind(target, self.chunk) if target.kind is None else target.kind
            share = torch.ones_like(target.weight[:, :1])
            index = target.actions[..., 0]
        chosen = scores.gather(-1, index[..., None])[..., 0]
        margin = self._config.margin
        # Against itself the chosen action always pays the margin, which no weight can change.
        against = ranking_loss(chosen, scores, margin).sum(-1) - margin
        value = by_kind(
            kind,
            explicit=against,
            good=good_loss(chosen, _BOUND, margin),
            bad=bad_loss(chosen, _BOUND, margin),
        )
        first = (scores.argmin(-1) == index).float()
        return Loss(
            value=value * share,
            metrics={"score": chosen.detach().mean(1), "ranked_first": first.mean(1)},
        )

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Tensor:
        """Return the primitive of the lowest score, (B, H, A)."""
        del noise, prefix
        index = self.scores(context).argmin(-1)
        if self.chunk.num_classes is not None:
            return index[..., None]
        return self.library[index[:, 0]].unflatten(1, (self.chunk.horizon, self.chunk.action_dim))

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Refuse: every answer is one of the library, which is of the first data (a class is a class)."""
        del low, high
        if self.chunk.num_classes is None and bool(self.is_prepared):
            raise refuse_to_widen(head="Primitives", why="it answers with chunks of the first data alone")
        return False

    def prepare(self, data: Data, fit: Fit, noise: Noise) -> None:
        """Find the library; a policy that is trained further keeps the one that its scores mean."""
        del fit
        if bool(self.is_prepared) or self.chunk.num_classes is not None:
            return
        chunks, valid = gather_chunks(data)
        counts = valid[..., None].expand_as(chunks).flatten(1)
        self.library.copy_(kmeans(chunks.flatten(1), len(self.library), noise, counts=counts))
        self.is_prepared.fill_(True)  # noqa: FBT003

    def _nearest(self, target: Target) -> Int64[Tensor, "B 1"]:
        """Return the primitive nearest to each chunk, by the steps that are there."""
        counts = (~target.is_absent)[..., None].expand_as(target.actions).flatten(1)
        return nearest_centre(target.actions.flatten(1), self.library, counts=counts)[:, None]
