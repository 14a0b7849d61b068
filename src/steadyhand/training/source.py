"""What the loop draws from: batches by step, random numbers by step."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import chain
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import nn

from steadyhand.core.digests import Digest
from steadyhand.core.errors import ConfigError
from steadyhand.core.seeding import derive
from steadyhand.data.digests import DataDigest
from steadyhand.data.sampler import Sampler, WeightedSampler
from steadyhand.policies.noise import GeneratorNoise, Noise
from steadyhand.training.config import TrainConfig

Batch_co = TypeVar("Batch_co", covariant=True)
_STRIDE = 0x9E3779B97F4A7C15
_MASK = (1 << 63) - 1
_AT_ONCE = 1024


@runtime_checkable
class Source(Protocol[Batch_co]):
    """Training data: which steps may be drawn, and the batch around some of them."""

    steps: np.ndarray

    def batch(self, steps: Int64[np.ndarray, " B"]) -> Batch_co:
        """Return the batch around `steps`."""
        ...


@runtime_checkable
class WeightedSource(Protocol):
    """Training data that know what each step is worth."""

    def weight_of(self, steps: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
        """Return the weights of steps."""
        ...


@runtime_checkable
class DigestedSource(Protocol):
    """Training data that know a short way to the digest of their content."""

    def digest(self) -> DataDigest:
        """Return the digest of all that may be read."""
        ...


def sampler_of(train: Source[object], config: TrainConfig) -> Sampler | WeightedSampler:
    """Return what chooses the steps of each batch.

    Raises:
        ConfigError: Steps are to be drawn by their weight, and the source has none.
    """
    if config.sampling == "epochs":
        return Sampler(train.steps, batch_size=config.batch_size, seed=config.seed)
    if not isinstance(train, WeightedSource):
        raise ConfigError(
            "This training source cannot be sampled by weight.",
            got=type(train).__name__,
            hint='train with sampling="epochs"',
        )
    weight = train.weight_of(train.steps)
    return WeightedSampler(train.steps, weight, batch_size=config.batch_size, seed=config.seed)


def source_digest(source: Source[object]) -> DataDigest:
    """Return the digest of training data; where they know none, that of the batches of all their steps."""
    if isinstance(source, DigestedSource):
        return source.digest()
    steps = np.ascontiguousarray(source.steps)
    whole = Digest().array("steps", steps)
    for first in range(0, len(steps), _AT_ONCE):
        _take(whole, source.batch(steps[first : first + _AT_ONCE]))
    return {"episodes": 0, "steps": len(steps), "sha256": whole.hex()}


def _take(whole: Digest, value: object) -> None:
    if isinstance(value, torch.Tensor):
        whole.array("", value.detach().cpu().numpy())
    elif isinstance(value, np.ndarray):
        whole.array("", value)
    elif is_dataclass(value):
        for field in fields(value):
            _take(whole, getattr(value, field.name))
    elif isinstance(value, Mapping):
        for name in sorted(value):
            _take(whole.text(name), value[name])
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            _take(whole, item)
    else:
        whole.text(value)


class StepNoise:
    """Noise that is a pure function of (seed, step), so that a resumed run has no random state to restore.

    Args:
        seed: Seed of all draws.
        name: What it is for; different names are independent.
        device: Where the draws are wanted.
        augments: Whether nets drop out and move pictures with it: in training, not in validation.
    """

    def __init__(self, seed: int, name: str, *, device: torch.device, augments: bool = True) -> None:
        self._base = derive(seed, name)
        self._generator = torch.Generator(device=device)
        self._noise = GeneratorNoise(self._generator, augments=augments)

    def at(self, step: int) -> Noise:
        """Return the noise of a step; it ends that of the step before."""
        self._generator.manual_seed((self._base + step * _STRIDE) & _MASK)
        return self._noise


def device_of(module: nn.Module) -> torch.device:
    """Return where a module's parameters are, or its buffers if it has none."""
    first = next(chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if first is None else first.device
