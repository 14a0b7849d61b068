"""Sampling that honours a prefix, against loops written out and a density with known modes."""

import math

import pytest
import torch
from torch import Tensor

from steadyhand.core.errors import ConfigError
from steadyhand.policies.contract import Prefix
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.inpainting import Inpainting, Method
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.noise import GeneratorNoise, NoNoise
from unit.policies.generative import Fixed, Oracle, build, context, head_with, row_noise

SMALL = DenoisingMLP(hidden=(16,), time_width=4)
# Two ways that part slowly: a fork, seen over 8 steps.
WAY = torch.tensor([0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0])[:, None]
MODES = torch.stack([WAY, -WAY])
METHODS: list[Method] = ["guidance", "overwrite", "nearest"]


def prefix_of(actions: Tensor, *, frozen: int) -> Prefix:
    weight = (torch.arange(actions.shape[1]) < frozen).float().expand(len(actions), -1)
    return Prefix(actions=actions, weight=weight)


def same_mode(config: Flow | Diffusion, *, frozen: int) -> float:
    """Share of chunks that go on the way whose first steps they were given."""
    answer = "velocity" if isinstance(config, Flow) else "epsilon"
    head = head_with(config, Oracle(MODES, 0.03, answer=answer), horizon=8)
    noise = GeneratorNoise.seeded(0)
    side = (noise.uniform(400) < 0.5).float() * 2 - 1
    earlier = side[:, None, None] * WAY + 0.03 * noise.normal(400, 8, 1)
    drawn = head.sample(context(400), noise, prefix_of(earlier, frozen=frozen))
    if config.inpainting.method != "nearest":
        assert torch.equal(drawn[:, :frozen], earlier[:, :frozen])
    return (drawn[:, -1, 0].sign() == side).float().mean().item()


@pytest.mark.parametrize("head", [Flow, Diffusion])
@pytest.mark.parametrize("method", METHODS)
def test_choosing_the_noise_keeps_the_mode(head: type[Flow | Diffusion], method: Method) -> None:
    assert same_mode(head(net=SMALL, inpainting=Inpainting(method=method)), frozen=4) >= 0.95


def test_overwriting_alone_does_not_keep_the_mode() -> None:
    alone = Flow(net=SMALL, inpainting=Inpainting(method="overwrite", candidates=1))
    chosen = Flow(net=SMALL, inpainting=Inpainting(method="overwrite"))
    assert same_mode(alone, frozen=4) < same_mode(chosen, frozen=4) - 0.1


def test_guidance_is_the_loop_written_out() -> None:
    config = Flow(net=SMALL, order=1, num_sample_steps=5, inpainting=Inpainting(candidates=1))
    head = build(config, horizon=4, action_dim=2)
    noise = GeneratorNoise.seeded(1)
    actions, weight = noise.normal(3, 4, 2), noise.uniform(3, 4)
    drawn = head.sample(context(3), GeneratorNoise.seeded(2), Prefix(actions=actions, weight=weight))

    net = head.net
    x = GeneratorNoise.seeded(2).normal(3, 1, 4, 2)[:, 0]
    for k in range(5):
        t = k / 5
        x = x.detach().requires_grad_()
        velocity = net(x, net.embed_times(torch.tensor([100 * t])), net.condition(context(3)))
        data = x + (1 - t) * velocity
        error = ((actions - data) * weight[..., None]).detach()
        (product,) = torch.autograd.grad(data, x, error)
        r2 = (1 - t) ** 2 / (t**2 + (1 - t) ** 2)
        gain = min(5.0, (1 - t) / (t * r2)) if t > 0 else 5.0
        x = x + (velocity + gain * product) / 5
    torch.testing.assert_close(drawn, x.detach(), rtol=1e-4, atol=1e-5)


def test_guidance_of_diffusion_is_that_of_the_same_flow() -> None:
    """Both follow one path if told the same levels in their own scale: compare one step's correction."""
    means, level = torch.full((1, 1, 1), 0.3), 50
    diffusion = Diffusion(net=SMALL, order=1, num_sample_steps=100, inpainting=Inpainting(candidates=1))
    head = head_with(diffusion, Oracle(means, 0.5, answer="epsilon"))
    prefix = Prefix(actions=torch.ones(1, 1, 1), weight=torch.full((1, 1), 0.5))
    plain = head.sample(context(1), Fixed(0.4)).item()
    drawn = head.sample(context(1), Fixed(0.4), prefix).item()
    assert plain < drawn < 1.2
    signal, sigma = head._sampler.levels[level].signal, head._sampler.levels[level].noise
    t = signal / (signal + sigma)
    expected = (1 - t) / (t * ((1 - t) ** 2 / (t**2 + (1 - t) ** 2)))
    assert head._sampler.levels[level].guidance == pytest.approx(expected)


def test_overwriting_is_the_loop_written_out() -> None:
    inpainting = Inpainting(method="overwrite", candidates=1)
    head = build(Flow(net=SMALL, order=1, num_sample_steps=5, inpainting=inpainting), horizon=4)
    actions = GeneratorNoise.seeded(1).normal(3, 4, 1)
    drawn = head.sample(context(3), GeneratorNoise.seeded(2), prefix_of(actions, frozen=2))
    start = x = GeneratorNoise.seeded(2).normal(3, 1, 4, 1)[:, 0]
    for k in range(5):
        t = k / 5
        x = x.clone()
        x[:, :2] = t * actions[:, :2] + (1 - t) * start[:, :2]
        x = x + head.net(x, head.net.embed_times(torch.tensor([100 * t])), head.net.condition(context(3))) / 5
    torch.testing.assert_close(drawn[:, 2:], x[:, 2:].detach(), rtol=1e-4, atol=1e-5)
    assert torch.equal(drawn[:, :2], actions[:, :2])


def test_nearest_is_the_best_of_the_candidates() -> None:
    head = build(
        Flow(net=SMALL, inpainting=Inpainting(method="nearest", candidates=6)), horizon=4, action_dim=2
    )
    actions, weight = GeneratorNoise.seeded(1).normal(3, 4, 2), GeneratorNoise.seeded(2).uniform(3, 4)
    drawn = head.sample(context(3), GeneratorNoise.seeded(4), Prefix(actions=actions, weight=weight))
    starts = GeneratorNoise.seeded(4).normal(3, 6, 4, 2)

    class Given(NoNoise):
        def normal(self, *shape: int) -> Tensor:
            return starts.flatten(0, 1)

    ends = head.sample(context(18), Given()).view(3, 6, 4, 2)
    for row in range(3):
        miss = [(weight[row] * ((end - actions[row]) ** 2).sum(1)).sum().item() for end in ends[row]]
        torch.testing.assert_close(drawn[row], ends[row, miss.index(min(miss))], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "candidates", "calls"),
    [("guidance", 1, 4), ("guidance", 2, 8), ("overwrite", 1, 4), ("nearest", 1, 4), ("nearest", 3, 4)],
)
def test_candidates_cost_one_walk_more(method: Method, candidates: int, calls: int) -> None:
    """A single noise that is drawn again needs no choice; the answer of "nearest" is a candidate."""
    net = Oracle(MODES, 0.03, answer="velocity")
    inpainting = Inpainting(method=method, candidates=candidates)
    head = head_with(Flow(net=SMALL, num_sample_steps=4, inpainting=inpainting), net, horizon=8)
    head.sample(context(2), GeneratorNoise.seeded(0), prefix_of(torch.zeros(2, 8, 1), frozen=2))
    assert net.num_calls == calls


def test_the_nearest_of_one_is_a_chunk_as_drawn_without_a_prefix() -> None:
    head = build(Flow(net=SMALL, inpainting=Inpainting(method="nearest", candidates=1)), horizon=4)
    free = head.sample(context(3), Fixed(0.4))
    found = head.sample(context(3), Fixed(0.4), prefix_of(torch.full((3, 4, 1), 9.0), frozen=2))
    assert torch.equal(found, free)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "config", [Flow(net=SMALL), Diffusion(net=SMALL, eta=0.5)], ids=["flow", "diffusion"]
)
def test_rows_do_not_depend_on_their_neighbours(config: Flow | Diffusion, method: Method) -> None:
    kind = type(config)
    options = {} if kind is Flow else {"eta": 0.5}
    head = build(kind(net=SMALL, inpainting=Inpainting(method=method, candidates=3), **options), horizon=4)
    actions = GeneratorNoise.seeded(1).normal(3, 4, 1)
    together = head.sample(context(3), row_noise(3), prefix_of(actions, frozen=1))
    for row in range(3):
        alone = head.sample(context(1), row_noise(3, only=row), prefix_of(actions[row : row + 1], frozen=1))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-5)


def test_without_weight_a_prefix_changes_nothing_but_the_draw() -> None:
    head = build(Flow(net=SMALL, inpainting=Inpainting(candidates=1)), horizon=4)
    free = prefix_of(torch.full((2, 4, 1), 9.0), frozen=0)
    torch.testing.assert_close(head.sample(context(2), NoNoise(), free), head.mode(context(2)))
    assert math.isinf(head._sampler.levels[0].guidance)


def test_a_weight_that_is_no_number_is_refused() -> None:
    for wrong in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="max_guidance"):
            Inpainting(max_guidance=wrong)
