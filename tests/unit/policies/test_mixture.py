"""The mixture head against torch.distributions, and on two modes whose answer is known."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from steadyhand.core.errors import SpecError
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Prefix, Target
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.mixture_head import MixtureHead
from steadyhand.policies.noise import GeneratorNoise, NoNoise, scoped
from unit.policies.generative import Fixed

B, H, A, C, K = 5, 3, 2, 4, 3
SIZE = ContextSpec(num_tokens=1, width=C)
CHUNK = ChunkSpec(horizon=H, action_dim=A, is_bounded=True)


def context(rows: int = B) -> Context:
    return Context.single(torch.linspace(-1, 1, rows * C).view(rows, C))


def target(actions: Tensor, pads: int = 0) -> Target:
    is_pad = torch.zeros(actions.shape[:2], dtype=torch.bool)
    is_pad[:, actions.shape[1] - pads :] = True
    return Target(actions=actions, is_pad=is_pad, weight=(~is_pad).float())


def no_fit(*args: object, **kwargs: object) -> None:
    raise AssertionError("k-means needs no training loop")


def build(config: Mixture, size: ContextSpec = SIZE, chunk: ChunkSpec = CHUNK, seed: int = 0) -> MixtureHead:
    with scoped(seed):
        return config.build(size, chunk)


def reference(head: MixtureHead) -> MixtureSameFamily:
    output = head.output(context())
    parts = Independent(Normal(output.mean, output.std), 2)
    return MixtureSameFamily(Categorical(logits=output.logits), parts)


@pytest.mark.parametrize("tanh_mean", [False, True])
def test_joint_density_is_that_of_torch(tanh_mean: bool) -> None:
    head = build(Mixture(num_modes=K, init_std=0.5, tanh_mean=tanh_mean))
    wanted = target(torch.linspace(-1, 1, B * H * A).view(B, H, A))
    expected = reference(head).log_prob(wanted.actions[:, None])[:, 0]
    torch.testing.assert_close(head.log_prob(context(), wanted), expected)
    value = head.loss(context(), wanted, NoNoise()).value
    assert value.shape == (B, 1)
    torch.testing.assert_close(-value[:, 0], expected)


def test_density_per_step_is_that_of_torch() -> None:
    head = build(Mixture(num_modes=K, init_std=0.5, joint=False))
    wanted = target(torch.linspace(-1, 1, B * H * A).view(B, H, A), pads=1)
    expected = reference(head).log_prob(wanted.actions[:, :, None])
    torch.testing.assert_close(-head.loss(context(), wanted, NoNoise()).value, expected)
    torch.testing.assert_close(head.log_prob(context(), wanted), expected[:, :-1].sum(1))


def test_padded_steps_are_integrated_out() -> None:
    """The joint density of the valid steps alone is the marginal of the same mixture."""
    head = build(Mixture(num_modes=K, init_std=0.5))
    output = head.output(context())
    parts = Independent(Normal(output.mean[..., :2, :], output.std[..., :2, :]), 2)
    marginal = MixtureSameFamily(Categorical(logits=output.logits), parts)
    wanted = target(torch.linspace(-1, 1, B * H * A).view(B, H, A), pads=1)
    expected = marginal.log_prob(wanted.actions[:, None, :2])[:, 0]
    torch.testing.assert_close(head.log_prob(context(), wanted), expected)


def test_an_action_without_a_weight_is_not_learnt() -> None:
    head = build(Mixture(num_modes=K, init_std=0.5))
    actions, weight = torch.linspace(-1, 1, B * H * A).view(B, H, A), torch.tensor([[1.0, 0.0, 2.0]] * B)
    is_pad = torch.zeros(B, H, dtype=torch.bool)
    one, two = (
        head.loss(context(), Target(actions=chunk, is_pad=is_pad, weight=weight), NoNoise()).value
        for chunk in (actions, torch.where(weight[..., None] == 0, 0.9, actions))
    )
    assert torch.equal(one, two)


def two_modes(rows: int, share: float = 0.3) -> Tensor:
    """Return chunks that are all near +0.8 (a share of them) or all near -0.8."""
    generator = torch.Generator().manual_seed(5)
    sign = torch.where(torch.arange(rows) < share * rows, 1.0, -1.0)
    return 0.8 * sign[:, None, None] + 0.02 * torch.randn(rows, H, A, generator=generator)


@pytest.mark.parametrize("tanh_mean", [False, True])
@pytest.mark.parametrize("joint", [False, True])
def test_the_net_starts_at_the_centres_once(joint: bool, tanh_mean: bool) -> None:
    head = build(Mixture(num_modes=2, joint=joint, tanh_mean=tanh_mean))
    chunks = two_modes(100)
    centres = torch.stack([chunks[:30].mean(0), chunks[30:].mean(0)])
    if not joint:
        centres = centres.mean(1, keepdim=True).expand(-1, H, -1)
    pair = (context(100), target(chunks))
    head.prepare(lambda: iter([pair]), no_fit, GeneratorNoise.seeded(0))
    with torch.no_grad():
        mean = head.output(Context.single(torch.zeros(1, C))).mean[0]
    mean = mean[0] if joint else mean[:, :, 0].transpose(0, 1)
    mean = mean[mean[:, 0, 0].argsort(descending=True)]
    torch.testing.assert_close(mean, centres, atol=1e-5, rtol=0)
    before = head.state_dict()["net.0.bias"].clone()
    head.prepare(lambda: iter([(context(100), target(-chunks + 0.1))]), no_fit, GeneratorNoise.seeded(1))
    assert torch.equal(head.state_dict()["net.0.bias"], before), "a second run keeps what was learnt"


def test_k_means_sees_no_padded_step_and_no_unlabelled_one() -> None:
    chunks = two_modes(100)
    is_pad = torch.zeros(100, H, dtype=torch.bool)
    is_pad[::2, 1:] = True
    weight = (~is_pad).float()
    weight[3] = 0.0
    spoilt = torch.where((weight > 0)[..., None], chunks, 50.0)
    centres = []
    for actions in (chunks, spoilt):
        head = build(Mixture(num_modes=2))
        pair = (context(100), Target(actions=actions, is_pad=is_pad, weight=weight))
        head.prepare(lambda pair=pair: iter([pair]), no_fit, GeneratorNoise.seeded(0))
        centres.append(head.state_dict()["net.0.bias"])
    torch.testing.assert_close(centres[0], centres[1])


def test_samples_have_the_weights_and_the_spread() -> None:
    wide, low = (Mixture(num_modes=2, init_std=0.2, low_noise=flag) for flag in (False, True))
    count, one = 20_000, Context.single(torch.ones(1, C))
    for config in (wide, low):
        head = build(config)
        output = head.output(one)
        weight, mean = output.logits[0, 0].softmax(-1), output.mean[0, 0]
        drawn = head.sample(one.rows(count), GeneratorNoise.seeded(0)).detach()
        distance = (drawn[:, None] - mean).square().sum((-1, -2))
        owner = distance.argmin(1)
        expected_mean = (weight[:, None, None] * mean).sum(0).detach()
        torch.testing.assert_close(drawn.mean(0), expected_mean, atol=0.02, rtol=0)
        if config.low_noise:
            assert distance.amin(1).max() < H * A * (6e-4) ** 2
            share = (owner == 0).float().mean()
            torch.testing.assert_close(share, weight[0].detach(), atol=0.02, rtol=0)
        else:
            second = (weight[:, None, None] * (mean.square() + output.std[0, 0].square())).sum(0).detach()
            torch.testing.assert_close(drawn.square().mean(0), second, atol=0.02, rtol=0)


def test_the_mode_is_the_mean_of_the_likeliest_component() -> None:
    for joint in (True, False):
        head = build(Mixture(num_modes=K, joint=joint))
        output = head.output(context())
        index = output.logits.argmax(-1)
        rows = [torch.cat([output.mean[b, g, index[b, g]] for g in range(index.shape[1])]) for b in range(B)]
        torch.testing.assert_close(head.mode(context()), torch.stack(rows))


def test_a_prefix_is_held_and_chooses_the_component_by_bayes_rule() -> None:
    head = build(Mixture(num_modes=2, init_std=0.5))
    one, count = Context.single(torch.ones(1, C)), 20_000
    output = head.output(one)
    first = torch.full((H, A), 0.1)
    densities = Normal(output.mean[0, 0], output.std[0, 0]).log_prob(first)[:, 0].sum(-1).exp()
    posterior = (output.logits[0, 0].softmax(-1) * densities).detach()
    posterior /= posterior.sum()
    weight = torch.tensor([1.0, 0.0, 0.0]).expand(count, -1)
    prefix = Prefix(actions=first.expand(count, -1, -1), weight=weight)
    drawn = head.sample(one.rows(count), GeneratorNoise.seeded(0), prefix).detach()
    assert torch.equal(drawn[:, 0], prefix.actions[:, 0])
    owner = (drawn[:, None, 1:] - output.mean[0, 0, :, 1:]).square().sum((-1, -2)).argmin(1)
    torch.testing.assert_close((owner == 0).float().mean(), posterior[0], atol=0.015, rtol=0)
    assert (output.logits[0, 0].softmax(-1)[0] - posterior[0]).abs() > 0.03, "the prefix says something"
    assert not build(Mixture(joint=False)).inpaints


def test_a_soft_prefix_counts_by_its_weight_and_is_not_held() -> None:
    """Weight w raises the likelihood of a step to the power w: prior at 0, Bayes' rule at 1."""
    head = build(Mixture(num_modes=2, init_std=0.5))
    one, count = Context.single(torch.ones(1, C)), 20_000
    output = head.output(one)
    first = torch.full((H, A), 0.1)
    density = Normal(output.mean[0, 0], output.std[0, 0]).log_prob(first)[:, 0].sum(-1)
    expected = (output.logits[0, 0].log_softmax(-1) + 0.6 * density).softmax(-1)[0].detach()
    weight = torch.tensor([0.6, 0.0, 0.0]).expand(count, -1)
    prefix = Prefix(actions=first.expand(count, -1, -1), weight=weight)
    drawn = head.sample(one.rows(count), GeneratorNoise.seeded(0), prefix).detach()
    owner = (drawn[:, None] - output.mean[0, 0]).square().sum((-1, -2)).argmin(1)
    torch.testing.assert_close((owner == 0).float().mean(), expected, atol=0.015, rtol=0)
    assert not (drawn[:, 0] == prefix.actions[:, 0]).any()


def test_one_token_a_step_gets_one_small_layer() -> None:
    size = ContextSpec(num_tokens=H, width=C, num_steps=H)
    chunk = ChunkSpec(horizon=H, action_dim=A, start=1 - H)
    head = build(Mixture(num_modes=K, joint=False), size, chunk)
    assert sum(p.numel() for p in head.parameters()) == (C + 1) * K * (1 + 2 * A)
    tokens = torch.randn(B, H, C, generator=torch.Generator().manual_seed(0))
    one = head.mode(Context(tokens=tokens))
    two = head.mode(Context(tokens=torch.cat([tokens[:, :-1], tokens[:, :1]], 1)))
    assert torch.equal(one[:, :-1], two[:, :-1])
    torch.testing.assert_close(two[:, -1], one[:, 0])
    wanted = target(torch.zeros(B, H, A))
    assert head.loss(Context(tokens=tokens), wanted, NoNoise()).value.shape == (B, H)


@pytest.mark.parametrize("joint", [True, False])
def test_only_a_joint_component_keeps_a_chunk_in_its_mode(joint: bool) -> None:
    """Two modes 30 / 70: step by step a chunk of 3 stays in one mode with .3^3 + .7^3 = 0.37."""
    head = build(Mixture(num_modes=2, joint=joint))
    chunks, same = two_modes(200), Context.single(torch.ones(200, C))
    pair = (same, target(chunks))
    head.prepare(lambda: iter([pair]), no_fit, GeneratorNoise.seeded(0))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        head.loss(*pair, NoNoise()).value.mean().backward()
        optimizer.step()
    drawn = head.sample(same.rows(50), GeneratorNoise.seeded(1)).detach()
    sign = drawn.sign().flatten(1)
    is_whole = (sign.mean(1).abs() == 1).float().mean().item()
    assert (sign[:, 0] > 0).float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert is_whole == pytest.approx(1.0 if joint else 0.3**3 + 0.7**3, abs=0.03)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(SpecError, match="min_max"):
        Mixture(tanh_mean=True).build(SIZE, ChunkSpec(horizon=1, action_dim=1))


@pytest.mark.parametrize("joint", [True, False])
def test_spreads_lie_between_the_first_and_the_least(joint: bool) -> None:
    head = build(Mixture(num_modes=K, init_std=0.5, min_std=0.2, joint=joint, hidden=(6,)))
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    std = head.output(context()).std
    assert std.shape == ((B, 1, K, H, A) if joint else (B, H, K, 1, A))
    torch.testing.assert_close(std, torch.full_like(std, 0.5))
    last = head.net[2]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.constant_(last.bias, -60.0)
    torch.testing.assert_close(head.output(context()).std, torch.full_like(std, 0.2))


@pytest.mark.parametrize("joint", [True, False])
def test_metrics_are_the_mean_spread_and_the_components_in_use(joint: bool) -> None:
    head = build(Mixture(num_modes=K, init_std=0.5, joint=joint))
    output = head.output(context())
    metrics = head.loss(context(), target(torch.zeros(B, H, A)), NoNoise()).metrics
    for row in range(B):
        assert metrics["std"][row].item() == pytest.approx(output.std[row].mean().item())
        entropies = [Categorical(logits=logits).entropy().exp() for logits in output.logits[row]]
        assert metrics["modes"][row].item() == pytest.approx(torch.stack(entropies).mean().item())


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize(("low_noise", "spread"), [(True, 1e-4), (False, None)])
def test_a_draw_lies_by_its_noise_from_the_mean_of_its_component(
    joint: bool, low_noise: bool, spread: float | None
) -> None:
    """The normal numbers are all 2, and the class is where the middle of the ladder lies."""
    head = build(Mixture(num_modes=K, init_std=0.5, joint=joint, low_noise=low_noise))
    output = head.output(context())
    index = (output.logits.softmax(-1).cumsum(-1) <= 0.5).sum(-1)
    rows = []
    for b in range(B):
        steps = [
            output.mean[b, g, k] + 2.0 * (spread or output.std[b, g, k])
            for g, k in enumerate(index[b].tolist())
        ]
        rows.append(torch.cat(steps))
    torch.testing.assert_close(head.sample(context(), Fixed(2.0)), torch.stack(rows), rtol=1e-5, atol=1e-6)
    assert head.draws
    assert head.likelihood == "exact"


def test_a_mixture_for_each_step_takes_no_prefix() -> None:
    head = build(Mixture(num_modes=K, joint=False))
    prefix = Prefix(actions=torch.full((B, H, A), 0.3), weight=torch.ones(B, H))
    free, given = (head.sample(context(), GeneratorNoise.seeded(0), one) for one in (None, prefix))
    assert torch.equal(free, given)


@pytest.mark.parametrize("joint", [True, False])
def test_every_context_starts_with_equal_weights_at_means_inside_the_bounds(joint: bool) -> None:
    """Chunks at the ends of the range; tanh reaches them up to a thousandth."""
    head = build(Mixture(num_modes=2, joint=joint, tanh_mean=True))
    last = head.net[0]
    assert isinstance(last, torch.nn.Linear)
    before = last.weight.clone()
    chunks = torch.where(torch.arange(100) < 50, -1.0, 1.0)[:, None, None].expand(-1, H, A)
    pair = (context(100), target(chunks))
    head.prepare(lambda: iter([pair]), no_fit, GeneratorNoise.seeded(0))
    output = head.output(Context.single(torch.zeros(1, C)))
    torch.testing.assert_close(output.mean.abs(), torch.full_like(output.mean, 0.999), atol=1e-5, rtol=0)
    assert not output.logits.any()
    torch.testing.assert_close(last.weight, 0.1 * before)


def test_one_component_for_a_chunk_reads_all_tokens_of_a_causal_encoder() -> None:
    size = ContextSpec(num_tokens=H, width=C, num_steps=H)
    chunk = ChunkSpec(horizon=H, action_dim=A, start=1 - H)
    head = build(Mixture(num_modes=K), size, chunk)
    assert sum(p.numel() for p in head.parameters()) == (H * C + 1) * K * (1 + 2 * H * A)
    assert not head.widen(torch.tensor([-2.0, -1.0]), torch.tensor([3.0, 1.0]))
