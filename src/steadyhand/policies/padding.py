"""Overwriting what lies outside an episode, so that no value there can reach a network."""

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor


def nearest_valid(is_pad: Bool[Tensor, "B T"]) -> Int64[Tensor, "B T"]:
    """Return for each step the last valid one up to it, or the first valid one if there is none before."""
    steps = torch.arange(is_pad.shape[1], device=is_pad.device)
    last = torch.where(is_pad, -1, steps).cummax(1).values
    first = (~is_pad).int().argmax(1, keepdim=True)
    return torch.where(last < 0, first, last)


def copy_pad(value: Shaped[Tensor, "B T ..."], is_pad: Bool[Tensor, "B T"]) -> Shaped[Tensor, "B T ..."]:
    """Return `value` with padded steps repeating the nearest valid one; rows without any become zero."""
    index = nearest_valid(is_pad)
    rows = torch.arange(len(value), device=value.device)[:, None]
    filled = value[rows, index]
    nothing = is_pad.all(1).view(-1, *[1] * (value.ndim - 1))
    return filled.masked_fill(nothing, 0)
