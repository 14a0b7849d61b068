"""The range that discretised actions span: found in the data once, and hardly to be left."""

import pytest
import torch
from torch import Tensor

from steadyhand.core.errors import CapabilityError
from steadyhand.policies.contract import ChunkSpec, Context, Data, Target
from steadyhand.policies.heads.action_range import ActionRange


def data(values: Tensor) -> Data:
    """Return a pass over (N, A) actions, as chunks of one step."""
    is_pad = torch.zeros(len(values), 1, dtype=torch.bool)
    target = Target(actions=values[:, None], is_pad=is_pad, weight=torch.ones(len(values), 1))
    return lambda: iter([(Context.single(torch.zeros(len(values), 1)), target)])


def found(values: list[list[float]]) -> ActionRange:
    span = ActionRange(ChunkSpec(horizon=1, action_dim=len(values[0])))
    span.find(data(torch.tensor(values)))
    return span


def test_a_dimension_that_spans_less_than_a_millionth_gets_one_to_either_side() -> None:
    span = found([[0.0, 0.0, 0.0, 5.0], [0.9e-6, 1e-6, 1.5e-6, 5.0]])
    assert span.low.tolist() == [-1.0, 0.0, 0.0, 4.0]
    assert span.high.tolist() == pytest.approx([1.0 + 0.9e-6, 1e-6, 1.5e-6, 6.0], rel=1e-6)


def test_a_place_is_a_share_of_the_range() -> None:
    span = found([[-1.0, 10.0], [3.0, 12.0], [0.0, 11.0]])
    assert span.width.tolist() == [4.0, 2.0]
    assert span.to_unit(torch.tensor([[0.0, 11.5]])).tolist() == [[0.25, 0.75]]
    assert span.from_unit(torch.tensor([[0.25, 0.75]])).tolist() == [[0.0, 11.5]]


def test_bounded_actions_span_minus_one_to_one_whatever_the_data_are() -> None:
    span = ActionRange(ChunkSpec(horizon=1, action_dim=2, is_bounded=True))
    span.find(data(torch.tensor([[0.1, 0.2], [0.3, 7.0]])))
    assert (span.low.tolist(), span.high.tolist()) == ([-1.0, -1.0], [1.0, 1.0])


def test_labels_may_leave_the_range_by_a_hundredth_of_it() -> None:
    span = found([[-1.0, 10.0], [3.0, 12.0]])
    slack = 0.01 * torch.tensor([4.0, 2.0])
    span.require_inside(span.low - slack, span.high + slack, head="Bins")
    for farther in 1.1 * torch.diag(slack):
        for low, high in ((span.low - farther, span.high), (span.low, span.high + farther)):
            with pytest.raises(CapabilityError, match="Bins cannot go on"):
                span.require_inside(low, high, head="Bins")


def test_a_range_that_is_not_known_yet_holds_nothing_back() -> None:
    span = ActionRange(ChunkSpec(horizon=1, action_dim=2))
    span.require_inside(torch.tensor([-9.0, -9.0]), torch.tensor([9.0, 9.0]), head="Bins")
