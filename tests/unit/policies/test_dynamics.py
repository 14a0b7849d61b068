"""The learnt dynamics model: its constants bound what they claim, and its penalty limits what it claims."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import CapabilityError, ConfigError, DataError
from steadyhand.policies.dynamics import Dynamics, TransitionBatch, Transitions, TransitionSource
from steadyhand.policies.dynamics_config import DynamicsConfig, SlopePenalty, Spectral, Unlimited
from steadyhand.policies.nets.spectral import SpectralLinear, spectral_norm
from steadyhand.policies.noise import GeneratorNoise, scoped
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit

A = np.array([[1.0, 0.1, 0.0], [-0.3, 0.9, 0.05], [0.0, 0.02, 0.7]])
B = np.array([[0.0, 0.2], [0.5, 0.0], [0.1, -0.3]])
TRAINING = TrainConfig(
    num_steps=400, batch_size=128, learning_rate=3e-2, weight_decay=0.0, warmup_steps=0, log_every=1000
)


def linear(count: int = 512, *, seed: int = 0) -> Transitions:
    """Transitions of s' = A s + B a, each dimension of another size."""
    rng = np.random.default_rng(seed)
    state = (rng.normal(size=(count, 3)) * [0.1, 1.0, 20.0] + [0.0, 5.0, -3.0]).astype(np.float32)
    action = (rng.normal(size=(count, 2)) * [1.0, 0.2]).astype(np.float32)
    return Transitions(state=state, action=action, next_state=(state @ A.T + action @ B.T).astype(np.float32))


def built(config: DynamicsConfig, data: Transitions, *, seed: int = 0) -> Dynamics:
    model = Dynamics.build(config, state_dim=data.state.shape[1], action_dim=data.action.shape[1], seed=seed)
    model.fit_statistics(data)
    return model


def steep(config: DynamicsConfig, data: Transitions) -> Dynamics:
    """A model whose layers are far steeper than a fresh net's."""
    model = built(config, data)
    with torch.no_grad():
        for layer in model.net:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(5.0)
    return model


CONFIGS = [
    DynamicsConfig(hidden=(16, 16), lipschitz=Unlimited()),
    DynamicsConfig(hidden=(16, 16), lipschitz=Spectral(per_layer=1.5)),
    DynamicsConfig(hidden=(16,), activation="tanh", lipschitz=Spectral(per_layer=0.7)),
    DynamicsConfig(hidden=(), lipschitz=Unlimited()),
]


def test_a_spectral_layer_projects_onto_the_ball_and_leaves_gentle_weights_alone() -> None:
    layer = SpectralLinear(6, 4, limit=1.3).eval()
    values = torch.tensor([5.0, 2.0, 1.0, 0.1])
    noise = GeneratorNoise.seeded(0)
    left, right = torch.linalg.qr(noise.normal(4, 4))[0], torch.linalg.qr(noise.normal(6, 4))[0]
    with torch.no_grad():
        layer.weight.copy_(left @ torch.diag(values) @ right.T)
        assert torch.allclose(layer.limited(), layer.weight * 1.3 / 5.0, atol=1e-6)
        layer.weight.mul_(0.2)
        assert torch.equal(layer.limited(), layer.weight)


def test_power_iteration_finds_the_norm_while_training() -> None:
    with scoped(1):
        layer = SpectralLinear(20, 30, limit=0.5)
    for _ in range(200):
        layer(torch.zeros(1, 20))
    assert torch.allclose(spectral_norm(layer.limited().detach()), torch.tensor(0.5), rtol=1e-4)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_snapshot_is_the_model_in_double_precision(config: DynamicsConfig) -> None:
    data = linear()
    model = steep(config, data).eval()
    want = model(torch.from_numpy(data.state), torch.from_numpy(data.action)).detach().numpy()
    got = model.snapshot().step(data.state, data.action)
    assert np.allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_jacobian_is_the_limit_of_differences(config: DynamicsConfig) -> None:
    data = linear(700)
    model = steep(config, data).snapshot()
    slopes = model.both_jacobians(data.state, data.action)
    states, actions = data.state.astype(np.float64), data.action.astype(np.float64)
    inputs = np.concatenate([states, actions], axis=1)
    step = 1e-7
    for index in range(5):
        shift = np.zeros(5)
        shift[index] = step
        ahead, behind = inputs + shift, inputs - shift
        rise = model.residual(ahead[:, :3], ahead[:, 3:]) - model.residual(behind[:, :3], behind[:, 3:])
        off = np.abs(rise / (2 * step) - slopes[..., index]).max(axis=1)
        assert np.mean(off < 1e-4) > 0.995  # a kink of a ReLU may lie between the two
    assert np.array_equal(model.jacobian(data.state, data.action), slopes[..., :3])
    norms = [np.linalg.svd(slope[:, :3])[1][0] for slope in slopes]
    assert np.allclose(model.local_lipschitz(data.state, data.action), norms)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_end_to_end_constant_bounds_finite_differences(config: DynamicsConfig) -> None:
    data = linear()
    model = steep(config, data).snapshot()
    bound = model.end_to_end()
    rng = np.random.default_rng(3)
    for size in (1e-6, 1.0, 100.0):
        state, action = data.state.astype(np.float64), data.action.astype(np.float64)
        ds, da = rng.normal(size=state.shape) * size, rng.normal(size=action.shape) * size
        rise = np.linalg.norm(model.residual(state + ds, action) - model.residual(state, action), axis=1)
        assert (rise <= bound.state * np.linalg.norm(ds, axis=1) * (1 + 1e-9) + 1e-12).all()
        both = np.linalg.norm(model.residual(state + ds, action + da) - model.residual(state, action), axis=1)
        assert (both <= bound.both * np.linalg.norm(np.hstack([ds, da]), axis=1) * (1 + 1e-9) + 1e-12).all()
    assert bound.step == 1.0 + bound.state
    assert (model.local_lipschitz(data.state, data.action) <= bound.state * (1 + 1e-9)).all()
    assert (model.local_lipschitz(data.state, data.action, of="both") <= bound.both * (1 + 1e-9)).all()
    if isinstance(limit := config.lipschitz, Spectral):
        assert bound.normalised <= limit.per_layer ** (len(config.hidden) + 1) * (1 + 1e-5)


def test_a_linear_model_learns_a_linear_system_and_its_constant_is_exact() -> None:
    data = linear()
    model = built(DynamicsConfig(hidden=(), lipschitz=Unlimited()), data)
    fit(model, TransitionSource(data), config=TRAINING)
    learnt = model.snapshot()
    assert np.allclose(learnt.weights[0], np.hstack([A - np.eye(3), B]), atol=2e-3)
    assert learnt.end_to_end().state == pytest.approx(np.linalg.norm(A - np.eye(3), 2), abs=2e-3)
    scale = data.state.std(0)
    normalised = (A - np.eye(3)) * scale / scale[:, None]
    local = learnt.local_lipschitz(data.state[:4], data.action[:4], units="normalised")
    assert local == pytest.approx(np.full(4, np.linalg.norm(normalised, 2)), rel=1e-2)


@pytest.mark.parametrize("radius", [1e-3, 1.0])
def test_the_penalty_of_a_linear_net_is_that_of_its_largest_singular_value(radius: float) -> None:
    data = linear(64)
    limit = SlopePenalty(limit=0.5, num_samples=3, radius=radius, weight=2.0, power_steps=40)
    model = built(DynamicsConfig(hidden=(), lipschitz=limit), data)
    batch = TransitionSource(data).batch(np.arange(64))
    rows = model.loss_rows(batch, GeneratorNoise.seeded(0))
    (layer,) = [layer for layer in model.net if isinstance(layer, nn.Linear)]
    steepest = spectral_norm(layer.weight.detach())
    plain = model.loss_rows(batch, GeneratorNoise.seeded(0, augments=False)).numerator
    assert steepest > 0.5
    assert torch.allclose(rows.numerator - plain, 2.0 * (steepest - 0.5) ** 2, rtol=2e-2)
    assert torch.allclose(rows.metrics["slope"], steepest, rtol=1e-2)


def test_random_directions_see_too_little_of_a_slope_and_power_steps_see_it() -> None:
    """A net with slope 1 in one of 50 directions: a random one shows about 0.11 of it in the mean."""
    rng = np.random.default_rng(0)
    state = rng.normal(size=(256, 49)).astype(np.float32)
    action = rng.normal(size=(256, 1)).astype(np.float32)
    data = Transitions(state=state, action=action, next_state=state)
    seen: list[float] = []
    for power_steps in (0, 1):
        limit = SlopePenalty(num_samples=5, power_steps=power_steps)
        model = built(DynamicsConfig(hidden=(), lipschitz=limit), data)
        (layer,) = [layer for layer in model.net if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            layer.weight.zero_()
            layer.weight[0, 0] = 1.0
        metrics = model.loss_rows(
            TransitionSource(data).batch(np.arange(256)), GeneratorNoise.seeded(1)
        ).metrics
        seen.append(float(metrics["slope"].mean()))
    assert seen[0] < 0.35  # the largest of five
    assert seen[1] == pytest.approx(1.0, abs=1e-3)


def test_a_flat_net_has_no_slope_and_no_wild_gradient() -> None:
    data = linear(8)
    model = built(DynamicsConfig(hidden=(), lipschitz=SlopePenalty(limit=0.5, power_steps=2)), data)
    with torch.no_grad():
        for parameter in model.net.parameters():
            parameter.zero_()
    rows = model.loss_rows(TransitionSource(data).batch(np.arange(8)), GeneratorNoise.seeded(0))
    rows.mean().backward()
    assert not rows.metrics["slope"].any()
    assert torch.equal(rows.numerator, rows.metrics["mse"])
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in model.net.parameters())


def test_the_penalty_is_the_mean_square_of_what_exceeds_the_limit() -> None:
    """Each of K random directions d of length `radius` costs weight * max(0, |W d| / |d| - limit)^2 / K."""
    data = linear(6)
    limit = SlopePenalty(limit=0.4, num_samples=4, radius=0.3, weight=2.5, power_steps=0)
    model = built(DynamicsConfig(hidden=(), lipschitz=limit), data)
    rows = model.loss_rows(TransitionSource(data).batch(np.arange(6)), GeneratorNoise.seeded(5))
    (layer,) = [layer for layer in model.net if isinstance(layer, nn.Linear)]
    weight, directions = layer.weight.detach().numpy(), GeneratorNoise.seeded(5).normal(6, 4, 5).numpy()
    slopes = np.linalg.norm(directions @ weight.T, axis=-1) / np.linalg.norm(directions, axis=-1)
    assert slopes.min() < 0.4 < slopes.max()
    costs = 2.5 * np.square(np.maximum(0.0, slopes - 0.4)).mean(1)
    added = (rows.numerator - rows.metrics["mse"]).detach().numpy()
    assert np.allclose(added, costs, rtol=1e-3, atol=1e-5)
    assert np.allclose(rows.metrics["slope"], slopes.max(1), rtol=1e-4)


def test_a_snapshot_changes_nothing_and_is_exact_also_while_training() -> None:
    data = linear(32)
    model = steep(CONFIGS[1], data).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    bound = model.snapshot().end_to_end().normalised
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert bound == pytest.approx(1.5**3, rel=1e-5)  # each of three steep layers is cut to 1.5 exactly
    model.eval().snapshot()
    assert not model.training


def test_a_digest_is_that_of_all_that_may_be_read() -> None:
    data = linear(6)
    source = TransitionSource(data, np.array([0, 2, 5]))
    said = source.digest()
    assert {"episodes": said["episodes"], "steps": said["steps"]} == {"episodes": 0, "steps": 3}
    assert source.digest() == TransitionSource(linear(6), np.array([0, 2, 5])).digest()
    others = [TransitionSource(data, np.array([0, 2, 4])), TransitionSource(data)]
    for name in ("state", "action", "next_state"):
        changed = getattr(data, name).copy()
        changed[1] += 1
        others.append(TransitionSource(replace(data, **{name: changed}), np.array([0, 2, 5])))
    assert len({said["sha256"], *(other.digest()["sha256"] for other in others)}) == 6


def step_function() -> Transitions:
    """A residual that jumps from -1 to 1 at s = 0, of unit spread in state and residual."""
    state = np.linspace(-np.sqrt(3), np.sqrt(3), 400, dtype=np.float32)[:, None]
    rng = np.random.default_rng(0)
    action = rng.normal(size=(400, 1)).astype(np.float32)
    return Transitions(state=state, action=action, next_state=state + np.sign(state))


def slope_over_grid(model: Dynamics) -> float:
    learnt = model.snapshot()
    grid = np.linspace(-1.7, 1.7, 3401)[:, None]
    return float(np.abs(learnt.jacobian(grid, np.zeros_like(grid))).max())


def test_the_penalty_limits_the_slope_on_a_step_function() -> None:
    data, slopes = step_function(), dict[str, float]()
    training = replace(TRAINING, learning_rate=5e-3)
    limits = {
        "free": Unlimited(),
        "penalty": SlopePenalty(limit=2.0, weight=10.0, radius=0.02, num_samples=3),
        "spectral": Spectral(per_layer=2.0 ** (1 / 3)),
    }
    for name, lipschitz in limits.items():
        model = built(DynamicsConfig(hidden=(32, 32), lipschitz=lipschitz), data)
        fit(model, TransitionSource(data), config=training)
        slopes[name] = slope_over_grid(model)
    assert slopes["free"] > 6.0
    assert 1.5 < slopes["penalty"] < 2.6  # it presses against the limit, and goes over it by little
    assert slopes["spectral"] < 2.0 + 1e-4


def test_slack_gives_up_a_rare_jump_and_nothing_else() -> None:
    """sin(s), and 20 more on 3 % of the states, which a net of slope 1.7 cannot reach."""
    state = np.linspace(-3, 3, 400, dtype=np.float32)[:, None]
    action = GeneratorNoise.seeded(0).normal(400, 1).numpy()
    jumps = np.abs(state) < 0.09
    after = (state + np.sin(state) + 20.0 * jumps).astype(np.float32)
    data = Transitions(state=state, action=action, next_state=after)
    missed: dict[float | None, float] = {}
    for slack in (None, 1.0):
        model = built(DynamicsConfig(hidden=(32,), lipschitz=Spectral(per_layer=1.3), slack=slack), data)
        fit(model, TransitionSource(data), config=replace(TRAINING, num_steps=200, learning_rate=1e-2))
        error = model.snapshot().step(state, action) - data.next_state
        missed[slack] = float(np.abs(error[~jumps]).mean())
    batch = TransitionSource(data).batch(np.arange(400))
    keep = model.train().loss_rows(batch, GeneratorNoise.seeded(0)).metrics["keep"]
    given_up = torch.from_numpy(jumps[:, 0])
    assert keep[given_up].mean() < 0.2
    assert keep[~given_up].mean() > 0.9
    assert missed[1.0] < 0.5 * missed[None]  # its neighbours are fitted, not smeared


def test_the_slack_loss_is_its_formula() -> None:
    data = linear(32)
    model = built(DynamicsConfig(hidden=(8,), lipschitz=Unlimited(), slack=0.25), data)
    rows = model.loss_rows(TransitionSource(data).batch(np.arange(32)), GeneratorNoise.seeded(0))
    keep, error = rows.metrics["keep"], rows.metrics["mse"]
    assert torch.allclose(rows.numerator, keep * error + (1 - keep) * 0.25)
    assert ((keep > 0.9) & (keep < 1.0)).all()
    assert keep.mean().item() == pytest.approx(0.982, abs=0.01)  # 98 % of every transition counts at first


def test_the_loss_is_that_of_normalised_residuals() -> None:
    data = linear(32)
    model = built(DynamicsConfig(hidden=(8,), lipschitz=Unlimited()), data)
    rows = model.loss_rows(TransitionSource(data).batch(np.arange(32)), GeneratorNoise.seeded(0))
    residual = data.next_state.astype(np.float64) - data.state
    missed = model.snapshot().residual(data.state, data.action) - residual
    want = np.square(missed / residual.std(0)).mean(1)
    assert np.allclose(rows.numerator.detach().numpy(), want, rtol=1e-3)


def test_every_parameter_gets_a_gradient() -> None:
    data = linear(64)
    for lipschitz in (Spectral(per_layer=0.2), SlopePenalty(limit=0.01)):
        model = built(DynamicsConfig(hidden=(8, 8), lipschitz=lipschitz, slack=0.2), data)
        model.loss_rows(
            TransitionSource(data).batch(np.arange(64)), GeneratorNoise.seeded(0)
        ).mean().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_the_same_seed_gives_the_same_bits() -> None:
    data = linear()
    weights: list[np.ndarray] = []
    for seed in (0, 0, 1):
        model = built(DynamicsConfig(hidden=(8,), lipschitz=SlopePenalty()), data, seed=seed)
        fit(model, TransitionSource(data), config=replace(TRAINING, num_steps=20))
        weights.append(model.snapshot().weights[0])
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_missing_statistics_and_bad_settings_are_refused() -> None:
    model = Dynamics.build(DynamicsConfig(hidden=(4,)), state_dim=2, action_dim=1)
    with pytest.raises(CapabilityError, match="no statistics"):
        model.snapshot()
    batch = TransitionBatch(state=torch.zeros(2, 2), action=torch.zeros(2, 1), next_state=torch.zeros(2, 2))
    with pytest.raises(CapabilityError, match="no statistics"):
        model.loss_rows(batch, GeneratorNoise.seeded(0))
    for bad in (
        lambda: Spectral(per_layer=0.0),
        lambda: SlopePenalty(radius=0.0),
        lambda: SlopePenalty(num_samples=0),
        lambda: DynamicsConfig(hidden=(0,)),
        lambda: DynamicsConfig(slack=-1.0),
    ):
        with pytest.raises(ConfigError):
            bad()


def test_settings_survive_json() -> None:
    for lipschitz in (Unlimited(), Spectral(per_layer=4.0), SlopePenalty(radius=3e-4)):
        config = DynamicsConfig(lipschitz=lipschitz, slack=0.1)
        assert from_data(to_data(config), DynamicsConfig) == config


def test_one_transition_is_enough_and_none_is_refused() -> None:
    def some(count: int) -> Transitions:
        return Transitions(
            state=np.zeros((count, 2), dtype=np.float32),
            action=np.zeros((count, 1), dtype=np.float32),
            next_state=np.ones((count, 2), dtype=np.float32),
        )

    assert TransitionSource(some(1)).batch(np.array([0])).next_state.tolist() == [[1.0, 1.0]]
    with pytest.raises(DataError, match="no transition"):
        TransitionSource(some(0))
