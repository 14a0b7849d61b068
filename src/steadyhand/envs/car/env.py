"""A batch of race cars on closed tracks."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped, UInt8

from steadyhand.core.errors import SpecError
from steadyhand.core.seeding import derive, generator
from steadyhand.envs.arrays import ArrayEnv, Selection, Trails
from steadyhand.envs.base import Family, ReturnRule, Start
from steadyhand.envs.car.atlas import Atlas, Lane, OnRoad
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.car.dynamics import advance, dynamics, parameters
from steadyhand.envs.car.lidar import LidarScanner
from steadyhand.envs.car.problem import car_problem, state_of
from steadyhand.envs.car.ranges import RangePictures
from steadyhand.envs.car.render import render_car
from steadyhand.envs.car.retina import Retina
from steadyhand.envs.car.spec import PATH_AHEAD, PREVIEW, car_spec
from steadyhand.envs.car.track import (
    COS,
    CURVATURE,
    HEADING,
    SIN,
    X,
    Y,
    family_of,
    load_track,
    track_number,
)
from steadyhand.envs.car.views import Pose, displaced_steering, displacement
from steadyhand.envs.problem import ControlProblem

TRAIL_STEPS = 40


class Car(ArrayEnv):
    """N race cars; see `CarConfig` for what can be chosen.

    The reference point of a car is the middle of its rear axle. An episode ends in failure when that point
    leaves the road (two wheels on the grass are allowed), and in success when it has stayed on for
    `max_episode_steps` and covered `min_progress` of what the target speed allows. The reward is the progress
    along the centre line [m].

    Args:
        config: Settings of the env.
        num_rows: Number of cars.
    """

    OPTIONS = ("track", "s", "lateral", "heading")

    _STATE: ClassVar = (
        "x",
        "y",
        "heading",
        "steering",
        "speed",
        "s",
        "lateral",
        "heading_error",
        "curvature",
        "progress",
    )

    def __init__(self, config: CarConfig | None = None, *, num_rows: int) -> None:
        self.config = config = config or CarConfig()
        super().__init__(car_spec(config), num_rows=num_rows)
        self._half_width = np.float32(0.5 * config.road_width)
        self._asked = config.min_progress * config.speed * config.control_dt * config.max_episode_steps
        self.atlas = Atlas(config)
        self._params = parameters(config)
        self._lidar = LidarScanner(config.lidar, road_width=config.road_width)
        self._finder = RangePictures(config.range_finder, self.atlas, road_width=config.road_width)
        self._retina = Retina(config.camera)
        self._large_camera = Retina(config.large_camera)
        self._values = np.zeros((len(self._STATE), num_rows), dtype=np.float32)
        self._declare("values", self._values.T)
        self._track = self._declare("track", np.zeros(num_rows, dtype=np.int64))
        self._slot = np.zeros(num_rows, dtype=np.int64)
        self._lane_first = np.zeros(num_rows, dtype=np.int64)
        self._lane_count = np.ones(num_rows, dtype=np.int64)
        self._lane_length = np.ones(num_rows, dtype=np.float32)
        self._trails = self._followed(Trails(self._values[:2].T, length=TRAIL_STEPS))

    def observe(
        self,
        rows: Int64[np.ndarray, " B"],
        *,
        view_offset: Mapping[str, Float32[np.ndarray, " B"]] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return what the chosen senses say; see `BatchEnv.observe`.

        A displaced view is what the car would sense had it been moved `lateral` to the left of its own axis,
        then turned by `heading`.
        """
        if view_offset is None:
            return self._see(rows)
        chosen = self._select(rows)
        return self._sensed(chosen, self._displaced(chosen, view_offset))

    def privileged(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return pose, place on the road and the centre line ahead, for experts."""
        chosen = self._select(rows)
        v = self._values[:, chosen]
        ahead = self._lane(chosen).samples(v[5][:, None] + np.array(PATH_AHEAD, dtype=np.float32))
        east, north = ahead[..., X] - v[0][:, None], ahead[..., Y] - v[1][:, None]
        cos, sin = np.cos(v[2])[:, None], np.sin(v[2])[:, None]
        path = np.stack([cos * east + sin * north, cos * north - sin * east], axis=-1)
        return {
            "privileged.pose": v[:3].T.copy(),
            "privileged.lateral": v[6][:, None].copy(),
            "privileged.heading_error": v[7][:, None].copy(),
            "privileged.steering": v[3][:, None].copy(),
            "privileged.speed": v[4][:, None].copy(),
            "privileged.path": path,
            "privileged.road": np.stack([self._track[chosen].astype(np.float32), v[5]], axis=1),
        }

    def dynamics(self, x: Any, u: Any, *, params: Mapping[str, Any], xp: Any) -> Any:
        """Return the next (..., 5) state; `params` overrides single parameters. See `dynamics.dynamics`."""
        return dynamics(x, u, params={**self._params, **params}, xp=xp)

    def problem(self) -> ControlProblem:
        """Return driving fast as a problem of optimal control; see `car.problem`."""
        return car_problem(self.config, self.atlas)

    def x_of(self, observation: Mapping[str, np.ndarray]) -> Float64[np.ndarray, "B S"]:
        """Return the state of `problem` from what experts see; the first five entries are `dynamics`' own."""
        return state_of(observation, self.atlas)

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return the car from above, what its camera sees and a map.

        A row leaves a trail from its first picture on.
        """
        here = np.array([row])
        # The large picture is shown where it is the only one that policies see.
        large = "camera" in self.config.observation and "retina" not in self.config.observation
        return render_car(
            self.config,
            track=int(self._track[row]),
            pose=self._values[:3, row],
            steering=float(self._values[3, row]),
            trail=self._trails.of(row),
            seen=self._seen(self._large_camera if large else self._retina, here, self._pose(here))[0],
            width=width,
            height=height,
        )

    @property
    def road_width(self) -> float:
        """Edge to edge [m]."""
        return self.config.road_width

    def outline(self, start: Start | int) -> tuple[Float32[np.ndarray, "P 2"], ...]:
        """Return the left and the right edge of the road of a start, or of a row's track, closed [m]."""
        number = self._track[start] if isinstance(start, int) else self._complete(start)[0]
        track = load_track(int(number))
        s = np.linspace(0.0, track.length, len(track.table) // 2 + 1)
        half = 0.5 * self.config.road_width
        return track.at(s, half).astype(np.float32), track.at(s, -half).astype(np.float32)

    def position(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        """Return the middle of the rear axle [m]."""
        return self._values[:2, rows].T.copy()

    def error(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
        """Return the distance from the centre line [m]."""
        return np.abs(self._values[6, rows])

    def rescue(self, rows: Int64[np.ndarray, " B"]) -> tuple[Start, ...]:
        """Return starts on the centre line, along the road, where each car is now."""
        tracks, places = self._track[rows].tolist(), self._values[5, rows].tolist()
        return tuple(
            Start(family=family_of(track), seed=0, options={"track": float(track), "s": place})
            for track, place in zip(tracks, places, strict=True)
        )

    def displaced_action(
        self,
        rows: Int64[np.ndarray, " B"],
        action: Float32[np.ndarray, "B A"],
        *,
        view_offset: Mapping[str, Float32[np.ndarray, " B"]],
        lookahead: float,
        rule: ReturnRule = "pursuit",
    ) -> Float32[np.ndarray, "B A"]:
        """Return the steering that leads back, see `views.displaced_steering`; a speed stays as it is."""
        del rows
        label = action.copy()
        label[:, 0] = displaced_steering(
            action[:, 0], body=self.config.params, view_offset=view_offset, lookahead=lookahead, rule=rule
        )
        return label

    def _sensed(self, chosen: Selection, pose: Pose) -> dict[str, np.ndarray]:
        observation: dict[str, np.ndarray] = {}
        for sense in self.config.observation:
            if sense == "state":
                observation["observation.state"] = self._state_feature(chosen, pose)
            elif sense == "lidar":
                observation["observation.environment_state"] = self._ranges(chosen, pose)
            elif sense == "scan":
                observation["observation.environment_state"] = self._scan_feature(chosen, pose)
            elif sense == "ranges":
                observation["observation.images.ranges"] = self._finder.draw(pose, self._slot[chosen])
            elif sense == "retina":
                observation["observation.images.front"] = self._seen(self._retina, chosen, pose)
            else:
                observation["observation.images.camera"] = self._seen(self._large_camera, chosen, pose)
        return observation

    def _seen(self, camera: Retina, chosen: Selection, pose: Pose) -> UInt8[np.ndarray, "B h w c"]:
        return camera.draw(pose, self._slot[chosen], self.atlas.textures(camera.camera))

    def _options(self, family: Family, count: int, seed: int) -> Sequence[dict[str, float]]:
        """Return "track" number, "s" arc length [m], "lateral" [m] and "heading" [rad] off the centre line.

        The starts are spread over the family's tracks in turn. With both start spreads of the config at 0
        they lie on the centre line, along the road.
        """
        options: list[dict[str, float]] = []
        config = self.config
        num_tracks = config.num_tracks if family == "train" else config.num_held_out_tracks
        first = derive(seed, "car", family) % num_tracks
        limit = 0.4 * config.road_width
        for index in range(count):
            random = generator(seed, "car", family, index)
            number = track_number(family, (first + index) % num_tracks)
            share, lateral, heading = random.random(), *random.standard_normal(2)
            place = {
                "track": float(number),
                "s": share * load_track(number).length,
                "lateral": float(np.clip(lateral * config.start_lateral_std, -limit, limit)),
                "heading": float(heading * config.start_heading_std),
            }
            options.append(place)
        return options

    def _first(self, starts: Sequence[Start]) -> Mapping[str, np.ndarray]:
        """Return the state at the starts: at the target speed, the wheels turned as the bend asks."""
        tracks, *places = zip(*(self._complete(start) for start in starts), strict=True)
        s, lateral, heading = np.array(places, dtype=np.float32)
        track = np.array(tracks, dtype=np.int64)
        lane = self.atlas.lane(self._slots(track))
        s = np.mod(s, lane.length)
        near = lane.samples(s)
        rest = s - np.rint(s * (lane.count / lane.length)) * (lane.length / lane.count)
        values = np.zeros((len(self._STATE), len(starts)), dtype=np.float32)
        lateral = lateral + 0.5 * near[:, CURVATURE] * rest * rest
        values[0] = near[:, X] + rest * near[:, COS] - lateral * near[:, SIN]
        values[1] = near[:, Y] + rest * near[:, SIN] + lateral * near[:, COS]
        values[2] = near[:, HEADING] + near[:, CURVATURE] * rest + heading
        body = self.config.params
        values[3] = np.clip(
            np.arctan(body.wheelbase * near[:, CURVATURE]), -body.max_steering, body.max_steering
        )
        values[4] = self.config.speed
        road = lane.project(values[0], values[1], values[2], s)
        values[5], values[6] = np.mod(road.s, lane.length), road.lateral
        values[7], values[8] = road.heading_error, road.curvature
        return {"values": values.T, "track": track}

    def _advance(
        self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]
    ) -> tuple[Float32[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        config, chosen = self.config, self._select(rows)
        old = self._values[:, chosen]
        command = np.clip(actions.astype(np.float32, copy=False), -1.0, 1.0)
        target = command[:, 0] * np.float32(config.params.max_steering)
        if command.shape[1] > 1:
            goal = (command[:, 1] + np.float32(1.0)) * np.float32(0.5 * config.params.max_speed)
        else:
            goal = np.full_like(target, config.speed)
        x, y, heading, steering, speed = advance(tuple(old[:5]), target, goal, params=self._params, xp=np)
        lane = self._lane(chosen)
        travelled = np.float32(0.5 * config.control_dt) * (old[4] + speed)
        guess = old[5] + travelled * np.cos(old[7]) / (1.0 - old[8] * old[6])
        road = lane.project(x, y, heading, guess)
        reward = road.s - old[5]
        progress = old[9] + reward
        lap = lane.length * np.floor(road.s / lane.length)
        new = (x, y, heading, steering, speed, road.s - lap, road.lateral, road.heading_error, road.curvature)
        for index, value in enumerate(new):
            self._values[index, chosen] = value
        self._values[9, chosen] = progress
        off = np.abs(road.lateral) > self._half_width
        return reward, off, ~off & (progress >= self._asked)

    def _entered(self, rows: Int64[np.ndarray, " B"]) -> None:
        slots = self._slots(self._track[rows])
        self._slot[rows] = slots
        self._lane_first[rows] = self.atlas.first[slots]
        self._lane_count[rows] = self.atlas.count[slots]
        self._lane_length[rows] = self.atlas.length[slots]

    def _slots(self, tracks: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        return np.array([self.atlas.slot(number) for number in tracks.tolist()], dtype=np.int64)

    def _lane(self, chosen: Selection) -> Lane:
        return Lane(
            self.atlas.table, self._lane_first[chosen], self._lane_count[chosen], self._lane_length[chosen]
        )

    def _see(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        chosen = self._select(rows)
        return self._sensed(chosen, self._pose(chosen))

    def _pose(self, chosen: Selection) -> Pose:
        v = self._values[:, chosen]
        road = OnRoad(s=v[5], lateral=v[6], heading_error=v[7], curvature=v[8])
        return Pose(x=v[0], y=v[1], heading=v[2], road=road)

    def _displaced(self, chosen: Selection, offset: Mapping[str, np.ndarray]) -> Pose:
        v = self._values[:, chosen]
        lateral, heading = displacement(offset, num_rows=v.shape[1])
        x, y = v[0] - lateral * np.sin(v[2]), v[1] + lateral * np.cos(v[2])
        turned = v[2] + heading
        guess = v[5] - lateral * np.sin(v[7]) / (1.0 - v[8] * v[6])
        return Pose(x=x, y=y, heading=turned, road=self._lane(chosen).project(x, y, turned, guess))

    def _state_feature(self, chosen: Selection, pose: Pose) -> Float32[np.ndarray, "B F"]:
        v = self._values[:, chosen]
        ahead = self._lane(chosen).samples(pose.road.s[:, None] + np.array(PREVIEW, dtype=np.float32))
        columns = [pose.road.lateral, pose.road.heading_error, v[3], v[4]]
        return np.concatenate([np.stack(columns, axis=1), ahead[..., CURVATURE]], axis=1)

    def _ranges(self, chosen: Selection, pose: Pose) -> Float32[np.ndarray, "B beams"]:
        return self._lidar.scan(pose, self._slot[chosen], self.atlas.fields())

    def _scan_feature(self, chosen: Selection, pose: Pose) -> Float32[np.ndarray, "B F"]:
        """Return ranges, speed, and 1 where the middle of the rear axle is off the road (F1TENTH's 62)."""
        collided = np.abs(pose.road.lateral) > self._half_width
        ranges, speed = self._ranges(chosen, pose), self._values[4, chosen][:, None]
        return np.concatenate([ranges, speed, collided[:, None].astype(np.float32)], axis=1)

    def _complete(self, start: Start) -> tuple[float, float, float, float]:
        """Return track, s, lateral and heading of a start, defaults filled in."""
        options = start.options
        lateral = options.get("lateral", 0.0)
        if abs(lateral) >= 0.5 * self.config.road_width:
            raise SpecError(
                "A start lies off the road.",
                got=f"lateral {lateral} m",
                expected=f"within {0.5 * self.config.road_width} m",
            )
        track = options["track"] if "track" in options else float(track_number(start.family, 0))
        return track, options.get("s", 0.0), lateral, options.get("heading", 0.0)
