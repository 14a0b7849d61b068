"""Bins: round trip, a density that integrates to one, and what only an ordered chain can represent."""

from itertools import product

import pytest
import torch
from torch import Tensor

from steadyhand.policies.artifact import tensors_of
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Prefix, Target
from steadyhand.policies.heads.bins import Bins, Dependence
from steadyhand.policies.heads.bins_head import BinsHead
from steadyhand.policies.noise import GeneratorNoise, NoNoise, scoped

B, H, A, C = 5, 3, 2, 4
SIZE = ContextSpec(num_tokens=1, width=C)
CHUNK = ChunkSpec(horizon=H, action_dim=A, is_bounded=True)
BOTH: list[Dependence] = ["independent", "autoregressive"]


def context(rows: int = B) -> Context:
    return Context.single(torch.linspace(-1, 1, rows * C).view(rows, C))


def target(actions: Tensor, is_pad: Tensor | None = None) -> Target:
    if is_pad is None:
        is_pad = torch.zeros(actions.shape[:2], dtype=torch.bool)
    return Target(actions=actions, is_pad=is_pad, weight=(~is_pad).float())


def build(config: Bins, chunk: ChunkSpec = CHUNK, seed: int = 0) -> BinsHead:
    with scoped(seed):
        head = config.build(SIZE, chunk)
    with torch.no_grad():  # sharper than at the start, so that the tests see differences
        for parameter in head.parameters():
            parameter *= 3.0
    return head


def no_fit(*args: object, **kwargs: object) -> None:
    raise AssertionError("bins need no training loop")


@pytest.mark.parametrize("num_bins", [2, 7, 256])
def test_the_round_trip_errs_by_half_a_bin(num_bins: int) -> None:
    head = build(Bins(num_bins=num_bins, dependence="independent"))
    value = torch.linspace(-1, 1, 10_002).view(-1, H, A)
    back = head.decode(head.encode(value), NoNoise())
    assert (back - value).abs().max() <= 1.0 / num_bins * (1 + 1e-4)
    edges = head.encode(torch.tensor([-5.0, -1.0, 1.0, 5.0]).view(-1, 1, 1).expand(-1, H, A))
    assert edges[:, 0, 0].tolist() == [0, 0, num_bins - 1, num_bins - 1]
    centres = head.decode(torch.arange(num_bins).view(-1, 1, 1).expand(-1, H, A), NoNoise())[:, 0, 0]
    torch.testing.assert_close(centres, (torch.arange(num_bins) + 0.5) / num_bins * 2 - 1)


def test_a_uniform_decode_fills_the_bin() -> None:
    head = build(Bins(num_bins=4, decode="uniform", dependence="independent"))
    classes = torch.full((4000, H, A), 2)
    value = head.decode(classes, GeneratorNoise.seeded(0))
    assert value.min() >= 0.0
    assert value.max() < 0.5
    assert value.std().item() == pytest.approx(0.5 / 12**0.5, rel=0.02)
    assert torch.equal(head.encode(value), classes)


def test_the_density_integrates_to_one() -> None:
    chunk = ChunkSpec(horizon=1, action_dim=1, is_bounded=True)
    head = build(Bins(num_bins=16), chunk)
    count = 4000
    middle = (torch.arange(count) + 0.5) / count * 2 - 1
    log_prob = head.log_prob(context(1).rows(count), target(middle.view(-1, 1, 1)))
    assert (log_prob.exp().sum() * 2 / count).item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("dependence", BOTH)
def test_the_probabilities_of_all_chunks_sum_to_one(dependence: Dependence) -> None:
    chunk = ChunkSpec(horizon=2, action_dim=2, is_bounded=True)
    head = build(Bins(num_bins=3, dependence=dependence, width=8), chunk)
    classes = torch.tensor(list(product(range(3), repeat=4))).view(-1, 2, 2)
    same = context(1).rows(len(classes))
    density = head.log_prob(same, target(head.decode(classes, NoNoise()))).exp()
    assert (density.sum() * (2 / 3) ** 4).item() == pytest.approx(1.0, abs=1e-4)


def test_steps_that_are_not_there_leave_a_density_over_the_others() -> None:
    """Padding in front (chunk_start < 0) repeats the first valid step; it must not give it away."""
    chunk = ChunkSpec(horizon=2, action_dim=2, is_bounded=True)
    head = build(Bins(num_bins=3, width=8), chunk)
    valid = torch.tensor(list(product(range(3), repeat=2))).view(-1, 1, 2)
    is_pad = torch.tensor([[True, False]]).expand(len(valid), -1)
    actions = head.decode(valid.expand(-1, 2, -1), NoNoise())
    density = head.log_prob(context(1).rows(len(valid)), target(actions, is_pad)).exp()
    assert (density.sum() * (2 / 3) ** 2).item() == pytest.approx(1.0, abs=1e-4)


def test_teacher_forcing_equals_step_by_step() -> None:
    head = build(Bins(num_bins=5, width=8))
    assert head.tokens is not None
    classes = torch.randint(5, (B, H, A), generator=torch.Generator().manual_seed(0))
    no_pad = torch.zeros(B, H, dtype=torch.bool)
    forced = head.logits(context(), classes, no_pad).flatten(1, 2)
    start, state = head.tokens.begin(context().flat())
    flat = classes.flatten(1)
    for index in range(H * A):
        logits, state = head.tokens.step(flat[:, index - 1] if index else None, index, start, state)
        torch.testing.assert_close(logits, forced[:, index])


def test_a_chain_can_be_saved_where_its_weights_lie_in_one_block() -> None:
    """On a GPU, cuDNN lays the weights of a GRU side by side in one block of memory."""
    head = build(Bins(num_bins=8, width=4))
    assert head.tokens is not None
    weights = list(head.tokens.gru.parameters())
    block = torch.cat([weight.detach().flatten() for weight in weights])
    for weight, part in zip(weights, block.split([weight.numel() for weight in weights]), strict=True):
        weight.data = part.view_as(weight)
    saved = tensors_of(head)
    for name, parameter in head.named_parameters():
        assert torch.equal(saved[name], parameter), name


def test_a_number_depends_on_those_before_it_only() -> None:
    head = build(Bins(num_bins=5, width=8))
    classes = torch.zeros(B, H, A, dtype=torch.long)
    no_pad = torch.zeros(B, H, dtype=torch.bool)
    before = head.logits(context(), classes, no_pad).flatten(1, 2)
    changed = classes.flatten(1).clone()
    changed[:, 3] = 4
    after = head.logits(context(), changed.view(B, H, A), no_pad).flatten(1, 2)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.isclose(before[:, 4:], after[:, 4:]).all(-1).any()


@pytest.mark.parametrize("dependence", BOTH)
def test_samples_have_the_probabilities(dependence: Dependence) -> None:
    chunk = ChunkSpec(horizon=1, action_dim=2, is_bounded=True)
    head = build(Bins(num_bins=3, dependence=dependence, width=8), chunk)
    classes = torch.tensor(list(product(range(3), repeat=2))).view(-1, 1, 2)
    same, count = context(1), 40_000
    with torch.no_grad():
        share = head.log_prob(same.rows(9), target(head.decode(classes, NoNoise()))).exp() * (2 / 3) ** 2
        drawn = head.encode(head.sample(same.rows(count), GeneratorNoise.seeded(0)))[:, 0]
    found = torch.bincount(drawn[:, 0] * 3 + drawn[:, 1], minlength=9) / count
    torch.testing.assert_close(found, share, atol=0.012, rtol=0)


def test_temperature_sharpens() -> None:
    chunk = ChunkSpec(horizon=1, action_dim=1, is_bounded=True)
    config = Bins(num_bins=4, dependence="independent", temperature=0.5)
    head = build(config, chunk)
    same, count = context(1), 40_000
    drawn = head.encode(head.sample(same.rows(count), GeneratorNoise.seeded(0)))
    logits = head.logits(same, drawn[:1], torch.zeros(1, 1, dtype=torch.bool)).detach()
    share = torch.bincount(drawn.flatten(), minlength=4) / count
    torch.testing.assert_close(share, (2 * logits[0, 0, 0]).softmax(-1), atol=0.012, rtol=0)


@pytest.mark.parametrize("dependence", BOTH)
def test_a_temperature_of_zero_takes_the_likeliest_bin(dependence: Dependence) -> None:
    cold, warm = (
        build(Bins(num_bins=4, dependence=dependence, temperature=temperature)) for temperature in (0.0, 1.0)
    )
    drawn, likeliest = cold.sample(context(), GeneratorNoise.seeded(0)), warm.mode(context())
    assert torch.equal(drawn, likeliest)
    assert torch.equal(cold.mode(context()), likeliest)
    assert not torch.equal(warm.sample(context(), GeneratorNoise.seeded(0)), likeliest)


@pytest.mark.parametrize("dependence", BOTH)
def test_only_a_chain_holds_two_modes_apart(dependence: Dependence) -> None:
    """Chunks that are all low (40 %) or all high: independent numbers agree with .4^6 + .6^6 = 0.05."""
    head = build(Bins(num_bins=8, dependence=dependence, width=16))
    rows = 200
    sign = torch.where(torch.arange(rows) < 0.4 * rows, -1.0, 1.0)
    wanted, same = target(0.7 * sign[:, None, None].expand(-1, H, A)), context(1).rows(rows)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        head.loss(same, wanted, NoNoise()).value.mean().backward()
        optimizer.step()
    with torch.no_grad():
        drawn = head.sample(same.rows(50), GeneratorNoise.seeded(0)).sign().flatten(1)
    agree = (drawn.mean(1).abs() == 1).float().mean().item()
    assert (drawn[:, 0] < 0).float().mean().item() == pytest.approx(0.4, abs=0.03)
    assert agree == pytest.approx(0.4**6 + 0.6**6 if dependence == "independent" else 1.0, abs=0.02)


def test_a_frozen_prefix_is_held_and_conditioned_on() -> None:
    """Given the first step, a chain answers with the conditional: the rest agrees with the prefix."""
    chunk = ChunkSpec(horizon=2, action_dim=1, is_bounded=True)
    head = build(Bins(num_bins=3, width=8), chunk)
    assert head.inpaints
    count, same = 20_000, context(1)
    prefix = Prefix(
        actions=torch.full((count, 2, 1), 0.6), weight=torch.tensor([[1.0, 0.0]]).expand(count, -1)
    )
    with torch.no_grad():
        drawn = head.sample(same.rows(count), GeneratorNoise.seeded(0), prefix)
        classes = torch.tensor([[2, 0], [2, 1], [2, 2]])[..., None]
        density = head.log_prob(same.rows(3), target(head.decode(classes, NoNoise()))).exp()
    assert torch.equal(drawn[:, 0], prefix.actions[:, 0])
    found = torch.bincount(head.encode(drawn)[:, 1, 0], minlength=3) / count
    torch.testing.assert_close(found, density / density.sum(), atol=0.015, rtol=0)
    assert not build(Bins(num_bins=3, dependence="independent")).inpaints


PAST = ChunkSpec(horizon=3, action_dim=1, start=-1, is_bounded=True)


def test_steps_of_the_past_come_last_in_the_chain() -> None:
    """What is executed does not hang on a past that training does not know at the start of an episode."""
    head = build(Bins(num_bins=5, width=8), PAST)
    classes = torch.tensor([[0, 1, 2]])[..., None]
    no_pad = torch.zeros(1, 3, dtype=torch.bool)
    before = head.logits(context(1), classes, no_pad)
    other_past = head.logits(context(1), classes + torch.tensor([4, 0, 0])[:, None], no_pad)
    assert torch.equal(before, other_past)
    is_first = torch.tensor([[True, False, False]])
    assert torch.equal(before, head.logits(context(1), classes, is_first))
    other_now = head.logits(context(1), classes + torch.tensor([0, 3, 0])[:, None], no_pad)
    assert torch.equal(before[:, 1], other_now[:, 1])
    assert not torch.isclose(before[:, [0, 2]], other_now[:, [0, 2]]).all(-1).any()


def test_a_chain_with_a_past_draws_what_it_gives_the_density_of() -> None:
    head = build(Bins(num_bins=2, width=8), PAST)
    classes = torch.tensor(list(product(range(2), repeat=3)))[..., None]
    same, count = context(1), 20_000
    with torch.no_grad():
        share = head.log_prob(same.rows(8), target(head.decode(classes, NoNoise()))).exp()
        drawn = head.encode(head.sample(same.rows(count), GeneratorNoise.seeded(0)))[..., 0]
    assert share.sum().item() == pytest.approx(1.0, abs=1e-4)  # a bin is 1 wide
    found = torch.bincount((drawn * torch.tensor([4, 2, 1])).sum(1), minlength=8) / count
    torch.testing.assert_close(found, share, atol=0.015, rtol=0)
    prefix = Prefix(actions=torch.full((9, 3, 1), 0.4), weight=torch.tensor([[0.0, 1.0, 0.0]]).expand(9, -1))
    held = head.sample(same.rows(9), GeneratorNoise.seeded(0), prefix)
    assert torch.equal(held[:, 1], prefix.actions[:, 1])


def test_a_soft_prefix_is_left_aside() -> None:
    head = build(Bins(num_bins=5, width=8))
    one = context()
    prefix = Prefix(actions=torch.full((B, H, A), 0.61), weight=torch.full((B, H), 0.99))
    free = head.sample(one, GeneratorNoise.seeded(0))
    assert torch.equal(head.sample(one, GeneratorNoise.seeded(0), prefix), free)


def test_an_action_without_a_weight_says_nothing_to_those_after_it() -> None:
    head = build(Bins(num_bins=5, width=8))
    actions, weight = torch.linspace(-1, 1, B * H * A).view(B, H, A), torch.tensor([[1.0, 0.0, 2.0]] * B)
    one = target(actions)
    values = [
        head.loss(context(), Target(actions=chunk, is_pad=one.is_pad, weight=weight), NoNoise()).value
        for chunk in (actions, torch.where(weight[..., None] == 0, 0.9, actions))
    ]
    assert torch.equal(values[0][:, [0, 2]], values[1][:, [0, 2]])


def test_unbounded_actions_take_the_range_of_the_data_once() -> None:
    head = build(Bins(num_bins=10), ChunkSpec(horizon=H, action_dim=A))
    actions = torch.stack([torch.linspace(-3, 7, 30).view(10, H), torch.full((10, H), 2.0)], -1)
    is_pad = torch.zeros(10, H, dtype=torch.bool)
    is_pad[-1, -1] = True
    spoilt = actions.clone()
    spoilt[-1, -1] = 99.0
    head.prepare(lambda: iter([(context(10), target(spoilt, is_pad))]), no_fit, GeneratorNoise.seeded(0))
    last = actions[-1, -2, 0].item()
    assert (head.range.low.tolist(), head.range.high.tolist()) == ([-3.0, 1.0], [pytest.approx(last), 3.0])
    head.prepare(lambda: iter([(context(10), target(9 * actions))]), no_fit, GeneratorNoise.seeded(0))
    assert head.range.low.tolist() == [-3.0, 1.0]
    error = (head.decode(head.encode(actions), NoNoise()) - actions).abs()
    assert error[~is_pad].max() <= 0.5 * (last + 3.0) / 10 * (1 + 1e-4)


def test_the_value_of_a_token_is_the_middle_of_its_bin() -> None:
    head = build(Bins(num_bins=4, width=8))
    chain = next(part for part in head.modules() if hasattr(part, "embedding"))
    torch.nn.init.zeros_(chain.embedding.weight)
    torch.nn.init.ones_(chain.value.weight)
    torch.nn.init.zeros_(chain.value.bias)
    middles = chain._embed(torch.arange(4))
    torch.testing.assert_close(middles, torch.tensor([-0.75, -0.25, 0.25, 0.75])[:, None].expand(4, 8))


@pytest.mark.parametrize("dependence", BOTH)
def test_the_metric_is_the_share_of_right_bins(dependence: Dependence) -> None:
    head = build(Bins(num_bins=3, dependence=dependence, width=8))
    actions = torch.rand(B, H, A, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = head.loss(context(), target(actions), NoNoise()).metrics["accuracy"]
    classes = head.encode(actions)
    logits = head.logits(context(), classes, torch.zeros(B, H, dtype=torch.bool))
    right = torch.zeros(B)
    for b, h, a in product(range(B), range(H), range(A)):
        right[b] += float(max(range(3), key=logits[b, h, a].tolist().__getitem__) == classes[b, h, a])
    torch.testing.assert_close(found, right / (H * A))
    assert right.unique().numel() > 2


@pytest.mark.parametrize(("horizon", "action_dim", "is_chain"), [(1, 1, False), (1, 2, True), (2, 1, True)])
def test_one_number_alone_is_no_chain(horizon: int, action_dim: int, is_chain: bool) -> None:
    head = build(Bins(num_bins=3), ChunkSpec(horizon=horizon, action_dim=action_dim, is_bounded=True))
    assert head.inpaints == is_chain
    assert head.sample(context(), GeneratorNoise.seeded(0)).shape == (B, horizon, action_dim)


def test_the_oldest_step_is_at_the_end_of_the_chain() -> None:
    """Steps -2 to 2 of a chunk are asked in the order 0, 1, 2, -1, -2; each hears of those before it."""
    chain = [2, 3, 4, 1, 0]  # their places in the chunk
    head = build(Bins(num_bins=5, width=8), ChunkSpec(horizon=5, action_dim=2, start=-2, is_bounded=True))
    classes, known = torch.zeros(1, 5, 2, dtype=torch.long), torch.zeros(1, 5, dtype=torch.bool)
    before = head.logits(context(1), classes, known)
    for place, step in enumerate(chain):
        changed = classes.clone()
        changed[0, step, 1] = 4
        moved = (head.logits(context(1), changed, known) != before).any(-1)[0].all(-1)
        assert moved.nonzero().flatten().tolist() == sorted(chain[place + 1 :])


def test_what_tells_the_numbers_of_a_chain_apart_is_small_at_first() -> None:
    """A tenth of a normal draw, so that the values of the context lead."""
    with scoped(0):
        head = Bins(num_bins=2, width=64).build(SIZE, ChunkSpec(horizon=50, action_dim=2))
    assert head.tokens is not None
    assert head.tokens.position.std().item() == pytest.approx(0.1, rel=0.03)
