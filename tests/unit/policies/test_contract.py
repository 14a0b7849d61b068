"""What encoders and heads hand each other, and losses before they are averaged."""

import pytest
import torch
from torch import Tensor

from steadyhand.policies.contract import Context, LazyMetrics, Target
from steadyhand.policies.kinds import BAD, EXPLICIT, GOOD
from steadyhand.policies.trainable import LossRows

TOKENS = torch.arange(12.0).view(2, 3, 2)
IS_PAD = torch.tensor([[False, True, False], [False, False, True]])


def test_absent_tokens_are_zeros_where_tokens_lie_side_by_side() -> None:
    assert Context(tokens=TOKENS).flat().tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    context = Context(tokens=TOKENS, is_pad=IS_PAD)
    assert context.flat().tolist() == [[0, 1, 0, 0, 4, 5], [6, 7, 8, 9, 0, 0]]
    assert torch.equal(context.padding(), IS_PAD)
    single = Context.single(TOKENS[:, 0])
    assert torch.equal(single.tokens, TOKENS[:, :1])
    assert single.flat() is single.vector


def test_rows_are_repeated_in_runs() -> None:
    position = torch.arange(6.0).view(3, 2)
    context = Context(
        tokens=TOKENS,
        is_pad=IS_PAD,
        position=position,
        groups=(("a", 0, 3),),
        state=torch.tensor([[1.0], [2.0]]),
        vector=TOKENS[:, 0],
    )
    rows = context.rows(3)
    order = [0, 0, 0, 1, 1, 1]
    for name in ("tokens", "is_pad", "state", "vector"):
        assert torch.equal(getattr(rows, name), getattr(context, name)[order]), name
    assert torch.equal(rows.position, position)  # pyright: ignore[reportArgumentType]
    assert rows.groups == context.groups
    bare = Context(tokens=TOKENS).rows(2)
    assert (bare.is_pad, bare.state, bare.vector) == (None, None, None)


def test_a_step_is_absent_if_it_is_padded_or_weighs_nothing() -> None:
    target = Target(
        actions=torch.zeros(1, 4, 2),
        is_pad=torch.tensor([[False, True, False, True]]),
        weight=torch.tensor([[1.0, 1.0, 0.0, 0.0]]),
    )
    assert target.is_absent.tolist() == [[False, True, True, True]]


def test_metrics_are_computed_once_and_only_when_they_are_read() -> None:
    calls: list[int] = []

    def compute() -> dict[str, Tensor]:
        calls.append(1)
        return {"kl": torch.ones(2), "mse": torch.zeros(2)}

    metrics = LazyMetrics(compute)
    assert not calls
    assert list(metrics) == ["kl", "mse"]
    assert len(metrics) == 2
    assert metrics["kl"].tolist() == [1.0, 1.0]
    assert len(calls) == 1


def test_rows_of_a_loss_give_their_weighted_mean() -> None:
    rows = LossRows(numerator=torch.tensor([6.0, 2.0]), denominator=torch.tensor([3.0, 1.0]))
    assert rows.mean().item() == 2.0
    drawn = rows.over(torch.tensor([2.0, 4.0]))  # drawn in proportion to that
    assert (drawn.numerator.tolist(), drawn.denominator.tolist()) == ([3.0, 0.5], [1.5, 0.25])
    nothing = LossRows(numerator=torch.zeros(2), denominator=torch.zeros(2))
    assert nothing.mean().item() == 0.0


def test_kinds_of_steps_are_as_they_are_stored() -> None:
    assert (EXPLICIT, GOOD, BAD) == (0, 1, 2)


@pytest.mark.parametrize("is_pad", [None, IS_PAD])
def test_a_context_says_which_tokens_are_absent(is_pad: Tensor | None) -> None:
    wanted = torch.zeros(2, 3, dtype=torch.bool) if is_pad is None else is_pad
    assert torch.equal(Context(tokens=TOKENS, is_pad=is_pad).padding(), wanted)
