"""Everything that can be chosen about the car: body, camera, lidar, road and task. SI units throughout."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, get_args

from steadyhand.core.errors import ConfigError
from steadyhand.core.settings import Count, Range, Settings
from steadyhand.envs.config import EnvConfig

if TYPE_CHECKING:
    from steadyhand.envs.car.env import Car

Sense = Literal["state", "scan", "lidar", "retina", "ranges", "camera"]
"""Two of them fill the same feature: "lidar", the later one, is what that feature's name stands for."""

TIGHTEST_BEND = 1.067
"""Largest curvature of every track [1/m]: 0.68 g at 2.5 m/s."""

MAX_ROAD_WIDTH = 1.0
"""Widest road for which no track touches itself [m]."""


@dataclass(frozen=True, kw_only=True)
class CarParams(Settings):
    """Body of a 1/10-scale race car (MuSHR; Srinivasa et al., arXiv:1908.08031).

    Attributes:
        model: Equations of motion. "kinematic": single track, no slip.
        wheelbase: Front to rear axle [m].
        max_steering: Steering angle at either stop [rad].
        max_steering_rate: Speed of the steering servo [rad/s].
        max_speed: Highest speed [m/s].
        max_acceleration: Most that the motor gives [m/s^2].
        max_deceleration: Most that the brake gives [m/s^2].
        substeps: Runge-Kutta steps in one control step.
    """

    model: Literal["kinematic"] = "kinematic"
    wheelbase: float = 0.295
    max_steering: float = 0.38
    max_steering_rate: float = 3.2
    max_speed: float = 5.0
    max_acceleration: float = 4.0
    max_deceleration: float = 6.0
    substeps: Annotated[int, Range(ge=1, le=1000)] = 5


@dataclass(frozen=True, kw_only=True)
class Camera(Settings):
    """A pinhole camera that sees the flat ground.

    Attributes:
        height: Rows of the picture.
        width: Columns of the picture.
        channels: 1 for grey, 3 for RGB.
        field_of_view: Horizontal angle of view [rad].
        mount_forward: Position ahead of the rear axle [m].
        mount_height: Height above the ground [m].
        pitch: How far it looks down [rad].
        view_range: Farthest ground that is drawn [m]; beyond it, and above the horizon, all is constant.
        blur: Spread of the ground that a pixel gathers light from, as a standard deviation [m]. A pixel of a
            small retina covers centimetres; a point sample of the paint would flicker instead.
    """

    height: int = 30
    width: int = 32
    channels: Literal[1, 3] = 1
    field_of_view: float = math.radians(80.0)
    mount_forward: float = 0.15
    mount_height: float = 0.25
    pitch: float = math.radians(30.0)
    view_range: Annotated[float, Range(ge=0.5, le=10, unit="m")] = 3.0
    blur: Annotated[float, Range(ge=0, le=0.2, unit="m")] = 0.04

    @classmethod
    def pilotnet(cls) -> "Camera":
        """Return a camera of the size that PilotNet reads, 66 x 200 RGB (arXiv:1604.07316)."""
        return cls(
            height=66,
            width=200,
            channels=3,
            field_of_view=math.radians(110.0),
            pitch=math.radians(32.0),
            view_range=6.0,
            blur=0.01,
        )


@dataclass(frozen=True, kw_only=True)
class Lidar(Settings):
    """A scanner that sees the road's edges as walls, "observation.environment_state".

    Attributes:
        num_beams: Beams from right to left.
        field_of_view: Angle between the first and the last beam [rad].
        mount_forward: Position ahead of the rear axle [m].
        max_range: Longest distance reported [m].
        iterations: Most steps that a ray takes.
    """

    num_beams: int = 60
    field_of_view: float = math.radians(270.0)
    mount_forward: float = 0.15
    max_range: float = 10.0
    iterations: Annotated[int, Range(ge=2, le=1000)] = 24


@dataclass(frozen=True, kw_only=True)
class RangeFinder(Settings):
    """A laser range picture, as ALVINN's first net had one: the road's edges are walls.

    Attributes:
        height: Rows of the picture.
        width: Columns of the picture.
        field_of_view: Horizontal angle of view [rad].
        depth_of_view: From the horizon down to the lowest row [rad].
        mount_forward: Position ahead of the rear axle [m].
        mount_height: Height above the ground [m].
        max_range: Distance from which on all is black; 0 would be white [m].
    """

    height: int = 8
    width: int = 32
    field_of_view: float = math.radians(80.0)
    depth_of_view: float = math.radians(30.0)
    mount_forward: float = 0.15
    mount_height: float = 0.25
    max_range: Annotated[float, Range(ge=0.1, le=10, unit="m")] = 3.0


@dataclass(frozen=True, kw_only=True)
class CarConfig(EnvConfig):
    """A 1/10-scale race car on closed tracks, steered by camera, lidar or state.

    Attributes:
        observation: What policies see, any of "state", "lidar" or "scan" (the lidar with speed and a
            collision flag), "retina", "ranges" and "camera".
        action: "steering": one number in [-1, 1], the target steering angle over `max_steering`, left
            positive, at constant `speed`. "steering_speed": a second number in [-1, 1] maps onto a target
            speed from 0 to `max_speed`.
        speed: Target speed [m/s], also the speed at the start.
        road_width: Edge to edge [m]. The episode fails when the middle of the rear axle leaves the road.
        num_tracks: Tracks to learn on.
        num_held_out_tracks: Tracks in each of the validation and test families: more of them, since cars on
            one track succeed or fail together.
        start_lateral_std: Spread of starts across the road [m]; 0 starts on the centre line.
        start_heading_std: Spread of starts in heading [rad]; 0 starts along the road.
        min_progress: Share of speed * time that must be covered to succeed.
        control_dt: Time between two actions [s].
        max_episode_steps: Steps that the car must stay on the road.
        params: Parameters of the body.
        camera: The small camera that "retina" reads, "observation.images.front".
        large_camera: The one that "camera" reads, "observation.images.camera".
        lidar: Settings of the scanner.
        range_finder: The one that "ranges" reads, "observation.images.ranges".
    """

    expert: ClassVar[str] = "PurePursuitExpert"
    chooses: ClassVar[bool] = True

    observation: tuple[Sense, ...] = ("retina",)
    action: Literal["steering", "steering_speed"] = "steering"
    speed: Annotated[float, Range(ge=0.1, le="params.max_speed", unit="m/s")] = 2.5
    road_width: Annotated[float, Range(ge=0.2, le=MAX_ROAD_WIDTH, unit="m")] = 0.6
    num_tracks: Annotated[int, Range(ge=1, le=1000)] = 8
    num_held_out_tracks: Annotated[int, Range(ge=1, le=1000)] = 16
    start_lateral_std: Annotated[float, Range(ge=0, le="quarter_road", unit="m")] = 0.02
    start_heading_std: Annotated[float, Range(ge=0, le=0.5, unit="rad")] = 0.02
    min_progress: float = 0.8
    control_dt: Annotated[float, Range(ge=0.001, le=0.2, unit="s")] = 0.05
    max_episode_steps: Count = 1200
    params: CarParams = field(default_factory=CarParams)
    camera: Camera = field(default_factory=Camera)
    large_camera: Camera = field(default_factory=Camera.pilotnet)
    lidar: Lidar = field(default_factory=Lidar)
    range_finder: RangeFinder = field(default_factory=RangeFinder)

    def __post_init__(self) -> None:
        senses = get_args(Sense)
        unknown = [sense for sense in self.observation if sense not in senses]
        if unknown or not self.observation or len(set(self.observation)) < len(self.observation):
            raise ConfigError(
                "The car's observation must name senses, each once.",
                got=unknown[0] if unknown else self.observation,
                available=senses,
            )
        if {"lidar", "scan"} <= set(self.observation):
            raise ConfigError(
                "The car's senses 'lidar' and 'scan' share a feature.",
                got=self.observation,
                hint="name one of them; 'scan' holds the lidar's beams",
            )
        super().__post_init__()

    @property
    def quarter_road(self) -> float:
        """A quarter of the road's width [m]: starts spread no farther."""
        return self.road_width / 4

    def showing(self, names: Sequence[str]) -> "CarConfig":
        """Return the settings of the same car with these senses, or those that fill these features.

        Raises:
            ConfigError: There is no such sense.
        """
        from steadyhand.envs.car.spec import car_spec

        sense_of: dict[str, Sense] = {}
        for sense in get_args(Sense):
            for name in (sense, *car_spec(CarConfig(observation=(sense,))).observation):
                sense_of[name] = sense
        for name in names:
            if name not in sense_of:
                raise ConfigError("The car has no such sense.", got=name, available=get_args(Sense))
        return replace(self, observation=tuple(dict.fromkeys(sense_of[name] for name in names)))

    def build(self, num_rows: int) -> "Car":
        """Return the env with `num_rows` copies."""
        from steadyhand.envs.car.env import Car

        return Car(self, num_rows=num_rows)
