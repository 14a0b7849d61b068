"""Lidar and camera against slow, exact oracles."""

from functools import cache

import numpy as np
import pytest

from steadyhand.core.errors import ConfigError, SpecError
from steadyhand.envs.car import Camera, Car, CarConfig, Lidar, RangeFinder
from steadyhand.envs.car.retina import GREY_SKY, SKY
from steadyhand.envs.car.track import load_track

SENSES = ("state", "lidar", "retina")


def placed(num_rows, *, seed=0, **options):
    config = CarConfig(start_lateral_std=0.1, start_heading_std=0.1, **options)
    env = Car(config, num_rows=num_rows)
    rows = np.arange(num_rows)
    env.reset(env.starts("train", num_rows, seed=seed), rows)
    return env, rows


def cast(env, pose, edges):
    """Ranges by intersecting every beam with every segment of the road's edges."""
    lidar = env.config.lidar
    x, y, heading = pose.astype(float)
    origin = np.array([x + lidar.mount_forward * np.cos(heading), y + lidar.mount_forward * np.sin(heading)])
    half = 0.5 * lidar.field_of_view
    angle = heading + np.linspace(-half, half, lidar.num_beams)
    start = np.concatenate([edge[:-1] for edge in edges]) - origin
    along = np.concatenate([np.diff(edge, axis=0) for edge in edges])
    ux, uy = np.cos(angle)[:, None], np.sin(angle)[:, None]
    det = ux * along[:, 1] - uy * along[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (start[:, 0] * along[:, 1] - start[:, 1] * along[:, 0]) / det
        share = (start[:, 0] * uy - start[:, 1] * ux) / det
    hit = (share >= 0) & (share <= 1) & (t >= 0)
    return np.minimum(np.where(hit, t, np.inf).min(axis=1), lidar.max_range)


@pytest.mark.parametrize("road_width", [0.5, 0.6, 1.0])
def test_lidar_equals_exact_ray_casting(road_width):
    env, rows = placed(64, observation=("lidar",), road_width=road_width)
    seen = env.observe(rows)["observation.environment_state"]
    pose = env.privileged(rows)["privileged.pose"]
    number = env.state(rows)["track"]

    def exact(width):
        return np.stack([cast(env, pose[row], edges(int(number[row]), width)) for row in rows])

    error = np.abs(seen - exact(road_width))
    assert np.percentile(error, 99) <= 0.005
    # A beam that grazes an edge may pass or hit: then it must agree with a road 4 mm wider or narrower.
    assert (seen >= exact(road_width - 0.004) - 0.005).all()
    assert (seen <= exact(road_width + 0.004) + 0.005).all()
    assert seen.max() > 2.0


@cache
def edges(number, road_width):
    track = load_track(number)
    s = np.linspace(0.0, track.length, 4000)
    return [track.at(s, side * 0.5 * road_width) for side in (1, -1)]


def test_lidar_is_zero_off_the_road_and_capped():
    env, rows = placed(4, observation=("lidar",), lidar=Lidar(max_range=0.5, num_beams=7))
    assert env.observe(rows)["observation.environment_state"].max() == np.float32(0.5)
    away = {"lateral": np.full(4, 0.5, dtype=np.float32)}
    assert (env.observe(rows, view_offset=away)["observation.environment_state"] == 0).all()


def test_scan_is_the_lidar_with_speed_and_a_collision_flag():
    env, rows = placed(3, observation=("scan",), action="steering_speed")
    only, _ = placed(3, observation=("lidar",), action="steering_speed")
    name = "observation.environment_state"
    assert env.spec.observation[name].shape == (62,)
    assert env.spec.observation[name].names[60:] == ("speed", "collided")
    command = np.array([[0.0, 1.0], [1.0, 1.0], [-1.0, 1.0]], dtype=np.float32)
    ended = np.zeros(3, dtype=bool)
    while not ended.all():
        some = rows[~ended]
        for one in (env, only):
            result = one.step(command[some], some)
        seen = env.observe(rows)[name]
        env.spec.observation[name].check(seen, name=name)
        np.testing.assert_array_equal(seen[:, :60], only.observe(rows)[name])
        np.testing.assert_array_equal(seen[:, 60], env.privileged(rows)["privileged.speed"][:, 0])
        ended[some] = result.terminated
        np.testing.assert_array_equal(seen[:, 61], ended)
    away = {"lateral": np.full(3, 0.5, dtype=np.float32)}
    env.reset(env.starts("test", 3), rows)
    assert (env.observe(rows, view_offset=away)[name][:, 61] == 1).all()


def test_scan_and_lidar_share_a_feature():
    with pytest.raises(ConfigError, match="share a feature"):
        CarConfig(observation=("scan", "lidar"))


@pytest.mark.parametrize(
    "camera", [Camera(), Camera(height=9, width=20, channels=3, pitch=0.9, view_range=2.0)]
)
def test_camera_equals_a_pixel_by_pixel_oracle(camera):
    env, rows = placed(5, observation=("retina",), camera=camera)
    seen = env.observe(rows)["observation.images.front"]
    pose = env.privileged(rows)["privileged.pose"].astype(float)
    focal = camera.width / 2 / np.tan(camera.field_of_view / 2)
    wrong = 0
    for row in rows:
        raster = env.atlas.texture(int(env.state(np.array([row]))["track"][0]))
        x, y, heading = pose[row]
        for i in range(camera.height):
            for j in range(camera.width):
                down = (i + 0.5 - camera.height / 2) / focal
                right = (j + 0.5 - camera.width / 2) / focal
                fall = np.sin(camera.pitch) + np.cos(camera.pitch) * down
                ahead = (np.cos(camera.pitch) - np.sin(camera.pitch) * down) / fall * camera.mount_height
                left = -right / fall * camera.mount_height
                if fall <= 0 or np.hypot(ahead, left) > camera.view_range:
                    expected = [GREY_SKY] if camera.channels == 1 else [176, 196, 214]
                else:
                    ahead += camera.mount_forward
                    gx = x + ahead * np.cos(heading) - left * np.sin(heading)
                    gy = y + ahead * np.sin(heading) + left * np.cos(heading)
                    cell = raster.cells[
                        round((gy - raster.origin[1]) / raster.cell),
                        round((gx - raster.origin[0]) / raster.cell),
                    ]
                    expected = [cell >> shift & 255 for shift in (0, 8, 16)[: camera.channels]]
                wrong += list(seen[row, i, j]) != expected
    # float32 rounds a few rays into the neighbouring cell
    assert wrong <= 0.005 * seen[..., 0].size


def test_sky_is_constant():
    env, rows = placed(3, observation=("retina",))
    assert (env.observe(rows)["observation.images.front"][:, :4] == GREY_SKY).all()


def test_a_displaced_view_is_what_a_displaced_car_sees():
    env, rows = placed(6, observation=SENSES)
    offset = {
        "lateral": np.array([0.1, -0.1, 0.05, 0.0, 0.12, -0.12], dtype=np.float32),
        "heading": np.array([0.1, -0.2, 0.0, 0.3, 0.0, 0.1], dtype=np.float32),
    }
    shifted = env.observe(rows, view_offset=offset)
    state = env.state(rows)
    x, y, heading = state["values"].T[:3]
    moved = x - offset["lateral"] * np.sin(heading), y + offset["lateral"] * np.cos(heading)
    twin = Car(env.config, num_rows=6)
    values = state["values"].copy()
    values[:, 0], values[:, 1], values[:, 2] = *moved, heading + offset["heading"]
    twin.restore({**state, "values": values}, rows)
    there = twin.observe(rows)
    np.testing.assert_array_equal(shifted["observation.images.front"], there["observation.images.front"])
    name = "observation.environment_state"
    np.testing.assert_array_equal(shifted[name], there[name])
    # On the centre line and along the road, the offsets are the state's first two entries.
    centred = Car(CarConfig(observation=("state",), start_lateral_std=0.0, start_heading_std=0.0), num_rows=6)
    centred.reset(centred.starts("test", 6), rows)
    told = centred.observe(rows, view_offset=offset)["observation.state"]
    np.testing.assert_allclose(told[:, 0], offset["lateral"], atol=1e-4)
    np.testing.assert_allclose(told[:, 1], offset["heading"], atol=1e-4)


def test_view_offsets_are_checked():
    env, rows = placed(2, observation=("retina",))
    with pytest.raises(SpecError, match="view offset"):
        env.observe(rows, view_offset={"pitch": np.zeros(2, dtype=np.float32)})
    with pytest.raises(SpecError, match="too far"):
        env.observe(rows, view_offset={"lateral": np.full(2, 0.6, dtype=np.float32)})


def test_state_previews_the_curvature_ahead():
    env, rows = placed(8, observation=("state",))
    told = env.observe(rows)["observation.state"]
    names = env.spec.observation["observation.state"].names
    snapshot = env.state(rows)
    for row in rows:
        track = load_track(int(snapshot["track"][row]))
        s = snapshot["values"][row, 5] + 0.9
        nearest = round(float(s) / track.spacing) % len(track.table)
        assert told[row, names.index("curvature_90cm")] == track.table[nearest, 3]


def test_the_large_camera_is_a_sense_of_its_own():
    """66 x 200 RGB: the ground fills the picture, and the right line of the road is right of the left one."""
    config = CarConfig(observation=("camera", "retina"), start_lateral_std=0.0, start_heading_std=0.0)
    env, rows = Car(config, num_rows=3), np.arange(3)
    env.reset(env.starts("train", 3), rows)
    seen = env.observe(rows)
    assert env.spec.observation["observation.images.camera"].shape == (66, 200, 3)
    picture = seen["observation.images.camera"].astype(int)
    assert picture.shape == (3, 66, 200, 3)
    assert seen["observation.images.front"].shape == (3, 30, 32, 1)
    near = picture[:, 60]
    white = near.min(axis=2) > 170
    grass = near[..., 1] > near[..., 0] + 20
    for row in range(3):
        columns = np.flatnonzero(white[row])
        assert (columns < 100).any()
        assert (columns > 100).any()
        assert grass[row, :10].all()
        assert grass[row, -10:].all()
        assert not grass[row, 95:105].any()
    assert not (picture[:, 20:] == SKY).all(axis=3).any()


def test_the_large_camera_looks_at_the_same_ground_as_an_equal_small_one():
    camera = Camera.pilotnet()
    env, rows = placed(2, observation=("camera", "retina"), camera=camera)
    seen = env.observe(rows)
    np.testing.assert_array_equal(seen["observation.images.camera"], seen["observation.images.front"])


def test_range_pictures_are_what_a_beam_in_space_meets_first():
    """The oracle walks along every beam in steps of 5 mm until it is under the ground or off the road."""
    env, rows = placed(3, observation=("ranges",), range_finder=RangeFinder(height=3, width=5))
    finder, pose = env.config.range_finder, env.privileged(rows)["privileged.pose"].astype(float)
    number = env.state(rows)["track"]
    seen = env.observe(rows)["observation.images.ranges"]
    assert (seen.shape, seen.dtype) == ((3, 3, 5, 1), np.uint8)
    away = np.arange(0.0, finder.max_range, 0.005)
    half = 0.5 * env.config.road_width
    for row in rows:
        x, y, heading = pose[row]
        track = load_track(int(number[row]))
        centre = track.at(np.linspace(0.0, track.length, 2000), 0.0)
        centre = centre[np.hypot(*(centre - [x, y]).T) < finder.max_range + 1.0]
        for line in range(3):
            down = (line + 0.5) / 3 * finder.depth_of_view
            for column in range(5):
                angle = heading + (0.5 - (column + 0.5) / 5) * finder.field_of_view  # left is positive
                along = finder.mount_forward * np.array([np.cos(heading), np.sin(heading)])
                flat = np.outer(away * np.cos(down), [np.cos(angle), np.sin(angle)])
                points = np.array([x, y]) + along + flat
                apart = np.sqrt(((points[:, None] - centre) ** 2).sum(-1)).min(1)
                met = (away * np.sin(down) >= finder.mount_height) | (apart > half)
                near = away[np.argmax(met)] if met.any() else finder.max_range
                expected = 255.0 * (1.0 - near / finder.max_range)
                assert abs(float(seen[row, line, column, 0]) - expected) <= 3.0
    assert len(np.unique(seen)) > 20


def test_a_range_picture_turns_with_the_car_and_sees_the_bend():
    env, rows = placed(8, observation=("ranges",))
    plain = env.observe(rows)["observation.images.ranges"]
    assert plain.shape == (8, 8, 32, 1)
    offset = {"lateral": np.full(8, 0.2, np.float32), "heading": np.zeros(8, np.float32)}
    moved = env.observe(rows, view_offset=offset)["observation.images.ranges"]
    left = np.s_[:, :2, :8]
    assert (moved[left].astype(int) - plain[left]).mean() > 5  # nearer to the left wall
    with pytest.raises(ConfigError, match="RangeFinder does not take this value of max_range"):
        CarConfig(range_finder=RangeFinder(max_range=0.0))
