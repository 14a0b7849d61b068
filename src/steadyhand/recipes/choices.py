"""Policies by the short names of the command line."""

from collections.abc import Mapping
from typing import Literal

from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.encoders.image import FlatImage, SmallConv
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.categorical import Categorical
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.spec import PolicyConfig

EncoderName = Literal["auto", "StateMLP", "FlatImage", "SmallConv"]
HeadName = Literal["auto", "Regression", "Gaussian", "Categorical"]


def default_features(spec: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
    """Return all vectors, or all images if there are none: beside a state, pictures must be asked for."""
    vectors = tuple(name for name, feature in spec.items() if feature.kind != "image")
    return vectors or tuple(spec)


def policy_config(
    observation: Mapping[str, FeatureSpec],
    action: FeatureSpec,
    *,
    encoder: EncoderName = "auto",
    head: HeadName = "auto",
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
    """
    encoders: dict[str, EncoderConfig] = {
        "StateMLP": StateMLP(),
        "FlatImage": FlatImage(),
        "SmallConv": SmallConv(),
    }
    heads: dict[str, HeadConfig] = {
        "Regression": Regression(),
        "Gaussian": Gaussian(),
        "Categorical": Categorical(),
    }
    has_image = any(feature.kind == "image" for feature in observation.values())
    is_discrete = action.kind == "discrete"
    return PolicyConfig(
        encoder=encoders[("SmallConv" if has_image else "StateMLP") if encoder == "auto" else encoder],
        head=heads[("Categorical" if is_discrete else "Regression") if head == "auto" else head],
        observation=tuple(observation),
        n_obs_steps=n_obs_steps,
        horizon=horizon,
        n_action_steps=n_action_steps,
    )
