"""Judged windows: whose kind counts, hinges over any head's loss, and scores of primitives, by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.policies.contract import (
    ChunkSpec,
    Context,
    ContextSpec,
    Data,
    Fit,
    Head,
    Loss,
    Prefix,
    Target,
)
from steadyhand.policies.heads.judgement import (
    bad_loss,
    by_kind,
    explicit_data,
    explicit_only,
    good_loss,
    of_one_kind,
    own_kind,
    ranking_loss,
)
from steadyhand.policies.heads.judging import Judging
from steadyhand.policies.heads.judging_head import JudgingHead
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.primitives import Primitives
from steadyhand.policies.heads.primitives_head import PrimitivesHead
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.kinds import BAD, EXPLICIT, GOOD
from steadyhand.policies.noise import GeneratorNoise, Noise, NoNoise, scoped

CHUNK = ChunkSpec(horizon=4, action_dim=2, start=-1)
KIND = torch.tensor(
    [
        [GOOD, BAD, EXPLICIT, BAD],  # the current step is the second
        [BAD, GOOD, BAD, BAD],
        [EXPLICIT, EXPLICIT, GOOD, EXPLICIT],
        [GOOD, GOOD, GOOD, GOOD],
        [BAD, EXPLICIT, BAD, BAD],
    ]
)
WEIGHT = torch.tensor(
    [[1.0, 2.0, 3.0, 4.0], [0.5, 1.0, 0.25, 0.25], [3.0, 0.0, 1.0, 1.0], [0.0] * 4, [2.0, 0.5, 0.0, 0.0]]
)
KEPT = torch.tensor(
    [[0.0, 2.0, 0.0, 4.0], [0.0, 1.0, 0.0, 0.0], [3.0, 0.0, 0.0, 1.0], [0.0] * 4, [0.0, 0.5, 0.0, 0.0]]
)
SHARE = torch.tensor([[0.6], [0.5], [0.8], [0.0], [0.2]])
CONTEXT = Context.single(torch.zeros(5, 3))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def judged(*, kind: Tensor | None = KIND, weight: Tensor = WEIGHT) -> Target:
    is_pad = torch.zeros(weight.shape, dtype=torch.bool)
    return Target(actions=random(*weight.shape, 2), is_pad=is_pad, weight=weight, kind=kind)


def test_a_window_is_of_the_kind_of_its_current_step() -> None:
    assert own_kind(judged(), CHUNK).tolist() == [[BAD], [GOOD], [EXPLICIT], [GOOD], [EXPLICIT]]
    unmarked = own_kind(judged(kind=None), CHUNK)
    assert unmarked.tolist() == [[EXPLICIT]] * 5
    assert unmarked.dtype == torch.long


def test_steps_of_another_kind_lose_their_weight_and_the_share_says_how_much_is_left() -> None:
    target, share = of_one_kind(judged(), CHUNK)
    assert target.kind is None
    torch.testing.assert_close(target.weight, KEPT)
    torch.testing.assert_close(share, SHARE)
    unmarked = judged(kind=None)
    same, whole = of_one_kind(unmarked, CHUNK)
    assert same is unmarked
    assert whole.tolist() == [[1.0]] * 5


def test_only_what_was_shown_keeps_its_weight() -> None:
    wanted = WEIGHT * (KIND == EXPLICIT)
    shown = explicit_only(judged())
    assert shown.kind is None
    assert torch.equal(shown.weight, wanted)
    unmarked = judged(kind=None)
    assert explicit_only(unmarked) is unmarked
    passes = explicit_data(lambda: iter([(CONTEXT, judged()), (CONTEXT, unmarked)]))
    for _ in range(2):
        (context, first), (_, second) = passes()
        assert context is CONTEXT
        assert torch.equal(first.weight, wanted)
        assert second is unmarked


def test_hinges_by_hand() -> None:
    score = torch.tensor([-1.0, 0.5, 2.0])
    assert good_loss(score, 1.0, 0.25).tolist() == [0.0, 0.0, 1.25]
    assert bad_loss(score, 1.0, 0.25).tolist() == [2.25, 0.75, 0.0]
    others = torch.tensor([[-2.0, 4.0], [0.25, 0.5], [2.0, 2.5]])
    assert ranking_loss(score, others, 0.5).tolist() == [[1.5, 0.0], [0.75, 0.5], [0.5, 0.0]]
    kind = torch.tensor([[EXPLICIT], [GOOD], [BAD]])
    one, two, three = (torch.full((3, 2), value) for value in (1.0, 2.0, 3.0))
    assert by_kind(kind, explicit=one, good=two, bad=three).tolist() == [[1, 1], [2, 2], [3, 3]]
    steps = torch.tensor([[EXPLICIT, BAD], [GOOD, EXPLICIT], [BAD, GOOD]])
    assert by_kind(steps, explicit=one, good=two, bad=three).tolist() == [[1, 3], [2, 1], [3, 2]]


class Told(Head):
    """A head whose loss is what it is told; it remembers how it was prepared."""

    inpaints = True
    draws = True

    def __init__(self, chunk: ChunkSpec, value: Tensor) -> None:
        super().__init__()
        self.chunk, self.value = chunk, value
        self.widens = False
        self.seen: list[Target] = []

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        self.seen.append(target)
        return Loss(value=self.value, metrics={"own": self.value[:, 0]})

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Tensor:
        return torch.zeros(len(context.tokens), self.chunk.horizon, self.chunk.action_dim)

    def widen(self, low: Tensor, high: Tensor) -> bool:
        return self.widens

    def prepare(self, data: Data, fit: Fit, noise: Noise) -> None:
        self.seen = [target for _, target in data()]
        module = nn.Linear(1, 1)

        def loss(context: Context, target: Target, noise: Noise) -> Tensor:
            return target.weight.sum()

        fit(module, loss, num_steps=7, learning_rate=0.5)


def judging(value: Tensor, *, num_seen: int = 3, quantile: float = 0.75) -> tuple[JudgingHead, Told]:
    """B = 1, and the median of the explicit losses 0.2; m is half of the way between them: 0.4."""
    inner = Told(CHUNK, value)
    head = JudgingHead(Judging(margin=0.5, settle=3, quantile=quantile), inner)
    head.levels.copy_(torch.tensor([0.2, 1.0]))
    head.num_seen.fill_(num_seen)
    return head, inner


def test_a_step_is_judged_by_its_own_loss() -> None:
    value = random(5, 4, seed=1).abs() * 2.0
    head, inner = judging(value)
    head.eval()
    loss = head.loss(CONTEXT, judged(), NoNoise())
    assert torch.equal(inner.seen[0].weight, KEPT)
    for row, kind in enumerate((BAD, GOOD, EXPLICIT, GOOD, EXPLICIT)):
        for step in range(4):
            own = value[row, step].item()
            wanted = {EXPLICIT: own, GOOD: max(0.0, own - 1.0 + 0.4), BAD: max(0.0, 1.0 - own + 0.4)}[kind]
            wanted = wanted if KEPT[row, step] > 0 else 0.0
            assert loss.value[row, step].item() == pytest.approx(wanted, abs=1e-6)
    assert loss.metrics["judging"].tolist() == [1.0] * 5
    assert torch.equal(loss.metrics["own"], value[:, 0])


def test_a_window_is_judged_as_a_whole_by_the_share_that_is_of_its_kind() -> None:
    value = torch.tensor([[0.3], [2.0], [0.7], [5.0], [4.0]])
    head, _ = judging(value)
    head.eval()
    wanted = torch.tensor(
        [[(1.0 - 0.3 + 0.4) * 0.6], [(2.0 - 1.0 + 0.4) * 0.5], [0.7 * 0.8], [0.0], [4.0 * 0.2]]
    )
    torch.testing.assert_close(head.loss(CONTEXT, judged(), NoNoise()).value, wanted)


@pytest.mark.parametrize("kind", [GOOD, BAD])
def test_what_was_judged_says_nothing_before_the_labels_are_known(kind: int) -> None:
    for num_seen, counts in ((2, False), (3, True)):
        head, _ = judging(torch.full((5, 4), 1.0), num_seen=num_seen)
        loss = head.loss(CONTEXT, judged(kind=torch.full((5, 4), kind), weight=torch.ones(5, 4)), NoNoise())
        assert torch.isfinite(loss.value).all()
        assert bool(loss.value.any()) == counts
        assert loss.metrics["judging"].tolist() == [float(counts)] * 5


def follow(head: JudgingHead, inner: Told, value: Tensor, target: Target) -> list[float]:
    inner.value = value
    head.loss(CONTEXT, target, NoNoise())
    return head.levels.tolist()


def test_bound_and_median_follow_the_explicit_losses_by_a_twentieth() -> None:
    """Of five losses a, a + 1 .. a + 4 the median is a + 2, the quantile at 3/4 is a + 3."""
    head, inner = judging(torch.zeros(5, 1), num_seen=0)
    ladder, shown = torch.arange(5.0)[:, None], judged(kind=None, weight=torch.ones(5, 4))
    assert follow(head, inner, 1.0 + ladder, shown) == [3.0, 4.0]
    assert follow(head, inner, 11.0 + ladder, shown) == pytest.approx([3.5, 4.5])
    only = KIND.clone()
    only[4] = BAD  # the third window alone is explicit
    one = judged(kind=only)
    assert follow(head, inner, torch.tensor([[9.0], [9.0], [23.5], [9.0], [9.0]]), one) == pytest.approx(
        [4.5, 5.45]
    )
    assert head.num_seen == 3
    none = judged(kind=torch.full((5, 4), GOOD), weight=torch.ones(5, 4))
    assert follow(head, inner, 50.0 + ladder, none) == pytest.approx([4.5, 5.45])
    assert head.num_seen == 3
    head.eval()
    assert follow(head, inner, 50.0 + ladder, shown) == pytest.approx([4.5, 5.45])


def test_the_bound_follows_no_step_that_is_absent_and_no_window_without_a_step() -> None:
    """Of steps: weight, and an explicit window with that step explicit. Of windows: any such step."""
    losses = 100.0 + torch.arange(20.0).view(5, 4)
    losses[2, 0], losses[2, 3], losses[4, 1] = 1.0, 5.0, 3.0
    head, inner = judging(torch.zeros(5, 4), num_seen=0)
    assert follow(head, inner, losses, judged()) == [3.0, 4.0]
    head, inner = judging(torch.zeros(5, 1), num_seen=0)
    whole = torch.tensor([[100.0], [101.0], [1.0], [102.0], [5.0]])
    assert follow(head, inner, whole, judged()) == [3.0, 4.0]
    weight = WEIGHT.clone()
    weight[4] = 0.0
    head, inner = judging(torch.zeros(5, 1), num_seen=0)
    assert follow(head, inner, whole, judged(weight=weight)) == [1.0, 1.0]
    head, inner = judging(torch.zeros(5, 2), num_seen=0)
    two = judged(kind=KIND[:, :2], weight=WEIGHT[:, :2])
    assert follow(head, inner, losses[:, :2], two) == [2.0, 2.5], "1 and 3 have a weight and are explicit"


def test_a_judging_head_drives_as_the_head_that_it_wraps() -> None:
    head, inner = judging(torch.zeros(5, 1))
    assert head.judges
    assert (head.chunk, head.draws, head.inpaints, head.likelihood) == (CHUNK, True, True, "none")
    with scoped(0):
        wrapped = Judging(head=Mixture(joint=False)).build(ContextSpec(num_tokens=1, width=3), CHUNK)
    assert (wrapped.draws, wrapped.inpaints, wrapped.likelihood) == (True, False, "exact")
    low, high = torch.full((2,), -2.0), torch.full((2,), 3.0)
    assert not head.widen(low, high)
    assert head.num_seen == 3
    inner.widens = True
    assert head.widen(low, high), "the units of the loss are new"
    assert head.num_seen == 0


def test_a_judging_head_is_prepared_with_explicit_steps_alone() -> None:
    head, inner = judging(torch.zeros(5, 1))
    asked: list[tuple[float, int, float]] = []

    def fit(
        module: nn.Module,
        loss: Callable[[Context, Target, Noise], Tensor],
        *,
        num_steps: int,
        learning_rate: float,
    ) -> None:
        asked.append((loss(CONTEXT, judged(), NoNoise()).item(), num_steps, learning_rate))

    head.prepare(lambda: iter([(CONTEXT, judged())]), fit, NoNoise())
    explicit = WEIGHT * (KIND == EXPLICIT)
    assert torch.equal(inner.seen[0].weight, explicit)
    assert asked == [(explicit.sum().item(), 7, 0.5)]


def test_settings_of_judging_have_their_ranges() -> None:
    for wrong in ({"quantile": 0.4}, {"margin": 0.0}, {"settle": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Judging(head=Regression(), **wrong)  # pyright: ignore[reportArgumentType]


PAIR = ContextSpec(num_tokens=2, width=3)
LIBRARY = torch.tensor([[0.0] * 8, [1.0] * 8, [-1.0] * 8])


def primitives(chunk: ChunkSpec, *, margin: float = 0.75) -> PrimitivesHead:
    with scoped(0):
        head = Primitives(num_primitives=3, margin=margin).build(PAIR, chunk)
    if chunk.num_classes is None:
        head.library.copy_(LIBRARY)
    return head


def linear_scores(head: PrimitivesHead, context: Context) -> np.ndarray:
    last = head.net[0]
    assert isinstance(last, nn.Linear)
    return (context.tokens.flatten(1) @ last.weight.T + last.bias).detach().numpy()


def judgement_of(scores: np.ndarray, index: int, kind: int, margin: float) -> float:
    """Return lC, l1 or l2 of one choice, with B = 0."""
    if kind == EXPLICIT:
        rest = [scores[other] for other in range(len(scores)) if other != index]
        return sum(max(0.0, scores[index] - other + margin) for other in rest)
    return max(0.0, margin + (scores[index] if kind == GOOD else -scores[index]))


def test_primitives_are_scored_by_window() -> None:
    """Steps that do not count lie at 9, next to no primitive."""
    head = primitives(CHUNK)
    context = Context(tokens=random(5, 2, 3))
    index = [1, 2, 0, 0, 2]
    actions = LIBRARY[index].view(5, 4, 2) + 0.2 * random(5, 4, 2, seed=1)
    target = Target(
        actions=torch.where(KEPT[..., None] > 0, actions, 9.0),
        is_pad=torch.zeros(5, 4, dtype=torch.bool),
        weight=WEIGHT,
        kind=KIND,
    )
    scores, loss = linear_scores(head, context), head.loss(context, target, NoNoise())
    kinds = (BAD, GOOD, EXPLICIT, GOOD, EXPLICIT)
    wanted = [judgement_of(scores[row], index[row], kinds[row], 0.75) for row in range(5)]
    rows = [0, 1, 2, 4]  # the fourth window counts for nothing
    torch.testing.assert_close(loss.value, torch.tensor(wanted)[:, None].float() * SHARE)
    assert loss.metrics["score"][rows].tolist() == pytest.approx([scores[row, index[row]] for row in rows])
    first = [float(scores[row].argmin() == index[row]) for row in rows]
    assert loss.metrics["ranked_first"][rows].tolist() == first
    assert set(first) == {0.0, 1.0}
    answer = LIBRARY[torch.from_numpy(scores.argmin(1))].view(5, 4, 2)
    assert torch.equal(head.mode(context), answer)
    assert torch.equal(head.sample(context, GeneratorNoise.seeded(0)), answer)


@pytest.mark.parametrize("is_marked", [True, False])
def test_classes_are_scored_by_step(*, is_marked: bool) -> None:
    chunk = ChunkSpec(horizon=3, action_dim=1, num_classes=4)
    head, context = primitives(chunk, margin=0.5), Context(tokens=random(5, 2, 3))
    actions = torch.arange(15).view(5, 3, 1) % 4
    kind = torch.arange(15).view(5, 3) % 3
    target = Target(
        actions=actions,
        is_pad=torch.zeros(5, 3, dtype=torch.bool),
        weight=torch.ones(5, 3),
        kind=kind if is_marked else None,
    )
    scores, loss = linear_scores(head, context).reshape(5, 3, 4), head.loss(context, target, NoNoise())
    for row in range(5):
        for step in range(3):
            own = kind[row, step].item() if is_marked else EXPLICIT
            wanted = judgement_of(scores[row, step], int(actions[row, step]), int(own), 0.5)
            assert loss.value[row, step].item() == pytest.approx(wanted, abs=1e-5)
    chosen = np.take_along_axis(scores, actions.numpy(), 2)[..., 0]
    assert loss.metrics["score"].tolist() == pytest.approx(chosen.mean(1).tolist(), abs=1e-6)
    first = (scores.argmin(2) == actions[..., 0].numpy()).mean(1)
    assert loss.metrics["ranked_first"].tolist() == pytest.approx(first.tolist())
    assert head.mode(context)[..., 0].tolist() == scores.argmin(2).tolist()
    assert not head.widen(torch.tensor([-1.0]), torch.tensor([1.0]))


def test_a_library_is_found_once_and_ties_the_head_to_its_range() -> None:
    head = primitives(CHUNK)
    assert head.judges
    wide = torch.tensor([-2.0, -2.0]), torch.tensor([2.0, 2.0])
    assert not head.widen(*wide), "it has seen no data yet"
    target = judged(kind=None)
    chunks = torch.stack([LIBRARY[k].view(4, 2) * 0.5 for k in (0, 1, 2, 1, 2)])
    target = Target(actions=chunks, is_pad=target.is_pad, weight=torch.ones(5, 4))

    def no_fit(*args: object, **kwargs: object) -> None:
        raise AssertionError("k-means needs no training loop")

    head.prepare(lambda: iter([(CONTEXT, target)]), no_fit, GeneratorNoise.seeded(0))
    assert sorted(head.library.tolist()) == [[-0.5] * 8, [0.0] * 8, [0.5] * 8]
    with pytest.raises(CapabilityError, match="Primitives cannot go on"):
        head.widen(*wide)
    before = head.library.clone()
    other = Target(actions=-chunks + 3.0, is_pad=target.is_pad, weight=torch.ones(5, 4))
    head.prepare(lambda: iter([(CONTEXT, other)]), no_fit, GeneratorNoise.seeded(1))
    assert torch.equal(head.library, before)
