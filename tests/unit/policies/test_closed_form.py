"""Policies without gradient steps against NumPy, brute force and counting by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from steadyhand.core.errors import CapabilityError, ConfigError, DataError
from steadyhand.core.specs import FeatureSpec, discrete_spec
from steadyhand.data.episode import demonstration
from steadyhand.data.frames import Frames
from steadyhand.policies.artifact import tensors_of
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads import nearest_head as nearest
from steadyhand.policies.heads.log_linear import LogLinear
from steadyhand.policies.heads.nearest import Nearest
from steadyhand.policies.heads.ridge import Ridge
from steadyhand.policies.heads.ridge_head import RidgeHead
from steadyhand.policies.heads.tabular import Tabular
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
    with pytest.raises(ConfigError, match="features"):
        Ridge().build(ContextSpec(num_tokens=300, width=512), CONTINUOUS)


@pytest.mark.parametrize("num_neighbours", [1, 4])
@pytest.mark.parametrize("distances", [1 << 24, 90])
def test_nearest_is_brute_force(num_neighbours: int, distances: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_DISTANCES", distances)
    keys, chunks = random(30, C) * torch.tensor([1.0, 100.0, 0.1, 1.0]) + 5.0, random(30, H, A, seed=1)
    query = random(9, C, seed=2) * torch.tensor([1.0, 100.0, 0.1, 1.0]) + 5.0
    config = Nearest(num_neighbours=num_neighbours, temperature=0.5)
    head = prepared(config.build(SIZE, CONTINUOUS), keys, target(chunks))
    spread = keys.double().numpy().std(0)
    far = np.linalg.norm((query.double().numpy()[:, None] - keys.double().numpy()) / spread, axis=-1)
    drawn = head.sample(Context.single(query), GeneratorNoise.seeded(0))
    mode = head.mode(Context.single(query))
    for row in range(9):
        order = np.argsort(far[row])[:num_neighbours]
        weight = np.exp(-far[row, order] / 0.5)
        wanted = np.tensordot(weight / weight.sum(), chunks.numpy()[order], 1)
        np.testing.assert_allclose(mode[row], wanted, atol=1e-5)
        assert any(torch.equal(drawn[row], chunks[index]) for index in order)


def test_nearest_keeps_modes_that_a_mean_of_neighbours_loses() -> None:
    keys, chunks = torch.zeros(2, C), torch.tensor([-1.0, 1.0]).view(2, 1, 1).expand(2, H, A)
    here = Context.single(torch.zeros(1000, C))
    one = prepared(Nearest().build(SIZE, CONTINUOUS), keys, target(chunks))
    two = prepared(Nearest(num_neighbours=2).build(SIZE, CONTINUOUS), keys, target(chunks))
    assert one.mode(here).unique().tolist() == [-1.0]
    assert two.mode(here).abs().max() < 1e-6
    drawn = two.sample(here, GeneratorNoise.seeded(0))
    assert drawn.unique().tolist() == [-1.0, 1.0]
    assert (drawn == drawn[:, :1, :1]).all()
    assert drawn.mean().item() == pytest.approx(0.0, abs=0.15)


def test_nearest_stores_no_action_without_a_weight() -> None:
    chunks = torch.arange(4.0 * H).view(4, H, 1).expand(-1, -1, A)
    weight = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    head = prepared(Nearest().build(SIZE, CONTINUOUS), random(4, C), target(chunks, weight))
    assert head.chunks[..., 0].tolist() == [[0.0, 0.0, 2.0], [5.0, 5.0, 5.0], [9.0, 9.0, 9.0]]
    with pytest.raises(DataError, match="stored"):
        prepared(head, random(4, C), target(chunks, torch.zeros(4, H)))


@pytest.mark.parametrize("num_neighbours", [1, 3])
def test_nearest_takes_the_first_of_many_equals_in_any_batch(num_neighbours: int) -> None:
    """200 windows from 4 starts, as 50 demonstrations have: rounding must not choose among them."""
    keys = 1000.0 + random(4, 33).repeat(50, 1)
    size = ContextSpec(num_tokens=1, width=33)
    head = prepared(
        Nearest(num_neighbours=num_neighbours).build(size, CONTINUOUS), keys, target(random(200, H, A))
    )
    query = 1000.0 + random(4, 33)
    first = torch.arange(4)[:, None] + 4 * torch.arange(num_neighbours)
    for rows in (query, query[:1], query[1:3], query[3:]):
        start = 0 if rows is query else int((query == rows[0]).all(1).int().argmax())
        distance, index = head.neighbours(Context.single(rows))
        assert torch.equal(index, first[start : start + len(rows)])
        assert distance.max() < 1e-3


def test_nearest_votes_on_classes() -> None:
    keys, classes = torch.tensor([[0.0], [1.0], [1.1]]), torch.tensor([0, 2, 2]).view(3, 1, 1)
    size, chunk = ContextSpec(num_tokens=1, width=1), ChunkSpec(horizon=1, action_dim=1, num_classes=K)
    here = Context.single(torch.tensor([[0.4]]))
    answers = [
        prepared(Nearest(num_neighbours=count).build(size, chunk), keys, target(classes)).mode(here).item()
        for count in (1, 3)
    ]
    assert answers == [0, 2]


def test_nearest_without_neighbours_says_so() -> None:
    head = Nearest().build(SIZE, CONTINUOUS)
    with pytest.raises(CapabilityError, match="no neighbours"):
        head.mode(Context.single(random(2, C)))


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


def test_nearest_does_not_blow_up_what_the_normaliser_left_small() -> None:
    """An entry that trembles by a thousandth decides nothing beside one that moves."""
    draws = np.random.default_rng(0)
    keys = torch.from_numpy(np.stack([np.arange(30.0), *draws.normal(0, 1e-3, (C - 1, 30))], axis=1)).float()
    head = prepared(Nearest().build(SIZE, CONTINUOUS), keys, target(random(30, H, A)))
    query = keys[7:8] + torch.tensor([[0.1, 0.02, -0.02, 0.02]])
    assert isinstance(head, nearest.NearestHead)
    assert head.neighbours(Context.single(query))[1][0, 0] == 7


def test_nearest_scales_what_moves_by_its_spread_and_what_does_not_by_the_largest() -> None:
    """An entry moves from 2e-3 of the largest spread on; a spread above 1 counts as 1."""
    unit = torch.tensor([-1.0, 1.0])
    for largest, spreads, scales in (
        (0.1, (0.1, 3e-4, 1e-4), (0.1, 3e-4, 0.1)),
        (5.0, (5.0, 3e-3, 1e-3), (5.0, 3e-3, 5.0)),
        (0.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ):
        keys = unit[:, None] * torch.tensor([*spreads, 0.0])
        head = prepared(Nearest().build(SIZE, CONTINUOUS), keys, target(random(2, H, A)))
        assert isinstance(head, nearest.NearestHead)
        torch.testing.assert_close(head.scale, torch.tensor([*scales, largest or 1.0]))
        torch.testing.assert_close(head.offset, torch.zeros(4))


def test_nearest_draws_a_neighbour_by_its_distance_over_the_temperature() -> None:
    keys, chunks = torch.zeros(3, C), random(3, H, A)
    keys[:, 0] = torch.tensor([0.0, 1.0, 9.0])
    head = prepared(Nearest(num_neighbours=2, temperature=0.5).build(SIZE, CONTINUOUS), keys, target(chunks))
    query = Context.single(torch.zeros(4000, C))
    distance = head.neighbours(query)[0][0]
    drawn = head.sample(query, GeneratorNoise.seeded(0))
    first = (drawn == chunks[0]).flatten(1).all(1).float().mean()
    assert first == pytest.approx((-distance / 0.5).softmax(0)[0].item(), abs=0.03)
    assert (drawn == chunks[1]).flatten(1).all(1).float().mean() == pytest.approx(1 - first.item())
