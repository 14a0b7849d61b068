"""Overwriting what lies outside an episode, so that no value there can reach a network."""

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor


def nearest_valid(is_pad: Bool[Tensor, "B T"]) -> Int64[Tensor, "B T"]:
    """Return for each step the last valid one up to it, or the first valid one if there is none before."""
    steps = torch.arange(is_pad.shape[1], device=is_pad.device)
    last = torch.where(is_pad, 0, steps).cummax(1).values
    first = is_pad.byte().argmin(1, keepdim=True)
    return torch.maximum(last, first)  # no valid step comes before the first


def copy_pad(value: Shaped[Tensor, "B T ..."], is_pad: Bool[Tensor, "B T"]) -> Shaped[Tensor, "B T ..."]:
    """Return `value` with padded steps repeating the nearest valid one; rows without any become zero.

    Where nothing is padded that is `value` itself. Only a CPU is asked: on other devices the question would
    make the program wait.
    """
    if is_pad.device.type == "cpu" and not is_pad.any():
        return value
    num_rows, num_steps = is_pad.shape
    starts = torch.arange(0, num_rows * num_steps, num_steps, device=is_pad.device)
    index = (nearest_valid(is_pad) + starts[:, None]).flatten()
    filled = value.flatten(0, 1).index_select(0, index).view(value.shape)
    nothing = is_pad.all(1).view(-1, *[1] * (value.ndim - 1))
    return filled.masked_fill(nothing, 0)
