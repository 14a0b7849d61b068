"""Nearest neighbours against brute force and numbers worked out by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from steadyhand.core.errors import CapabilityError, DataError
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec
from steadyhand.policies.heads.nearest import Nearest
from steadyhand.policies.heads.nearest_head import NearestHead
from steadyhand.policies.nets import distances
from steadyhand.policies.noise import GeneratorNoise, NoNoise
from unit.policies.closed_form import CONTINUOUS, DISCRETE, SIZE, A, C, H, K, prepared, random, target


def stored(config: Nearest, keys: Tensor, chunks: Tensor | None = None) -> NearestHead:
    """Return a head that has stored these keys, of any width."""
    size = ContextSpec(num_tokens=1, width=keys.shape[1])
    chunks = random(len(keys), H, A) if chunks is None else chunks
    head = prepared(config.build(size, CONTINUOUS), keys, target(chunks))
    assert isinstance(head, NearestHead)
    return head


@pytest.mark.parametrize("num_neighbours", [1, 4])
@pytest.mark.parametrize("most", [1 << 24, 90])
def test_nearest_is_brute_force(num_neighbours: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "_DISTANCES", most)
    keys, chunks = random(30, C) * torch.tensor([1.0, 100.0, 0.1, 1.0]) + 5.0, random(30, H, A, seed=1)
    query = random(9, C, seed=2) * torch.tensor([1.0, 100.0, 0.1, 1.0]) + 5.0
    config = Nearest(num_neighbours=num_neighbours, temperature=0.5)
    head = prepared(config.build(SIZE, CONTINUOUS), keys, target(chunks))
    spread = keys.double().numpy().std(0)
    far = np.linalg.norm((query.double().numpy()[:, None] - keys.double().numpy()) / spread, axis=-1)
    drawn = head.sample(Context.single(query), GeneratorNoise.seeded(0))
    mode = head.mode(Context.single(query))
    for row in range(9):
        order = np.argsort(far[row])[:num_neighbours]
        weight = np.exp(-far[row, order] / 0.5)
        wanted = np.tensordot(weight / weight.sum(), chunks.numpy()[order], 1)
        np.testing.assert_allclose(mode[row], wanted, atol=1e-5)
        assert any(torch.equal(drawn[row], chunks[index]) for index in order)


def test_nearest_keeps_modes_that_a_mean_of_neighbours_loses() -> None:
    keys, chunks = torch.zeros(2, C), torch.tensor([-1.0, 1.0]).view(2, 1, 1).expand(2, H, A)
    here = Context.single(torch.zeros(1000, C))
    one = prepared(Nearest().build(SIZE, CONTINUOUS), keys, target(chunks))
    two = prepared(Nearest(num_neighbours=2).build(SIZE, CONTINUOUS), keys, target(chunks))
    assert one.mode(here).unique().tolist() == [-1.0]
    assert two.mode(here).abs().max() < 1e-6
    drawn = two.sample(here, GeneratorNoise.seeded(0))
    assert drawn.unique().tolist() == [-1.0, 1.0]
    assert (drawn == drawn[:, :1, :1]).all()
    assert drawn.mean().item() == pytest.approx(0.0, abs=0.15)


def test_nearest_stores_no_action_without_a_weight() -> None:
    chunks = torch.arange(4.0 * H).view(4, H, 1).expand(-1, -1, A)
    weight = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    head = prepared(Nearest().build(SIZE, CONTINUOUS), random(4, C), target(chunks, weight))
    assert head.chunks[..., 0].tolist() == [[0.0, 0.0, 2.0], [5.0, 5.0, 5.0], [9.0, 9.0, 9.0]]
    with pytest.raises(DataError, match="stored"):
        prepared(head, random(4, C), target(chunks, torch.zeros(4, H)))


@pytest.mark.parametrize("num_neighbours", [1, 3])
def test_nearest_takes_the_first_of_many_equals_in_any_batch(num_neighbours: int) -> None:
    """200 windows from 4 starts, as 50 demonstrations have: rounding must not choose among them."""
    keys = 1000.0 + random(4, 33).repeat(50, 1)
    size = ContextSpec(num_tokens=1, width=33)
    head = prepared(
        Nearest(num_neighbours=num_neighbours).build(size, CONTINUOUS), keys, target(random(200, H, A))
    )
    query = 1000.0 + random(4, 33)
    first = torch.arange(4)[:, None] + 4 * torch.arange(num_neighbours)
    for rows in (query, query[:1], query[1:3], query[3:]):
        start = 0 if rows is query else int((query == rows[0]).all(1).int().argmax())
        distance, index = head.neighbours(Context.single(rows))
        assert torch.equal(index, first[start : start + len(rows)])
        assert distance.max() < 1e-3


def test_nearest_votes_on_classes() -> None:
    keys, classes = torch.tensor([[0.0], [1.0], [1.1]]), torch.tensor([0, 2, 2]).view(3, 1, 1)
    size, chunk = ContextSpec(num_tokens=1, width=1), ChunkSpec(horizon=1, action_dim=1, num_classes=K)
    here = Context.single(torch.tensor([[0.4]]))
    answers = [
        prepared(Nearest(num_neighbours=count).build(size, chunk), keys, target(classes)).mode(here).item()
        for count in (1, 3)
    ]
    assert answers == [0, 2]


def test_nearest_without_neighbours_says_so() -> None:
    head = Nearest().build(SIZE, CONTINUOUS)
    with pytest.raises(CapabilityError, match="no neighbours"):
        head.mode(Context.single(random(2, C)))


def test_nearest_does_not_blow_up_what_the_normaliser_left_small() -> None:
    """An entry that trembles by a thousandth decides nothing beside one that moves."""
    draws = np.random.default_rng(0)
    keys = torch.from_numpy(np.stack([np.arange(30.0), *draws.normal(0, 1e-3, (C - 1, 30))], axis=1)).float()
    head = prepared(Nearest().build(SIZE, CONTINUOUS), keys, target(random(30, H, A)))
    query = keys[7:8] + torch.tensor([[0.1, 0.02, -0.02, 0.02]])
    assert isinstance(head, NearestHead)
    assert head.neighbours(Context.single(query))[1][0, 0] == 7


def test_nearest_scales_what_moves_by_its_spread_and_what_does_not_by_the_largest() -> None:
    """An entry moves from 2e-3 of the largest spread on; a spread above 1 counts as 1."""
    unit = torch.tensor([-1.0, 1.0])
    for largest, spreads, scales in (
        (0.1, (0.1, 3e-4, 1e-4), (0.1, 3e-4, 0.1)),
        (5.0, (5.0, 3e-3, 1e-3), (5.0, 3e-3, 5.0)),
        (0.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ):
        keys = unit[:, None] * torch.tensor([*spreads, 0.0])
        head = prepared(Nearest().build(SIZE, CONTINUOUS), keys, target(random(2, H, A)))
        assert isinstance(head, NearestHead)
        torch.testing.assert_close(head.scale, torch.tensor([*scales, largest or 1.0]))
        torch.testing.assert_close(head.offset, torch.zeros(4))


def test_nearest_draws_a_neighbour_by_its_distance_over_the_temperature() -> None:
    keys, chunks = torch.zeros(3, C), random(3, H, A)
    keys[:, 0] = torch.tensor([0.0, 1.0, 9.0])
    head = prepared(Nearest(num_neighbours=2, temperature=0.5).build(SIZE, CONTINUOUS), keys, target(chunks))
    query = Context.single(torch.zeros(4000, C))
    distance = head.neighbours(query)[0][0]
    drawn = head.sample(query, GeneratorNoise.seeded(0))
    first = (drawn == chunks[0]).flatten(1).all(1).float().mean()
    assert first == pytest.approx((-distance / 0.5).softmax(0)[0].item(), abs=0.03)
    assert (drawn == chunks[1]).flatten(1).all(1).float().mean() == pytest.approx(1 - first.item())


def test_nearest_of_many_windows_is_brute_force_far_from_them_and_among_them() -> None:
    """More candidates than are looked at first; the query may lie beyond them all."""
    keys = random(600, 3)
    query = torch.cat([random(20, 3, seed=1), 3.0 * random(20, 3, seed=2), random(5, 3, seed=3) * 0.1])
    for count in (1, 3):
        head = stored(Nearest(num_neighbours=count), keys)
        distance, index = head.neighbours(Context.single(query))
        gaps = ((query[:, None] - keys) / keys.std(0, correction=0)).double().norm(dim=2)
        order = gaps.argsort(1)[:, :count]
        assert torch.equal(index, order)
        torch.testing.assert_close(distance, gaps.gather(1, order).float(), rtol=1e-4, atol=1e-4)


def test_nearest_of_equals_is_the_first_stored_whatever_else_is_asked() -> None:
    """One window, sixty times another, and a far one: queries with and without equals in one batch."""
    keys = torch.tensor([[0.0, 0.0]] + [[1.0, 0.0]] * 60 + [[9.0, 1.0]] + [[8.0, k / 40] for k in range(12)])
    head = stored(Nearest(num_neighbours=2), keys)
    query = torch.tensor([[0.0, 0.0], [9.0, 1.0], [1.0, 0.0]])
    assert head.neighbours(Context.single(query))[1].tolist() == [[0, 1], [61, 73], [1, 2]]


@pytest.mark.parametrize("num_neighbours", [1, 3])
def test_nearest_of_windows_that_are_all_the_same_is_the_first(num_neighbours: int) -> None:
    head = stored(Nearest(num_neighbours=num_neighbours), torch.full((70, 2), 5.0))
    distance, index = head.neighbours(Context.single(torch.full((2, 2), 5.0)))
    assert index.tolist() == [list(range(num_neighbours))] * 2
    assert not distance.any()


def test_nearest_with_fewer_windows_than_neighbours_takes_them_all() -> None:
    keys, chunks = torch.tensor([[0.0], [1.0]]), torch.tensor([2.0, 5.0]).view(2, 1, 1).expand(2, H, A)
    head = stored(Nearest(num_neighbours=5, temperature=0.5), keys, chunks)
    weight = torch.tensor([0.0, -2.0 / 0.5]).softmax(0)  # the two are two standard deviations apart
    wanted = 2.0 * weight[0] + 5.0 * weight[1]
    answer = head.mode(Context.single(torch.zeros(1, 1)))
    torch.testing.assert_close(answer, wanted.expand(1, H, A))
    one = stored(Nearest(), keys[:1], chunks[:1])
    assert one.mode(Context.single(torch.full((1, 1), 7.0))).unique().tolist() == [2.0]


def test_nearest_knows_nothing_before_it_is_prepared() -> None:
    head = Nearest().build(SIZE, CONTINUOUS)
    assert set(head.data_sized) == {"keys", "squares", "chunks"}
    assert [len(head.get_buffer(name)) for name in head.data_sized] == [0, 0, 0]
    for chunk, actions in ((CONTINUOUS, random(4, H, A)), (DISCRETE, torch.ones(4, H, 1, dtype=torch.long))):
        head = Nearest().build(SIZE, chunk)
        before = {name: value.dtype for name, value in head.state_dict().items()}
        prepared(head, random(4, C), target(actions))
        assert {name: value.dtype for name, value in head.state_dict().items()} == before, "as it is loaded"


def test_the_loss_of_nearest_is_the_error_of_its_answer() -> None:
    keys = torch.tensor([[0.0], [2.0]])  # one standard deviation from their middle
    chunks = torch.arange(2.0 * H * A).view(2, H, A)
    head = stored(Nearest(), keys, chunks)
    context = Context.single(torch.tensor([[0.5], [1.75]]))
    loss = head.loss(context, target(chunks), NoNoise())
    assert not loss.value.any()
    assert loss.metrics["distance"].tolist() == pytest.approx([0.5, 0.25])
    off = chunks + torch.tensor([1.0, -3.0]) * torch.tensor([[[1.0], [0.0], [2.0]], [[0.0], [1.0], [0.0]]])
    value = head.loss(context, target(off), NoNoise()).value
    assert value.tolist() == [[5.0, 0.0, 20.0], [0.0, 5.0, 0.0]]


def test_nearest_votes_by_weight_at_each_step() -> None:
    """The nearest outvotes two others at a low temperature, and not at a high one."""
    keys = torch.tensor([[0.0], [1.0], [-1.1]])
    classes = torch.tensor([[0, 1, 2], [1, 1, 0], [1, 2, 0]])[..., None]
    chunk = ChunkSpec(horizon=3, action_dim=1, num_classes=K)
    here = Context.single(torch.tensor([[0.1]]))
    answers, wrong = [], []
    for temperature in (0.1, 10.0):
        config = Nearest(num_neighbours=3, temperature=temperature)
        head = prepared(config.build(ContextSpec(num_tokens=1, width=1), chunk), keys, target(classes))
        answers.append(head.mode(here)[0, :, 0].tolist())
        wrong.append(head.loss(here, target(classes[:1]), NoNoise()).value[0].tolist())
    assert answers == [[0, 1, 2], [1, 1, 0]]
    assert wrong == [[0.0, 0.0, 0.0], [1.0, 0.0, 1.0]]
