"""What several heads ask of their actions and do to their layers."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.policies.contract import ChunkSpec, ContextSpec


def require_bounded(chunk: ChunkSpec, *, what: str) -> None:
    """Raise SpecError unless normalised actions lie in [-1, 1]."""
    if not chunk.is_bounded:
        raise SpecError(
            f"{what} needs actions within [-1, 1].",
            got="actions that are not normalised by min_max",
            hint='leave normalisation["action"] at min_max',
        )


def refuse_to_widen(*, head: str, why: str) -> CapabilityError:
    """Return the error of a head that cannot answer labels outside the range that it was first trained on."""
    return CapabilityError(
        f"{head} cannot go on from these weights: new labels lie outside the range of the first ones.",
        got=why,
        hint="train from the start on all data (training='refit', no --from), or use a head that can go on, "
        "such as Regression, Flow or Diffusion",
    )


@torch.no_grad()
def fold_into(layer: nn.Linear, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> None:
    """Make a linear layer answer in units in which `low` is -1 and `high` is 1; its rows are (..., A)."""
    half, middle = (high - low) / 2, (high + low) / 2
    repeats = layer.out_features // len(half)
    layer.weight /= half.repeat(repeats)[:, None]
    layer.bias.copy_((layer.bias - middle.repeat(repeats)) / half.repeat(repeats))


@torch.no_grad()
def unfold_into(layer: nn.Linear, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> Float[Tensor, " W"]:
    """Make a linear layer that reads (..., A) read such units; return what is to be added to its bias."""
    half, middle = (high - low) / 2, (high + low) / 2
    repeats = layer.in_features // len(half)
    shift = layer.weight @ middle.repeat(repeats)
    layer.weight *= half.repeat(repeats)
    return shift


def is_aligned(context: ContextSpec, chunk: ChunkSpec) -> bool:
    """Return whether token h of the context belongs to step h of the chunk."""
    return context.num_steps == chunk.horizon and chunk.start == 1 - chunk.horizon
