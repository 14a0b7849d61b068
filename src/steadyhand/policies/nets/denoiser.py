"""What diffusion, flow and two-step regression ask of a net: a noisy chunk in, a chunk out."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from steadyhand.policies.contract import Context
from steadyhand.policies.noise import Noise

Condition = tuple[Float[Tensor, "B ..."], ...]
"""What a net has made of a context: tensors, batch first, so that rows can be repeated."""


class Denoiser(nn.Module, ABC):
    """A net from (noisy chunk, time, context) to a chunk of the same shape.

    `condition` does all that depends neither on the noisy chunk nor on the time; sampling calls it once for
    a chunk, and `forward` once for each evaluation.
    """

    @abstractmethod
    def condition(self, context: Context, noise: Noise | None = None) -> Condition:
        """Return what every evaluation of a chunk shares; `noise` switches dropout on."""

    @abstractmethod
    def forward(
        self,
        x: Float[Tensor, "B H A"],
        time: Float[Tensor, " B"],
        condition: Condition,
        noise: Noise | None = None,
    ) -> Float[Tensor, "B H A"]:
        """Evaluate.

        Args:
            x: Noisy chunk.
            time: In the units of a diffusion with 100 steps, 0 to 100; flow multiplies its own by 100.
            condition: What `condition` returned.
            noise: Source of dropout in training; None means none.
        """


def repeat_rows(condition: Condition, repeats: int) -> Condition:
    """Return every row repeated `repeats` times in a run."""
    return tuple(part.repeat_interleave(repeats, 0) for part in condition)


def sinusoid(time: Float[Tensor, " B"], width: int) -> Float[Tensor, "B width"]:
    """Return sine and cosine features of a time, periods from 2 pi to 2 pi 10^4 (Vaswani et al., 2017)."""
    half = width // 2
    step = -torch.log(torch.tensor(10000.0)) / max(half - 1, 1)
    frequency = torch.exp(step * torch.arange(half, device=time.device))
    angle = time[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
