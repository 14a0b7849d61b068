"""Which actions a head can learn, checked when it is built."""

from steadyhand.core.errors import SpecError
from steadyhand.policies.contract import ChunkSpec, ContextSpec


def require_continuous(chunk: ChunkSpec, *, head: str) -> None:
    """Raise SpecError if the actions are discrete."""
    if chunk.num_classes is not None:
        raise SpecError(
            f"{head} needs continuous actions.",
            got=f"one of {chunk.num_classes} discrete actions",
            expected="a vector of real numbers",
            hint="use the Categorical head",
        )


def require_discrete(chunk: ChunkSpec, *, head: str) -> int:
    """Return the number of classes; raise SpecError if the actions are continuous."""
    if chunk.num_classes is None:
        raise SpecError(
            f"{head} needs discrete actions.",
            got=f"a continuous action of {chunk.action_dim} dimensions",
            hint="use the Regression or Gaussian head",
        )
    return chunk.num_classes


def require_bounded(chunk: ChunkSpec, *, what: str) -> None:
    """Raise SpecError unless normalised actions lie in [-1, 1]."""
    if not chunk.is_bounded:
        raise SpecError(
            f"{what} needs actions within [-1, 1].",
            got="actions that are not normalised by min_max",
            hint='leave normalisation["action"] at min_max',
        )


def is_aligned(context: ContextSpec, chunk: ChunkSpec) -> bool:
    """Return whether token h of the context belongs to step h of the chunk."""
    return context.num_steps == chunk.horizon and chunk.start == 1 - chunk.horizon
