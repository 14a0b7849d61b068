"""Small nets and their pieces, each against its definition written out."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.policies.nets.attention import Attention, TransformerLayer, causal_mask, init_gpt
from steadyhand.policies.nets.conv import ConvStack, conv_size, pixels
from steadyhand.policies.nets.dropout import dropout
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.nets.normal import kl_to_standard_normal, log_normal
from steadyhand.policies.nets.pretrained import load_pretrained
from steadyhand.policies.nets.recurrent import Recurrence
from steadyhand.policies.nets.spectral import SpectralLinear
from steadyhand.policies.noise import GeneratorNoise, Noise, NoNoise, scoped


class Constant(Noise):
    """Draws one number; above a dropout rate it drops nothing, and what is kept is scaled up."""

    augments = True

    def __init__(self, value: float) -> None:
        self.value = value

    def normal(self, *shape: int) -> Tensor:
        return torch.full(shape, self.value)

    uniform = normal


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def shaken(module: nn.Module) -> Any:
    """Give all parameters other numbers: biases of zero and scales of one would hide a missing one."""
    for place, parameter in enumerate(module.parameters()):
        nn.init.normal_(parameter, std=0.4, generator=torch.Generator().manual_seed(place))
    return module


# --- attention ------------------------------------------------------------------------------------------


def attended(module: Attention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(q k^T / sqrt(D)) v, row by row and head by head."""
    q, k, v = module.query(query), module.key(key), module.value(value)
    depth = q.shape[-1] // module.num_heads
    rows = []
    for row in range(len(q)):
        heads = []
        for head in range(module.num_heads):
            part = slice(head * depth, (head + 1) * depth)
            scores = q[row, :, part] @ k[row, :, part].T / depth**0.5
            if mask is not None:
                seen = mask if mask.ndim == 2 else mask[row, 0]
                scores = scores.masked_fill(~seen, -math.inf)
            heads.append(scores.softmax(1) @ v[row, :, part])
        rows.append(torch.cat(heads, 1))
    return module.out(torch.stack(rows))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("noise", [None, NoNoise(), Constant(0.9)], ids=["none", "quiet", "training"])
@pytest.mark.parametrize("placed", [False, True])
def test_a_transformer_layer_is_its_equations(norm: Any, noise: Noise | None, placed: bool) -> None:
    with scoped(0):
        layer = TransformerLayer(
            12, num_heads=3, feedforward=20, cross=True, rate=0.25, activation="silu", norm=norm
        )
    shaken(layer)
    x, memory = random(2, 5, 12), random(2, 7, 12, seed=1)
    position = random(5, 12, seed=2) if placed else None
    mask = causal_mask(5)
    memory_mask = torch.ones(2, 1, 5, 7, dtype=torch.bool)
    memory_mask[1, :, :, 4:] = False
    # Nothing is dropped, and what is kept is 4 / 3 times as large: on weights, hidden values and branches.
    scale = 4.0 / 3.0 if isinstance(noise, Constant) else 1.0

    def add(branch: Any, norm_of: nn.Module, x: Tensor) -> Tensor:
        return x + scale * branch(norm_of(x)) if norm == "pre" else norm_of(x + scale * branch(x))

    def at(y: Tensor) -> Tensor:
        return y if position is None else y + position

    def weighed(module: Attention, mixed: Tensor) -> Tensor:
        return scale * (mixed - module.out.bias) + module.out.bias

    own, cross = layer.attention, layer.cross
    assert cross is not None
    y = add(lambda y: weighed(own, attended(own, at(y), at(y), y, mask)), layer.attention_norm, x)
    y = add(
        lambda y: weighed(cross, attended(cross, at(y), memory, memory, memory_mask)), layer.cross_norm, y
    )
    y = add(lambda y: layer.down(scale * F.silu(layer.up(y))), layer.feedforward_norm, y)
    found = layer(
        x,
        mask=mask,
        position=position,
        memory=cross.keys_values(memory, memory),
        memory_mask=memory_mask,
        noise=noise,
    )
    torch.testing.assert_close(found, y, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("rate", "given", "wanted"), [(0.3, None, 0.3), (0.3, 0.1, 0.1), (0.3, 0.0, 0.0)])
def test_attention_has_the_rate_of_its_layer_unless_it_has_its_own(rate, given, wanted) -> None:
    layer = TransformerLayer(8, num_heads=2, feedforward=8, cross=True, rate=rate, attention_rate=given)
    assert layer.cross is not None
    assert (layer.attention.rate, layer.cross.rate) == (wanted, wanted)


def test_attention_begins_with_xavier_weights_and_without_biases() -> None:
    with scoped(0):
        module = Attention(48, num_heads=4)
    bound = math.sqrt(6 / (48 + 48))
    for layer in (module.query, module.key, module.value):
        assert 0.95 * bound < layer.weight.abs().max().item() <= bound
        assert layer.weight.mean().abs() < 0.05 * bound
    for layer in (module.query, module.key, module.value, module.out):
        assert not layer.bias.any()
    with pytest.raises(ConfigError, match="multiple of its heads"):
        Attention(10, num_heads=4)


def test_weights_of_gpt_are_normal_and_its_biases_zero() -> None:
    with scoped(0):
        net = nn.Sequential(nn.Linear(60, 70), nn.Embedding(50, 60), nn.LayerNorm(7))
    nn.init.ones_(net[2].bias)
    init_gpt(net)
    for part in (net[0], net[1]):
        assert part.weight.std().item() == pytest.approx(0.02, rel=0.06)
    assert not net[0].bias.any()
    assert not net[2].bias.any()
    assert bool((net[2].weight == 1.0).all())


# --- dropout and densities ------------------------------------------------------------------------------


def test_dropout_zeroes_a_share_and_scales_the_rest_up() -> None:
    x = random(50, 40)
    drawn = GeneratorNoise.seeded(3).uniform(50, 40)
    found = dropout(x, 0.25, GeneratorNoise.seeded(3))
    torch.testing.assert_close(found, torch.where(drawn < 0.25, 0.0, x * 4.0 / 3.0))
    assert (found == 0.0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    for rate, noise in ((0.25, None), (0.25, NoNoise()), (0.0, GeneratorNoise.seeded(3))):
        assert dropout(x, rate, noise) is x
    quiet = GeneratorNoise.seeded(3, augments=False)
    assert dropout(x, 0.25, quiet) is x


def test_densities_are_those_of_torch() -> None:
    value, mean, std = random(4, 3), random(4, 3, seed=1), random(4, 3, seed=2).exp()
    torch.testing.assert_close(
        log_normal(value, mean, std), torch.distributions.Normal(mean, std).log_prob(value)
    )
    log_var = random(4, 3, seed=3)
    one = torch.distributions.Normal(mean, (0.5 * log_var).exp())
    standard = torch.distributions.Normal(torch.zeros(4, 3), torch.ones(4, 3))
    wanted = torch.distributions.kl_divergence(one, standard).sum(1)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_var), wanted)


# --- layers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activate_last", [False, True])
def test_an_mlp_is_linear_layers_with_activations_between(activate_last: bool) -> None:
    net = shaken(mlp((3, 5, 4, 2), activation="tanh", activate_last=activate_last))
    linear = [part for part in net if isinstance(part, nn.Linear)]
    x = random(6, 3)
    wanted = linear[2]((linear[1](linear[0](x).tanh())).tanh())
    torch.testing.assert_close(net(x), wanted.tanh() if activate_last else wanted)
    assert [(part.in_features, part.out_features) for part in linear] == [(3, 5), (5, 4), (4, 2)]


def test_pixels_lie_in_their_range() -> None:
    image = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1)
    assert pixels(image, scale="unit").flatten().tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert pixels(image, scale="signed").flatten().tolist() == pytest.approx([-1.0, -0.6, 1.0])


def test_a_conv_stack_halves_both_sides_at_each_layer() -> None:
    net = shaken(ConvStack(3, channels=(4, 6), activation="relu"))
    image = random(2, 9, 13, 3)
    y = image.permute(0, 3, 1, 2)
    for layer in net.layers:
        if isinstance(layer, nn.Conv2d):
            y = F.conv2d(F.pad(y, (1, 1, 1, 1)), layer.weight, layer.bias, stride=2).relu()
    assert y.shape == (2, 6, 3, 4)
    torch.testing.assert_close(net(image), y.reshape(2, -1))
    sides = {1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 8: 2, 9: 3, 12: 3, 13: 4, 96: 24}
    assert {side: conv_size(side, num_layers=2) for side in sides} == sides


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_a_recurrence_forgets_what_lies_before_its_window(width: int, num_steps: int) -> None:
    with scoped(0):
        net = Recurrence(width, cell="gru", hidden=3, num_layers=2)
    x = random(num_steps + 1, num_steps, width)
    is_pad = (
        torch.arange(num_steps) < torch.arange(num_steps + 1)[:, None]
    )  # row i begins with i padded steps
    found = net(x, is_pad)
    for row in range(num_steps + 1):
        assert not found[row, :row].any()
        if row < num_steps:
            alone, _ = net.layers(x[row : row + 1, row:])
            torch.testing.assert_close(found[row : row + 1, row:], alone)
    scanned, (after,) = net.scan(x, is_pad)
    torch.testing.assert_close(scanned, found)
    torch.testing.assert_close(after[1], found[:, -1])


def test_a_file_fills_the_net_itself_where_a_state_dict_holds_copies(tmp_path) -> None:
    with scoped(0):
        net = Recurrence(2, cell="lstm", hidden=3, num_layers=1)
    wanted = {name: torch.full_like(value, 0.5) for name, value in net.state_dict().items()}
    save_file(wanted, tmp_path / "weights.safetensors")
    load_pretrained(net, tmp_path / "weights.safetensors")
    assert all(bool((parameter == 0.5).all()) for parameter in net.parameters())


# --- spectral norms -------------------------------------------------------------------------------------


def test_one_call_in_training_is_one_step_of_power_iteration() -> None:
    with scoped(0):
        layer = SpectralLinear(4, 3, limit=0.7)
    weight, v = layer.weight.detach().double().numpy(), layer.direction.double().numpy()
    assert np.linalg.norm(v) == pytest.approx(1.0, abs=1e-6)
    for _ in range(3):
        v = weight.T @ (weight @ v)
        v /= np.linalg.norm(v)
        x = random(2, 4)
        limited = weight * min(1.0, 0.7 / np.linalg.norm(weight @ v))
        wanted = x.double().numpy() @ limited.T + layer.bias.detach().double().numpy()
        np.testing.assert_allclose(layer(x).detach().numpy(), wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer.direction.numpy(), v, rtol=1e-5, atol=1e-6)


def test_a_layer_of_zeros_stays_one() -> None:
    layer = SpectralLinear(4, 3, limit=0.7)
    nn.init.zeros_(layer.weight)
    for training in (True, False):
        layer.train(training)
        torch.testing.assert_close(layer(torch.ones(1, 4))[0], layer.bias)
