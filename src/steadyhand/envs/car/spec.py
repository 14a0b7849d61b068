"""What the car shows to policies and to experts."""

from steadyhand.core.specs import EnvSpec, FeatureSpec, image_spec
from steadyhand.core.success import SuccessRule
from steadyhand.envs.car.config import CarConfig

PREVIEW = (0.0, 0.3, 0.6, 0.9, 1.2)
"""Arc lengths ahead at which "observation.state" tells the road's curvature [m]."""

PATH_AHEAD = tuple(0.1 * k for k in range(1, 26))
"""Arc lengths ahead of the points in "privileged.path" [m]."""


def car_spec(config: CarConfig) -> EnvSpec:
    """Return the spec that follows from a config."""
    scalar = {
        "pose": FeatureSpec(shape=(3,), names=("x", "y", "heading"), units=("m", "m", "rad")),
        "lateral": FeatureSpec(shape=(1,), names=("lateral",), units=("m",)),
        "heading_error": FeatureSpec(shape=(1,), names=("heading_error",), units=("rad",)),
        "steering": FeatureSpec(shape=(1,), names=("steering",), units=("rad",)),
        "speed": FeatureSpec(shape=(1,), names=("speed",), units=("m/s",)),
        "path": FeatureSpec(shape=(len(PATH_AHEAD), 2)),
        "road": FeatureSpec(shape=(2,), names=("track", "arc_length"), units=("1", "m")),
    }
    senses = {
        "state": ("observation.state", _state_spec()),
        "lidar": ("observation.environment_state", _lidar_spec(config)),
        "scan": ("observation.environment_state", _scan_spec(config)),
        "retina": (
            "observation.images.front",
            image_spec(config.camera.height, config.camera.width, config.camera.channels),
        ),
        "ranges": (
            "observation.images.ranges",
            image_spec(config.range_finder.height, config.range_finder.width, 1),
        ),
        "camera": (
            "observation.images.camera",
            image_spec(config.large_camera.height, config.large_camera.width, config.large_camera.channels),
        ),
    }
    return EnvSpec(
        env_id="car",
        observation=dict(senses[sense] for sense in config.observation),
        privileged={f"privileged.{name}": spec for name, spec in scalar.items()},
        action=_action_spec(config),
        control_dt=config.control_dt,
        max_episode_steps=config.max_episode_steps,
        task="Drive along the road and stay on it.",
        success=SuccessRule(said="on the road until the time limit, and far enough along it"),
    )


def _state_spec() -> FeatureSpec:
    preview = tuple(f"curvature_{round(100 * ahead)}cm" for ahead in PREVIEW)
    names = ("lateral", "heading_error", "steering", "speed", *preview)
    units = ("m", "rad", "rad", "m/s", *("1/m" for _ in PREVIEW))
    return FeatureSpec(shape=(len(names),), names=names, units=units)


def _lidar_spec(config: CarConfig) -> FeatureSpec:
    beams = config.lidar.num_beams
    return FeatureSpec(
        shape=(beams,),
        names=tuple(f"beam_{beam}" for beam in range(beams)),
        units=("m",) * beams,
        low=(0.0,) * beams,
        high=(config.lidar.max_range,) * beams,
    )


def _scan_spec(config: CarConfig) -> FeatureSpec:
    beams = _lidar_spec(config)
    return FeatureSpec(
        shape=(beams.size + 2,),
        names=(*(beams.names or ()), "speed", "collided"),
        units=(*(beams.units or ()), "m/s", "1"),
        low=(*(beams.low or ()), 0.0, 0.0),
        high=(*(beams.high or ()), config.params.max_speed, 1.0),
    )


def _action_spec(config: CarConfig) -> FeatureSpec:
    names = ("steering",) if config.action == "steering" else ("steering", "speed")
    return FeatureSpec(
        shape=(len(names),),
        names=names,
        units=("1",) * len(names),
        low=(-1.0,) * len(names),
        high=(1.0,) * len(names),
    )
