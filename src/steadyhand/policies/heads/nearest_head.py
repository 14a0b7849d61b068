"""The head behind `Nearest`."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from steadyhand.core.errors import CapabilityError, DataError
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
from steadyhand.policies.heads.drawing import draw_class
from steadyhand.policies.heads.nearest import Nearest
from steadyhand.policies.nets.distances import distances, in_shares
from steadyhand.policies.noise import Noise
from steadyhand.policies.padding import copy_pad

_SPARE = 8
"""Candidates looked at beyond the neighbours asked for."""
_STILL = 2e-3
"""What spreads by less than this, and by less than this share of the largest spread, hardly moves: the
normaliser leaves it at a thousandth. It is not blown up to count as much as the rest."""
_ROUNDING = 1e-5
"""Largest relative error of a squared distance by a float32 matrix product, with room."""


class NearestHead(Head):
    """Head that `Nearest` builds. Discrete actions are voted on, with the same weights."""

    closed_form = True
    data_sized = ("keys", "squares", "chunks")
    keys: Tensor
    squares: Tensor
    chunks: Tensor
    offset: Tensor
    scale: Tensor

    def __init__(self, config: Nearest, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk
        self._config = config
        width = context.num_tokens * context.width
        kind = torch.float32 if chunk.num_classes is None else torch.int64
        self.register_buffer("keys", torch.zeros(0, width))
        self.register_buffer("squares", torch.zeros(0))
        self.register_buffer("chunks", torch.zeros(0, chunk.horizon, chunk.action_dim, dtype=kind))
        self.register_buffer("offset", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return the squared error of each step's answer (discrete: whether it is wrong); not for training.

        On stored windows it is zero with one neighbour. Metric: the distance to the nearest.
        """
        del noise
        distance, index = self.neighbours(context)
        answer = self._mean(distance, index)
        if self.chunk.num_classes is None:
            value = (answer - target.actions).square().mean(-1)
        else:
            value = (answer != target.actions)[..., 0].float()
        return Loss(value=value, metrics={"distance": distance[:, 0]})

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Shaped[Tensor, "B H A"]:
        """Return the chunk of one neighbour."""
        del prefix
        distance, index = self.neighbours(context)
        chosen = draw_class(-distance / self._config.temperature, noise)
        return self.chunks[index.gather(1, chosen[:, None])[:, 0]]

    def mode(self, context: Context) -> Shaped[Tensor, "B H A"]:
        """Return the nearest chunk, or the weighted mean (or vote) of the nearest few."""
        return self._mean(*self.neighbours(context))

    def prepare(self, data: Data, fit: Fit, noise: Noise) -> None:
        """Store contexts and chunks; steps without a weight repeat the nearest one that has one."""
        del fit, noise
        keys: list[Tensor] = []
        chunks: list[Tensor] = []
        for context, target in data():
            has_none = target.weight <= 0.0
            keep = ~has_none.all(1)
            keys.append(context.flat()[keep])
            chunks.append(copy_pad(target.actions, has_none)[keep])
        stored = torch.cat(keys)
        if len(stored) == 0:
            raise DataError("No window can be stored.", hint="check Episode.weight")
        spread, self.offset = torch.std_mean(stored, dim=0, correction=0)
        largest = spread.max()
        moves = spread > _STILL * largest.clamp(max=1.0)
        self.scale = torch.where(moves, spread, torch.where(largest > 0.0, largest, 1.0))
        self.keys = (stored - self.offset) / self.scale
        self.squares = self.keys.square().sum(1)
        self.chunks = torch.cat(chunks)

    def neighbours(self, context: Context) -> tuple[Float[Tensor, "B k"], Int64[Tensor, "B k"]]:
        """Return distance and number of the nearest stored windows, nearest first.

        Raises:
            CapabilityError: Nothing is stored yet.
        """
        if len(self.keys) == 0:
            raise CapabilityError(
                "Nearest has no neighbours.", hint="run `fit` first: it stores the training windows"
            )
        query = (context.flat() - self.offset) / self.scale
        found = [self._search(rows) for rows in in_shares(query, self.keys)]
        return torch.cat([distance for distance, _ in found]), torch.cat([index for _, index in found])

    def _search(self, query: Float[Tensor, "B D"]) -> tuple[Tensor, Tensor]:
        """Return distance and number of the nearest keys, nearest first, of equals the first stored.

        A matrix product finds candidates several times faster than differences do, but its rounding depends
        on the batch. So distances are taken anew for the candidates, and for every key where rounding could
        have left one out, as among many equals.
        """
        count = min(self._config.num_neighbours, len(self.keys))
        if len(self.keys) <= count + _SPARE:
            return _ranked(distances(query, self.keys), count)
        half_squares = torch.addmm(0.5 * self.squares, query, self.keys.T, alpha=-1.0)
        best = half_squares.topk(count + _SPARE, dim=1, largest=False)
        candidates = best.indices.sort(1).values
        distance, place = _ranked((query[:, None] - self.keys[candidates]).norm(dim=-1), count)
        index = candidates.gather(1, place)
        slack = _ROUNDING * (query.square().sum(1) + self.squares.max())
        is_unclear = best.values[:, -1] <= best.values[:, count - 1] + slack
        if is_unclear.any():
            distance[is_unclear], index[is_unclear] = _ranked(distances(query[is_unclear], self.keys), count)
        return distance, index

    def _mean(self, distance: Tensor, index: Tensor) -> Shaped[Tensor, "B H A"]:
        if index.shape[1] == 1:
            return self.chunks[index[:, 0]]
        weight = (-distance / self._config.temperature).softmax(1)
        if self.chunk.num_classes is None:
            return torch.einsum("bk,bkha->bha", weight, self.chunks[index])
        votes = F.one_hot(self.chunks[index], self.chunk.num_classes) * weight[:, :, None, None, None]
        return votes.sum(1).argmax(-1)


def _ranked(distance: Float[Tensor, "B N"], count: int) -> tuple[Float[Tensor, "B k"], Int64[Tensor, "B k"]]:
    """Return the smallest distances and their places, in order; of equals the first."""
    if count == 1:
        index = distance.argmin(1, keepdim=True)
        return distance.gather(1, index), index
    ranked = distance.sort(dim=1, stable=True)
    return ranked.values[:, :count], ranked.indices[:, :count]
