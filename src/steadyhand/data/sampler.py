"""Which steps make batch number n: a pure function of (seed, n), so that resuming needs nothing but n."""

import numpy as np
from jaxtyping import Int64, Shaped

from steadyhand.core.errors import DataError
from steadyhand.core.seeding import generator


class Sampler:
    """Walks through all steps in a new order each epoch; batches run on over the end of an epoch.

    Every step is drawn exactly once an epoch, none is dropped, and a batch may be larger than the data set.

    Args:
        steps: (M,) indices to draw from.
        batch_size: Steps in a batch.
        seed: Order of epoch e is a pure function of (seed, e).
    """

    def __init__(self, steps: Int64[np.ndarray, " M"], *, batch_size: int, seed: int) -> None:
        if not len(steps) or batch_size < 1:
            raise DataError(
                "A sampler needs steps and a batch size.", got=f"{len(steps)} steps, batch size {batch_size}"
            )
        self.batch_size = batch_size
        self._steps = steps
        self._seed = seed
        self._cached: tuple[int, np.ndarray] | None = None

    def order(self, epoch: int) -> Int64[np.ndarray, " M"]:
        """Return the order of the steps in an epoch."""
        if self._cached is None or self._cached[0] != epoch:
            order = generator(self._seed, "sampler", epoch).permutation(self._steps)
            self._cached = (epoch, order)
        return self._cached[1]

    def batch_indices(self, step: int) -> Int64[np.ndarray, " B"]:
        """Return the steps of batch `step`, counted from 0 over all epochs."""
        first = step * self.batch_size
        epoch, place = divmod(first, len(self._steps))
        if place + self.batch_size <= len(self._steps):
            return self.order(epoch)[place : place + self.batch_size]
        parts: list[np.ndarray] = []
        missing = self.batch_size
        while missing:
            part = self.order(epoch)[place : place + missing]
            parts.append(part)
            missing -= len(part)
            epoch, place = epoch + 1, 0
        return np.concatenate(parts)


class WeightedSampler:
    """Draws steps in proportion to their weight: sources with fixed shares have these in every batch.

    One step comes from each of B equal strips of the summed weight, steps of like weight side by side. So a
    source with share p fills B p places of a batch, up to one, if its steps have a weight of their own;
    drawing freely would scatter by sqrt(B p (1 - p)). Batch n is a pure function of (seed, n). There are no
    epochs: rare steps of great weight are drawn often, others perhaps never.

    Args:
        steps: (M,) indices to draw from.
        weight: (M,) positive.
        batch_size: Steps in a batch.
        seed: Seed of the draws.
    """

    def __init__(
        self,
        steps: Int64[np.ndarray, " M"],
        weight: Shaped[np.ndarray, " M"],
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        if not len(steps) or batch_size < 1 or not (weight > 0).all():
            raise DataError(
                "A weighted sampler needs steps of positive weight and a batch size.",
                got=f"{len(steps)} steps, batch size {batch_size}",
            )
        order = np.argsort(weight, kind="stable")
        ladder = np.cumsum(weight[order], dtype=np.float64)
        self.batch_size = batch_size
        self._steps, self._ladder, self._seed = steps[order], ladder / ladder[-1], seed

    def batch_indices(self, step: int) -> Int64[np.ndarray, " B"]:
        """Return the steps of batch `step`, counted from 0."""
        random = generator(self._seed, "weighted sampler", step)
        height = (np.arange(self.batch_size) + random.random(self.batch_size)) / self.batch_size
        place = np.searchsorted(self._ladder, height, side="right")
        return self._steps[np.minimum(place, len(self._steps) - 1)]
