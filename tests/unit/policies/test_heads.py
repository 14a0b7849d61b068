"""Heads against torch.distributions and against what the theory says they converge to."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.core.parts import load_all, resolved
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Head, LazyMetrics, Target
from steadyhand.policies.heads.act import Act
from steadyhand.policies.heads.categorical import Categorical
from steadyhand.policies.heads.checks import is_aligned
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.gaussian import Gaussian, Spread
from steadyhand.policies.heads.regression import Error, Regression
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.noise import GeneratorNoise, NoNoise, RowNoise, scoped
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from unit.policies.generative import Fixed

B, H, A, C = 5, 3, 2, 4
CONTINUOUS = ChunkSpec(horizon=H, action_dim=A)
DISCRETE = ChunkSpec(horizon=H, action_dim=1, num_classes=4)


def context(rows: int = B) -> Context:
    return Context.single(torch.linspace(-1, 1, rows * C).view(rows, C))


def target(actions: Tensor, pads: int = 0) -> Target:
    is_pad = torch.zeros(actions.shape[:2], dtype=torch.bool)
    is_pad[0, actions.shape[1] - pads :] = True
    return Target(actions=actions, is_pad=is_pad, weight=(~is_pad).float())


@pytest.mark.parametrize("std", ["state", "global", "fixed"])
def test_gaussian_density_is_that_of_torch(std: str) -> None:
    with scoped(0):
        head = Gaussian(std=std, init_std=0.4).build(ContextSpec(num_tokens=1, width=C), CONTINUOUS)  # pyright: ignore
    wanted = target(torch.linspace(-1, 1, B * H * A).view(B, H, A), pads=2)
    mean, scale = head.distribution(context())
    reference = torch.distributions.Normal(mean, scale.expand_as(mean)).log_prob(wanted.actions).sum(-1)
    torch.testing.assert_close(-head.loss(context(), wanted, NoNoise()).value, reference)
    torch.testing.assert_close(head.log_prob(context(), wanted), (reference * wanted.weight).sum(1))


def test_gaussian_starts_at_init_std_and_stays_above_min_std() -> None:
    head = Gaussian(std="global", init_std=0.3, min_std=0.2).build(
        ContextSpec(num_tokens=1, width=C), CONTINUOUS
    )
    assert head.distribution(context())[1].unique().tolist() == [pytest.approx(0.3)]
    torch.nn.init.constant_(head.raw_std, -50.0)
    assert head.distribution(context())[1].min().item() == pytest.approx(0.2)


def test_gaussian_samples_have_its_moments() -> None:
    with scoped(1):
        head = Gaussian(init_std=0.5).build(ContextSpec(num_tokens=1, width=C), CONTINUOUS)
    one = Context.single(torch.ones(1, C))
    drawn = head.sample(one.rows(20_000), GeneratorNoise.seeded(0)).detach()
    mean, std = (value.detach()[0] for value in head.distribution(one))
    torch.testing.assert_close(drawn.mean(0), mean, atol=5 * 0.5 / 20_000**0.5, rtol=0)
    torch.testing.assert_close(drawn.std(0), std, atol=0, rtol=0.03)
    assert torch.equal(head.mode(one)[0], mean)


@pytest.mark.parametrize("std", ["state", "global", "fixed"])
def test_squashed_gaussian_density_is_that_of_torch(std: str) -> None:
    bounded = ChunkSpec(horizon=H, action_dim=A, is_bounded=True)
    with scoped(0):
        head = Gaussian(std=std, init_std=0.4, squash=True).build(ContextSpec(num_tokens=1, width=C), bounded)  # pyright: ignore
    wanted = target(torch.linspace(-0.99, 0.99, B * H * A).view(B, H, A), pads=2)
    mean, scale = head.distribution(context())
    normal = torch.distributions.Normal(mean.double(), scale.double().expand_as(mean))
    squashed = torch.distributions.TransformedDistribution(normal, torch.distributions.TanhTransform())
    reference = squashed.log_prob(wanted.actions.double()).sum(-1).float()
    torch.testing.assert_close(
        -head.loss(context(), wanted, NoNoise()).value, reference, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        head.log_prob(context(), wanted), (reference * wanted.weight).sum(1), rtol=1e-4, atol=1e-4
    )
    assert torch.equal(head.mode(context()), mean.tanh())


def test_squashed_gaussian_integrates_to_one_and_stays_inside() -> None:
    chunk = ChunkSpec(horizon=1, action_dim=1, is_bounded=True)
    with scoped(1):
        head = Gaussian(init_std=0.7, squash=True).build(ContextSpec(num_tokens=1, width=C), chunk)
    one, count = Context.single(torch.ones(1, C)), 20_001
    grid = torch.linspace(-0.999, 0.999, count)
    density = head.log_prob(one.rows(count), target(grid.view(-1, 1, 1))).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1.0, abs=2e-3)
    drawn = head.sample(one.rows(count), GeneratorNoise.seeded(0))
    assert drawn.abs().max() < 1.0
    below = torch.trapezoid(density[: count // 2 + 1], grid[: count // 2 + 1]).item()
    assert (drawn < 0).float().mean().item() == pytest.approx(below, abs=0.015)


def test_squashed_gaussian_survives_targets_at_the_ends() -> None:
    bounded = ChunkSpec(horizon=H, action_dim=A, is_bounded=True)
    head = Gaussian(squash=True).build(ContextSpec(num_tokens=1, width=C), bounded)
    ends = torch.tensor([-1.0, 1.0]).expand(B, H, A)
    value = head.loss(context(), target(ends), NoNoise()).value
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())
    with pytest.raises(SpecError, match="min_max"):
        Gaussian(squash=True).build(ContextSpec(num_tokens=1, width=C), CONTINUOUS)


def in_words(output: Tensor, start: int) -> Tensor:
    """Return (rows, H, A) of the flat output of a net, from a number on, step by step."""
    numbers = [[[row[start + h * A + a] for a in range(A)] for h in range(H)] for row in output.tolist()]
    return torch.tensor(numbers)


@pytest.mark.parametrize("rows", [1, B])
@pytest.mark.parametrize("std", ["state", "global", "fixed"])
def test_a_gaussian_reads_mean_and_spread_off_its_net(std: Spread, rows: int) -> None:
    """std = softplus(raw + c) + min_std, with c such that raw = 0 stands for init_std."""
    with scoped(0):
        config = Gaussian(std=std, init_std=0.4, min_std=0.05, hidden=(6,))
        head = config.build(ContextSpec(num_tokens=1, width=C), CONTINUOUS)
        if std == "global":
            nn.init.normal_(head.raw_std)
    output = head.net(context(rows).flat()).detach()
    mean = in_words(output, 0)
    shift = math.log(math.exp(0.4 - 0.05) - 1.0)
    wanted = {
        "state": lambda: (1.0 + (in_words(output, H * A) + shift).exp()).log() + 0.05,
        "global": lambda: ((1.0 + (head.raw_std + shift).exp()).log() + 0.05).expand(rows, -1, -1),
        "fixed": lambda: torch.full((rows, H, A), 0.4),
    }[std]()
    torch.testing.assert_close(head.sample(context(rows), Fixed(1.0)), mean + wanted)
    loss = head.loss(context(rows), target(torch.zeros(rows, H, A)), NoNoise())
    torch.testing.assert_close(loss.metrics["std"], wanted.sum((1, 2)) / (H * A))


@pytest.mark.parametrize("end", [-1.0, 1.0])
def test_a_squashed_target_stays_a_thousandth_inside(end: float) -> None:
    with scoped(0):
        head = Gaussian(squash=True).build(
            ContextSpec(num_tokens=1, width=C), ChunkSpec(horizon=H, action_dim=A, is_bounded=True)
        )
    at, inside, farther = (
        head.log_prob(context(), target(torch.full((B, H, A), end * value))) for value in (1.0, 0.999, 0.998)
    )
    assert torch.equal(at, inside)
    assert not torch.isclose(at, farther).any()


def test_categorical_density_mode_and_loss_agree_with_softmax() -> None:
    with scoped(2):
        head = Categorical(hidden=(8,)).build(ContextSpec(num_tokens=1, width=C), DISCRETE)
    wanted = target(torch.arange(B * H).view(B, H, 1) % 4, pads=1)
    log_prob = head.logits(context()).log_softmax(-1)
    chosen = torch.stack([log_prob[b, h, wanted.actions[b, h, 0]] for b in range(B) for h in range(H)]).view(
        B, H
    )
    torch.testing.assert_close(-head.loss(context(), wanted, NoNoise()).value, chosen)
    torch.testing.assert_close(head.log_prob(context(), wanted), (chosen * wanted.weight).sum(1))
    best = log_prob.argmax(-1)
    assert torch.equal(head.mode(context())[..., 0], best)
    right = [sum(best[b, h].item() == wanted.actions[b, h, 0] for h in range(H)) for b in range(B)]
    found = head.loss(context(), wanted, NoNoise()).metrics["accuracy"]
    torch.testing.assert_close(found, torch.tensor(right) / H)
    assert len(set(right)) > 1


def test_categorical_samples_by_its_probabilities_from_row_streams() -> None:
    with scoped(3):
        head = Categorical().build(ContextSpec(num_tokens=1, width=C), DISCRETE)
    one, count = Context.single(torch.ones(1, C)), 20_000
    streams = RowStreams(np.arange(count, dtype=np.uint64))
    drawn = head.sample(one.rows(count), RowNoise(streams))[..., 0]
    share = torch.nn.functional.one_hot(drawn, 4).float().mean(0)
    torch.testing.assert_close(share, head.logits(one)[0].softmax(-1).detach(), atol=0.02, rtol=0)


@pytest.mark.parametrize(("error", "answer"), [("mse", 3.0), ("l1", 1.0)])
def test_regression_finds_the_mean_or_the_median(error: Error, answer: float) -> None:
    """Demonstrations 0, 1, 8 at one state: mean 3, median 1."""
    head = Regression(error=error).build(
        ContextSpec(num_tokens=1, width=1), ChunkSpec(horizon=1, action_dim=1)
    )
    same = Context.single(torch.ones(3, 1))
    wanted = target(torch.tensor([0.0, 1.0, 8.0]).view(3, 1, 1))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for step in range(1500):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 1500)
        optimizer.zero_grad()
        head.loss(same, wanted, NoNoise()).value.mean().backward()
        optimizer.step()
    assert head.mode(same)[0, 0, 0].item() == pytest.approx(answer, abs=0.02)


@pytest.mark.parametrize("error", ["mse", "l1"])
def test_the_error_of_a_step_is_the_mean_over_its_dimensions(error: Error) -> None:
    with scoped(0):
        head = Regression(error=error, hidden=(5,)).build(ContextSpec(num_tokens=2, width=C), CONTINUOUS)
    tokens = torch.linspace(-1, 1, B * 2 * C).view(B, 2, C)
    answer = head.net[2](torch.relu(head.net[0](tokens.flatten(1)))).view(B, H, A)
    torch.testing.assert_close(head.mode(Context(tokens=tokens)), answer)
    actions = torch.linspace(-2, 1, B * H * A).view(B, H, A)
    value = head.loss(Context(tokens=tokens), target(actions), NoNoise()).value
    for row in range(B):
        for step in range(H):
            gaps = [(answer - actions)[row, step, dim].abs().item() for dim in range(A)]
            wanted = sum(gap**2 if error == "mse" else gap for gap in gaps) / A
            assert value[row, step].item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("head", load_all(HeadConfig), ids=lambda head: head.__name__)
def test_a_policy_is_built_only_for_actions_that_its_head_can_answer(head: type[HeadConfig]) -> None:
    vector = FeatureSpec(shape=(2,), dtype="float32")
    choice = FeatureSpec(shape=(1,), dtype="int64", kind="discrete", num_classes=3)
    allowed = head().actions
    for kind, action in (("continuous", vector), ("discrete", choice)):
        spec = PolicySpec(observation={"observation.state": vector}, action=action, control_dt=0.1)
        with nullcontext() if kind in allowed else pytest.raises(SpecError, match=f"needs {allowed[0]}"):
            PolicyModule.build(PolicyConfig(head=head()), spec)


def test_a_head_without_likelihood_says_so() -> None:
    head: Head = Regression().build(ContextSpec(num_tokens=1, width=C), CONTINUOUS)
    with pytest.raises(CapabilityError, match="no likelihood"):
        head.log_prob(context(), target(torch.zeros(B, H, A)))


def test_a_single_token_and_its_flat_vector_carry_the_same_gradient() -> None:
    one, two = (torch.arange(6.0).view(2, 3).requires_grad_() for _ in range(2))
    single = Context.single(one)
    assert torch.equal(single.flat(), single.tokens.flatten(1))
    assert torch.equal(single.rows(2).flat(), single.rows(2).tokens.flatten(1))
    single.flat().square().sum().backward()
    Context.single(two).tokens.flatten(1).square().sum().backward()
    assert torch.equal(one.grad, two.grad)


def test_lazy_metrics_are_computed_once_and_only_when_read() -> None:
    calls: list[int] = []

    def compute() -> dict[str, torch.Tensor]:
        calls.append(1)
        return {"accuracy": torch.ones(2)}

    metrics = LazyMetrics(compute)
    assert not calls
    assert {**metrics}["accuracy"].tolist() == [1.0, 1.0]
    assert len(metrics) == 1
    assert len(calls) == 1


def test_a_net_without_calls_between_its_layers_is_nn_sequential() -> None:
    ours = mlp((3, 5, 2), activation="tanh")
    theirs = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours(x), theirs(x))
    assert [*ours.state_dict()] == [*theirs.state_dict()]


def test_absent_tokens_are_zeroed_in_a_flat_context() -> None:
    tokens = torch.ones(2, 3, 2)
    is_pad = torch.tensor([[False, True, False], [False, False, True]])
    flat = Context(tokens=tokens, is_pad=is_pad).flat()
    assert flat.tolist() == [[1, 1, 0, 0, 1, 1], [1, 1, 1, 1, 0, 0]]
    assert not Context(tokens=tokens).padding().any()
    assert (
        Context(tokens=tokens, is_pad=is_pad).rows(2).padding().tolist()
        == is_pad.repeat_interleave(2, 0).tolist()
    )


LEARNT = {
    "Bins": {"range.high", "range.is_found", "range.low"},
    "LogLinear": {"range.high", "range.is_found", "range.low"},
    "GaussianHill": {"range.high", "range.is_found", "range.low"},
    "Diffusion": {"high", "low"},
    "Energy": {"cloud", "is_prepared", "stored"},
    "Judging": {"levels", "num_seen"},
    "Mixture": {"is_prepared"},
    "Primitives": {"is_prepared", "library"},
    "Ridge": {"bias", "scale_tril", "weight"},
    "Nearest": {"chunks", "keys", "offset", "scale", "squares"},
    "Tabular": {"counts", "keys"},
    "Tokens": {"centres", "is_prepared"},
}
"""What a head knows from data beside its parameters. All else follows from its settings."""
SMALL = {"Act": Act(width=8, num_heads=2, feedforward=8)}


@pytest.mark.parametrize("head", load_all(HeadConfig), ids=lambda head: head.__name__)
def test_a_head_stores_its_parameters_and_what_it_learnt_alone(head: type[HeadConfig]) -> None:
    chunk = CONTINUOUS if "continuous" in head().actions else DISCRETE
    config = SMALL.get(head.__name__) or head()
    built = config.build(ContextSpec(num_tokens=1, width=C, state_width=C), chunk)
    stored = built.state_dict().keys() - dict(built.named_parameters()).keys()
    assert stored == LEARNT.get(head.__name__, set())


@pytest.mark.parametrize(
    "head",
    [head for head in load_all(HeadConfig) if head().judgement != "none"],
    ids=lambda head: head.__name__,
)
def test_a_loss_is_one_number_for_a_window_or_for_each_of_its_steps(head: type[HeadConfig]) -> None:
    is_discrete = "continuous" not in head().actions
    config = SMALL.get(head.__name__) or head()
    built = config.build(
        ContextSpec(num_tokens=1, width=C, state_width=C), DISCRETE if is_discrete else CONTINUOUS
    )
    actions = torch.zeros(B, H, 1, dtype=torch.long) if is_discrete else torch.zeros(B, H, A)
    one = Context.single(torch.linspace(-1, 1, B * C).view(B, C), state=torch.zeros(B, C))
    loss = built.loss(one, target(actions), GeneratorNoise.seeded(0))
    assert loss.value.shape in {(B, 1), (B, H)}
    assert {name: value.shape for name, value in loss.metrics.items()} == dict.fromkeys(loss.metrics, (B,))


@pytest.mark.parametrize(
    ("num_steps", "horizon", "start", "aligned"),
    [(3, 3, -2, True), (1, 1, 0, True), (3, 3, 0, False), (2, 3, -2, False), (None, 1, 0, False)],
)
def test_tokens_belong_to_steps_where_there_is_one_for_each(num_steps, horizon, start, aligned) -> None:
    """Observed steps end at the current one, step 0: H of them are the chunk's if it begins at 1 - H."""
    size = ContextSpec(num_tokens=num_steps or 1, width=C, num_steps=num_steps)
    assert is_aligned(size, ChunkSpec(horizon=horizon, action_dim=A, start=start)) == aligned


DRIVES_WITH_SAMPLES = {"Bins", "Diffusion", "Flow", "Latent", "LogLinear", "Mixture", "Tokens"}
HONOURS_A_PREFIX = {"Bins", "Diffusion", "Flow", "Mixture"}
READS_JUDGEMENTS = {"Energy", "Judging", "Primitives"}


def built(name: str) -> Head:
    head = SMALL.get(name) or resolved(HeadConfig, name)()
    is_discrete = "continuous" not in head.actions
    chunk = DISCRETE if is_discrete else CONTINUOUS
    return head.build(ContextSpec(num_tokens=1, width=C, state_width=C), chunk)


@pytest.mark.parametrize("name", HeadConfig.ours)
def test_a_head_says_what_it_can_do(name: str) -> None:
    head = built(name)
    assert head.draws == (name in DRIVES_WITH_SAMPLES)
    assert head.inpaints == (name in HONOURS_A_PREFIX)
    assert head.judges == (name in READS_JUDGEMENTS)
