"""Policies by the short names of the command line."""

from collections.abc import Mapping, Sequence
from typing import TypeVar, get_args

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import IMAGES, FeatureSpec
from steadyhand.envs.car.config import CarConfig, Sense
from steadyhand.envs.car.spec import car_spec
from steadyhand.envs.catalogue import EnvConfig, env_config
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.spec import PolicyConfig

T = TypeVar("T")
ENCODERS: dict[str, type[EncoderConfig]] = {kind.__name__: kind for kind in get_args(EncoderConfig)}
HEADS: dict[str, type[HeadConfig]] = {kind.__name__: kind for kind in get_args(HeadConfig)}


def env_from_text(text: str, *, observation: Sequence[str] = ()) -> EnvConfig:
    """Read an env from the command line.

    Args:
        text: "car" or a Gymnasium id.
        observation: What it shows, for an env with a choice: senses of the car ("lidar"), or the features
            that they fill ("observation.environment_state"); empty takes the env's default.

    Raises:
        ConfigError: There is no such env or sense, or the env has no choice.
    """
    if not observation:
        return env_config(text)
    if text != "car":
        raise ConfigError(
            "Only the car has a choice of what it shows.",
            got=f"--observation {' '.join(observation)} for {text}",
            hint="leave --observation out",
        )
    sense_of: dict[str, Sense] = {}
    for sense in get_args(Sense):
        for name in (sense, *car_spec(CarConfig(observation=(sense,))).observation):
            sense_of[name] = sense
    for name in observation:
        if name not in sense_of:
            raise ConfigError("The car has no such sense.", got=name, available=get_args(Sense))
    return CarConfig(observation=tuple(dict.fromkeys(sense_of[name] for name in observation)))


def full_name(name: str, features: Mapping[str, FeatureSpec]) -> str:
    """Return the feature that `name` stands for: "state" for "observation.state", "front" for a camera.

    Raises:
        ConfigError: There is none.
    """
    for candidate in (name, f"observation.{name}", f"{IMAGES}{name}"):
        if candidate in features:
            return candidate
    raise ConfigError("There is no such feature.", got=name, available=features)


def default_features(spec: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
    """Return all vectors, or all images if there are none: beside a state, pictures must be asked for."""
    vectors = tuple(name for name, feature in spec.items() if feature.kind != "image")
    return vectors or tuple(spec)


def policy_config(
    observation: Mapping[str, FeatureSpec],
    action: FeatureSpec,
    *,
    encoder: str = "auto",
    head: str = "auto",
    n_obs_steps: int = 1,
    horizon: int = 1,
    n_action_steps: int = 1,
) -> PolicyConfig:
    """Return a policy that reads all of `observation`.

    Args:
        observation: The features that it reads.
        action: The action.
        encoder: "auto" takes SmallConv where there are pictures, StateMLP otherwise.
        head: "auto" takes Categorical for discrete actions, Regression otherwise.
        n_obs_steps: Observed steps.
        horizon: Predicted steps.
        n_action_steps: Executed steps of each prediction.

    Raises:
        ConfigError: There is no such encoder or head.
    """
    has_image = any(feature.kind == "image" for feature in observation.values())
    is_discrete = action.kind == "discrete"
    return PolicyConfig(
        encoder=_named(
            ENCODERS, ("SmallConv" if has_image else "StateMLP") if encoder == "auto" else encoder
        ),
        head=_named(HEADS, ("Categorical" if is_discrete else "Regression") if head == "auto" else head),
        observation=tuple(observation),
        n_obs_steps=n_obs_steps,
        horizon=horizon,
        n_action_steps=n_action_steps,
    )


def _named(kinds: Mapping[str, type[T]], name: str) -> T:
    if name not in kinds:
        raise ConfigError("There is no such part of a policy.", got=name, available=["auto", *kinds])
    return kinds[name]()
