"""Dropout that draws from the noise of a training step instead of a global generator."""

from jaxtyping import Float
from torch import Tensor

from steadyhand.policies.noise import Noise


def dropout(x: Float[Tensor, "B ..."], rate: float, noise: Noise | None) -> Float[Tensor, "B ..."]:
    """Zero each entry with probability `rate` and scale the others up (Srivastava et al., 2014).

    Without noise that augments nothing is dropped: that is how a net is asked outside training.
    """
    if rate == 0.0 or noise is None or not noise.augments:
        return x
    kept = noise.uniform(*x.shape).ge_(rate)
    return x * kept.mul_(1.0 / (1.0 - rate))
