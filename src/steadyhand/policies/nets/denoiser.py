"""What diffusion, flow and two-step regression ask of a net: a noisy chunk in, a chunk out."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from steadyhand.policies.contract import Context
from steadyhand.policies.noise import Noise

Condition = tuple[Shaped[Tensor, "B ..."], ...]
"""What a net has made of a context: tensors, batch first, so that rows can be repeated."""


class Denoiser(nn.Module, ABC):
    """A net from (noisy chunk, time, context) to a chunk of the same shape.

    Whatever does not depend on the noisy chunk is done outside `forward`: `condition` reads the context, once
    for a chunk, and `embed_times` reads the times, all of a sampler's at once. `forward` runs once for each
    evaluation.
    """

    without_gradient: Mapping[str, str] = {}
    """Name of a parameter (* for any characters) -> why training leaves it without a gradient."""

    @abstractmethod
    def condition(self, context: Context, noise: Noise | None = None) -> Condition:
        """Return what all evaluations of a chunk share; `noise` switches dropout on."""

    @abstractmethod
    def embed_times(self, time: Float[Tensor, " N"]) -> Float[Tensor, "N W"]:
        """Return what depends on the time alone, a row for each.

        Args:
            time: In the units of a diffusion with 100 steps, 0 to 100; flow multiplies its own by 100.
        """

    @abstractmethod
    def forward(
        self,
        x: Float[Tensor, "B H A"],
        embedding: Float[Tensor, "R W"],
        condition: Condition,
        noise: Noise | None = None,
    ) -> Float[Tensor, "B H A"]:
        """Evaluate.

        Args:
            x: Noisy chunk.
            embedding: Rows of what `embed_times` returned: one for each row of `x`, or one for all (R = 1).
            condition: What `condition` returned.
            noise: Source of dropout in training; None means none.
        """


def repeat_rows(condition: Condition, repeats: int) -> tuple[Shaped[Tensor, "R ..."], ...]:
    """Return every row repeated `repeats` times in a run."""
    return tuple(part.repeat_interleave(repeats, 0) for part in condition)


def sinusoid(time: Float[Tensor, " N"], width: int) -> Float[Tensor, "N width"]:
    """Return sine and cosine features of a time, periods from 2 pi to 2 pi 10^4 (Vaswani et al., 2017)."""
    half = width // 2
    step = -math.log(10000.0) / max(half - 1, 1)
    frequency = torch.exp(step * torch.arange(half, device=time.device))
    angle = time[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class FilmMap(nn.Module):
    """A linear map of [time, context] to scales and shifts, which reads one part at a time.

    The context is read once for a chunk, the time once for all steps of a sampler; the sum of both shares is
    what the map says.

    Args:
        time_width: Width of the time's features.
        context_width: Width of the context, flat.
        width_out: F, all scales and shifts.
    """

    def __init__(self, time_width: int, context_width: int, width_out: int) -> None:
        super().__init__()
        layer = nn.Linear(time_width + context_width, width_out)
        self.weight, self.bias = layer.weight, layer.bias
        self._time_width = time_width

    def forward(self, part: Float[Tensor, "N W"], *, is_time: bool) -> Float[Tensor, "N F"]:
        """Return the share of the time, or that of the context, which has the bias."""
        if is_time:
            return nn.functional.linear(part, self.weight[:, : self._time_width])
        return nn.functional.linear(part, self.weight[:, self._time_width :], self.bias)


class TimeMLP(nn.Module):
    """Sinusoidal features of a time through two linear layers with Mish between (Ho et al., 2020)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.net = nn.Sequential(nn.Linear(width, 4 * width), nn.Mish(), nn.Linear(4 * width, width))

    def forward(self, time: Float[Tensor, " N"]) -> Float[Tensor, "N W"]:
        """Embed."""
        return self.net(sinusoid(time, self.width))
