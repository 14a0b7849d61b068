"""Mechanical systems against mechanics: forms, energies, momenta, MuJoCo, and two ways to a derivative."""

import numpy as np
import pytest
import torch

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.envs import make
from steadyhand.envs.quadrotor.dynamics import from_euler, mixer, quaternion_of, rotation
from steadyhand.envs.two_link import ArmConfig
from steadyhand.envs.two_link.dynamics import (
    LinkParameters,
    acceleration,
    coriolis_matrix,
    energy,
    gravity_torque,
    inverse_dynamics,
    mass_matrix,
)
from steadyhand.experts.control.riccati import linearised

NAMES = ["arm", "acrobot", "cart-pole", "planar-quadrotor", "quadrotor", "pendulum"]
FLIGHTS = [("quadrotor", {"flight": flight}) for flight in ("hover", "circle", "gate")]
ALL = [(name, {}) for name in NAMES if name != "quadrotor"] + FLIGHTS
LINKS = LinkParameters(masses=(1.0, 1.0), lengths=(1.0, 1.0), gravity=9.81)
OTHER = LinkParameters(masses=(0.7, 1.9), lengths=(1.2, 0.6), gravity=3.7)


def states(count, seed=0):
    random = np.random.default_rng(seed)
    return random.uniform((-4, -4, -5, -5), (4, 4, 5, 5), (count, 4))


@pytest.mark.parametrize("links", [LINKS, OTHER])
def test_the_mass_matrix_is_symmetric_and_positive(links):
    matrix = mass_matrix(states(100)[:, :2], links, np)
    np.testing.assert_array_equal(matrix, np.swapaxes(matrix, 1, 2))
    assert (np.linalg.eigvalsh(matrix) > 0).all()


@pytest.mark.parametrize("links", [LINKS, OTHER])
def test_the_rate_of_m_minus_twice_c_is_skew_symmetric(links):
    x = states(100)
    q, rate = x[:, :2], x[:, 2:]
    step = 1e-6
    ahead, behind = (mass_matrix(q + sign * step * rate, links, np) for sign in (1, -1))
    apart = (ahead - behind) / (2 * step) - 2 * coriolis_matrix(q, rate, links, np)
    np.testing.assert_allclose(apart + np.swapaxes(apart, 1, 2), 0.0, atol=1e-7)


@pytest.mark.parametrize("links", [LINKS, OTHER])
def test_inverse_dynamics_undoes_forward_dynamics(links):
    x, torque = states(100), np.random.default_rng(1).uniform(-20, 20, (100, 2))
    np.testing.assert_allclose(
        inverse_dynamics(x, acceleration(x, torque, links, np), links, np), torque, atol=1e-10
    )


def test_gravity_pulls_with_the_slope_of_the_potential_energy():
    x = states(50)
    x[:, 2:] = 0.0
    for index in range(2):
        shift = np.zeros(4)
        shift[index] = 1e-6
        slope = (energy(x + shift, OTHER, np) - energy(x - shift, OTHER, np)) / 2e-6
        np.testing.assert_allclose(gravity_torque(x[:, :2], OTHER, np)[:, index], -slope, atol=1e-7)


def test_free_links_keep_their_energy_to_the_order_of_the_integrator():
    env = make("arm", num_rows=1, substeps=1)
    drifts = []
    for dt in (0.01, 0.005):
        x = np.array([2.0, 0.5, 0.0, 0.0])
        for _ in range(round(5.0 / dt)):
            x = env.dynamics(x, np.zeros(2), params={"control_dt": dt}, xp=np)
        drifts.append(abs(energy(x, LINKS, np) - energy(np.array([2.0, 0.5, 0.0, 0.0]), LINKS, np)))
    assert drifts[0] < 0.02
    assert drifts[0] / drifts[1] > 12  # an RK4 step errs by dt^5: five seconds by dt^4 or better


def test_work_done_by_the_motors_is_energy_gained():
    x, torque = np.array([0.3, -0.4, 0.5, 1.0]), np.array([3.0, -2.0])
    env = make("arm", num_rows=1, substeps=1)
    before, work, dt = energy(x, LINKS, np), 0.0, 1e-4
    for _ in range(2000):
        new = env.dynamics(x, torque, params={"control_dt": dt}, xp=np)
        work += (torque * (new[:2] - x[:2])).sum()
        x = new
    assert energy(x, LINKS, np) - before == pytest.approx(work, rel=1e-9)


def test_the_arm_moves_as_mujoco_says():
    mujoco = pytest.importorskip("mujoco")
    link = f'<inertial pos="0 0 -.5" mass="1" diaginertia="{1 / 12} {1 / 12} 1e-6"/>'
    hinge = '<joint type="hinge" axis="0 -1 0"/>'
    model = mujoco.MjModel.from_xml_string(
        f'<mujoco><option gravity="0 0 -9.81"/><worldbody><body>{hinge}{link}'
        f'<body pos="0 0 -1">{hinge}{link}</body></body></worldbody></mujoco>'
    )
    data = mujoco.MjData(model)
    x, torque = states(200), np.random.default_rng(2).uniform(-10, 10, (200, 2))
    ours = acceleration(x, torque, LINKS, np)
    for index in range(200):
        data.qpos[:], data.qvel[:], data.qfrc_applied[:] = x[index, :2], x[index, 2:], torque[index]
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(ours[index], data.qacc, atol=1e-7 * max(1.0, abs(data.qacc).max()))


@pytest.mark.parametrize(("name", "options"), ALL)
def test_centred_differences_agree_with_automatic_differentiation(name, options):
    env = make(name, num_rows=3, **options)
    rows = np.arange(3)
    env.reset(env.starts("train", 3, seed=1), rows)
    problem, x = env.problem(), env.x_of(env.observe(rows))
    u = problem.rest + 0.3 * np.random.default_rng(0).uniform(-1, 1, (3, problem.num_inputs))
    near = linearised(problem, x, u)
    for row in rows:
        at = (torch.tensor(x[row]), torch.tensor(u[row]))
        for function, slopes in (
            (problem.dynamics, (near.a, near.b)),
            (problem.running, (near.by_state, near.by_input)),
        ):
            exact = torch.func.jacrev(lambda *z: function(*z, torch), argnums=(0, 1))(*at)  # noqa: B023
            for ours, theirs in zip(slopes, exact, strict=True):
                np.testing.assert_allclose(ours[row], theirs.numpy(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("name", "options"), ALL)
def test_an_observation_tells_the_state_from_which_all_goes_on_alike(name, options):
    env = make(name, num_rows=4, **options)
    rows = np.arange(4)
    env.reset(env.starts("train", 4, seed=2), rows)
    seen = env.observe(rows)
    twin = make(name, num_rows=4, **options)
    twin.reset(twin.starts("test", 4), rows)
    twin.place(seen, rows)
    np.testing.assert_allclose(twin.error(rows), env.error(rows), atol=1e-5)
    for name_, value in twin.observe(rows).items():
        np.testing.assert_allclose(value, seen[name_], atol=1e-6)
    random, spec = np.random.default_rng(0), env.spec.action
    for _ in range(5):
        action = random.uniform(spec.low, spec.high, (4, *spec.shape)).astype(np.float32)
        one, two = env.step(action, rows), twin.step(action, rows)
        np.testing.assert_allclose(two.reward, one.reward, rtol=1e-3, atol=1e-4)
    for name_, value in twin.observe(rows).items():
        np.testing.assert_allclose(value, env.observe(rows)[name_], atol=1e-4)


@pytest.mark.parametrize(("name", "options"), [one for one in ALL if one[1].get("flight") != "circle"])
def test_the_goal_is_a_rest_that_costs_nothing(name, options):
    problem = make(name, num_rows=1, **options).problem()
    np.testing.assert_allclose(problem.dynamics(problem.goal, problem.rest, np), problem.goal, atol=1e-12)
    felt = problem.running(problem.goal, problem.rest, np)
    np.testing.assert_allclose(felt, 0.0, atol=1e-12)
    np.testing.assert_allclose(problem.terminal(problem.goal, np), 0.0, atol=1e-12)


def test_a_quadrotor_falls_with_gravity_and_keeps_its_angular_momentum():
    env = make("quadrotor", num_rows=1)
    x = np.concatenate([np.zeros(3), from_euler(0.3, -0.2, 1.0), [1.0, 0.0, 0.0], [3.0, -2.0, 1.0]])
    inertia = np.array(env.config.inertia)
    before = rotation(x[3:7], np) @ (inertia * x[10:])
    fallen = x
    for _ in range(500):
        fallen = env.dynamics(fallen, np.zeros(4), params={"control_dt": 0.002}, xp=np)
    np.testing.assert_allclose(fallen[:3], [1.0, 0.0, -0.5 * 9.81], atol=1e-9)
    np.testing.assert_allclose(rotation(fallen[3:7], np) @ (inertia * fallen[10:]), before, atol=1e-9)


@pytest.mark.parametrize(
    ("rotors", "entry", "sign"),
    [
        ((1, 1, 0, 0), 10, 1.0),  # the left rotors roll it to the right: positive about x (forward)
        ((0, 1, 1, 0), 11, 1.0),  # the rear rotors pitch the nose down: positive about y (left)
        ((1, 0, 1, 0), 12, 1.0),  # those that turn clockwise push the body counter-clockwise
    ],
)
def test_rotors_turn_the_body_as_the_mixer_says(rotors, entry, sign):
    env = make("quadrotor", num_rows=1)
    x, _ = env.goal()
    thrusts = 0.5 * np.array(rotors)
    turned = env.dynamics(x, thrusts, params={}, xp=np)
    rates = turned[10:13]
    assert sign * rates[entry - 10] > 0
    assert np.abs(np.delete(rates, entry - 10)).max() < 1e-9
    torque = mixer(env.config.arm, env.config.drag_arm) @ thrusts
    np.testing.assert_allclose(rates, torque[1:] / np.array(env.config.inertia) * 0.02, rtol=1e-6, atol=1e-12)


def test_quaternions_and_rotations_tell_the_same():
    random = np.random.default_rng(0)
    turned = random.normal(size=(200, 4))
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    turned *= np.where(turned[:, :1] < 0, -1, 1)
    matrix = rotation(turned, np)
    np.testing.assert_allclose(
        matrix @ np.swapaxes(matrix, 1, 2), np.tile(np.eye(3), (200, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(matrix), 1.0)
    np.testing.assert_allclose(quaternion_of(matrix), turned, atol=1e-7)


def test_a_quadrotor_that_passes_beside_the_gate_has_failed():
    env = make("quadrotor", num_rows=2, flight="gate")
    rows = np.arange(2)
    env.reset(env.starts("test", 2), rows)
    start = np.array([env.goal()[0]] * 2)
    start[:, :3] = [[-0.02, 0.0, 0.39], [-0.02, 0.0, 0.41]]  # the gate's radius is 0.4 m
    start[:, 7] = 2.0
    env.place({"observation.state": env.seen(start)}, rows)
    result = env.step(np.tile(env.goal()[1], (2, 1)).astype(np.float32), rows)
    assert result.terminated.tolist() == [False, True]
    assert not result.success.any()


def test_a_cart_beyond_its_rail_has_failed():
    env = make("cart-pole", num_rows=2)
    rows = np.arange(2)
    env.reset(env.starts("test", 2), rows)
    env.place({"observation.state": np.array([[2.39, 0, 1, 0.1, 0], [2.39, 0, 1, 2.0, 0]])}, rows)
    result = env.step(np.zeros((2, 1), dtype=np.float32), rows)
    assert result.terminated.tolist() == [False, True]


def test_success_asks_for_the_goal_to_be_held_to_the_end():
    env = make("arm", num_rows=2, max_episode_steps=60, hold_time=1.0)
    rows = np.arange(2)
    env.reset(env.starts("test", 2), rows)
    env.place({"observation.state": env.seen(np.array([[np.pi, 0, 0, 0], [np.pi - 0.15, 0, 0, 0]]))}, rows)
    for _ in range(60):
        result = env.step(np.zeros((2, 2), dtype=np.float32), rows)
    assert result.truncated.all()
    assert result.success.tolist() == [True, False]  # the second one falls


@pytest.mark.parametrize(("name", "options"), ALL)
def test_pictures_show_what_moves(name, options):
    env = make(name, num_rows=1, **options)
    rows = np.arange(1)
    env.reset(env.starts("test", 1), rows)
    first = env.render(0, width=160, height=120)
    assert first.shape == (120, 160, 3)
    assert first.dtype == np.uint8
    for _ in range(10):
        env.step(np.array([env.spec.action.high], dtype=np.float32), rows)
    assert (env.render(0, width=160, height=120) != first).any()


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="masses"):
        ArmConfig(masses=(1.0, 0.0))
    with pytest.raises(ConfigError, match="flight"):
        make("quadrotor", num_rows=1, flight="loop")
    with pytest.raises(ConfigError, match="thrust_to_weight"):
        make("planar-quadrotor", num_rows=1, thrust_to_weight=1.0)
    with pytest.raises(CapabilityError, match="problem of optimal control"):
        make("forks", num_rows=1).problem()
