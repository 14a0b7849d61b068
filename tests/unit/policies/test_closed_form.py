"""Policies without gradient steps against NumPy, brute force and counting by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec, discrete_spec
from steadyhand.data.episode import demonstration
from steadyhand.data.frames import Frames
from steadyhand.policies.artifact import tensors_of
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.contract import Context, ContextSpec, Target
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.log_linear import LogLinear
from steadyhand.policies.heads.nearest import Nearest
from steadyhand.policies.heads.ridge import Ridge
from steadyhand.policies.heads.ridge_head import RidgeHead
from steadyhand.policies.heads.tabular import Tabular
from steadyhand.policies.heads.tabular_head import TabularHead
from steadyhand.policies.noise import GeneratorNoise, NoNoise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.testing import check_policy
from steadyhand.training.config import EmaConfig, TrainConfig
from steadyhand.training.loop import fit
from unit.policies.closed_form import (
    CONTINUOUS,
    DISCRETE,
    SIZE,
    A,
    C,
    H,
    K,
    prepared,
    random,
    target,
)
from unit.policies.generative import Fixed


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_linear_is_weighted_ridge_regression(alpha: float) -> None:
    """Ridge with a free intercept is least squares with C more rows; each step has its own weights."""
    x, y = random(40, C) * torch.tensor([1.0, 3.0, 0.2, 1.0]) + 2.0, random(40, H, A, seed=1)
    weight = torch.rand(40, H, generator=torch.Generator().manual_seed(2))
    weight[:10, 2] = 0.0
    head = prepared(Ridge(alpha=alpha).build(SIZE, CONTINUOUS), x, target(y, weight))
    mean = head.mode(Context.single(x))
    for step in range(H):
        root = weight[:, step].double().sqrt().numpy()[:, None]
        rows = np.vstack([root * np.c_[x.double(), np.ones(40)], np.c_[np.eye(C), np.zeros(C)] * alpha**0.5])
        right = np.vstack([root * y[:, step].double().numpy(), np.zeros((C, A))])
        solution = np.linalg.lstsq(rows, right, rcond=None)[0]
        wanted = np.c_[x.double(), np.ones(40)] @ solution
        np.testing.assert_allclose(mean[:, step], wanted, atol=1e-5)
        error = wanted - y[:, step].double().numpy()
        covariance = (error * root**2).T @ error / (root**2).sum() + 0.01**2 * np.eye(A)
        factor = head.scale_tril[step]
        np.testing.assert_allclose(factor @ factor.T, covariance, atol=1e-5)


def test_linear_has_the_density_of_its_residuals() -> None:
    x, y = random(40, C), random(40, H, A, seed=1)
    head = prepared(Ridge().build(SIZE, CONTINUOUS), x, target(y))
    context, wanted = Context.single(x), target(y)
    reference = torch.distributions.MultivariateNormal(head.mode(context), scale_tril=head.scale_tril)
    torch.testing.assert_close(-head.loss(context, wanted, NoNoise()).value, reference.log_prob(y))
    torch.testing.assert_close(head.log_prob(context, wanted), reference.log_prob(y).sum(1))
    drawn = head.sample(Context.single(x[:1].expand(20_000, -1)), GeneratorNoise.seeded(0))
    torch.testing.assert_close(drawn[:, 0].T.cov(), reference.covariance_matrix[0, 0], atol=0.04, rtol=0)


def test_linear_with_fewer_windows_than_features_takes_the_smallest_solution() -> None:
    x, y = random(3, C), random(3, H, A, seed=1)
    wide = torch.cat([x, x, x], 1)
    head = prepared(
        Ridge(alpha=0.0).build(ContextSpec(num_tokens=1, width=3 * C), CONTINUOUS), wide, target(y)
    )
    torch.testing.assert_close(head.mode(Context.single(wide)), y, atol=1e-4, rtol=0)
    parts = head.weight.unflatten(1, (3, C))
    torch.testing.assert_close(parts[:, 0], parts[:, 1], atol=1e-5, rtol=0)


def test_linear_refuses_what_it_cannot_solve() -> None:
    assert Ridge().build(ContextSpec(num_tokens=16, width=512), CONTINUOUS).weight.shape == (H, 8192, A)
    with pytest.raises(ConfigError, match="8193 features"):
        Ridge().build(ContextSpec(num_tokens=1, width=8193), CONTINUOUS)


def test_linear_leaves_a_step_without_labels_as_it_was_and_a_feature_that_is_always_zero() -> None:
    """Two points lie on a line; nothing is known of the first feature, nor of the middle step."""
    x, y = random(9, C), random(9, H, A, seed=1)
    x[:, 0] = 0.0
    y[:, 0] = x @ random(C, A, seed=2) - 0.5
    weight = torch.ones(9, H)
    weight[:, 1] = 0.0
    head = prepared(Ridge(alpha=0.0).build(SIZE, CONTINUOUS), x, target(y, weight))
    mean = head.mode(Context.single(x))
    torch.testing.assert_close(mean[:, 0], y[:, 0], atol=1e-5, rtol=0)
    assert not mean[:, 1].any()
    assert torch.equal(head.scale_tril[1], torch.eye(A))
    assert head.weight[:, 0].abs().max() < 1e-6


def test_the_metric_of_linear_is_the_error_of_the_steps_that_are_there() -> None:
    x, y = random(12, C), random(12, H, A, seed=1)
    head = prepared(Ridge().build(SIZE, CONTINUOUS), x, target(y))
    is_pad = torch.arange(H) > (torch.arange(12) % 3)[:, None]  # one, two or three steps
    padded = Target(actions=y, is_pad=is_pad, weight=(~is_pad).float())
    error = (head.mode(Context.single(x)) - y).square().mean(2)
    wanted = [error[row, : row % 3 + 1].mean().item() for row in range(12)]
    metrics = head.loss(Context.single(x), padded, NoNoise()).metrics
    assert metrics["squared_error"].tolist() == pytest.approx(wanted, rel=1e-5)
    reference = torch.distributions.MultivariateNormal(
        head.mode(Context.single(x)), scale_tril=head.scale_tril
    )
    wanted = reference.log_prob(y).masked_fill(is_pad, 0.0).sum(1)
    torch.testing.assert_close(head.log_prob(Context.single(x), padded), wanted)
    drawn = head.sample(Context.single(x), Fixed(2.0)) - head.mode(Context.single(x))
    torch.testing.assert_close(drawn, 2.0 * head.scale_tril.sum(2).expand(12, H, A))


def chain(num_states: int = 4, repeats: int = 12) -> Frames:
    """Return demonstrations on a chain: in state s, class 1 in 3 s of 12 visits, class 0 in the others."""
    spec = {"observation.cell": discrete_spec(num_states + 1)}
    episodes = []
    for repeat in range(repeats):
        actions = np.array([[int(repeat < 3 * cell)] for cell in range(num_states)], dtype=np.int64)
        cells = np.arange(num_states, dtype=np.int64)[:, None]
        episodes.append(demonstration({"observation.cell": cells}, actions, control_dt=1.0))
    return Frames.from_episodes(episodes, observation_spec=spec, action_spec=discrete_spec(K))


@pytest.mark.parametrize("prior", [1.0, 1e-6])
def test_tabular_counts_the_demonstrations_of_a_chain(prior: float) -> None:
    frames = chain()
    policy = PolicyModule.build(
        PolicyConfig(encoder=StateMLP(hidden=()), head=Tabular(prior=prior)), PolicySpec.of_frames(frames)
    )
    fit(policy, WindowSource(frames, policy.window), config=TrainConfig(batch_size=5))
    window = torch.arange(5).view(5, 1, 1)
    head = policy.head
    assert len(head.keys) == 4
    context = policy.encode({"observation.cell": window}, torch.zeros(5, 1, dtype=torch.bool), None)
    ones = 3.0 * torch.arange(4)
    wanted = torch.stack([12.0 - ones, ones, torch.zeros(4)], 1) + prior
    wanted = torch.cat(
        [wanted / wanted.sum(1, keepdim=True), torch.full((1, K), 1 / K)]
    )  # cell 4: never seen
    torch.testing.assert_close(head.probabilities(context)[:, 0], wanted)
    assert policy.predict_chunk({"observation.cell": window}).flatten().tolist()[:4] == [0, 0, 0, 1]
    batch = WindowSource(frames, policy.window).batch(np.arange(len(frames)))
    cell, action = batch.observation["observation.cell"][:, 0, 0], batch.actions[:, 0, 0]
    torch.testing.assert_close(policy.log_prob(batch), wanted[cell, action].log())
    many = torch.full((20_000, 1, 1), 3)
    drawn = policy.predict_chunk({"observation.cell": many}, noise=GeneratorNoise.seeded(0))
    assert (drawn == 1).float().mean().item() == pytest.approx(wanted[3, 1].item(), abs=0.02)


def test_tabular_counts_weights_and_forgives_rounding() -> None:
    """Three contexts in batches of seven; each comes with rounding noise of its own."""
    which = torch.arange(30) % 3
    contexts = random(3, C)[which] + 1e-6 * random(30, C, seed=1)
    classes = (torch.arange(30) // 3 % 2).view(30, 1, 1).expand(-1, H, 1)
    weight = torch.where(classes[..., 0] == 1, 3.0, 1.0)
    head = prepared(Tabular(prior=1.0).build(SIZE, DISCRETE), contexts, target(classes, weight))
    assert head.counts.shape == (3, H, K)
    wanted = torch.tensor([5.0 + 1.0, 15.0 + 1.0, 1.0]) / 23.0
    torch.testing.assert_close(
        head.probabilities(Context.single(contexts)), wanted.expand(30, H, K), atol=1e-6, rtol=0
    )
    elsewhere = Context.single(contexts + 0.01)
    assert head.loss(elsewhere, target(classes), NoNoise()).metrics["seen"].sum() == 0
    torch.testing.assert_close(head.probabilities(elsewhere), torch.full((30, H, K), 1 / 3))


def test_tabular_counts_contexts_whose_nearness_is_no_grouping() -> None:
    """The middle one is near both others, which are not near each other: two keys, and no count is lost."""
    contexts = torch.zeros(3, C)
    contexts[:, 0] = torch.tensor([0.0, 0.8e-4, 1.6e-4])
    classes = torch.tensor([0, 0, 2]).view(3, 1, 1).expand(-1, H, 1)
    head = prepared(Tabular(prior=1.0).build(SIZE, DISCRETE), contexts, target(classes))
    assert len(head.keys) == 2
    assert head.counts.sum().item() == 3 * H
    last = head.probabilities(Context.single(contexts[2:]))[0, 0]
    torch.testing.assert_close(last, torch.tensor([0.25, 0.25, 0.5]))


def table(contexts: Tensor, classes: Tensor, *, prior: float = 1.0) -> TabularHead:
    head = prepared(Tabular(prior=prior).build(SIZE, DISCRETE), contexts, target(classes))
    assert isinstance(head, TabularHead)
    return head


def test_tabular_knows_nothing_before_it_is_prepared() -> None:
    head = Tabular().build(SIZE, DISCRETE)
    assert set(head.data_sized) == {"keys", "counts"}
    assert [len(head.get_buffer(name)) for name in head.data_sized] == [0, 0]
    even = torch.full((5, H, K), 1 / K)
    torch.testing.assert_close(head.probabilities(Context.single(random(5, C))), even)


def test_tabular_of_one_context_knows_it_from_all_others() -> None:
    contexts, classes = random(1, C).expand(4, C), torch.tensor([0, 2, 2, 2]).view(4, 1, 1).expand(4, H, 1)
    head = table(contexts, classes)
    assert len(head.keys) == 1
    two = Context.single(torch.stack([contexts[0], contexts[0] + 1.0]))
    known, unknown = torch.tensor([2.0, 1.0, 4.0]) / 7.0, torch.full((K,), 1 / K)
    wanted = torch.stack([known.expand(H, K), unknown.expand(H, K)])
    torch.testing.assert_close(head.probabilities(two), wanted)
    ones = torch.tensor([[2, 0, 1], [1, 1, 2]])[..., None]
    loss = head.loss(two, target(ones), NoNoise())
    torch.testing.assert_close(loss.value, -wanted.gather(2, ones)[..., 0].log())
    assert loss.metrics["seen"].tolist() == [1.0, 0.0]
    is_pad = torch.tensor([[False, True, True], [False, False, True]])
    padded = Target(actions=ones, is_pad=is_pad, weight=(~is_pad).float())
    torch.testing.assert_close(head.log_prob(two, padded), -loss.value.masked_fill(is_pad, 0.0).sum(1))
    assert head.mode(two)[..., 0].tolist() == [[2, 2, 2], [0, 0, 0]]


def test_tabular_takes_contexts_as_one_up_to_its_tolerance() -> None:
    """One entry apart by 1e-4 exactly, and by a little more."""
    for gap, count in ((1e-4, 1), (1.1e-4, 2)):
        contexts = torch.zeros(2, C)
        contexts[1, 2] = gap
        classes = torch.tensor([0, 1]).view(2, 1, 1).expand(2, H, 1)
        assert len(table(contexts, classes).keys) == count
        alone = table(contexts[:1], classes[:1])
        assert alone.row(Context.single(contexts[1:]))[1].item() == (count == 1)


def test_tabular_meets_new_contexts_in_later_batches_and_begins_anew_each_time() -> None:
    """Batches of seven rows: the second holds known contexts and new ones."""
    which = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1, 2, 1, 3, 2, 3, 3, 0, 4, 4])
    contexts, classes = random(5, C)[which], (which % K).view(-1, 1, 1).expand(-1, H, 1)
    head = table(contexts, classes)
    for _ in range(2):
        assert len(head.keys) == 5
        rows = head.row(Context.single(random(5, C)))[0]
        assert head.counts[rows].sum((1, 2)).tolist() == [5.0 * H, 5.0 * H, 2.0 * H, 3.0 * H, 2.0 * H]
        prepared(head, contexts, target(classes))


def line() -> Frames:
    """Return episodes with action = 0.3 + 2 x_0 - x_1 exactly."""
    spec, action = {"observation.state": FeatureSpec(shape=(2,))}, FeatureSpec(shape=(1,))
    episodes = []
    for first in range(3):
        state = random(10, 2, seed=first).numpy()
        wanted = (0.3 + 2.0 * state[:, :1] - state[:, 1:]).astype(np.float32)
        episodes.append(demonstration({"observation.state": state}, wanted, control_dt=0.1))
    return Frames.from_episodes(episodes, observation_spec=spec, action_spec=action)


@pytest.mark.parametrize("head", [Ridge(alpha=0.0), Nearest()])
def test_a_run_is_prepared_measured_once_and_resumes(head: Ridge | Nearest, tmp_path: Path) -> None:
    frames = line()
    config = TrainConfig(num_steps=500, batch_size=8, ema=EmaConfig(), clip_norm=1.0)

    def new() -> tuple[PolicyModule, WindowSource]:
        encoder = StateMLP(hidden=(16,)) if isinstance(head, Nearest) else StateMLP(hidden=())
        policy = PolicyModule.build(PolicyConfig(encoder=encoder, head=head), PolicySpec.of_frames(frames))
        policy.fit_statistics(frames)
        return policy, WindowSource(frames, policy.window)

    policy, source = new()
    before = {name: value.clone() for name, value in policy.encoder.named_parameters()}
    result = fit(
        policy, source, config=config, validation=source, folder=tmp_path, evaluate=lambda *_: {"x": 1}
    )
    assert result.steps == 1
    assert all(torch.equal(before[name], value) for name, value in policy.encoder.named_parameters())
    lines = [json.loads(text) for text in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in lines] == [1]
    assert {"loss", "validation_loss", "x"} <= set(lines[0])
    batch = source.batch(np.arange(len(frames)))
    torch.testing.assert_close(policy.predict_chunk(batch.observation), batch.actions, atol=1e-4, rtol=0)
    again, _ = new()
    resumed = fit(again, source, config=config, validation=source, folder=tmp_path, resume=True)
    assert resumed.history == result.history
    one, two = tensors_of(policy), tensors_of(again)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_only_what_is_solved_calls_itself_a_closed_form() -> None:
    heads = [
        Ridge().build(SIZE, CONTINUOUS),
        Nearest().build(SIZE, CONTINUOUS),
        Tabular().build(SIZE, DISCRETE),
    ]
    assert all(head.closed_form and not list(head.parameters()) for head in heads)
    assert not LogLinear().build(SIZE, CONTINUOUS).closed_form


def test_a_head_without_parameters_must_call_itself_a_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    config = PolicyConfig(encoder=StateMLP(hidden=()), head=Ridge())
    check_policy(config)
    monkeypatch.setattr(RidgeHead, "closed_form", False)
    with pytest.raises(AssertionError, match="closed form, or not"):
        check_policy(config)
