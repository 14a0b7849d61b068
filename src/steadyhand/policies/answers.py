"""What encoders and heads return is looked at, since they may be anybody's: shapes, which costs nothing."""

from typing import Any, TypeVar

from torch import Tensor

from steadyhand.core.errors import SpecError
from steadyhand.policies.contract import Context, ContextSpec, Encoder, Head, Loss, Target

P = TypeVar("P", Encoder, Head)


def built(part: Any, kind: type[P]) -> P:
    """Return what settings built.

    Raises:
        SpecError: It is no encoder, or no head.
    """
    if isinstance(part, kind):
        return part
    name = kind.__name__.lower()
    raise SpecError(
        f"The settings of the {name} built no {name}.",
        got=type(part).__name__,
        expected=f"a module that derives from {kind.__module__}.{kind.__name__}",
    )


def checked_context(context: Any, encoder: Encoder, num_rows: int) -> Context:
    """Return what an encoder said of `num_rows` windows.

    Raises:
        SpecError: It is no context, or not of the size that `encoder.spec` announces.
    """
    spec: ContextSpec = encoder.spec
    expected = (num_rows, spec.num_tokens, spec.width)
    if isinstance(context, Context) and context.tokens.shape == expected:
        return context
    what = f"tokens {tuple(context.tokens.shape)}" if isinstance(context, Context) else type(context).__name__
    raise _wrong(encoder, "returned another context than its spec says.", what, f"Context, tokens {expected}")


def checked_loss(loss: Any, head: Head, target: Target) -> Loss:
    """Return a head's loss.

    Raises:
        SpecError: It is none, or not (B, H) or (B, 1).
    """
    rows, steps = target.weight.shape
    if isinstance(loss, Loss) and loss.value.shape in ((rows, steps), (rows, 1)):
        return loss
    what = f"value {tuple(loss.value.shape)}" if isinstance(loss, Loss) else type(loss).__name__
    raise _wrong(
        head, "returned no loss of each step or window.", what, f"Loss, value {(rows, steps)} or {(rows, 1)}"
    )


def checked_chunk(chunk: Any, head: Head, num_rows: int) -> Tensor:
    """Return a chunk that a head answered.

    Raises:
        SpecError: It is no tensor (B, H, A).
    """
    expected = (num_rows, head.chunk.horizon, head.chunk.action_dim)
    if isinstance(chunk, Tensor) and chunk.shape == expected:
        return chunk
    what = tuple(chunk.shape) if isinstance(chunk, Tensor) else type(chunk).__name__
    raise _wrong(head, "answered a chunk of another size.", what, f"a tensor {expected}")


def _wrong(part: object, what: str, got: object, expected: str) -> SpecError:
    return SpecError(
        f"{type(part).__name__} {what}",
        got=got,
        expected=expected,
        hint="steadyhand.testing holds a part to its contract: check_encoder(settings), check_head(settings)",
    )
