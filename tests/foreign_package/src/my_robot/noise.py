"""A noise: nothing most of the time, much for once."""

from dataclasses import dataclass

import numpy as np

from steadyhand.correction.noise import ActionNoise


@dataclass(frozen=True, kw_only=True)
class Bursts(ActionNoise):
    """Noise that is only there where a normal number is large.

    Attributes:
        sigma: Its size, in units of the action.
        level: How many standard deviations are large.
    """

    sigma: float = 0.1
    level: float = 1.0

    @property
    def memory(self) -> float:
        """Nothing stays."""
        return 0.0

    def scaled(self, normal: np.ndarray) -> np.ndarray:
        """Turn standard normal numbers into noise."""
        return np.where(np.abs(normal) > self.level, self.sigma * normal, 0.0)
