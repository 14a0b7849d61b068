"""Dropout that draws from the noise of a training step instead of a global generator."""

from jaxtyping import Float
from torch import Tensor

from steadyhand.policies.noise import Noise, NoNoise


def dropout(x: Float[Tensor, "B ..."], rate: float, noise: Noise | None) -> Float[Tensor, "B ..."]:
    """Zero each entry with probability `rate` and scale the others up (Srivastava et al., 2014).

    Without noise (None, or `NoNoise`) nothing is dropped: that is how a net is asked outside training.
    """
    if rate == 0.0 or noise is None or isinstance(noise, NoNoise):
        return x
    return x * (noise.uniform(*x.shape) >= rate) / (1.0 - rate)
