"""What the training loop can train: a module with a loss for each row of a batch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from steadyhand.policies.noise import Noise

BatchT = TypeVar("BatchT")
Batch_co = TypeVar("Batch_co", covariant=True)
TINY = 1e-12
"""Least weight that a loss is divided by."""


@dataclass(frozen=True, kw_only=True)
class LossRows:
    """A weighted loss before it is averaged: loss = sum(numerator) / sum(denominator).

    So a batch in two halves, or on two machines, adds up exactly.

    Attributes:
        numerator: (B,) weight times loss, summed over a row's steps.
        denominator: (B,) weight, summed likewise.
        metrics: Name -> (B,) further figures, without gradient.
    """

    numerator: Float[Tensor, " B"]
    denominator: Float[Tensor, " B"]
    metrics: Mapping[str, Float[Tensor, " B"]] = field(default_factory=dict[str, Tensor])

    def over(self, weight: Float[Tensor, " B"]) -> "LossRows":
        """Return the rows with a weight taken out: they were drawn in proportion to it."""
        return LossRows(
            numerator=self.numerator / weight, denominator=self.denominator / weight, metrics=self.metrics
        )

    def mean(self) -> Float[Tensor, ""]:
        """Return the weighted mean loss; 0 where nothing has weight."""
        return self.numerator.sum() / self.denominator.sum().clamp(min=TINY)


@runtime_checkable
class BatchFit(Protocol[Batch_co]):
    """The training loop as it is lent to `Trainable.prepare`."""

    def __call__(
        self,
        module: nn.Module,
        loss: Callable[[Batch_co, Noise], Float[Tensor, ""]],
        *,
        num_steps: int,
        learning_rate: float,
    ) -> None:
        """Minimise a scalar loss over the parameters of `module`."""
        ...


class Trainable(nn.Module, ABC, Generic[BatchT]):
    """A policy, a dynamics model, a critic: the loop needs no more than this of it."""

    @abstractmethod
    def loss_rows(self, batch: BatchT, noise: Noise) -> LossRows:
        """Return the unreduced loss of a batch."""

    def adapt(self, source: object) -> None:
        """Look at the training data before a run that is not resumed, and before `prepare`."""
        del source

    def prepare(self, batches: Callable[[], Iterator[BatchT]], fit: BatchFit[BatchT], noise: Noise) -> None:
        """Do what must come before gradient training; `batches` starts a fresh pass over the data."""
        del batches, fit, noise
