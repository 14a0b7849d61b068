"""The pendulum against mechanics: energy, work, a finer integration; and the env contract."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import CapabilityError, ConfigError, SpecError
from steadyhand.core.specs import STATE
from steadyhand.envs import make
from steadyhand.envs.base import Start
from steadyhand.envs.pendulum import Pendulum, PendulumConfig
from steadyhand.envs.pendulum.dynamics import dynamics, parameters

SMOOTH = parameters(PendulumConfig())
JUMPS = parameters(PendulumConfig(discontinuous=True))
ANGLES = (np.pi / 6, np.pi / 3)


def started(num_rows, family="train", **options):
    env = make("pendulum", num_rows=num_rows, **options)
    rows = np.arange(num_rows)
    env.reset(env.starts(family, num_rows), rows)
    return env, rows


def energy(x):
    return 0.5 * x[..., 1] ** 2 - 9.81 * np.cos(x[..., 0])


def swung(x, torque, seconds, dt):
    """States of a swing in double precision, the first one included."""
    u = np.full((*x.shape[:-1], 1), torque)
    path = [x]
    for _ in range(round(seconds / dt)):
        path.append(dynamics(path[-1], u, params={**SMOOTH, "control_dt": dt}, xp=np))
    return np.array(path)


def test_a_free_swing_keeps_its_energy_to_the_order_of_the_integrator():
    x = np.stack([np.linspace(0.3, 2.9, 9), np.linspace(-2.0, 2.0, 9)], axis=1)

    def drift(dt):
        path = energy(swung(x, 0.0, 10.0, dt))
        return np.abs(path - path[0]).max(axis=0)

    coarse, fine = drift(0.02), drift(0.01)
    assert coarse.max() < 2e-3
    # An RK4 step errs by dt^5, so that ten seconds err by dt^4 or better.
    assert (coarse / fine > 14).all()


def test_energy_gained_is_torque_times_angle():
    x = np.array([[0.4, 0.0], [1.0, 1.5]])
    path = swung(x, 2.0, 0.4, 0.02)
    assert path[..., 0].max() < 2 * np.pi
    gained = energy(path[-1]) - energy(path[0])
    np.testing.assert_allclose(gained, 2.0 * (path[-1, :, 0] - path[0, :, 0]), rtol=1e-5)


def test_a_step_is_what_forty_fine_steps_do():
    random = np.random.default_rng(0)
    x = random.uniform((0.0, -7.0), (2 * np.pi, 7.0), (50, 2))
    coarse, fine = swung(x, 1.3, 0.02, 0.02)[-1], swung(x, 1.3, 0.02, 0.0005)[-1]
    turn = np.angle(np.exp(1j * (coarse[:, 0] - fine[:, 0])))
    assert np.abs(turn).max() < 1e-6
    assert np.abs(coarse[:, 1] - fine[:, 1]).max() < 1e-5


def test_small_swings_have_the_period_of_the_small_angle_formula():
    path = swung(np.array([0.01, 0.0]), 0.0, 4.1, 0.001)
    rate = path[:, 1]
    crossings = np.flatnonzero((rate[:-1] > 0) & (rate[1:] <= 0)) * 0.001
    assert crossings[1] - crossings[0] == pytest.approx(2 * np.pi * np.sqrt(1 / 9.81), abs=2e-3)


@settings(max_examples=50)
@given(st.integers(0, 2**32))
def test_the_motion_is_reversed_exactly_where_a_step_ends_near_one_of_the_angles(seed):
    random = np.random.default_rng(seed)
    near = random.choice((*ANGLES, -ANGLES[0], np.pi - ANGLES[1], 3.0), 200)
    x = np.stack([near + random.uniform(-0.05, 0.05, 200), random.uniform(-1.5, 1.5, 200)], axis=1)
    u = random.uniform(-3, 3, (200, 1))
    smooth, jumps = (dynamics(x, u, params=params, xp=np) for params in (SMOOTH, JUMPS))
    within = np.min([np.abs(smooth[:, 0] - angle) for angle in ANGLES], axis=0) < 0.01
    assert 0 < within.sum() < 200
    np.testing.assert_array_equal(jumps[:, 0], smooth[:, 0])
    np.testing.assert_array_equal(jumps[:, 1], np.where(within, -1.0, 1.0) * smooth[:, 1])


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize(("off", "flips"), [(-0.011, False), (-0.009, True), (0.009, True), (0.011, False)])
def test_the_width_of_a_jump(angle, off, flips):
    """Without gravity a pendulum at rest moves by torque dt^2 / 2 = 0.0003 rad and then at 0.03 rad/s."""
    x = np.array([angle + off - 3e-4, 0.0])
    moved = dynamics(x, np.array([1.5]), params={**JUMPS, "gravity": 0.0}, xp=np)
    np.testing.assert_allclose(moved, [angle + off, -0.03 if flips else 0.03], atol=1e-12)


@pytest.mark.parametrize("discontinuous", [False, True])
def test_closed_form_dynamics_is_what_step_does_and_torch_agrees(discontinuous):
    torch = pytest.importorskip("torch")
    env, rows = started(200, discontinuous=discontinuous)
    actions = np.random.default_rng(0).uniform(-4, 4, (20, 200, 1)).astype(np.float32)
    for action in actions:
        before = env.state(rows)["values"]
        predicted = env.dynamics(before, action, params={}, xp=np)
        env.step(action, rows)
        np.testing.assert_array_equal(env.state(rows)["values"], predicted)
        other = env.dynamics(torch.tensor(before), torch.tensor(action), params={}, xp=torch)
        np.testing.assert_allclose(other.numpy(), predicted, atol=5e-6)


def test_torch_differentiates_the_motion():
    torch = pytest.importorskip("torch")
    x = torch.tensor([[1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    u = torch.tensor([[0.7]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, u: dynamics(x, u, params=SMOOTH, xp=torch), (x, u))


def test_what_is_shown_is_the_angle_on_the_circle():
    env, rows = started(50, "validation")
    env.step(np.full((50, 1), 1.0, dtype=np.float32), rows)
    theta, rate = env.state(rows)["values"].T
    seen = env.observe(rows)[STATE]
    env.spec.observation[STATE].check(seen, name=STATE)
    np.testing.assert_allclose(seen, np.stack([np.sin(theta), np.cos(theta), rate], axis=1), atol=1e-6)
    np.testing.assert_allclose(env.position(rows), np.stack([seen[:, 0], -seen[:, 1]], axis=1), atol=1e-6)
    np.testing.assert_allclose(env.error(rows), np.arccos(np.clip(-seen[:, 1], -1, 1)), atol=2e-3)
    assert ((theta >= 0) & (theta <= 2 * np.pi)).all()


def test_the_reward_is_the_papers():
    env = make("pendulum", num_rows=2)
    starts = [
        Start(family="test", seed=0, options={"theta": np.pi - 0.5, "theta_dot": 2.0}),
        Start(family="test", seed=1, options={"theta": -0.5}),
    ]
    rows = np.arange(2)
    env.reset(starts, rows)
    result = env.step(np.array([[1.0], [-9.0]], dtype=np.float32), rows)
    away = (2 * np.pi - 0.5) - np.pi
    np.testing.assert_allclose(
        result.reward, [-0.5 * (0.25 + 4.0) - 0.5, -0.5 * away**2 - 0.5 * 9.0], rtol=1e-5
    )


def test_success_is_to_be_upright_throughout_the_last_second():
    """A row balances by itself for a second; one that begins 0.3 rad away and one that hangs do not."""
    env = make("pendulum", num_rows=3, max_episode_steps=50)
    starts = [
        Start(family="test", seed=k, options={"theta": theta}) for k, theta in enumerate((np.pi, 2.84, 0.0))
    ]
    rows = np.arange(3)
    env.reset(starts, rows)
    results = [env.step(np.zeros((3, 1), dtype=np.float32), rows) for _ in range(50)]
    assert not any((result.terminated | result.success).any() for result in results[:-1])
    assert results[-1].truncated.all()
    assert results[-1].success.tolist() == [True, False, False]
    with pytest.raises(SpecError, match="ended was stepped"):
        env.step(np.zeros((1, 1), dtype=np.float32), np.array([1]))


def test_leaving_the_top_for_one_step_starts_the_second_anew():
    env = make("pendulum", num_rows=1, max_episode_steps=80, upright=0.01)
    row = np.arange(1)
    env.reset([Start(family="test", seed=0, options={"theta": np.pi - 0.0112, "theta_dot": 0.12})], row)
    held = []
    for _ in range(4):
        env.step(np.zeros((1, 1), dtype=np.float32), row)
        held.append((int(env.state(row)["held"][0]), float(env.error(row)[0]) <= 0.01))
    for index, (count, inside) in enumerate(held):
        assert count == (0 if not inside else (held[index - 1][0] if index else 0) + 1)
    assert max(count for count, _ in held) >= 2


def test_a_row_does_not_depend_on_its_neighbours():
    together, rows = started(33, discontinuous=True)
    starts = together.starts("train", 33)
    actions = np.random.default_rng(1).uniform(-3, 3, (30, 33, 1)).astype(np.float32)
    for action in actions:
        together.step(action, rows)
    for number in (0, 7, 32):
        alone = make("pendulum", num_rows=1, discontinuous=True)
        alone.reset([starts[number]], np.array([0]))
        for action in actions:
            alone.step(action[number : number + 1], np.array([0]))
        np.testing.assert_array_equal(
            alone.state(np.array([0]))["values"][0], together.state(rows)["values"][number]
        )
        np.testing.assert_array_equal(
            alone.observe(np.array([0]))[STATE][0], together.observe(rows)[STATE][number]
        )


def test_a_snapshot_repeats_the_future_in_another_env():
    env, rows = started(6, discontinuous=True)
    actions = np.random.default_rng(2).uniform(-3, 3, (40, 6, 1)).astype(np.float32)
    for action in actions[:20]:
        env.step(action, rows)
    some, places = np.array([1, 4]), np.array([0, 2])
    snapshot = env.state(some)
    other = make("pendulum", num_rows=3, discontinuous=True)
    other.restore(snapshot, places)
    for action in actions[20:]:
        ours, theirs = env.step(action[some], some), other.step(action[some], places)
        np.testing.assert_array_equal(ours.reward, theirs.reward)
    mine, its = env.state(some), other.state(places)
    assert all(np.array_equal(mine[key], its[key]) for key in mine)
    env.restore(snapshot, some)
    assert all(np.array_equal(value, snapshot[key]) for key, value in env.state(some).items())


def test_starts_are_prefix_stable_disjoint_and_all_round():
    env = make("pendulum", num_rows=1)
    families = ("train", "validation", "test")
    drawn = {family: env.starts(family, 300, seed=3) for family in families}
    assert env.starts("test", 20, seed=3) == drawn["test"][:20] != env.starts("test", 20, seed=4)
    assert len({start.seed for family in families for start in drawn[family]}) == 900
    assert len({start.options["theta"] for family in families for start in drawn[family]}) == 900
    angle = np.array([start.options["theta"] for start in drawn["train"]])
    rate = np.array([start.options["theta_dot"] for start in drawn["train"]])
    assert (np.histogram(angle, bins=4, range=(-np.pi, np.pi))[0] > 50).all()
    assert 0.9 < np.abs(rate).max() <= 1.0


def test_the_motor_is_too_weak_to_lift_the_bob():
    env = make("pendulum", num_rows=1, start_angle=0.0, start_speed=0.0)
    row = np.array([0])
    env.reset(env.starts("test", 1), row)
    for _ in range(500):
        env.step(np.array([[3.0]], dtype=np.float32), row)
        angle = float(env.state(row)["values"][0, 0])
        # Pushed from rest it turns back where 3 theta = 9.81 (1 - cos theta), at 0.632 rad.
        assert angle < 0.64 or angle > 2 * np.pi - 0.01


def test_pictures_change_with_the_motion_and_show_the_jumps():
    env, rows = started(2)
    first = env.render(0, width=160, height=120)
    assert first.shape == (120, 160, 3)
    assert first.dtype == np.uint8
    for _ in range(5):
        env.step(np.full((2, 1), 3.0, dtype=np.float32), rows)
    assert (env.render(0, width=160, height=120) != first).any()
    jumps, _ = started(2, discontinuous=True)
    assert (jumps.render(0, width=160, height=120) != first).any()


def test_bad_calls_are_named():
    env, rows = started(2)
    with pytest.raises(SpecError, match="no such option"):
        env.reset([Start(family="train", seed=0, options={"y": 0.4})], np.array([0]))
    with pytest.raises(SpecError, match="wrong shape"):
        env.step(np.zeros((2, 3), dtype=np.float32), rows)
    with pytest.raises(SpecError, match="no such row"):
        env.observe(np.array([2]))
    with pytest.raises(SpecError, match="one start"):
        env.reset(env.starts("train", 1), rows)
    with pytest.raises(SpecError, match="at least one row"):
        make("pendulum", num_rows=0)
    with pytest.raises(CapabilityError, match="displaced"):
        env.observe(rows, view_offset={"lateral": np.zeros(2, dtype=np.float32)})
    with pytest.raises(ConfigError, match="control_dt"):
        make("pendulum", num_rows=1, control_dt=3.0)


def test_configs_round_trip_through_json():
    config = PendulumConfig(discontinuous=True, start_angle=0.5)
    assert from_data(to_data(config), PendulumConfig) == config
    assert isinstance(config.build(1), Pendulum)
    assert config.build(1).config == config
