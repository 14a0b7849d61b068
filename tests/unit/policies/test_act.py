"""ACT: published parameter counts, the published equations, and what each part may see."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

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


@pytest.mark.parametrize(
    ("tokens", "state", "kinds"), [(6, 0, 1), (6, 1, 2), (6, 5, 2), (1, 5, 2), (1, 0, 2)]
)
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


def test_map_sines_begin_anywhere_and_fill_up_with_zeros() -> None:
    """Two widths of 3 into 7; the greatest of n coordinates is at 2 pi n / (n + 1e-6), exactly in double."""
    position = torch.tensor([[4.0, -2.0], [5.0, 0.0], [4.0, 1.0]], dtype=torch.float64)
    table = map_sines(position, 7)
    assert table.shape == (3, 7)
    for row, (low, count) in enumerate(((1, 2), (2, 2), (1, 2))):
        angle = low / (count + 1e-6) * 2 * math.pi
        assert table[row, :2].tolist() == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-12)
        assert table[row, 2].item() == pytest.approx(math.sin(angle / 10000.0 ** (2 / 3)), abs=1e-6)
    for row, low in enumerate((1, 3, 4)):
        angle = low / (4 + 1e-6) * 2 * math.pi
        assert table[row, 3:5].tolist() == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-12)
    assert not table[:, 6].any()


def reference_attention(module: Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    reference = nn.MultiheadAttention(module.out.in_features, module.num_heads, batch_first=True)
    parts = (module.query, module.key, module.value)
    reference.in_proj_weight.data = torch.cat([part.weight for part in parts]).detach()
    reference.in_proj_bias.data = torch.cat([part.bias for part in parts]).detach()
    reference.out_proj.load_state_dict(module.out.state_dict())
    return reference(query, key, value, need_weights=False)[0]


def shaken(module: nn.Module) -> Any:
    """Give all parameters other numbers: biases start at zero, which would hide a missing one."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    return module


def think(layer: Any, x: Tensor) -> Tensor:
    return layer.feedforward_norm(x + layer.down(layer.up(x).relu()))


def encoded(layers: Iterable[Any], x: Tensor, place: Tensor) -> Tensor:
    """Post-norm layers; positions on queries and keys alone."""
    for layer in layers:
        x = layer.attention_norm(x + reference_attention(layer.attention, x + place, x + place, x))
        x = think(layer, x)
    return x


STEPS = torch.cartesian_prod(torch.tensor([4.0, 5.0]), torch.tensor([2.0, 3.0, 4.0]))
"""Coordinates of 6 tokens."""


@pytest.mark.parametrize(
    ("context", "state", "tables"),
    [
        (map_context(), V, lambda own: [map_sines(STEPS, C), own]),
        (Context(tokens=random(B, 6, C), position=STEPS), V, lambda own: [map_sines(STEPS, C)]),
        (Context(tokens=random(B, 6, C)), V, lambda own: [own.expand(6, C)]),
        (Context(tokens=random(B, 6, C)), 0, lambda own: [torch.zeros(6, C)]),
        (
            Context(tokens=random(B, 6, C), groups=(("front", 0, 4), ("vectors", 4, 6))),
            V,
            lambda own: [torch.zeros(4, C), own.expand(2, C)],
        ),
        (
            Context(tokens=random(B, 6, C), position=STEPS, groups=(("front", 0, 4), ("vectors", 4, 6))),
            V,
            lambda own: [map_sines(STEPS[:4], C), map_sines(STEPS[4:], C) + own],
        ),
    ],
    ids=["a map and vectors", "steps", "unordered", "nothing learnt", "no places", "vectors of two steps"],
)
@pytest.mark.parametrize("masked", [False, True])
def test_the_transformer_is_that_of_detr_written_out(context, state, tables, masked) -> None:
    """Positions on queries and keys alone; post-norm; zeros and learnt queries into the decoder."""
    head, latent = shaken(build(tokens=context.tokens.shape[1], state=state)), random(B, 6, seed=9)
    net = head.net
    if masked:  # no token is absent, and that is said
        context = replace(context, is_pad=torch.zeros(context.tokens.shape[:2], dtype=torch.bool))
    x = torch.cat([net.latent(latent)[:, None], context.tokens], 1)
    place = torch.cat([net.position[:1], *tables(net.position[1:])])
    x = encoded(net.encoder, x, place)
    y, query = torch.zeros(B, H, C), net.queries
    for layer in net.decoder:
        y = layer.attention_norm(y + reference_attention(layer.attention, y + query, y + query, y))
        y = layer.cross_norm(y + reference_attention(layer.cross, y + query, x + place, x))
        y = think(layer, y)
    wanted = head.out(net.norm(y))
    torch.testing.assert_close(head.decode(context, latent), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("state", [0, 1, V])
def test_the_posterior_is_a_transformer_over_cls_state_and_actions(state: int) -> None:
    """Mean and log-variance are read from CLS; sinusoids are the positions; padded actions are not there."""
    posterior, actions, seen = shaken(build(state=state)).posterior, random(B, H, A), random(B, state)
    is_pad = torch.zeros(B, H, dtype=torch.bool)
    is_pad[1, 2:] = True
    found = posterior(seen if state else None, actions, is_pad, None)
    for row, length in ((slice(0, 1), H), (slice(1, 2), 2)):
        tokens = [posterior.start.expand(1, 1, C)]
        tokens += [posterior.state(seen[row])[:, None]] if state else []
        x = torch.cat([*tokens, posterior.action(actions[row, :length])], 1)
        x = encoded(posterior.layers, x, sinusoids(torch.arange(float(x.shape[1])), C))
        wanted = posterior.out(x[:, 0])
        torch.testing.assert_close(torch.cat(found, 1)[row], wanted, atol=1e-5, rtol=1e-4)


def test_it_begins_with_xavier_weights() -> None:
    config = replace(SMALL, width=48, feedforward=96)
    with scoped(0):
        net = config.build(ContextSpec(num_tokens=7, width=C, state_width=V), CHUNK).net
    for part in (*net.encoder, *net.decoder):
        for weight in (
            part.up.weight,
            part.down.weight,
            part.attention.query.weight,
            part.attention.out.weight,
        ):
            bound = math.sqrt(6 / sum(weight.shape))
            assert 0.95 * bound < weight.abs().max().item() <= bound


def test_it_stores_its_parameters_alone() -> None:
    head = build(tokens=7)
    assert head.state_dict().keys() == dict(head.named_parameters()).keys()


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
