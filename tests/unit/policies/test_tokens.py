"""The Behavior Transformer's head: its parts against their formulas, and the bias of the focal loss."""

import math

import pytest
import torch
from torch import Tensor

from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Target
from steadyhand.policies.encoders.causal import CausalTransformer
from steadyhand.policies.heads.tokens import Tokens
from steadyhand.policies.heads.tokens_head import TokensHead, focal_loss, true_shares
from steadyhand.policies.noise import GeneratorNoise, NoNoise, scoped
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec

B, H, A, C, K = 5, 3, 2, 4, 3
SIZE = ContextSpec(num_tokens=1, width=C)
CHUNK = ChunkSpec(horizon=H, action_dim=A)


def context(rows: int = B) -> Context:
    return Context.single(torch.linspace(-1, 1, rows * C).view(rows, C))


def target(actions: Tensor, is_pad: Tensor | None = None) -> Target:
    if is_pad is None:
        is_pad = torch.zeros(actions.shape[:2], dtype=torch.bool)
    return Target(actions=actions, is_pad=is_pad, weight=(~is_pad).float())


def no_fit(*args: object, **kwargs: object) -> None:
    raise AssertionError("k-means needs no training loop")


def build(config: Tokens, size: ContextSpec = SIZE, chunk: ChunkSpec = CHUNK) -> TokensHead:
    with scoped(0):
        return config.build(size, chunk)


def best_probability(share: float, gamma: float) -> float:
    """Search the p that minimises the expected focal loss of two classes."""
    p = torch.linspace(1e-4, 1 - 1e-4, 200_001, dtype=torch.float64)
    loss = -share * (1 - p) ** gamma * p.log() - (1 - share) * p**gamma * (1 - p).log()
    return p[loss.argmin()].item()


def test_focal_loss_is_its_formula_and_cross_entropy_at_zero() -> None:
    p = torch.tensor([0.01, 0.3, 0.9, 0.999])
    torch.testing.assert_close(focal_loss(p.log(), gamma=2.0), -((1 - p) ** 2) * p.log())
    assert torch.equal(focal_loss(p.log(), gamma=0.0), -p.log())
    for gamma in (0.0, 0.5, 1.0, 2.0):
        log_p = torch.zeros(1, requires_grad=True)
        focal_loss(log_p, gamma=gamma).sum().backward()
        assert log_p.grad is not None
        assert torch.isfinite(log_p.grad).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8])
def test_true_shares_inverts_the_minimum_of_the_focal_loss(share: float, gamma: float) -> None:
    p = best_probability(share, gamma)
    found = true_shares(torch.tensor([p, 1 - p], dtype=torch.float64), gamma=gamma)
    assert found[0].item() == pytest.approx(share, abs=2e-4)


def test_the_numbers_of_the_docs() -> None:
    table = {0.5: 0.5, 0.4: 0.462, 0.3: 0.422, 0.2: 0.373, 0.1: 0.306, 0.05: 0.250, 0.01: 0.154}
    for share, p in table.items():
        assert best_probability(share, 2.0) == pytest.approx(p, abs=6e-4)


@pytest.mark.parametrize(("gamma", "learnt"), [(2.0, 0.4216), (0.0, 0.3)])
def test_learnt_shares_are_those_that_the_loss_prefers(gamma: float, learnt: float) -> None:
    """A 30 / 70 toy: the focal loss answers 42 / 58, cross-entropy 30 / 70; inverting it gives 30 / 70."""
    rows, same = 100, context(1)
    sign = torch.where(torch.arange(rows) < 30, 1.0, -1.0)
    pair = (same.rows(rows), target(0.8 * sign[:, None, None].expand(-1, H, A)))
    head = build(Tokens(num_centres=2, gamma=gamma))
    head.prepare(lambda: iter([pair]), no_fit, GeneratorNoise.seeded(0))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(400):
        optimizer.zero_grad()
        head.loss(*pair, NoNoise()).value.mean().backward()
        optimizer.step()
    with torch.no_grad():
        p = head.output(same)[0][0, 0].softmax(-1)
        rare = int((head.centres[:, 0] > 0).float().argmax())
        assert p[rare].item() == pytest.approx(learnt, abs=0.01)
        assert true_shares(p, gamma=gamma)[rare].item() == pytest.approx(0.3, abs=0.01)
        calibrated = build(Tokens(num_centres=2, gamma=gamma, calibrated=True))
        calibrated.load_state_dict(head.state_dict())
        for drawer, expected in ((head, learnt), (calibrated, 0.3)):
            drawn = drawer.sample(same.rows(10_000), GeneratorNoise.seeded(1))
            sign = drawn.sign().flatten(1)
            assert (sign.mean(1).abs() == 1).all(), "a joint centre keeps the chunk in its mode"
            assert (sign[:, 0] > 0).float().mean().item() == pytest.approx(expected, abs=0.02)
            torch.testing.assert_close(drawn.abs(), torch.full_like(drawn, 0.8), atol=0.01, rtol=0)


@pytest.mark.parametrize("joint", [True, False])
def test_the_loss_is_focal_plus_the_error_of_the_true_offset(joint: bool) -> None:
    head = build(Tokens(num_centres=K, joint=joint, offset_scale=10.0))
    wanted = target(torch.linspace(-1, 1, B * H * A).view(B, H, A))
    logits, offset = head.output(context())
    groups = wanted.actions.flatten(1)[:, None] if joint else wanted.actions
    value = head.loss(context(), wanted, NoNoise()).value
    assert value.shape == (B, 1 if joint else H)
    for b in range(B):
        for g in range(value.shape[1]):
            k = int((groups[b, g] - head.centres).square().sum(1).argmin())
            p = logits[b, g].softmax(-1)[k]
            error = (head.centres[k] + offset[b, g, k] - groups[b, g]).square().mean()
            torch.testing.assert_close(value[b, g], -((1 - p) ** 2) * p.log() + 10.0 * error)
    likeliest = head.centres[logits.argmax(-1)].view(B, H, A)
    assert head.loss(context(), target(likeliest), NoNoise()).metrics["accuracy"].tolist() == [1.0] * B


@pytest.mark.parametrize("is_padding", [True, False])
def test_steps_that_do_not_count_choose_no_centre_and_pull_no_offset(*, is_padding: bool) -> None:
    head = build(Tokens(num_centres=K))
    absent = torch.zeros(B, H, dtype=torch.bool)
    absent[:, 1:] = True
    is_pad, weight = absent & is_padding, (~absent).float()
    actions = torch.linspace(-1, 1, B * H * A).view(B, H, A)
    one, two = (
        head.loss(context(), Target(actions=chunk, is_pad=is_pad, weight=weight), NoNoise()).value
        for chunk in (actions, torch.where(absent[..., None], 9.0, actions))
    )
    assert torch.equal(one, two)


def test_the_mode_is_the_likeliest_centre_with_its_offset() -> None:
    head = build(Tokens(num_centres=K))
    logits, offset = head.output(context())
    index = logits[:, 0].argmax(-1)
    expected = head.centres[index] + offset[torch.arange(B), 0, index]
    torch.testing.assert_close(head.mode(context()).flatten(1), expected)


def test_one_token_a_step_gets_one_layer_of_the_published_size() -> None:
    size = ContextSpec(num_tokens=H, width=C, num_steps=H)
    chunk = ChunkSpec(horizon=H, action_dim=A, start=1 - H)
    head = build(Tokens(num_centres=K, joint=False), size, chunk)
    assert sum(p.numel() for p in head.parameters()) == C * (K + K * A)
    tokens = torch.randn(B, H, C, generator=torch.Generator().manual_seed(0))
    one = head.mode(Context(tokens=tokens))
    two = head.mode(Context(tokens=tokens.flip(1)))
    torch.testing.assert_close(one.flip(1), two)


@pytest.mark.parametrize(
    ("sizes", "encoder", "published"),
    [
        ((16, 2, 24, 5), CausalTransformer(width=72, num_layers=4, num_heads=4), 259_488),
        ((60, 9, 64, 10), CausalTransformer(width=120, num_layers=6, num_heads=6), 1_131_720),
    ],
    ids=["BlockPush", "kitchen"],
)
def test_behavior_transformer_has_its_published_size(
    sizes: tuple[int, int, int, int], encoder: CausalTransformer, published: int
) -> None:
    observed, action_dim, num_centres, num_steps = sizes
    config = PolicyConfig(
        encoder=encoder,
        head=Tokens(num_centres=num_centres, joint=False),
        n_obs_steps=num_steps,
        horizon=num_steps,
        chunk_start=1 - num_steps,
    )
    spec = PolicySpec(
        observation={STATE: FeatureSpec(shape=(observed,))},
        action=FeatureSpec(shape=(action_dim,)),
        control_dt=0.1,
    )
    assert sum(p.numel() for p in PolicyModule.build(config, spec).parameters()) == published


def test_centres_are_found_once_and_from_valid_steps() -> None:
    head = build(Tokens(num_centres=2, joint=False))
    actions = torch.zeros(20, H, A)
    actions[:10] = 1.0
    actions[0, 2] = 77.0
    is_pad = torch.zeros(20, H, dtype=torch.bool)
    is_pad[0, 2] = True
    head.prepare(lambda: iter([(context(20), target(actions, is_pad))]), no_fit, GeneratorNoise.seeded(0))
    assert sorted(head.centres.tolist()) == [[0.0, 0.0], [1.0, 1.0]]
    before = head.centres.clone()
    head.prepare(lambda: iter([(context(20), target(actions - 5))]), no_fit, GeneratorNoise.seeded(0))
    assert torch.equal(head.centres, before)


@pytest.mark.parametrize("is_aligned", [True, False])
@pytest.mark.parametrize("joint", [True, False])
def test_the_output_is_a_layer_without_bias_over_an_activated_trunk(joint: bool, is_aligned: bool) -> None:
    size = ContextSpec(num_tokens=H, width=C, num_steps=H if is_aligned else None)
    chunk = ChunkSpec(horizon=H, action_dim=A, start=1 - H)
    head = build(Tokens(num_centres=K, joint=joint, hidden=(6,)), size, chunk)
    tokens = torch.randn(B, H, C, generator=torch.Generator().manual_seed(0))
    inputs = tokens if is_aligned and not joint else tokens.flatten(1)
    first, last = head.trunk[0], head.out
    assert isinstance(first, torch.nn.Linear)
    wanted = torch.relu(inputs @ first.weight.T + first.bias) @ last.weight.T
    groups, numbers = (1, H * A) if joint else (H, A)
    wanted = wanted.view(B, groups, K * (1 + numbers))
    logits, offset = head.output(Context(tokens=tokens))
    torch.testing.assert_close(logits, wanted[..., :K])
    torch.testing.assert_close(offset, wanted[..., K:].reshape(B, groups, K, numbers))
    assert head.centres.shape == (K, numbers)
    assert head.draws


def test_metrics_are_the_parts_of_the_loss() -> None:
    head = build(Tokens(num_centres=K, joint=False, offset_scale=3.0, gamma=1.0))
    actions = torch.linspace(-1, 1, B * H * A).view(B, H, A)
    loss = head.loss(context(), target(actions), NoNoise())
    logits, offset = head.output(context())
    for b in range(B):
        parts = []
        for h in range(H):
            k = int((actions[b, h] - head.centres).square().sum(1).argmin())
            p = logits[b, h].softmax(0)[k].item()
            error = (head.centres[k] + offset[b, h, k] - actions[b, h]).square().mean().item()
            parts.append((-(1 - p) * math.log(p), error, float(logits[b, h].argmax() == k)))
        for name, values in zip(("focal", "offset", "accuracy"), zip(*parts, strict=True), strict=True):
            assert loss.metrics[name][b].item() == pytest.approx(sum(values) / H, rel=1e-5)


def test_the_error_of_a_chunk_is_the_mean_over_the_numbers_that_count() -> None:
    """Of one, two and three steps of one number each."""
    head = build(Tokens(num_centres=K, gamma=0.0, offset_scale=1.0), chunk=ChunkSpec(horizon=H, action_dim=1))
    is_pad = torch.arange(H) >= torch.tensor([[1], [2], [3]])
    actions, context = torch.linspace(-1, 1, 3 * H).view(3, H, 1), Context.single(torch.eye(3, C))
    loss = head.loss(context, target(actions, is_pad), NoNoise())
    logits, offset = head.output(context)
    for b, count in enumerate((1, 2, 3)):
        gaps = (actions[b, :count, 0] - head.centres[:, :count]).square().sum(1)
        k = int(gaps.argmin())
        error = (head.centres[k, :count] + offset[b, 0, k, :count] - actions[b, :count, 0]).square().mean()
        torch.testing.assert_close(loss.value[b, 0], error - logits[b, 0].log_softmax(0)[k])


def test_calibrated_draws_step_by_step_follow_the_true_shares() -> None:
    head = build(Tokens(num_centres=K, joint=False, calibrated=True))
    one, count = context(1), 20_000
    shares = true_shares(head.output(one)[0][0].softmax(1), gamma=2.0)
    torch.testing.assert_close(shares.sum(1), torch.ones(H))
    drawn = head.sample(one.rows(count), GeneratorNoise.seeded(0))
    answers = head.centres + head.output(one)[1][0]  # (H, K, A)
    for h in range(H):
        owner = (drawn[:, h, None] - answers[h]).square().sum(-1).argmin(1)
        found = torch.bincount(owner, minlength=K) / count
        torch.testing.assert_close(found, shares[h].detach(), atol=0.015, rtol=0)
    assert not head.widen(torch.tensor([-2.0, -1.0]), torch.tensor([3.0, 1.0]))


def test_joint_centres_are_the_means_of_whole_chunks_without_the_steps_that_are_padded() -> None:
    head = build(Tokens(num_centres=2))
    shown = torch.arange(1.0, H * A + 1).view(H, A)
    actions = torch.stack([shown] * 10 + [-shown] * 10)
    actions[0, 2] = 77.0
    is_pad = torch.zeros(20, H, dtype=torch.bool)
    is_pad[0, 2] = True
    head.prepare(lambda: iter([(context(20), target(actions, is_pad))]), no_fit, GeneratorNoise.seeded(0))
    assert sorted(head.centres.tolist()) == [(-shown).flatten().tolist(), shown.flatten().tolist()]
