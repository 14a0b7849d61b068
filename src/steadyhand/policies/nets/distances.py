"""Euclidean distances to many stored vectors, in shares that memory can hold."""

import torch
from jaxtyping import Float
from torch import Tensor

_DISTANCES = 1 << 24
"""Most distances held at once: 64 MiB."""


def in_shares(query: Float[Tensor, "B D"], keys: Float[Tensor, "N D"]) -> tuple[Tensor, ...]:
    """Return the queries in as many rows at a time as have distances to all keys in memory."""
    return query.split(max(1, _DISTANCES // len(keys)))


def distances(query: Float[Tensor, "B D"], keys: Float[Tensor, "N D"]) -> Float[Tensor, "B N"]:
    """Return the distance of each query from each key.

    Without a matrix product: its rounding depends on the batch, and is worst at small distances.
    """
    return torch.cdist(query, keys, compute_mode="donot_use_mm_for_euclid_dist")
