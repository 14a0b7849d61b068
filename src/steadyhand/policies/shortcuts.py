"""Shortcuts past torch's wrappers, which cost a small network as much as its arithmetic; and their switch.

There are two: layers are called by `call`, and `training.adamw` calls the kernel of `torch.optim.AdamW`
itself. Hooks of layers run, adapters such as LoRA train, and quantised layers answer all the same. What is
registered for every module of the process, and hooks of optimisers, run within `without_shortcuts` alone.
"""

from collections.abc import Generator
from contextlib import contextmanager

from torch import Tensor, nn

_is_on = True


def takes_shortcuts() -> bool:
    """Return whether shortcuts are taken."""
    return _is_on


@contextmanager
def without_shortcuts() -> Generator[None]:
    """Use torch's own calls and torch's own optimiser while the block runs; the bits are the same."""
    global _is_on  # noqa: PLW0603  the one switch
    before, _is_on = _is_on, False
    try:
        yield
    finally:
        _is_on = before


def call(layer: nn.Module, x: Tensor) -> Tensor:
    """Return layer(x), without torch's wrapper where the layer has no hook."""
    if _is_on and not _has_hooks(layer):
        return layer.forward(x)
    return layer(x)


def _has_hooks(layer: nn.Module) -> bool:
    held = layer.__dict__
    return bool(
        held["_forward_hooks"]
        or held["_forward_pre_hooks"]
        or held["_backward_hooks"]
        or held["_backward_pre_hooks"]
    )
