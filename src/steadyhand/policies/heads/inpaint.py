"""The sampling behind `Inpainting`."""

from collections.abc import Callable
from typing import assert_never

import torch
from jaxtyping import Float, Int
from torch import Tensor

from steadyhand.policies.contract import Prefix
from steadyhand.policies.heads.inpainting import Inpainting
from steadyhand.policies.heads.schedule import DenoisingSampler, Edit, Guess
from steadyhand.policies.nets.denoiser import Condition, repeat_rows
from steadyhand.policies.noise import Noise

Guesser = Callable[[Condition], Guess]


def inpaint(
    config: Inpainting,
    prefix: Prefix,
    noise: Noise,
    *,
    sampler: DenoisingSampler,
    guesser: Guesser,
    condition: Condition,
) -> Float[Tensor, "B H A"]:
    """Draw one chunk for each row that agrees with the prefix.

    Args:
        config: Settings.
        prefix: What to agree with.
        noise: Source of the draws.
        sampler: The head's sampler.
        guesser: Condition -> the head's estimate of the clean chunk.
        condition: Condition of the net, one row for each row of the prefix.
    """
    rows, horizon, width = prefix.actions.shape
    candidates = noise.normal(rows, config.candidates, horizon, width)
    start = chosen = candidates[:, 0]
    if config.candidates > 1 or config.method == "nearest":
        guess = guesser(repeat_rows(condition, config.candidates))
        ends = sampler.walk(candidates.flatten(0, 1), guess, noise, rows=rows).view_as(candidates)
        best = _nearest(ends, prefix)
        row = torch.arange(rows, device=best.device)
        start, chosen = candidates[row, best], ends[row, best]
    guess = guesser(condition)
    match config.method:
        case "nearest":
            return chosen
        case "guidance":
            guess = _guided(guess, prefix, sampler, config.max_guidance)
            drawn = sampler.walk(start, guess, noise, rows=rows)
        case "overwrite":
            drawn = sampler.walk(start, guess, noise, rows=rows, edit=_overwriting(start, prefix, sampler))
        case _:
            assert_never(config.method)
    # What is frozen is being executed already.
    return torch.where(prefix.weight[..., None] >= 1.0, prefix.actions, drawn)


def _nearest(ends: Float[Tensor, "B N H A"], prefix: Prefix) -> Int[Tensor, " B"]:
    """Return which candidate misses the prefix least, weighted."""
    miss = (ends - prefix.actions[:, None]).square().sum(-1)
    return (miss * prefix.weight[:, None]).sum(-1).argmin(1)


def _guided(guess: Guess, prefix: Prefix, sampler: DenoisingSampler, limit: float) -> Guess:
    """Return `guess` with its answer moved towards the prefix along the net's own Jacobian.

    v + w J^T (W (prefix - a)), w = min(limit, (1 - t) / (t r^2)), J = da / dx in the flow's coordinates
    x / (signal + noise): a change of v by d is a change of the expected data by (1 - t) d.
    """

    def guided(x: Tensor, index: int) -> Tensor:
        level = sampler.levels[index]
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            data = guess(x, index)
            error = (prefix.actions - data.detach()) * prefix.weight[..., None]
            (gradient,) = torch.autograd.grad(data, x, error)
        # 1 - t = noise / (signal + noise); the coordinates' scale signal + noise cancels its denominator.
        return torch.add(data.detach(), gradient, alpha=min(limit, level.guidance) * level.noise)

    return guided


def _overwriting(start: Float[Tensor, "B H A"], prefix: Prefix, sampler: DenoisingSampler) -> Edit:
    """Return what puts the prefix, under the noise that the chunk began with, into a noisy chunk."""

    def overwrite(x: Tensor, index: int) -> Tensor:
        level = sampler.levels[index]
        known = level.signal * prefix.actions + level.noise * start
        return torch.lerp(x, known, prefix.weight[..., None])

    return overwrite
