"""What several heads share: drawing a class, and gathering the chunks of the training data."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from steadyhand.core.errors import DataError
from steadyhand.policies.contract import Data
from steadyhand.policies.noise import Noise, NoNoise


def draw_class(logits: Float[Tensor, "*B K"], noise: Noise) -> Int64[Tensor, "*B"]:
    """Draw by the softmax of the logits; without noise the likeliest class.

    By inverting the distribution function: one number for each draw, where Gumbel-max takes K of them. With
    256 classes that is what a draw costs. Logits that are no numbers give some class, never a number beyond.
    """
    if isinstance(noise, NoNoise):
        return logits.argmax(-1)
    ladder = logits.softmax(-1).cumsum(-1)
    height = noise.uniform(*logits.shape[:-1])[..., None] * ladder[..., -1:]
    return torch.searchsorted(ladder, height, right=True)[..., 0].clamp(max=logits.shape[-1] - 1)


def gather_chunks(data: Data, *, limit: int = 1 << 15) -> tuple[Float[Tensor, "M H A"], Bool[Tensor, "M H"]]:
    """Return training chunks and which of their steps have a weight, thinned evenly to 2 * `limit` at most.

    Raises:
        DataError: No step has a weight.
    """
    chunks: list[Tensor] = []
    counts: list[Tensor] = []
    stride, seen, kept = 1, 0, 0
    for _, target in data():
        first = -seen % stride
        seen += len(target.actions)
        chunks.append(target.actions[first::stride])
        counts.append((target.weight[first::stride] > 0) & ~target.is_pad[first::stride])
        kept += len(chunks[-1])
        while kept > 2 * limit:
            stride *= 2
            chunks, counts = [torch.cat(chunks)[::2]], [torch.cat(counts)[::2]]
            kept = len(chunks[0])
    chunk, valid = torch.cat(chunks), torch.cat(counts)
    rows = valid.any(1)
    if not bool(rows.any()):
        raise DataError(
            "The training data hold no step to learn from.",
            hint="check Episode.weight and expert_action_valid",
        )
    return chunk[rows], valid[rows]
