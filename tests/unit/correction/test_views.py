"""Displaced views: labels against geometry worked out another way, views against the drives they leave."""

from dataclasses import replace

import numpy as np
import pytest

from point_env import Halving, PointEnv
from steadyhand.core.errors import CapabilityError, ConfigError, SpecError
from steadyhand.core.seeding import RowStreams
from steadyhand.correction.burden import Burden
from steadyhand.correction.collect import collect
from steadyhand.correction.noise import NoisyExecution, OrnsteinUhlenbeck
from steadyhand.correction.view_config import AlvinnViews, SideCameras
from steadyhand.correction.views import spread_of
from steadyhand.data.frames import Frames, Windower, WindowSpec
from steadyhand.envs.car import Car, CarConfig, CarParams
from steadyhand.envs.car.views import displaced_steering
from steadyhand.experts.pure_pursuit import PurePursuit

BODY = CarParams()
STATE = "observation.state"


def command(curvature):
    return np.arctan(BODY.wheelbase * np.asarray(curvature, dtype=np.float64)) / BODY.max_steering


def label(curvature, d, h, *, lookahead=0.6, rule="pursuit"):
    """The curvature that the label drives."""
    steering = command(np.atleast_1d(curvature)).astype(np.float32)
    offset = {"lateral": np.float32(np.atleast_1d(d)), "heading": np.float32(np.atleast_1d(h))}
    found = displaced_steering(steering, body=BODY, view_offset=offset, lookahead=lookahead, rule=rule)
    return np.tan(found.astype(np.float64) * BODY.max_steering) / BODY.wheelbase


DISPLACEMENTS = [(0.1, 0.0), (-0.08, 0.1), (0.0, -0.2), (0.05, 0.15), (-0.12, -0.1)]


@pytest.mark.parametrize("rule", ["pursuit", "return"])
@pytest.mark.parametrize("lookahead", [0.3, 0.6, 5.0])
def test_no_displacement_gives_the_same_action_back(rule, lookahead):
    steering = np.linspace(-1, 1, 41, dtype=np.float32)
    none = {"lateral": np.zeros(41, np.float32), "heading": np.zeros(41, np.float32)}
    same = displaced_steering(steering, body=BODY, view_offset=none, lookahead=lookahead, rule=rule)
    assert np.allclose(same, steering, atol=2e-6)
    assert same.dtype == np.float32


@pytest.mark.parametrize(("d", "h"), DISPLACEMENTS)
def test_on_a_straight_road_pursuit_is_its_closed_form(d, h):
    far = 0.6
    expected = -2 * (far * np.sin(h) + d * np.cos(h)) / (far**2 + d**2)
    assert label(0.0, d, h) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("d", "h"), DISPLACEMENTS)
@pytest.mark.parametrize("curvature", [0.8, -0.4])
def test_on_a_circular_road_the_arc_is_the_one_through_the_goal(curvature, d, h):
    """The circle that is tangent to the displaced car and passes the goal, by complex numbers."""
    radius = 1.0 / curvature
    turn = 2.0 * np.arcsin(0.5 * 0.6 * curvature)
    goal = 1j * radius - 1j * radius * np.exp(1j * turn)
    seen = (goal - 1j * d) * np.exp(-1j * h)
    # Centre i r with |i r - seen| = |r| gives r = |seen|^2 / (2 Im seen).
    expected = 2.0 * seen.imag / abs(seen) ** 2
    # At the steering's stop the label is the stop.
    stop = np.tan(BODY.max_steering) / BODY.wheelbase
    assert label(curvature, d, h) == pytest.approx(np.clip(expected, -stop, stop), abs=1e-5)


def drive(curvature, pose, length, steps=4000):
    """Follow an arc from a pose by small steps; returns all points."""
    place, heading = pose
    ds = length / steps
    points = [place]
    for _ in range(steps):
        place += ds * np.exp(1j * (heading + 0.5 * ds * curvature))
        heading += ds * curvature
        points.append(place)
    return np.array(points)


@pytest.mark.parametrize(("d", "h"), DISPLACEMENTS)
@pytest.mark.parametrize("curvature", [0.0, 0.3, -0.5])
def test_rolling_out_the_label_reaches_the_goal(curvature, d, h):
    points = drive(label(curvature, d, h)[0], (1j * d, h), 1.0)
    path = drive(curvature, (0j, 0.0), 1.0)
    goal = path[np.argmin(np.abs(np.abs(path) - 0.6))]
    assert np.abs(points - goal).min() < 1e-3


@pytest.mark.parametrize(("d", "h"), DISPLACEMENTS)
def test_return_is_the_start_of_the_cubic_to_the_path(d, h):
    """y(0) = d, y'(0) = h, y(S) = y'(S) = 0 as a linear system; the label adds y''(0) to the curvature."""
    far = 1.6
    system = [[1, 0, 0, 0], [0, 1, 0, 0], [1, far, far**2, far**3], [0, 1, 2 * far, 3 * far**2]]
    coefficients = np.linalg.solve(system, [d, h, 0, 0])
    found = label(0.2, d, h, lookahead=far, rule="return")
    assert found == pytest.approx(0.2 + 2 * coefficients[2], abs=1e-5)


@pytest.mark.parametrize("rule", ["pursuit", "return"])
@pytest.mark.parametrize("curvature", [0.0, 0.5])
def test_a_car_that_always_drives_its_displaced_label_comes_back(rule, curvature):
    """The car's own equations, with its slow servo, beside a straight or circular path."""
    config = CarConfig()
    env = Car(config, num_rows=1)
    state = np.array([0.0, 0.12, 0.1, np.arctan(BODY.wheelbase * curvature), 2.5], dtype=np.float32)
    steering = np.float32([command(curvature)])
    for _ in range(40):
        place, heading = state[0] + 1j * state[1], float(state[2])
        if curvature:
            centre = 1j / curvature
            ray = place - centre
            d = 1.0 / curvature - abs(ray)
            along = np.angle(ray * 1j)
            h = np.angle(np.exp(1j * (heading - along)))
        else:
            d, h = place.imag, heading
        offset = {"lateral": np.float32([d]), "heading": np.float32([h])}
        # A displaced car knows where it is displaced to in its own frame: d across its path, then turned.
        lookahead = 0.6 if rule == "pursuit" else 1.6
        action = displaced_steering(steering, body=BODY, view_offset=offset, lookahead=lookahead, rule=rule)
        state = env.dynamics(state, action, params={}, xp=np)
    assert abs(d) < 0.005
    assert abs(h) < 0.02


def test_left_and_right_are_mirror_images():
    random = np.random.default_rng(0)
    a, d, h = random.uniform(-1, 1, 50), random.uniform(-0.2, 0.2, 50), random.uniform(-0.2, 0.2, 50)
    for rule in ("pursuit", "return"):
        one = label(a, d, h, rule=rule)
        assert np.allclose(one, -label(-a, -d, -h, rule=rule), atol=1e-6)
        assert (label(0.0 * a, np.abs(d), 0 * h, rule=rule) <= 0).all()


def test_a_lookahead_of_nothing_is_refused():
    with pytest.raises(SpecError, match="look-ahead"):
        label(0.0, 0.1, 0.0, lookahead=0.0)


def test_the_car_keeps_a_chosen_speed():
    env = Car(CarConfig(action="steering_speed"), num_rows=2)
    action = np.float32([[0.2, 0.3], [-0.1, -0.4]])
    offset = {"lateral": np.float32([0.1, 0.1])}
    moved = env.displaced_action(np.arange(2), action, view_offset=offset, lookahead=0.6)
    assert np.array_equal(moved[:, 1], action[:, 1])
    assert (moved[:, 0] < action[:, 0]).all()


CAR = CarConfig(observation=("state",), num_tracks=2)
SHIFTED = AlvinnViews(num_views=3, shift=0.1, rotation=0.0)


def recorded(config, *, labels=40, rows=2, with_views=True, controller=None, car=CAR):
    env = Car(car, num_rows=rows)
    driver = controller(env) if controller else PurePursuit(car)
    options = {"source": "demonstration", "seed": 4, "num_labels": labels}
    starts = env.starts("train", 6, seed=1)
    return collect(env, driver, starts, views=config if with_views else None, **options)


def noisy(env):
    return NoisyExecution(PurePursuit(CAR), noise=OrnsteinUhlenbeck(sigma=0.5), action=env.spec.action)


@pytest.mark.parametrize("controller", [None, noisy])
def test_drives_are_those_without_views_and_views_cost_no_labels(controller):
    with_views = recorded(SHIFTED, controller=controller)
    without = recorded(SHIFTED, controller=controller, with_views=False)
    drives = [episode for episode in with_views if episode.branch is None]
    for one, other in zip(drives, without, strict=True):
        assert np.array_equal(one.action, other.action)
        assert np.array_equal(one.observation[STATE], other.observation[STATE])
    assert len(with_views) - len(drives) == 3 * 40
    assert Burden.of(with_views) == Burden.of(without)
    assert Burden.of(with_views).labels == 40
    assert {episode.provenance.source for episode in with_views[len(drives) :]} == {"views"}


def test_each_view_lies_beside_its_step_and_leads_back_from_there():
    """The state feature tells where a view was taken, and so what its label must be."""
    episodes = recorded(SHIFTED, controller=noisy)
    views = [episode for episode in episodes if episode.branch is not None]
    seen = set()
    for view in views:
        parent, step = episodes[view.branch.parent], view.branch.step
        seen.add((view.branch.parent, step))
        here, there = parent.observation[STATE][step], view.observation[STATE][0]
        d = (there[0] - here[0]) / np.cos(here[1])
        assert abs(d) <= 0.1 + 1e-3
        assert there[2:4] == pytest.approx(here[2:4])
        wanted = displaced_steering(
            parent.expert_action[step, :1],
            body=CAR.params,
            view_offset={"lateral": np.float32([d])},
            lookahead=SHIFTED.lookahead,
            rule="pursuit",
        )
        assert view.expert_action[0, 0] == pytest.approx(wanted[0], abs=0.01)
    assert len(seen) == 40


def test_chunks_of_a_view_go_on_along_the_drive():
    episodes = recorded(SHIFTED)
    spec = Car(CAR, num_rows=1).spec
    frames = Frames.from_episodes(episodes, observation_spec=spec.observation, action_spec=spec.action)
    windows = Windower(frames, WindowSpec(action_offsets=(0, 1, 2)))
    number = next(i for i, episode in enumerate(episodes) if episode.branch and episode.branch.step == 5)
    step = frames.episode_starts[number]
    parent = episodes[number].branch.parent
    cut = windows(np.array([step]))
    targets = frames.expert_action[cut.action_index[0]]
    assert targets[0] == episodes[number].expert_action[0]
    assert np.array_equal(targets[1:], episodes[parent].expert_action[6:8])
    assert frames.weight[step] == 1.0


def test_side_cameras_look_from_both_sides_and_random_views_are_as_wide_as_asked():
    views = SideCameras(offset=0.1, num_random=2, human_lateral_std=0.01, human_heading_std=0.03)
    offsets = views.offsets(RowStreams.from_seed(0, 8000))
    assert np.allclose(offsets["lateral"][:, :2], [0.1, -0.1])
    assert not offsets["heading"][:, :2].any()
    # Twice the driver's deviation, but for the cut at three of them (-1.3 % of it).
    assert offsets["lateral"][:, 2:].std() == pytest.approx(0.02 * 0.987, rel=0.03)
    assert offsets["heading"][:, 2:].std() == pytest.approx(0.06 * 0.987, rel=0.03)
    assert abs(np.corrcoef(offsets["lateral"][:, 2], offsets["heading"][:, 2])[0, 1]) < 0.05
    for name, deviation in (("lateral", 0.02), ("heading", 0.06)):  # of 16 000 draws some 43 lie farther out
        assert offsets[name][:, 2:].max() == pytest.approx(3 * deviation)
        assert offsets[name][:, 2:].min() == pytest.approx(-3 * deviation)


def test_alvinn_displacements_are_uniform_in_their_range():
    offsets = AlvinnViews().offsets(RowStreams.from_seed(0, 2000))
    for name, reach in (("lateral", 0.12), ("heading", 0.105)):
        assert offsets[name].shape == (2000, 14)
        assert np.abs(offsets[name]).max() <= reach
        assert offsets[name].std() == pytest.approx(reach / np.sqrt(3), rel=0.02)
        assert abs(offsets[name].mean()) < 0.01 * reach
    assert abs(np.corrcoef(offsets["lateral"][:, 3], offsets["heading"][:, 3])[0, 1]) < 0.1


def test_the_constant_correction_steers_towards_the_middle():
    views = recorded(SideCameras(offset=0.1, num_random=0, gain=0.25), labels=10)
    drives = [episode for episode in views if episode.branch is None]
    for left, right in zip(views[len(drives) :: 2], views[len(drives) + 1 :: 2], strict=True):
        driven = drives[left.branch.parent].expert_action[left.branch.step]
        assert left.expert_action[0] == pytest.approx(driven - 0.25, abs=1e-6)
        assert right.expert_action[0] == pytest.approx(driven + 0.25, abs=1e-6)


def test_views_of_pictures_are_pictures():
    car = replace(CAR, observation=("retina",))
    episodes = recorded(AlvinnViews(), labels=4, car=car)
    views = [episode for episode in episodes if episode.branch is not None]
    assert len(views) == 56
    picture = views[0].observation["observation.images.front"]
    assert picture.shape == (1, 30, 32, 1)
    parent = episodes[views[0].branch.parent].observation["observation.images.front"][views[0].branch.step]
    assert (picture[0] != parent).any()


def test_weights_and_budgets():
    views = recorded(replace(SHIFTED, weight=0.25), labels=7)
    assert {float(v.weight[0]) for v in views if v.branch} == {0.25}
    with pytest.raises(ConfigError, match="used up"):
        recorded(SHIFTED, labels=10**6, car=replace(CAR, max_episode_steps=3))


def test_envs_without_displaced_sensors_say_so():
    env = PointEnv(2)
    with pytest.raises(CapabilityError, match="such as 'car'"):
        collect(env, Halving(), env.starts("train", 2), views=SHIFTED, source="x", seed=0)
    constant = SideCameras(gain=0.2)
    with pytest.raises(CapabilityError, match="such as 'car'"):
        collect(env, Halving(), env.starts("train", 2), views=constant, source="x", seed=0)
    with pytest.raises(CapabilityError, match="on the road"):
        spread_of(env, Halving(), env.starts("train", 2), seed=0)


def test_the_drivers_spread_is_that_of_the_drive():
    car = replace(CAR, max_episode_steps=30)
    env = Car(car, num_rows=3)
    starts = env.starts("train", 3)
    spread = spread_of(env, PurePursuit(car), starts, seed=0)
    episodes = collect(env, PurePursuit(car), starts, source="x", seed=0)
    after = np.concatenate(
        [np.vstack([e.observation[STATE][1:], e.final_observation[STATE][None]]) for e in episodes]
    )
    assert spread["human_lateral_std"] == pytest.approx(after[:, 0].std(), rel=1e-3)
    assert spread["human_heading_std"] == pytest.approx(after[:, 1].std(), rel=1e-3)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: AlvinnViews(num_views=0),
        lambda: AlvinnViews(shift=-1.0),
        lambda: SideCameras(offset=0.0, gain=0.2),
        lambda: SideCameras(offset=-0.1),
    ],
)
def test_views_that_make_no_sense_are_refused(bad):
    with pytest.raises(ConfigError):
        bad()


def test_views_are_as_many_as_asked_for():
    assert SideCameras(offset=0.0, num_random=3).per_step == 5
    views = [one for one in recorded(replace(SHIFTED, num_views=1), labels=3) if one.branch is not None]
    assert [one.branch.step for one in views] == [0, 1, 0]


def test_a_view_is_one_step_that_ends_without_an_outcome_and_its_correction_keeps_to_the_bounds():
    views = [one for one in recorded(SideCameras(offset=0.1, gain=2.0), labels=6) if one.branch is not None]
    assert {(len(one), one.terminated, one.truncated, one.success) for one in views} == {
        (1, False, True, None)
    }
    bounds = Car(CAR, num_rows=1).spec.action
    labels = np.stack([one.expert_action[0] for one in views])
    assert labels.min() == np.float32(bounds.low[0])
    assert labels.max() == np.float32(bounds.high[0])
