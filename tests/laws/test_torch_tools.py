"""Tools that users know from torch work on our policies: hooks, adapters, quantisation."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.optimizer import register_optimizer_step_post_hook

from steadyhand.policies.batch import Batch, WindowSource
from steadyhand.policies.encoders.causal import CausalTransformer
from steadyhand.policies.encoders.image import SmallConv
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.bins import Bins
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.nets.denoising_transformer import DenoisingTransformer
from steadyhand.policies.nets.unet1d import UNet
from steadyhand.policies.noise import GeneratorNoise, scoped
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.shortcuts import without_shortcuts
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.testing.toy import CONTINUOUS_ACTION, IMAGE_OBSERVATION, VECTOR_OBSERVATION, toy_frames
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit

VECTORS = StateMLP(hidden=(16,))
CONFIGS = [
    PolicyConfig(encoder=VECTORS, head=Regression(hidden=(16,))),
    PolicyConfig(encoder=SmallConv(channels=(4, 8), width=16), head=Regression()),
    PolicyConfig(encoder=Recurrent(hidden=16), head=Mixture(num_modes=2), n_obs_steps=3),
    PolicyConfig(encoder=CausalTransformer(width=16, num_layers=1, num_heads=2), head=Mixture(num_modes=2)),
    PolicyConfig(encoder=VECTORS, head=Bins(num_bins=8, width=16), horizon=2),
    PolicyConfig(encoder=VECTORS, head=Flow(net=DenoisingMLP(hidden=(16, 16), time_width=8)), horizon=4),
    PolicyConfig(
        encoder=VECTORS, head=Flow(net=UNet(channels=(8, 8), num_groups=4, time_width=8)), horizon=4
    ),
    PolicyConfig(
        encoder=VECTORS,
        head=Flow(net=DenoisingTransformer(width=16, num_layers=1, num_heads=2)),
        horizon=4,
    ),
]
every_policy = pytest.mark.parametrize(
    "config", CONFIGS, ids=lambda one: f"{type(one.encoder).__name__}-{type(one.head).__name__}"
)


def made(config: PolicyConfig) -> tuple[PolicyModule, WindowSource]:
    observation = VECTOR_OBSERVATION | (IMAGE_OBSERVATION if isinstance(config.encoder, SmallConv) else {})
    frames = toy_frames(observation, CONTINUOUS_ACTION)
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames))
    policy.fit_statistics(frames)
    return policy, WindowSource(frames, policy.window)


def answered(policy: PolicyModule, batch: Batch) -> Tensor:
    return policy.predict_chunk(batch.observation, batch.obs_is_pad, noise=GeneratorNoise.seeded(0))


def losses(policy: PolicyModule, batch: Batch) -> Tensor:
    return policy.loss_rows(batch, GeneratorNoise.seeded(0)).numerator


def layers(policy: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers that have weights of their own."""
    return (
        (name, one)
        for name, one in policy.named_modules()
        if any(True for _ in one.parameters(recurse=False))
    )


@every_policy
@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_hooks_of_every_layer_run_both_ways_and_change_nothing(config: PolicyConfig) -> None:
    policy, source = made(config)
    batch = source.batch(np.arange(4))
    before = losses(policy, batch)
    forth, back = set[str](), set[str]()
    for name, layer in layers(policy):
        layer.register_forward_hook(lambda *_, name=name: forth.add(name))
        if not list(layer.children()):  # those above return more than a tensor
            layer.register_full_backward_hook(lambda *_, name=name: back.add(name))
    rows = policy.loss_rows(batch, GeneratorNoise.seeded(0))
    rows.mean().backward()
    torch.testing.assert_close(rows.numerator, before, rtol=0.0, atol=0.0)
    assert forth == {name for name, _ in layers(policy)}
    assert back == {name for name, layer in layers(policy) if not list(layer.children())}


class Adapter(nn.Module):
    """A sum of a weight and a product of two thin matrices (LoRA: Hu et al., 2022)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.down = nn.Parameter(0.1 * torch.randn(2, weight.shape[1]))
        self.up = nn.Parameter(torch.zeros(weight.shape[0], 2))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


class Adapted(nn.Module):
    """The same around a layer, which is how adapters are put in place of it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.base = layer
        self.adapter = Adapter(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.adapter(self.base.weight), self.base.bias)


def adapt(policy: PolicyModule, *, in_place: bool) -> None:
    policy.requires_grad_(requires_grad=False)
    for name, layer in list(policy.named_modules()):
        if type(layer) is not nn.Linear:
            continue
        if in_place:
            parametrize.register_parametrization(layer, "weight", Adapter(layer.weight))
        else:
            parent, _, own = name.rpartition(".")
            setattr(policy.get_submodule(parent), own, Adapted(layer))


@every_policy
@pytest.mark.parametrize("in_place", [True, False], ids=["parametrized", "replaced"])
def test_adapters_of_linear_layers_train_alone(config: PolicyConfig, in_place: bool) -> None:
    policy, source = made(config)
    fit(policy, source, config=TrainConfig(num_steps=1, batch_size=4))
    batch = source.batch(np.arange(4))
    before = losses(policy, batch)
    adapt(policy, in_place=in_place)
    torch.testing.assert_close(losses(policy, batch), before, rtol=0.0, atol=0.0)
    weights = {name: one.clone() for name, one in policy.named_parameters()}
    fit(policy, source, config=TrainConfig(num_steps=3, batch_size=4, warmup_steps=0, learning_rate=0.1))
    moved = {name for name, one in policy.named_parameters() if not torch.equal(one, weights[name])}
    assert moved
    assert all(name.endswith((".up", ".down")) or ".0.up" in name or ".0.down" in name for name in moved)
    assert not torch.equal(losses(policy, batch), before)


@every_policy
@pytest.mark.filterwarnings("ignore")
def test_a_quantised_policy_answers_nearly_the_same(config: PolicyConfig) -> None:
    policy, source = made(config)
    batch = source.batch(np.arange(8))
    small = torch.ao.quantization.quantize_dynamic(
        deepcopy(policy).eval(), {nn.Linear, nn.LSTM, nn.GRU}, dtype=torch.qint8
    )
    left = [name for name, layer in small.named_modules() if type(layer) in (nn.Linear, nn.LSTM, nn.GRU)]
    assert not left
    answer, exact = answered(small, batch), answered(policy, batch)
    assert answer.shape == exact.shape
    if not isinstance(config.head, Bins | Mixture):  # a class may tip over
        assert (answer - exact).abs().max() < 0.2 * exact.std()


def test_without_shortcuts_torch_does_the_same_bit_for_bit() -> None:
    stepped: list[object] = []
    weights: list[dict[str, Tensor]] = []
    config = TrainConfig(num_steps=4, batch_size=8, weight_decay=0.1)
    for is_plain in (False, True):
        policy, source = made(replace(CONFIGS[0], horizon=2))
        if is_plain:
            handle = register_optimizer_step_post_hook(lambda *_: stepped.append(1))
            with without_shortcuts():
                fit(policy, source, config=config)
            handle.remove()
        else:
            fit(policy, source, config=config)
        weights.append({name: one.detach().clone() for name, one in policy.named_parameters()})
    assert len(stepped) == 4
    assert all(torch.equal(one, weights[1][name]) for name, one in weights[0].items())


def test_a_scope_has_the_numbers_of_its_seed_and_leaves_those_outside_alone() -> None:
    before = torch.random.get_rng_state()
    drawn: list[list[float]] = []
    for seed in (3, 3, 4):
        with scoped(seed):
            drawn.append(torch.randn(4).tolist())
        assert torch.equal(torch.random.get_rng_state(), before)
    assert drawn[0] == drawn[1] != drawn[2]
