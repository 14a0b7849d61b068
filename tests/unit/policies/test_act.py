"""ACT: published parameter counts, the published equations, and what each part may see."""

import math

import pytest
import torch
from torch import Tensor, nn

from steadyhand.core.specs import STATE, FeatureSpec, image_spec
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Target
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.act import Act
from steadyhand.policies.heads.act_head import ActHead
from steadyhand.policies.nets.attention import Attention
from steadyhand.policies.nets.detr import map_sines, sinusoids
from steadyhand.policies.noise import GeneratorNoise, NoNoise, scoped
from steadyhand.policies.spec import PolicyConfig
from steadyhand.testing import check_policy

B, H, A, V, C = 3, 4, 2, 5, 16
SMALL = Act(
    width=16,
    num_heads=2,
    feedforward=32,
    latent_dim=6,
    num_posterior_layers=1,
    num_encoder_layers=2,
    num_decoder_layers=2,
)
CHUNK = ChunkSpec(horizon=H, action_dim=A)

FROZEN_RESNET18 = 11_166_912
"""Convolutions of a ResNet18 without its last layer, its batch norms frozen: no parameters of theirs."""
IS_PAD_OUTPUT = 512 + 1
"""The published code has a second output that gets no loss; here it does not exist."""


def build(config: Act = SMALL, *, tokens: int = 3, width: int = C, state: int = V) -> ActHead:
    with scoped(0):
        return config.build(ContextSpec(num_tokens=tokens, width=width, state_width=state), CHUNK)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def map_context(seed: int = 0) -> Context:
    """Return a 2 x 3 map of one camera and a token of vectors."""
    rows, columns = torch.meshgrid(torch.arange(2.0), torch.arange(3.0), indexing="ij")
    position = torch.stack([rows.flatten(), columns.flatten()], 1)
    return Context(
        tokens=random(B, 7, C, seed=seed),
        position=torch.cat([position, torch.zeros(1, 2)]),
        groups=(("front", 0, 6), ("vectors", 6, 7)),
        state=random(B, V, seed=seed + 1),
    )


def target(seed: int = 3) -> Target:
    is_pad = torch.zeros(B, H, dtype=torch.bool)
    is_pad[0, 2:] = True
    return Target(actions=random(B, H, A, seed=seed), is_pad=is_pad, weight=(~is_pad).float())


@pytest.mark.parametrize(
    ("state", "num_decoder_layers", "dead", "published"),
    [(14, 1, 0, 51_613_582), (6, 1, 0, 51_597_190), (14, 7, IS_PAD_OUTPUT, 83_923_087)],
)
def test_parameters_are_as_many_as_published(
    state: int, num_decoder_layers: int, dead: int, published: int
) -> None:
    """Inputs: one camera of 480 x 640, a state as wide as the action, chunks of 100 steps."""
    observation = {"observation.images.top": image_spec(480, 640, 3), STATE: FeatureSpec(shape=(state,))}
    resnet = ResNet18(norm="frozen_batch", pool="map", width=512, image_range="imagenet")
    with torch.device("meta"):
        encoder = resnet.build(observation, n_obs_steps=1)
        head = Act(num_decoder_layers=num_decoder_layers).build(
            encoder.spec, ChunkSpec(horizon=100, action_dim=state)
        )
    assert encoder.spec.num_tokens == 300 + 1
    in_encoder = sum(p.numel() for p in encoder.parameters())
    assert in_encoder == FROZEN_RESNET18 + (512 * 512 + 512) + (state * 512 + 512)
    assert sum(p.numel() for p in head.parameters()) + in_encoder + dead == published


@pytest.mark.parametrize(("tokens", "state", "kinds"), [(6, 0, 1), (6, 5, 2), (1, 5, 2), (1, 0, 2)])
def test_a_position_is_learnt_for_the_latent_and_for_vectors_if_any(tokens, state, kinds) -> None:
    assert build(tokens=tokens, state=state).net.position.shape == (kinds, 16)


def test_a_decoder_layer_costs_what_the_dead_ones_do() -> None:
    counts: list[int] = []
    for num_decoder_layers in (1, 7):
        with torch.device("meta"):
            head = Act(num_decoder_layers=num_decoder_layers).build(
                ContextSpec(num_tokens=1, width=512), ChunkSpec(horizon=100, action_dim=14)
            )
        counts.append(sum(p.numel() for p in head.parameters()))
    assert counts[1] - counts[0] == 6 * 5_384_832


def test_sinusoids_follow_their_definition() -> None:
    table = sinusoids(torch.arange(5.0), 8)
    for step in range(5):
        for j in range(8):
            angle = step / 10000.0 ** (2 * (j // 2) / 8)
            wanted = math.sin(angle) if j % 2 == 0 else math.cos(angle)
            assert table[step, j].item() == pytest.approx(wanted, abs=1e-6)


def test_map_sines_are_those_of_detr() -> None:
    """Rows and columns count from 1 and are scaled to end at 2 pi; half of the width each."""
    rows, columns, width = 3, 4, 8
    position = torch.cartesian_prod(torch.arange(float(rows)), torch.arange(float(columns)))
    table = map_sines(position, width).view(rows, columns, width)
    for i in range(rows):
        for j in range(columns):
            y, x = (i + 1) / (rows + 1e-6) * 2 * math.pi, (j + 1) / (columns + 1e-6) * 2 * math.pi
            wanted = [
                function(value / 10000.0 ** (k / (width // 2)))
                for value in (y, x)
                for k in range(0, width // 2, 2)
                for function in (math.sin, math.cos)
            ]
            assert table[i, j].tolist() == pytest.approx(wanted, abs=1e-5)


def reference_attention(module: Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    reference = nn.MultiheadAttention(module.out.in_features, module.num_heads, batch_first=True)
    parts = (module.query, module.key, module.value)
    reference.in_proj_weight.data = torch.cat([part.weight for part in parts]).detach()
    reference.in_proj_bias.data = torch.cat([part.bias for part in parts]).detach()
    reference.out_proj.load_state_dict(module.out.state_dict())
    return reference(query, key, value, need_weights=False)[0]


def test_the_transformer_is_that_of_detr_written_out() -> None:
    """Positions on queries and keys alone; post-norm; zeros and learnt queries into the decoder."""
    head, context, latent = build(tokens=7), map_context(), random(B, 6, seed=9)
    net = head.net
    for parameter in net.parameters():  # biases start at zero, which would hide a missing one
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    assert context.position is not None
    x = torch.cat([net.latent(latent)[:, None], context.tokens], 1)
    place = torch.cat([net.position[:1], map_sines(context.position[:6], C), net.position[1:]])

    def think(layer: nn.Module, x: Tensor) -> Tensor:
        return layer.feedforward_norm(x + layer.down(layer.up(x).relu()))  # pyright: ignore

    for layer in net.encoder:
        x = layer.attention_norm(x + reference_attention(layer.attention, x + place, x + place, x))
        x = think(layer, x)
    y, query = torch.zeros(B, H, C), net.queries
    for layer in net.decoder:
        y = layer.attention_norm(y + reference_attention(layer.attention, y + query, y + query, y))
        y = layer.cross_norm(y + reference_attention(layer.cross, y + query, x + place, x))
        y = think(layer, y)
    wanted = head.out(net.norm(y))
    torch.testing.assert_close(head.decode(context, latent), wanted, atol=1e-5, rtol=1e-4)


def test_the_loss_is_l1_plus_weighted_kl() -> None:
    head = build(tokens=7)
    mean, log_var = head.posterior(map_context().state, target().actions, target().is_pad, None)
    loss = head.loss(map_context(), target(), NoNoise())
    normal = torch.distributions.Normal(mean, (0.5 * log_var).exp())
    standard = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    kl = torch.distributions.kl_divergence(normal, standard).sum(1)
    error = (head.decode(map_context(), mean) - target().actions).abs().sum(-1) / A
    torch.testing.assert_close(loss.value, error + 10.0 * kl[:, None])
    torch.testing.assert_close(loss.metrics["kl"], kl)


def test_the_latent_is_drawn_with_the_posteriors_deviation() -> None:
    """z = mean + exp(log_var / 2) eps (Kingma and Welling, 2014, eq. 10): log_var is of the variance."""
    head, wanted = build(tokens=7), target()
    log_var, eps = torch.full((B, 6), -2.0), GeneratorNoise.seeded(5).normal(B, 6)
    seen: list[Tensor] = []
    head.posterior.forward = lambda *_: (torch.zeros(B, 6), log_var)  # pyright: ignore[reportAttributeAccessIssue]
    decode = head.decode
    head.decode = lambda context, latent, noise=None: (seen.append(latent), decode(context, latent, noise))[1]  # pyright: ignore
    head.loss(map_context(), wanted, GeneratorNoise.seeded(5))
    torch.testing.assert_close(seen[0], math.exp(-1.0) * eps)


def test_the_posterior_reads_state_and_actions_but_no_padding() -> None:
    head, wanted, state = build(), target(), random(B, V)
    before = head.posterior(state, wanted.actions, wanted.is_pad, None)
    spoilt = wanted.actions.masked_fill(wanted.is_pad[..., None], 1e3)
    for one, two in zip(before, head.posterior(state, spoilt, wanted.is_pad, None), strict=True):
        assert torch.equal(one, two)
    moved = head.posterior(state, wanted.actions + 0.1 * ~wanted.is_pad[..., None], wanted.is_pad, None)
    elsewhere = head.posterior(state + 0.1, wanted.actions, wanted.is_pad, None)
    assert not torch.allclose(before[0], moved[0])
    assert not torch.allclose(before[0], elsewhere[0])


def test_the_posterior_does_not_see_an_action_without_a_weight() -> None:
    head, wanted = build(tokens=7), target()
    weight = torch.ones(B, H)
    weight[:, 1] = 0.0
    other = wanted.actions + (weight == 0)[..., None] * 5.0
    one, two = (
        head.loss(map_context(), Target(actions=actions, is_pad=wanted.is_pad, weight=weight), NoNoise())
        for actions in (wanted.actions, other)
    )
    assert torch.equal(one.value[weight > 0], two.value[weight > 0])


def test_it_drives_with_zero_or_with_a_draw() -> None:
    context, noise = map_context(), GeneratorNoise.seeded(1).normal(B, 6)
    zero, drawing = build(tokens=7), build(Act(**{**vars(SMALL), "latent": "sample"}), tokens=7)
    assert (zero.draws, drawing.draws) == (False, True)
    at_zero = zero.decode(context, torch.zeros(B, 6))
    for answer in (
        zero.mode(context),
        zero.sample(context, GeneratorNoise.seeded(1)),
        drawing.mode(context),
    ):
        assert torch.equal(answer, at_zero)
    assert torch.equal(drawing.sample(context, GeneratorNoise.seeded(1)), zero.decode(context, noise))
    assert not torch.allclose(zero.decode(context, noise), at_zero)


def test_map_tokens_are_known_by_their_coordinates_alone() -> None:
    head, context = build(tokens=7), map_context()
    assert context.position is not None
    order = torch.tensor([4, 2, 0, 5, 1, 3, 6])
    moved = Context(
        tokens=context.tokens[:, order],
        position=context.position[order],
        groups=context.groups,
        state=context.state,
    )
    torch.testing.assert_close(head.mode(moved), head.mode(context), atol=1e-5, rtol=0)
    swapped = Context(tokens=context.tokens[:, order], position=context.position, groups=context.groups)
    assert (head.mode(swapped) - head.mode(context)).abs().max() > 1e-3


def test_observed_steps_are_known_by_their_order() -> None:
    with scoped(0):
        config = StateMLP(hidden=(C,), join="steps")
        encoder = config.build({STATE: FeatureSpec(shape=(2,))}, n_obs_steps=3)
        head = SMALL.build(encoder.spec, CHUNK)
    steps, is_pad = random(B, 3, 2), torch.zeros(B, 3, dtype=torch.bool)
    swapped = steps[:, [1, 0, 2]]
    one, two = (head.mode(encoder({STATE: seen}, is_pad, None)) for seen in (steps, swapped))
    assert (one - two).abs().max() > 1e-3


def test_absent_tokens_do_not_matter() -> None:
    head, context = build(), random(B, 3, C)
    is_pad = torch.tensor([[False, True, False]] * B)
    spoilt = context.masked_fill(is_pad[..., None], 50.0)
    answers = [head.mode(Context(tokens=tokens, is_pad=is_pad)) for tokens in (context, spoilt)]
    assert torch.equal(*answers)
    assert not torch.allclose(answers[0], head.mode(Context(tokens=context)))


def test_every_decoder_layer_learns() -> None:
    """After one step all parameters get gradients, but for values of zeros, which no weight can change."""
    head, context = build(tokens=7), map_context()
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    for step in range(2):
        optimizer.zero_grad()
        head.loss(context, target(), GeneratorNoise.seeded(step)).value.mean().backward()
        optimizer.step()
    dead = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == ["net.decoder.0.attention.value.weight"]


def test_it_obeys_the_laws_with_dropout_and_two_decoder_layers() -> None:
    check_policy(PolicyConfig(encoder=StateMLP(hidden=(16,)), head=SMALL, horizon=4, n_obs_steps=2))
    check_policy(PolicyConfig(encoder=StateMLP(hidden=(8,)), head=SMALL, horizon=4))
    maps = ResNet18(channels=4, stem="small", norm="group", pool="map", width=16)
    check_policy(PolicyConfig(encoder=maps, head=SMALL, horizon=4))
    assert build(width=8).net.token(random(B, 3, 8)).shape == (B, 3, 16)


def test_attention_with_hardly_any_dropout_is_attention_without() -> None:
    with scoped(0):
        module, plain = Attention(width=6, num_heads=2, rate=1e-12), Attention(width=6, num_heads=2)
    plain.load_state_dict(module.state_dict())
    nn.init.normal_(plain.out.weight)
    module.load_state_dict(plain.state_dict())
    x, memory = random(2, 5, 6), random(2, 7, 6, seed=1)
    mask = torch.ones(5, 7, dtype=torch.bool).tril(1)
    for look in (None, mask):
        found = module(x, module.keys_values(memory, memory), mask=look, noise=GeneratorNoise.seeded(0))
        expected = plain(x, plain.keys_values(memory, memory), mask=look)
        torch.testing.assert_close(found, expected)
