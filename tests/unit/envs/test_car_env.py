"""The car env's contract: starts, endings, rewards, snapshots, pictures."""

import numpy as np
import pytest

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError, SpecError
from steadyhand.envs import make
from steadyhand.envs.base import Start
from steadyhand.envs.car import Camera, Car, CarConfig
from steadyhand.envs.car.track import FAMILY_BLOCK, load_track


def started(num_rows, *, family="train", seed=0, **options):
    env = Car(CarConfig(observation=("state",), **options), num_rows=num_rows)
    rows = np.arange(num_rows)
    env.reset(env.starts(family, num_rows, seed=seed), rows)
    return env, rows


def test_starts_are_prefix_stable_deterministic_and_disjoint():
    env = Car(num_rows=1)
    long, short = env.starts("test", 12, seed=5), env.starts("test", 5, seed=5)
    assert long[:5] == short
    assert env.starts("test", 5, seed=6) != short
    tracks = {
        family: {int(start.options["track"]) // FAMILY_BLOCK for start in env.starts(family, 12)}
        for family in ("train", "validation", "test")
    }
    assert sorted(tracks.values(), key=min) == [{0}, {1}, {2}]
    for family, expected in (("train", 8), ("validation", 16), ("test", 16)):
        assert len({start.options["track"] for start in env.starts(family, 40)}) == expected


def test_reset_puts_the_car_where_the_start_says():
    env = Car(num_rows=2)
    start = Start(family="train", seed=0, options={"track": 1.0, "s": 3.21, "lateral": 0.11, "heading": -0.2})
    env.reset([start, start], np.arange(2))
    seen = env.privileged(np.array([1]))
    assert seen["privileged.lateral"][0, 0] == pytest.approx(0.11, abs=1e-4)
    assert seen["privileged.heading_error"][0, 0] == pytest.approx(-0.2, abs=1e-4)
    spot = load_track(1).at(np.array([3.21]), 0.11)[0]
    np.testing.assert_allclose(env.position(np.array([1]))[0], spot, atol=2e-4)
    np.testing.assert_allclose(env.error(np.array([0, 1])), 0.11, atol=1e-4)


def test_centre_line_starts():
    env, rows = started(6, start_lateral_std=0.0, start_heading_std=0.0)
    np.testing.assert_allclose(env.privileged(rows)["privileged.lateral"], 0, atol=1e-5)
    np.testing.assert_allclose(env.privileged(rows)["privileged.heading_error"], 0, atol=1e-5)


def test_a_car_that_goes_straight_leaves_the_road_and_fails():
    env, rows = started(8)
    ended = np.zeros(8, dtype=bool)
    alive = rows
    for _ in range(200):
        result = env.step(np.zeros((len(alive), 1), dtype=np.float32), alive)
        assert not (result.success | result.truncated).any()
        beyond = env.error(alive) > 0.3
        np.testing.assert_array_equal(result.terminated, beyond)
        ended[alive[result.terminated]] = True
        alive = alive[~result.terminated]
        if not len(alive):
            break
    assert ended.all()
    with pytest.raises(SpecError, match="ended was stepped"):
        env.step(np.zeros((1, 1), dtype=np.float32), np.array([3]))


def test_success_needs_time_and_progress():
    for progress, expected in ((0.8, True), (1.0, False)):
        env, rows = started(1, max_episode_steps=4, min_progress=progress, start_heading_std=0.0)
        slow = np.zeros((1, 1), dtype=np.float32)
        # 1 mm of lateral offset to the outside of a bend makes a lap of the centre line slower than 2.5 m/s
        results = [env.step(slow, rows) for _ in range(4)]
        assert [bool(result.truncated[0]) for result in results] == [False, False, False, True]
        assert not results[-1].terminated[0]
        covered = sum(float(result.reward[0]) for result in results)
        assert bool(results[-1].success[0]) == (covered >= progress * 2.5 * 0.05 * 4)
        if expected:
            assert results[-1].success[0]


def test_reward_adds_up_to_laps():
    from steadyhand.core.seeding import RowStreams
    from steadyhand.experts.pure_pursuit import PurePursuit

    env, rows = started(4, start_lateral_std=0.0)
    expert, streams = PurePursuit(), RowStreams.from_seed(0, 4)
    s = env.state(rows)["values"][:, 5].astype(float)
    total = np.zeros(4)
    for _ in range(400):
        total += env.step(expert.act({}, env.privileged(rows), rows, streams).action, rows).reward
    lengths = np.array([load_track(int(number)).length for number in env.state(rows)["track"]])
    ahead = np.mod(s + total - env.state(rows)["values"][:, 5], lengths)
    assert np.minimum(ahead, lengths - ahead).max() < 2e-3
    assert (total > lengths).all()


def test_action_may_hold_a_speed():
    env, rows = started(2, action="steering_speed", start_lateral_std=0.0, start_heading_std=0.0)
    command = np.array([[0.0, -1.0], [0.0, 1.0]], dtype=np.float32)
    for _ in range(5):
        env.step(command, rows)
    speed = env.privileged(rows)["privileged.speed"][:, 0]
    np.testing.assert_allclose(speed, [2.5 - 6.0 * 0.25, 2.5 + 4.0 * 0.25], atol=1e-5)


def test_closed_form_dynamics_is_what_step_does():
    env, rows = started(16)
    action = np.random.default_rng(0).uniform(-1.5, 1.5, (16, 1)).astype(np.float32)
    before = env.state(rows)["values"][:, :5]
    predicted = env.dynamics(before, action, params={}, xp=np)
    env.step(action, rows)
    np.testing.assert_array_equal(env.state(rows)["values"][:, :5], predicted)


def test_snapshots_move_between_envs():
    env, rows = started(6, family="test")
    env.step(np.full((6, 1), 0.1, dtype=np.float32), rows)
    snapshot = env.state(np.array([1, 4]))
    other = Car(env.config, num_rows=3)
    other.restore(snapshot, np.array([0, 2]))
    action = np.array([[0.3], [-0.2]], dtype=np.float32)
    for _ in range(3):
        ours, theirs = env.step(action, np.array([1, 4])), other.step(action, np.array([0, 2]))
        np.testing.assert_array_equal(ours.reward, theirs.reward)
    mine, its = env.state(np.array([1, 4])), other.state(np.array([0, 2]))
    assert all(np.array_equal(mine[name], its[name]) for name in mine)


def test_pictures_show_the_car_where_it_is():
    env, _ = started(2)
    picture = env.render(1, width=320, height=240)
    assert picture.shape == (240, 320, 3)
    red = (picture[..., 0] > 190) & (picture[..., 1] < 90)
    lines, columns = np.nonzero(red)
    assert abs(columns[lines > 120].mean() - 160) < 30
    assert red.sum() > 100
    grass, asphalt = picture[200, 30].astype(int), picture[235, 160].astype(int)
    assert grass[1] > grass[0] + 20
    assert np.ptp(asphalt) < 30
    env.step(np.zeros((2, 1), dtype=np.float32), np.arange(2))
    assert not np.array_equal(picture, env.render(1, width=320, height=240))
    assert env.render(0, width=40, height=30).shape == (30, 40, 3)


def test_outline_is_a_closed_road_of_the_right_width():
    env, _ = started(1, road_width=0.8)
    for outline in (env.outline(0), env.outline(env.starts("train", 1)[0])):
        left, right = outline
        np.testing.assert_allclose(np.linalg.norm(left - right, axis=1), 0.8, atol=1e-3)
        np.testing.assert_allclose(left[0], left[-1], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"road_width": 3.0}, "road_width"),
        ({"observation": ("radar",)}, "radar"),
        ({"observation": ()}, "senses"),
        ({"colour": "red"}, "colour"),
        ({"speed": "fast"}, "fast"),
        ({"camera": {"heigth": 3}}, "heigth"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(ConfigError, match=words):
        make("car", num_rows=1, **options)


def test_bad_calls_are_named():
    env, rows = started(2)
    with pytest.raises(SpecError, match="off the road"):
        env.reset([Start(family="train", seed=0, options={"lateral": 0.4})], np.array([0]))
    with pytest.raises(SpecError, match="no such option"):
        env.reset([Start(family="train", seed=0, options={"laterl": 0.1})], np.array([0]))
    with pytest.raises(SpecError, match="wrong shape"):
        env.step(np.zeros((2, 2), dtype=np.float32), rows)
    with pytest.raises(SpecError, match="no such row"):
        env.observe(np.array([2]))
    with pytest.raises(SpecError, match="one start"):
        env.reset(env.starts("train", 1), rows)


def test_config_round_trips_through_json():
    config = CarConfig(observation=("lidar", "state"), camera=Camera(channels=3, height=66, width=200))
    assert from_data(to_data(config), CarConfig) == config
    assert make("car", num_rows=1, **to_data(config)).config == config


def test_what_is_shown_fits_the_spec():
    env = make("car", num_rows=3, observation=("state", "lidar", "retina"))
    rows = np.arange(3)
    env.reset(env.starts("validation", 3), rows)
    for shown, spec in (
        (env.observe(rows), env.spec.observation),
        (env.privileged(rows), env.spec.privileged),
    ):
        assert set(shown) == set(spec)
        for name, value in shown.items():
            assert len(value) == 3
            spec[name].check(value, name=name)
