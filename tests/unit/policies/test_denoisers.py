"""Denoising nets against plain oracles and published parameter counts."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec
from steadyhand.policies.nets.denoiser import Denoiser, FilmMap, repeat_rows, sinusoid
from steadyhand.policies.nets.denoisers import DenoiserConfig
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.nets.denoising_transformer import DenoisingTransformer
from steadyhand.policies.nets.denoising_transformer_net import visible_memory
from steadyhand.policies.nets.mish import mish
from steadyhand.policies.nets.unet1d import UNet
from steadyhand.policies.nets.unet1d_net import UNetDenoiser, _Block, _Conv, _Grow, _Unit
from steadyhand.policies.noise import GeneratorNoise, NoNoise, scoped

LARGE = UNet(channels=(256, 512, 1024), time_width=256)
IMAGE = UNet(channels=(512, 1024, 2048))
KITCHEN = DenoisingTransformer(width=768)


@pytest.mark.parametrize(
    ("config", "num_tokens", "width", "action_dim", "published"),
    [
        (LARGE, 2, 20, 2, 65_783_298),
        (LARGE, 2, 5, 2, 65_353_218),
        (LARGE, 2, 23, 10, 65_883_658),
        (LARGE, 2, 60, 9, 66_942_729),
        (UNet(), 2, 5, 2, 4_452_034),
        (UNet(), 2, 20, 2, 4_559_554),
        (UNet(channels=(128, 256, 512)), 2, 5, 2, 16_390_914),
        (IMAGE, 2, 66, 2, 251_511_938),
        (IMAGE, 2, 137, 10, 255_612_042),
        (DenoisingTransformer(), 2, 20, 2, 8_965_122),
        (KITCHEN, 4, 60, 9, 80_415_753),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else type(value).__name__,
)
def test_parameter_counts_equal_the_published_ones(
    config: DenoiserConfig, num_tokens: int, width: int, action_dim: int, published: int
) -> None:
    with torch.device("meta"):
        net = config.build(
            ContextSpec(num_tokens=num_tokens, width=width), ChunkSpec(horizon=16, action_dim=action_dim)
        )
    assert sum(parameter.numel() for parameter in net.parameters()) == published


class PlainUnit(nn.Sequential):
    def __init__(self, unit: _Unit) -> None:
        super().__init__(plain_conv(unit.conv), unit.norm, nn.Mish())


def plain_conv(conv: nn.Module) -> nn.Module:
    if isinstance(conv, nn.Identity):
        return conv
    if isinstance(conv, _Grow):
        width = conv.weight.shape[0]
        plain: nn.ConvTranspose1d | nn.Conv1d = nn.ConvTranspose1d(width, width, 4, 2, 1)
    else:
        assert isinstance(conv, _Conv)
        width_out, _, taps, width_in = conv.weight.shape
        plain = nn.Conv1d(width_in, width_out, taps, stride=conv.stride, padding=taps // 2)
    with torch.no_grad():
        plain.weight.copy_(conv.weight[:, 0].transpose(1, 2))
        assert plain.bias is not None
        plain.bias.copy_(conv.bias)
    return plain


class PlainBlock(nn.Module):
    """A residual block as usually written: its own FiLM layer on [time, context], channels first."""

    def __init__(self, block: _Block, film: FilmMap, first: int) -> None:
        super().__init__()
        self.one, self.two = PlainUnit(block.first), PlainUnit(block.second)
        self.skip = plain_conv(block.skip)
        self.film = nn.Linear(film.weight.shape[1], 2 * block.width)
        with torch.no_grad():
            self.film.weight.copy_(film.weight[first : first + 2 * block.width])
            self.film.bias.copy_(film.bias[first : first + 2 * block.width])

    def forward(self, y: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.film(nn.functional.mish(condition))[..., None].chunk(2, dim=1)
        return self.two(self.one(y) * scale + shift) + self.skip(y)


class PlainUNet(nn.Module):
    """The same net out of `nn.Conv1d`, one module after the other, with the weights of ours."""

    def __init__(self, net: UNetDenoiser) -> None:
        super().__init__()
        self.time = net.time
        first = 0
        blocks: list[PlainBlock] = []
        order = [*net.down, net.middle, *net.up]
        for pair in order:
            for block in pair.children():
                assert isinstance(block, _Block)
                blocks.append(PlainBlock(block, net.film, first))
                first += 2 * block.width
        self.blocks = nn.ModuleList(blocks)
        self.shrink = nn.ModuleList(plain_conv(part) for part in net.shrink)
        self.grow = nn.ModuleList(plain_conv(part) for part in net.grow)
        self.last = nn.Sequential(PlainUnit(net.last), plain_conv(net.out))

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        condition = torch.cat([self.time(time), context], dim=-1)
        blocks = iter(self.blocks)
        y, kept = x.transpose(1, 2), []
        for level in range(len(self.shrink) + 1):
            y = self._two(y, blocks, condition)
            kept.append(y)
            y = self.shrink[level](y) if level < len(self.shrink) else y
        y = self._two(y, blocks, condition)
        for grow in self.grow:
            y = grow(self._two(torch.cat([y, kept.pop()], dim=1), blocks, condition))
        return self.last(y).transpose(1, 2)

    def _two(self, y: Tensor, blocks: Iterator[nn.Module], condition: Tensor) -> Tensor:
        for _ in range(2):
            y = next(blocks)(y, condition)
        return y


@pytest.mark.parametrize("rows", [1, 5, 64])
@pytest.mark.parametrize(("channels", "horizon"), [((16,), 3), ((16, 24), 6), ((32, 64, 96), 16)])
def test_unet_equals_the_plain_one(channels: tuple[int, ...], horizon: int, rows: int) -> None:
    with scoped(0):
        net = UNet(channels=channels, time_width=16).build(
            ContextSpec(num_tokens=2, width=5), ChunkSpec(horizon=horizon, action_dim=3)
        )
        plain = PlainUNet(net)
    noise = GeneratorNoise.seeded(0)
    x, tokens = noise.normal(rows, horizon, 3), noise.normal(rows, 2, 5)
    time = 100.0 * noise.uniform(rows)
    ours = net(x, net.embed_times(time), net.condition(Context(tokens=tokens)))
    expected = plain(x, time, tokens.flatten(1))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    ours.square().sum().backward()
    gradient = net.down[0][0].first.conv.weight.grad
    context_gradient = net.film.weight.grad
    expected.square().sum().backward()
    oracle = plain.blocks[0].one[0].weight.grad
    scale = oracle.abs().max()
    torch.testing.assert_close(gradient[:, 0].transpose(1, 2) / scale, oracle / scale, rtol=1e-4, atol=1e-5)
    film = torch.cat([block.film.weight.grad for block in plain.blocks])
    torch.testing.assert_close(
        context_gradient / film.abs().max(), film / film.abs().max(), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("levels", "horizon"), [(2, 3), (3, 10), (4, 6), (4, 12)])
def test_horizon_that_cannot_be_halved_is_refused(levels: int, horizon: int) -> None:
    with pytest.raises(ConfigError, match=r"divisible by 2\^\(levels - 1\)"):
        UNet(channels=levels * (8,)).build(
            ContextSpec(num_tokens=1, width=4), ChunkSpec(horizon=horizon, action_dim=2)
        )


def test_convolutions_begin_as_those_of_torch() -> None:
    with scoped(0):
        convs = [_Conv(6, 100, taps=5), _Conv(7, 300, taps=1), _Grow(60)]
    for conv in convs:
        _, _, taps, width_in = conv.weight.shape
        bound = 1.0 / math.sqrt(taps * width_in)
        for values, share in ((conv.weight, 0.97), (conv.bias, 0.8)):
            assert -bound <= values.min().item() < -share * bound
            assert bound >= values.max().item() > share * bound


@pytest.mark.parametrize(
    "bad",
    [
        lambda: UNet(channels=(12,)),
        lambda: UNet(channels=(16, 12)),
        lambda: UNet(channels=()),
        lambda: UNet(channels=(0, 8)),
        lambda: UNet(num_groups=0),
        lambda: UNet(kernel_size=4),
        lambda: UNet(time_width=7),
        lambda: DenoisingMLP(hidden=()),
        lambda: DenoisingMLP(time_width=5),
        lambda: DenoisingTransformer(dropout=1.0),
        lambda: DenoisingTransformer(num_layers=0),
    ],
)
def test_sizes_that_cannot_work_are_refused(bad: Callable[[], DenoiserConfig]) -> None:
    with pytest.raises(ConfigError, match="got"):
        bad()


def test_any_odd_kernel_will_do() -> None:
    assert [UNet(kernel_size=size).kernel_size for size in (1, 3, 5, 9)] == [1, 3, 5, 9]


SMALL: list[DenoiserConfig] = [
    UNet(channels=(16, 32), time_width=16),
    DenoisingMLP(hidden=(24, 24, 16), time_width=16),
    DenoisingTransformer(width=16, num_layers=2, num_heads=2),
]


def build(config: DenoiserConfig, *, num_steps: int | None = None, start: int = 0) -> Denoiser:
    with scoped(1):
        return config.build(
            ContextSpec(num_tokens=3, width=5, num_steps=num_steps),
            ChunkSpec(horizon=4, action_dim=2, start=start),
        )


@pytest.mark.parametrize("config", SMALL, ids=lambda config: type(config).__name__)
def test_one_moment_serves_all_rows_and_rows_can_be_repeated(config: DenoiserConfig) -> None:
    net, noise = build(config), GeneratorNoise.seeded(2)
    x, context = noise.normal(6, 4, 2), Context(tokens=noise.normal(6, 3, 5))
    condition, embeddings = net.condition(context), net.embed_times(torch.tensor([10.0, 70.0]))
    shared = net(x, embeddings[1:], condition)
    assert shared.shape == x.shape
    each = net(x, net.embed_times(torch.full((6,), 70.0)), condition)
    torch.testing.assert_close(shared, each, rtol=1e-5, atol=1e-6)
    twice = net(x.repeat_interleave(2, 0), embeddings[1:], repeat_rows(condition, 2))
    torch.testing.assert_close(twice[::2], shared, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(net(x, embeddings[:1], condition), shared, atol=1e-4)


@pytest.mark.parametrize("config", SMALL, ids=lambda config: type(config).__name__)
def test_absent_tokens_do_not_matter(config: DenoiserConfig) -> None:
    net, noise = build(config), GeneratorNoise.seeded(3)
    x, tokens = noise.normal(2, 4, 2), noise.normal(2, 3, 5)
    is_pad = torch.tensor([[False, True, False], [False, False, False]])
    embedding = net.embed_times(torch.tensor([30.0]))
    one = net(x, embedding, net.condition(Context(tokens=tokens, is_pad=is_pad)))
    spoilt = tokens + 100.0 * is_pad[..., None]
    two = net(x, embedding, net.condition(Context(tokens=spoilt, is_pad=is_pad)))
    torch.testing.assert_close(one, two)
    whole = net(x, embedding, net.condition(Context(tokens=tokens)))
    torch.testing.assert_close(one[1], whole[1], rtol=1e-5, atol=1e-6)


def test_absent_tokens_stay_absent_where_the_future_is_hidden_too() -> None:
    """A chunk that begins with the window: its first action sees the first token of three, or nothing."""
    net = build(DenoisingTransformer(width=16, num_layers=1, num_heads=2), num_steps=3, start=-2)
    noise = GeneratorNoise.seeded(3)
    x, tokens, embedding = noise.normal(1, 4, 2), noise.normal(1, 3, 5), net.embed_times(torch.tensor([30.0]))
    is_pad = torch.tensor([[True, False, False]])

    def answer(tokens: Tensor) -> Tensor:
        return net(x, embedding, net.condition(Context(tokens=tokens, is_pad=is_pad)))

    plain = answer(tokens)
    for token in range(3):
        spoilt = tokens.clone()
        spoilt[:, token] += 5.0
        changed = (answer(spoilt) - plain).abs().amax(-1)[0] > 1e-6
        assert changed.tolist() == [token > 0 and step >= token for step in range(4)]


def test_the_mlp_is_its_equation() -> None:
    """A layer is y + silu((1 + scale) (W y) + shift), without y where the width changes."""
    net = build(DenoisingMLP(hidden=(24, 24, 16), time_width=8))
    noise = GeneratorNoise.seeded(4)
    x, tokens, time = noise.normal(5, 4, 2), noise.normal(5, 3, 5), 100.0 * noise.uniform(5)
    features = nn.functional.silu(net.time(time))
    film = torch.cat([features, tokens.flatten(1)], 1) @ net.film.weight.T + net.film.bias
    y, first = x.flatten(1), 0
    for layer, residual in zip(net.layers, (False, True, False), strict=True):
        width = layer.out_features
        scale, shift = film[:, first : first + width], film[:, first + width : first + 2 * width]
        first += 2 * width
        new = nn.functional.silu((1 + scale) * (y @ layer.weight.T) + shift)
        y = y + new if residual else new
    wanted = net.out(y).view(5, 4, 2)
    torch.testing.assert_close(net(x, net.embed_times(time), net.condition(Context(tokens=tokens))), wanted)
    assert [layer.bias for layer in net.layers] == [None] * 3


def test_the_transformer_begins_like_gpt() -> None:
    with scoped(0):
        net = DenoisingTransformer(width=96, num_layers=1, num_heads=2).build(
            ContextSpec(num_tokens=20, width=9), ChunkSpec(horizon=20, action_dim=8)
        )
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif "norm" in name:
            assert bool((parameter == 1.0).all())
        else:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name


@pytest.mark.parametrize("horizon", [1, 2])
def test_only_a_chunk_of_one_action_leaves_its_attention_without_a_gradient(horizon: int) -> None:
    net = DenoisingTransformer(width=8, num_layers=1, num_heads=2).build(
        ContextSpec(num_tokens=2, width=4), ChunkSpec(horizon=horizon, action_dim=3)
    )
    assert ("layers.*.attention.query.*" in net.without_gradient) == (horizon == 1)


def plain_transformer(net: nn.Module, width: int, num_layers: int) -> nn.TransformerDecoder:
    """Torch's own decoder with the weights of ours."""
    layer = nn.TransformerDecoderLayer(
        width, 2, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    decoder = nn.TransformerDecoder(layer, num_layers)
    with torch.no_grad():
        for ours, theirs in zip(net.layers, decoder.layers, strict=True):
            for mine, other in ((ours.attention, theirs.self_attn), (ours.cross, theirs.multihead_attn)):
                parts = (mine.query, mine.key, mine.value)
                other.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
                other.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
                other.out_proj.load_state_dict(mine.out.state_dict())
            pairs = (
                (ours.up, theirs.linear1),
                (ours.down, theirs.linear2),
                (ours.attention_norm, theirs.norm1),
                (ours.cross_norm, theirs.norm2),
                (ours.feedforward_norm, theirs.norm3),
            )
            for mine, other in pairs:
                other.load_state_dict(mine.state_dict())
    return decoder


@pytest.mark.parametrize("start", [0, -2])
def test_transformer_equals_torchs_decoder(start: int) -> None:
    net = build(DenoisingTransformer(width=16, num_layers=2, num_heads=2), num_steps=3, start=start)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * GeneratorNoise.seeded(parameter.numel()).normal(*parameter.shape))
    decoder = plain_transformer(net, 16, 2)
    noise = GeneratorNoise.seeded(4)
    x, tokens, time = noise.normal(3, 4, 2), noise.normal(3, 3, 5), 100.0 * noise.uniform(3)
    memory = torch.cat([sinusoid(time, 16)[:, None], net.token(tokens)], dim=1)
    memory = net.memory(memory + net.token_position)
    causal = torch.ones(4, 4).tril() == 0
    # Action h is of step start + h, observation i of step i - 2, and the time is always there.
    hidden = torch.tensor(
        [[False, *(start + h < i - 2 for i in range(3))] for h in range(4)], dtype=torch.bool
    )
    y = net.action(x) + net.action_position
    y = decoder(y, memory, tgt_mask=causal, memory_mask=hidden)
    expected = net.out(net.norm(y))
    ours = net(x, net.embed_times(time), net.condition(Context(tokens=tokens)))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_memory_mask_is_the_papers_where_the_chunk_begins_with_the_window() -> None:
    spec = ContextSpec(num_tokens=3, width=5, num_steps=3)
    visible = visible_memory(spec, ChunkSpec(horizon=4, action_dim=1, start=-2))
    # Diffusion Policy: position t sees memory s where t >= s - 1.
    assert visible is not None
    assert visible.tolist() == [[t >= s - 1 for s in range(4)] for t in range(4)]
    now = visible_memory(spec, ChunkSpec(horizon=4, action_dim=1))
    assert now is not None
    assert now.all()
    assert visible_memory(ContextSpec(num_tokens=3, width=5), ChunkSpec(horizon=4, action_dim=1)) is None


def test_dropout_follows_the_noise_it_is_given() -> None:
    net = build(DenoisingTransformer(width=16, num_layers=1, num_heads=2, embedding_dropout=0.3, dropout=0.5))
    noise = GeneratorNoise.seeded(5)
    x, context, embedding = noise.normal(2, 4, 2), Context(tokens=noise.normal(2, 3, 5)), torch.tensor([5.0])

    def run(source: GeneratorNoise | NoNoise | None) -> Tensor:
        return net(x, net.embed_times(embedding), net.condition(context, source), source)

    assert torch.equal(run(GeneratorNoise.seeded(1)), run(GeneratorNoise.seeded(1)))
    assert not torch.equal(run(GeneratorNoise.seeded(1)), run(GeneratorNoise.seeded(2)))
    assert torch.equal(run(None), run(NoNoise()))


@pytest.mark.parametrize("count", [100, 20_000])
def test_mish_and_its_slope_equal_the_definition(count: int) -> None:
    x = torch.linspace(-60.0, 60.0, count, requires_grad=True)
    y = mish(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    exact = x.detach().double().requires_grad_()
    expected = exact * torch.tanh(torch.log1p(torch.exp(exact)))
    (expected_slope,) = torch.autograd.grad(expected.sum(), exact)
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(slope.double(), expected_slope, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(mish(x), y)
    assert bool(torch.isfinite(mish(torch.full((count,), 1e4))).all())


def test_time_features_are_sines_and_cosines() -> None:
    features = sinusoid(torch.tensor([0.0, 7.0]), 4)
    expected = [math.sin(7.0), math.sin(7.0e-4), math.cos(7.0), math.cos(7.0e-4)]
    torch.testing.assert_close(features[1], torch.tensor(expected))
    assert features[0].tolist() == [0.0, 0.0, 1.0, 1.0]
    torch.testing.assert_close(
        sinusoid(torch.tensor([7.0]), 2), torch.tensor([[math.sin(7.0), math.cos(7.0)]])
    )
    wide = sinusoid(torch.tensor([7.0]), 32)[0]  # from 2 pi to 2 pi 10^4 in steps of one ratio
    torch.testing.assert_close(wide[15], torch.tensor(math.sin(7.0e-4)))
    torch.testing.assert_close(wide[16 + 5], torch.tensor(math.cos(7.0 * 10.0 ** (-4 * 5 / 15))))
    assert all(low >= high for low, high in pairwise(sinusoid(torch.tensor([1.0]), 32)[0, :16].tolist()))


@pytest.mark.parametrize(
    "config",
    [
        DenoisingMLP(hidden=(8,), time_width=4),
        DenoisingTransformer(width=8, num_layers=1, num_heads=2),
        UNet(channels=(8,), time_width=4),
    ],
    ids=lambda config: type(config).__name__,
)
def test_a_net_stores_its_parameters_alone(config) -> None:
    context = ContextSpec(num_tokens=2, width=4, num_steps=2)
    net = config.build(context, ChunkSpec(horizon=4, action_dim=2))
    assert net.state_dict().keys() == dict(net.named_parameters()).keys()
