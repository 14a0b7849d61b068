"""The head behind `Energy`."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

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
from steadyhand.policies.heads.checks import unfold_into
from steadyhand.policies.heads.drawing import gather_chunks
from steadyhand.policies.heads.energy import Energy
from steadyhand.policies.heads.judgement import (
    bad_loss,
    by_kind,
    good_loss,
    of_one_kind,
    own_kind,
    ranking_loss,
)
from steadyhand.policies.nets.mlp import activation_layer, mlp
from steadyhand.policies.noise import Noise
from steadyhand.policies.padding import copy_pad

_BOUND = 0.0
"""B. Q has an offset of its own, so that any other bound is the same problem."""
_BOX, _WIDE_BOX = 1.1, 3.0
"""Half the side of the cube that other actions are drawn from: bounded actions lie in [-1, 1]."""
_WIDEST, _FINEST = 0.5, 0.01
"""Spread of other actions around the shown one, in normalised units, drawn evenly on a log scale."""


class EnergyHead(Head):
    """Head that `Energy` builds. D = H * A numbers in a chunk."""

    judges = True
    without_gradient: Mapping[str, str] = {
        "offset": "labels compare scores with each other; only judged steps say how low is good"
    }
    stored: Tensor
    cloud: Tensor
    is_prepared: Tensor

    def __init__(self, config: Energy, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk
        self._config = config
        self._size = chunk.horizon * chunk.action_dim
        self._box = _BOX if chunk.is_bounded else _WIDE_BOX
        first, *rest = config.hidden
        self.of_context = nn.Linear(context.num_tokens * context.width, first)
        self.of_action = nn.Linear(self._size, first, bias=False)
        self.trunk = nn.Sequential(
            activation_layer(config.activation)(),
            mlp((first, *rest), activation=config.activation, activate_last=True),
        )
        self.out = nn.Linear(config.hidden[-1], 1, bias=False)
        self.offset = nn.Parameter(torch.zeros(()))
        self.register_buffer("stored", torch.randn(config.num_stored, self._size))
        self.register_buffer("cloud", torch.randn(config.num_refinements, config.cloud_size, self._size))
        self.register_buffer("is_prepared", torch.zeros((), dtype=torch.bool))

    def score(self, context: Context, actions: Float[Tensor, "B N D"]) -> Float[Tensor, "B N"]:
        """Return Q(s, a) of N flat chunks for each row."""
        return self._score(self.of_context(context.flat()), actions)

    def _score(self, features: Float[Tensor, "B C"], actions: Float[Tensor, "#B N D"]) -> Tensor:
        return self.out(self.trunk(features[:, None] + self.of_action(actions)))[..., 0] + self.offset

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return l1, l2 or lC of each window, (B, 1).

        Metrics: the score, and the share of other actions that are kept at a distance.
        """
        kind = own_kind(target, self.chunk)
        target, share = of_one_kind(target, self.chunk)
        shown = copy_pad(target.actions, target.is_absent).flatten(1)
        others = self._others(shown, noise)
        scores = self.score(context, torch.cat([shown[:, None], others], dim=1))
        chosen, config = scores[:, :1], self._config
        distance = (others - shown[:, None]).square().mean(-1).sqrt()
        against = ranking_loss(scores[:, 0], scores[:, 1:], config.margin * distance)
        value = by_kind(
            kind,
            explicit=against.mean(1, keepdim=True),
            good=good_loss(chosen, _BOUND, config.margin),
            bad=bad_loss(chosen, _BOUND, config.margin),
        )
        metrics = {"score": chosen[:, 0].detach(), "kept_away": (against.detach() <= 0).float().mean(1)}
        return Loss(value=value * share, metrics=metrics)

    def _others(self, shown: Float[Tensor, "B D"], noise: Noise) -> Float[Tensor, "B N D"]:
        """Draw actions that nobody showed here."""
        num_rows, count = len(shown), self._config.num_others // 3
        place = (noise.uniform(num_rows, count) * len(self.stored)).long()
        box = (2.0 * noise.uniform(num_rows, count, self._size) - 1.0) * self._box
        spread = _FINEST * (_WIDEST / _FINEST) ** noise.uniform(num_rows, count)[..., None]
        near = shown[:, None] + spread * noise.normal(num_rows, count, self._size)
        return torch.cat([self.stored[place], box, near], dim=1)

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Return the chunk of the lowest score that the search finds; there is no other answer."""
        del noise, prefix
        features = self.of_context(context.flat())
        best = self.stored[self._score(features, self.stored[None]).argmin(1)]
        spread = _WIDEST
        for cloud in self.cloud:
            candidates = torch.cat([best[:, None], best[:, None] + spread * cloud], dim=1)
            index = self._score(features, candidates).argmin(1)
            best = candidates.take_along_dim(index[:, None, None], 1)[:, 0]
            spread *= 0.5
        return best.unflatten(1, (self.chunk.horizon, self.chunk.action_dim))

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Take the change of scale into Q, exactly; the search begins at the same chunks, in new units."""
        if self.chunk.is_bounded:
            half, middle = ((high - low) / 2).repeat(self.chunk.horizon), ((high + low) / 2)
            shift = unfold_into(self.of_action, low, high)
            with torch.no_grad():
                self.of_context.bias.add_(shift)
            self.stored.copy_((self.stored - middle.repeat(self.chunk.horizon)) / half)
        return self.chunk.is_bounded

    def prepare(self, data: Data, fit: Fit, noise: Noise) -> None:
        """Store chunks of the training data, evenly thinned; a policy trained further keeps its own."""
        del fit, noise
        if bool(self.is_prepared):
            return
        chunks, valid = gather_chunks(data)
        count = len(self.stored)
        chosen = torch.arange(count, device=chunks.device) * len(chunks) // count
        self.stored.copy_(copy_pad(chunks[chosen], ~valid[chosen]).flatten(1))
        self.is_prepared.fill_(True)  # noqa: FBT003
