"""The conditional VAE against a linear one, whose likelihood and posterior are known exactly."""

import pytest
import torch
from torch import Tensor, nn

from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Target
from steadyhand.policies.heads.latent import Latent
from steadyhand.policies.heads.latent_head import LatentHead
from steadyhand.policies.nets.normal import kl_to_standard_normal
from steadyhand.policies.noise import GeneratorNoise, NoNoise, scoped
from unit.policies.generative import Fixed

H, A, C, Z, STD = 3, 2, 4, 2, 0.5
N = H * A
LINEAR = Latent(latent_dim=Z, encoder=(), decoder=(), std=STD, num_draws=1)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def build(config: Latent) -> LatentHead:
    with scoped(0):
        return config.build(ContextSpec(num_tokens=1, width=C), ChunkSpec(horizon=H, action_dim=A))


def linear(config: Latent = LINEAR) -> tuple[LatentHead, Tensor, Tensor]:
    """Return f = W_c c + W_z z + b with q(z | chunk, c) its exact posterior; also W_z and its covariance.

    posterior covariance S = (I + W_z' W_z / std^2)^-1, mean S W_z' (chunk - W_c c - b) / std^2.
    """
    head = build(config)
    decoder, encoder = head.decoder[0], head.encoder[0]
    assert isinstance(decoder, nn.Linear)
    assert isinstance(encoder, nn.Linear)
    loading = torch.linalg.qr(random(N, Z, seed=1))[0] * torch.tensor([0.7, 1.1])  # so that S is diagonal
    with torch.no_grad():
        decoder.weight[:, C:] = loading
        spread = torch.linalg.inv(torch.eye(Z) + loading.T @ loading / STD**2)
        gain = spread @ loading.T / STD**2
        encoder.weight.zero_()
        encoder.bias.zero_()
        encoder.weight[:Z, C:] = gain
        encoder.weight[:Z, :C] = -gain @ decoder.weight[:, :C]
        encoder.bias[:Z] = -gain @ decoder.bias
        encoder.bias[Z:] = spread.diagonal().log()
    return head, loading, loading @ loading.T + STD**2 * torch.eye(N)


def data(rows: int) -> tuple[Context, Target]:
    context = Context.single(random(rows, C, seed=2))
    is_pad = torch.zeros(rows, H, dtype=torch.bool)
    return context, Target(actions=random(rows, H, A, seed=3), is_pad=is_pad, weight=(~is_pad).float())


def exact(head: LatentHead, context: Context, target: Target, covariance: Tensor) -> Tensor:
    centre = head.decode(context, torch.zeros(len(context.tokens), Z)).flatten(1)
    marginal = torch.distributions.MultivariateNormal(centre, covariance)
    return marginal.log_prob(target.actions.flatten(1)).detach()


def test_with_the_exact_posterior_the_bound_is_the_likelihood() -> None:
    """Then every draw gives p(chunk) itself: one is enough."""
    head, _, covariance = linear()
    context, target = data(20)
    wanted = exact(head, context, target, covariance)
    torch.testing.assert_close(head.log_prob(context, target), wanted, atol=1e-4, rtol=1e-5)


def test_with_a_wrong_posterior_the_bound_lies_below_and_rises_with_the_draws() -> None:
    """Means over 2000 chunks, so that the luck of one draw does not count."""
    means: list[float] = []
    for num_draws in (1, 8, 256):
        head, _, covariance = linear(Latent(**{**vars(LINEAR), "num_draws": num_draws}))
        context, target = data(2000)
        wanted = exact(head, context, target, covariance)
        encoder = head.encoder[0]
        assert isinstance(encoder, nn.Linear)
        nn.init.zeros_(encoder.weight)
        nn.init.zeros_(encoder.bias)  # q = N(0, I), the prior
        means.append((head.log_prob(context, target) - wanted).mean().item())
    assert means[0] < means[1] < means[2] < 0.0
    assert means[2] > -0.5


def test_the_loss_is_the_negative_evidence_bound() -> None:
    """In the mean over draws: with the exact posterior it is -log p, summed over the steps."""
    head, _, covariance = linear()
    context, target = data(1)
    rows, repeated = (
        context.rows(20_000),
        Target(
            actions=target.actions.expand(20_000, -1, -1),
            is_pad=target.is_pad.expand(20_000, -1),
            weight=target.weight.expand(20_000, -1),
        ),
    )
    loss = head.loss(rows, repeated, GeneratorNoise.seeded(0)).value.detach().sum(1)
    wanted = -exact(head, context, target, covariance).item()
    assert loss.mean().item() == pytest.approx(wanted, abs=5 * loss.std().item() / 20_000**0.5)


def test_the_kl_is_that_of_torch() -> None:
    mean, log_var = random(5, Z), random(5, Z, seed=1)
    normal = torch.distributions.Normal(mean, (0.5 * log_var).exp())
    standard = torch.distributions.Normal(torch.zeros(5, Z), torch.ones(5, Z))
    wanted = torch.distributions.kl_divergence(normal, standard).sum(1)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_var), wanted)


@pytest.mark.parametrize("low_noise", [True, False])
def test_samples_have_the_covariance_of_the_prior_through_the_decoder(low_noise: bool) -> None:
    head, loading, covariance = linear(Latent(**{**vars(LINEAR), "low_noise": low_noise}))
    context = Context.single(random(1, C))
    drawn = head.sample(context.rows(20_000), GeneratorNoise.seeded(1)).detach().flatten(1)
    wanted = loading @ loading.T if low_noise else covariance
    torch.testing.assert_close(drawn.T.cov(), wanted, atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.mean(0), head.mode(context)[0].flatten(), atol=0.04, rtol=0)


def test_padding_leaves_the_bound_of_the_rest() -> None:
    """Padded actions reach neither posterior nor density; the KL is shared among the other steps."""
    head = build(Latent(encoder=(8,), decoder=(8,)))
    context, target = data(6)
    is_pad = torch.zeros(6, H, dtype=torch.bool)
    is_pad[:3, 1:] = True
    one, two = (
        Target(actions=actions, is_pad=is_pad, weight=(~is_pad).float())
        for actions in (target.actions, target.actions.masked_fill(is_pad[..., None], 9.0))
    )
    assert torch.equal(head.log_prob(context, one), head.log_prob(context, two))
    losses = [head.loss(context, each, NoNoise()).value.masked_fill(is_pad, 0.0) for each in (one, two)]
    assert torch.equal(*losses)
    mean, log_var = head.posterior(context, one)
    error = (head.decode(context, mean) - one.actions).square().sum(-1)
    density = error / (2 * 0.1**2) + A * torch.tensor(0.1 * (2 * torch.pi) ** 0.5).log()
    wanted = density.masked_fill(is_pad, 0.0).sum(1) + kl_to_standard_normal(mean, log_var)
    torch.testing.assert_close(losses[0].sum(1), wanted)


def test_an_action_without_a_weight_counts_as_padding() -> None:
    head = build(Latent(encoder=(8,), decoder=(8,)))
    context, target = data(6)
    absent = torch.zeros(6, H, dtype=torch.bool)
    absent[:, 1] = True
    weight = (~absent).float()
    padded = Target(actions=target.actions, is_pad=absent, weight=weight)
    other = target.actions.masked_fill(absent[..., None], 9.0)
    unlabelled = Target(actions=other, is_pad=torch.zeros_like(absent), weight=weight)
    one, two = (head.loss(context, each, NoNoise()).value[~absent] for each in (padded, unlabelled))
    assert torch.equal(one, two)


def test_it_finds_both_modes_where_the_mean_finds_none() -> None:
    """Demonstrations of -1 and +1 at one state, half each."""
    with scoped(1):
        head = Latent(encoder=(32,), decoder=(32,), latent_dim=1, std=0.2).build(
            ContextSpec(num_tokens=1, width=1), ChunkSpec(horizon=1, action_dim=1)
        )
    actions = torch.tensor([-1.0, 1.0]).repeat(32).view(64, 1, 1)
    is_pad = torch.zeros(64, 1, dtype=torch.bool)
    target, context = Target(actions=actions, is_pad=is_pad, weight=torch.ones(64, 1)), torch.ones(64, 1)
    optimizer = torch.optim.Adam(head.parameters(), lr=5e-3)
    for step in range(600):
        optimizer.zero_grad()
        head.loss(Context.single(context), target, GeneratorNoise.seeded(step)).value.mean().backward()
        optimizer.step()
    drawn = head.sample(Context.single(torch.ones(4000, 1)), GeneratorNoise.seeded(7)).detach()
    assert (drawn < -0.6).float().mean().item() == pytest.approx(0.5, abs=0.15)
    assert (drawn > 0.6).float().mean().item() == pytest.approx(0.5, abs=0.15)


def test_sizes_and_settings() -> None:
    head = build(Latent())
    assert head.decoder[0].in_features == C + 2 * A
    assert [layer.out_features for layer in head.encoder if isinstance(layer, nn.Linear)] == [300, 400, 8]
    assert head.draws
    assert head.likelihood == "lower_bound"


def log_density(mean: Tensor, actions: Tensor, std: float) -> Tensor:
    return torch.distributions.Normal(mean, std).log_prob(actions).sum(-1)


def test_the_loss_of_a_step_at_one_draw() -> None:
    """z = mean + std * 1.5 in both dimensions; the KL of a window is shared by the steps that count."""
    head = build(Latent(latent_dim=5, encoder=(7,), decoder=(6,), std=0.4, kl_weight=0.3))
    context, target = data(4)
    weight = torch.tensor([[1.0, 2.0, 0.5], [1.0, 0.0, 3.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    loss = head.loss(context, Target(actions=target.actions, is_pad=target.is_pad, weight=weight), Fixed(1.5))
    seen = Target(actions=target.actions, is_pad=weight == 0.0, weight=weight)
    mean, log_var = head.posterior(context, seen)
    density = log_density(head.decode(context, mean + 1.5 * log_var.exp().sqrt()), target.actions, 0.4)
    normal = torch.distributions.Normal(mean, log_var.exp().sqrt())
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(1)
    for row, count in enumerate((3, 2, 1, 3)):
        torch.testing.assert_close(loss.value[row], 0.3 * kl[row] / count - density[row])
    torch.testing.assert_close(loss.metrics["kl"], kl)


def test_a_sample_is_what_its_latent_stands_for_and_the_spread_around_it() -> None:
    context = Context.single(random(4, C))
    for low_noise, spread in ((True, 0.0), (False, 0.4)):
        head = build(Latent(latent_dim=5, encoder=(7,), decoder=(6,), std=0.4, low_noise=low_noise))
        wanted = head.decode(context, torch.full((4, 5), 1.5)) + 1.5 * spread
        torch.testing.assert_close(head.sample(context, Fixed(1.5)), wanted)
        layers = head.decoder
        hidden = torch.relu(layers[0](torch.cat([context.tokens[:, 0], torch.full((4, 5), 1.5)], 1)))
        torch.testing.assert_close(wanted - 1.5 * spread, layers[2](hidden).view(4, H, A))


def test_the_bound_is_the_mean_of_the_importance_weights() -> None:
    """Written out for seven draws, with a posterior of no meaning; padded steps leave the density alone."""
    head = build(Latent(latent_dim=5, encoder=(7,), decoder=(6,), std=0.4, num_draws=7))
    context, target = data(4)
    is_pad = torch.zeros(4, H, dtype=torch.bool)
    is_pad[1, 2:] = is_pad[2, 1:] = True
    target = Target(actions=target.actions, is_pad=is_pad, weight=(~is_pad).float())
    mean, log_var = head.posterior(context, target)
    flat = torch.cat([context.tokens[:, 0], target.actions.masked_fill(is_pad[..., None], 0.0).flatten(1)], 1)
    encoded = head.encoder[2](torch.relu(head.encoder[0](flat)))
    torch.testing.assert_close(torch.cat([mean, log_var], 1), encoded)
    assert head.draw_table.shape == (7, 5)
    found = head.log_prob(context, target)
    for row in range(4):
        one, weights = Context.single(context.tokens[row]), []
        std = log_var[row].exp().sqrt()
        for draw in head.draw_table:
            latent = mean[row] + std * draw
            density = log_density(head.decode(one, latent[None])[0], target.actions[row], 0.4)
            prior = log_density(torch.zeros(5), latent, 1.0)
            drawn = torch.distributions.Normal(mean[row], std).log_prob(latent).sum()
            weights.append(density[~is_pad[row]].sum() + prior - drawn)
        torch.testing.assert_close(found[row], torch.stack(weights).exp().mean().log(), rtol=1e-4, atol=1e-4)


def test_nothing_bounds_an_answer() -> None:
    assert not build(Latent()).widen(torch.tensor([-2.0, -1.0]), torch.tensor([3.0, 1.0]))
