"""Where a network's random numbers come from: never from a global generator.

Encoders and heads draw from a `Noise`. In training it is one generator for the batch; in a rollout every row
has its own counter-based stream, so that a row never depends on its neighbours; for a deterministic answer
it is `NoNoise`. Drawing is always batch first.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from steadyhand.core.seeding import RowStreams


class Noise(ABC):
    """A source of random tensors.

    Attributes:
        augments: Whether nets may also drop out and move pictures with it: in training, and nowhere else.
    """

    augments: bool = False

    @abstractmethod
    def normal(self, *shape: int) -> Float[Tensor, "..."]:
        """Draw standard normal float32 of this shape; the first axis is the batch."""

    @abstractmethod
    def uniform(self, *shape: int) -> Float[Tensor, "..."]:
        """Draw float32 in [0, 1) of this shape; the first axis is the batch."""


class GeneratorNoise(Noise):
    """Draws from one torch generator; for training, and for validation with `augments=False`."""

    def __init__(self, generator: torch.Generator, *, augments: bool = True) -> None:
        self.generator = generator
        self.augments = augments

    @classmethod
    def seeded(
        cls, seed: int, *, device: torch.device | str = "cpu", augments: bool = True
    ) -> "GeneratorNoise":
        """Return a source that starts from `seed`."""
        return cls(torch.Generator(device=device).manual_seed(seed), augments=augments)

    def normal(self, *shape: int) -> Float[Tensor, "..."]:
        """Draw standard normal numbers."""
        return torch.randn(shape, generator=self.generator, device=self.generator.device)

    def uniform(self, *shape: int) -> Float[Tensor, "..."]:
        """Draw numbers in [0, 1)."""
        return torch.rand(shape, generator=self.generator, device=self.generator.device)


class RowNoise(Noise):
    """Draws from one counter-based stream for each row; for rollouts."""

    def __init__(self, streams: RowStreams, *, device: torch.device | str = "cpu") -> None:
        self.streams = streams
        self.device = device

    def normal(self, *shape: int) -> Float[Tensor, "..."]:
        """Draw standard normal numbers; shape[0] must be the number of streams."""
        return torch.as_tensor(self.streams.normal(*shape[1:]), dtype=torch.float32, device=self.device)

    def uniform(self, *shape: int) -> Float[Tensor, "..."]:
        """Draw numbers in [0, 1); shape[0] must be the number of streams."""
        drawn = torch.as_tensor(self.streams.uniform(*shape[1:]), dtype=torch.float32, device=self.device)
        return drawn.clamp_(max=1.0 - 2.0**-24)


class NoNoise(Noise):
    """Zeros and one halves: the centre of either distribution, for a deterministic answer."""

    def __init__(self, *, device: torch.device | str = "cpu") -> None:
        self.device = device

    def normal(self, *shape: int) -> Float[Tensor, "..."]:
        """Return zeros."""
        return torch.zeros(shape, device=self.device)

    def uniform(self, *shape: int) -> Float[Tensor, "..."]:
        """Return one halves."""
        return torch.full(shape, 0.5, device=self.device)


@contextmanager
def scoped(seed: int) -> Generator[None]:
    """Seed torch's global generator inside the block, and restore it after.

    The one allowed place: for library code that takes no generator (parameter initialisation, dropout).
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # noqa: TID251
        yield
