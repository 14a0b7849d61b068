"""The constraints of Expert Intervention Learning, for every head that judges.

Spencer, Choudhury, Barnes, Schmittle, Chiang, Ramadge and Srinivasa (RSS 2020; Autonomous Robots 46, 2022): a
score Q(s, a), low where good, a bound B, and three kinds of constraint,

    implicit good  Q(s, a) <= B         l1 = max(0, Q(s, a) - B + m)
    implicit bad   Q(s, a) >  B         l2 = max(0, B - Q(s, a) + m)
    explicit       Q(s, a) <  Q(s, a')  lC = sum over a' of max(0, Q(s, a) - Q(s, a') + m).

Deviation: the margin m > 0. Without it Q = B everywhere costs nothing, and is a minimiser.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from steadyhand.policies.contract import ChunkSpec, Data, Target
from steadyhand.policies.kinds import BAD, EXPLICIT, GOOD


def own_kind(target: Target, chunk: ChunkSpec) -> Int[Tensor, "B 1"]:
    """Return the kind of each window: that of its current step."""
    if target.kind is None:
        return torch.full_like(target.is_pad[:, :1], EXPLICIT, dtype=torch.long)
    now = -chunk.start
    return target.kind[:, now : now + 1]


def of_one_kind(target: Target, chunk: ChunkSpec) -> tuple[Target, Float[Tensor, "B 1"]]:
    """Return the target with weight only where a step is of its window's kind, and the share of weight left.

    A chunk that begins while the robot drives and ends in the human's hands is no pair that anybody judged:
    its later steps count in windows of their own. A loss for the window as a whole is to be multiplied by the
    share, because the policy weights it with all of the chunk's weight.
    """
    if target.kind is None:
        return target, torch.ones_like(target.weight[:, :1])
    weight = target.weight * (target.kind == own_kind(target, chunk))
    share = weight.sum(1, keepdim=True) / target.weight.sum(1, keepdim=True).clamp(min=1e-12)
    return replace(target, weight=weight, kind=None), share


def good_loss(
    score: Float[Tensor, "*B"], bound: Float[Tensor, ""] | float, margin: Float[Tensor, ""] | float
) -> Float[Tensor, "*B"]:
    """Return l1 = max(0, Q - B + m)."""
    return (score - bound + margin).clamp(min=0.0)


def bad_loss(
    score: Float[Tensor, "*B"], bound: Float[Tensor, ""] | float, margin: Float[Tensor, ""] | float
) -> Float[Tensor, "*B"]:
    """Return l2 = max(0, B - Q + m)."""
    return (bound - score + margin).clamp(min=0.0)


def ranking_loss(
    score: Float[Tensor, "*B"], others: Float[Tensor, "*B N"], margin: Float[Tensor, "*B N"] | float
) -> Float[Tensor, "*B N"]:
    """Return max(0, Q(s, a) - Q(s, a') + m) for each other action."""
    return (score[..., None] - others + margin).clamp(min=0.0)


def by_kind(
    kind: Int[Tensor, "B #K"],
    *,
    explicit: Float[Tensor, "B K"],
    good: Float[Tensor, "B K"],
    bad: Float[Tensor, "B K"],
) -> Float[Tensor, "B K"]:
    """Return each loss by the kind of its window, or of its step."""
    return torch.where(kind == GOOD, good, torch.where(kind == BAD, bad, explicit))


def explicit_only(target: Target) -> Target:
    """Return the target with weight only where somebody showed what to do."""
    if target.kind is None:
        return target
    return replace(target, weight=target.weight * (target.kind == EXPLICIT), kind=None)


def explicit_data(data: Data) -> Data:
    """Return passes over the data in which judged steps have no weight."""
    return lambda: ((context, explicit_only(target)) for context, target in data())
