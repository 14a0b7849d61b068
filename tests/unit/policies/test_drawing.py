"""Drawing a class, and gathering training chunks."""

import numpy as np
import pytest
import torch
from torch import Tensor

from steadyhand.core.errors import DataError
from steadyhand.core.seeding import RowStreams
from steadyhand.policies.contract import Context, Target
from steadyhand.policies.heads.drawing import draw_class, gather_chunks
from steadyhand.policies.noise import GeneratorNoise, Noise, NoNoise, RowNoise


def test_classes_are_drawn_by_their_probabilities() -> None:
    p = torch.tensor([[0.1, 0.0, 0.6, 0.3], [0.0, 0.25, 0.0, 0.75]])
    count = 40_000
    logits = p.log()[:, None].expand(-1, count, -1)
    drawn = draw_class(logits, GeneratorNoise.seeded(0))
    share = torch.nn.functional.one_hot(drawn, 4).float().mean(1)
    torch.testing.assert_close(share, p, atol=0.01, rtol=0)
    assert (share[p == 0] == 0).all(), "what cannot be is never drawn"
    streams = RowStreams(np.arange(count, dtype=np.uint64))
    drawn = draw_class(p[0].log().expand(count, -1), RowNoise(streams))
    share = torch.nn.functional.one_hot(drawn, 4).float().mean(0)
    torch.testing.assert_close(share, p[0], atol=0.01, rtol=0)


def test_without_noise_the_likeliest_class_is_taken() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.9], [3.0, 0.0, 2.9]])
    assert draw_class(logits, NoNoise()).tolist() == [1, 0]


class Given(Noise):
    """Gives one number for every draw."""

    def __init__(self, value: float) -> None:
        self.value = value

    def normal(self, *shape: int) -> Tensor:
        return torch.full(shape, self.value)

    uniform = normal


def test_what_cannot_be_is_not_drawn_by_the_least_and_the_greatest_number_either() -> None:
    """Probabilities that end below 1 by rounding, between two classes that cannot be."""
    most = 1.0 - 2.0**-24  # the greatest float32 below 1
    count = next(n for n in range(2, 999) if torch.zeros(n).softmax(-1).cumsum(-1)[-1] <= most)
    logits = torch.cat([torch.tensor([-torch.inf]), torch.zeros(count), torch.tensor([-torch.inf])])
    rows = logits.expand(2, 3, -1)
    assert (draw_class(rows, Given(0.0)) == 1).all()
    assert (draw_class(rows, Given(most)) == count).all()


def test_logits_that_are_no_numbers_give_a_class_nevertheless() -> None:
    drawn = draw_class(torch.full((2, 5, 3), torch.nan), GeneratorNoise.seeded(0))
    assert drawn.shape == (2, 5)
    assert 0 <= drawn.min() <= drawn.max() <= 2


def test_the_likeliest_class_is_that_of_the_last_axis() -> None:
    logits = torch.zeros(2, 4, 3)
    logits[0, 1, 2] = logits[1, 3, 1] = 1.0
    assert draw_class(logits, NoNoise()).tolist() == [[0, 2, 0, 0], [0, 0, 0, 1]]


def batches(sizes: list[int], weight: float = 1.0) -> list[tuple[Context, Target]]:
    number, made = 0, []
    for size in sizes:
        actions = torch.arange(number, number + size, dtype=torch.float32).view(-1, 1, 1).expand(-1, 2, 1)
        is_pad = torch.zeros(size, 2, dtype=torch.bool)
        is_pad[:, 1] = True
        target = Target(actions=actions, is_pad=is_pad, weight=torch.full((size, 2), weight))
        made.append((Context.single(torch.zeros(size, 1)), target))
        number += size
    return made


@pytest.mark.parametrize("sizes", [[10], [3, 3, 3, 1], [7, 1, 20, 5, 64]])
def test_chunks_are_thinned_evenly(sizes: list[int]) -> None:
    chunks, counts = gather_chunks(lambda: iter(batches(sizes)), limit=4)
    step = chunks[1, 0, 0].item()
    assert chunks[:, 0, 0].tolist() == list(range(0, sum(sizes), int(step)))
    assert 4 <= len(chunks) <= 8
    assert counts.tolist() == [[True, False]] * len(chunks)
    everything, _ = gather_chunks(lambda: iter(batches(sizes)))
    assert len(everything) == sum(sizes)


def test_data_without_a_weight_are_refused() -> None:
    with pytest.raises(DataError, match="no step"):
        gather_chunks(lambda: iter(batches([4], weight=0.0)))


def test_data_that_fit_are_kept_whole() -> None:
    chunks, _ = gather_chunks(lambda: iter(batches([3, 5])), limit=4)
    assert chunks[:, 0, 0].tolist() == list(range(8))


def test_chunks_without_a_step_to_learn_from_are_left_out() -> None:
    """One without weight, one whose weight is small, one whose weight lies on padding."""
    target = Target(
        actions=torch.arange(6.0).view(3, 2, 1),
        is_pad=torch.tensor([[False, False], [False, False], [False, True]]),
        weight=torch.tensor([[0.0, 0.0], [0.0, 0.5], [0.0, 2.0]]),
    )
    chunks, counts = gather_chunks(lambda: iter([(Context.single(torch.zeros(3, 1)), target)]))
    assert chunks.flatten().tolist() == [2.0, 3.0]
    assert counts.tolist() == [[False, True]]
