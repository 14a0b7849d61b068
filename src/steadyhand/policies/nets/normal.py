"""Normal densities."""

import math

from jaxtyping import Float
from torch import Tensor

HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def log_normal(value: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return log N(value; mean, std^2) of each number."""
    score = (value - mean) / std
    return -0.5 * score.square() - std.log() - HALF_LOG_TWO_PI


def kl_to_standard_normal(mean: Float[Tensor, "B Z"], log_var: Float[Tensor, "B Z"]) -> Float[Tensor, " B"]:
    """Return KL(N(mean, exp(log_var)) || N(0, I)) in nats, summed over dimensions."""
    return 0.5 * (mean.square() + log_var.exp() - 1.0 - log_var).sum(1)
