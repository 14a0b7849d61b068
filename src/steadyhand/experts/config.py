"""The settings of experts: their base class, and ours, without the experts themselves."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeVar

from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.core.parts import Part, located
from steadyhand.core.settings import Positive, PositiveShare, Range, Share, Whole
from steadyhand.envs.config import EnvConfig
from steadyhand.envs.gymnasium_config import GymnasiumConfig

if TYPE_CHECKING:
    from steadyhand.core.protocol import Controller
    from steadyhand.envs.base import BatchEnv
    from steadyhand.experts.base import Expert

Labels = Literal["driven", "hindsight"]
S = TypeVar("S", bound=EnvConfig)


class ExpertConfig(Part, ABC):
    """Settings of somebody who shows the way: a frozen dataclass that builds a controller for an env."""

    kind: ClassVar[str] = "expert"
    ours: ClassVar[Mapping[str, str]] = (
        located(
            __name__,
            "PurePursuitExpert",
            "DelayedExpert",
            "ForksExpert",
            "AvoidingExpert",
            "TabletopExpert",
            "MetaworldExpert",
            "FetchExpert",
            "AlohaExpert",
            "SwingUpExpert",
            "DynamicProgrammingExpert",
            "LqrExpert",
            "WeightsExpert",
            "ModelExpert",
            "TrainedExpert",
        )
        | located(
            "steadyhand.experts.control.config",
            "IlqrExpert",
            "MppiExpert",
            "CemExpert",
            "PredictiveSamplingExpert",
            "RegulatorExpert",
            "GeometricExpert",
            "ComputedTorqueExpert",
            "PdExpert",
        )
        | located("steadyhand.recipes.experts", "PolicyExpert", "FunctionExpert")
    )

    @abstractmethod
    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env.

        Raises:
            CapabilityError: The expert does not know this env.
            SpecError: A network does not fit the env.
        """


@dataclass(frozen=True, kw_only=True)
class PurePursuitExpert(ExpertConfig):
    """Follows the centre line of the car env; see `experts.pure_pursuit`.

    Attributes:
        lookahead: Look-ahead distance [m].
    """

    lookahead: Positive = 0.6

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that it does not know."""
        from steadyhand.envs.car.config import CarConfig
        from steadyhand.experts.pure_pursuit import PurePursuit

        return PurePursuit(settings_of(env, CarConfig, "Pure pursuit"), lookahead=self.lookahead)


@dataclass(frozen=True, kw_only=True)
class DelayedExpert(ExpertConfig):
    """Pure pursuit that reacts late; see `experts.delayed`.

    Attributes:
        delay: Reaction time [steps].
        lookahead: Look-ahead distance [m]; a late driver must look farther ahead.
        labels: Whether labels are what the late driver does, or what it would choose in hindsight.
    """

    delay: Whole = 3
    lookahead: Positive = 1.0
    labels: Labels = "driven"

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that it does not know."""
        from steadyhand.experts.delayed import Delayed

        driver = PurePursuitExpert(lookahead=self.lookahead).build(env)
        return Delayed(driver, delay=self.delay, labels=self.labels)


@dataclass(frozen=True, kw_only=True)
class ForksExpert(ExpertConfig):
    """Passes the disc of the env forks on either side; see `experts.scripted`.

    Attributes:
        left_share: Share of episodes in which it passes on the left.
        spread: Half width of the variation between episodes at the middle of the disc [m].
    """

    left_share: Share = 0.5
    spread: Annotated[float, Range(ge=0, le=0.1, unit="m")] = 0.06

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that it does not know."""
        from steadyhand.envs.forks.config import ForksConfig
        from steadyhand.experts.scripted import ForksDemonstrator

        settings = settings_of(env, ForksConfig, "The scripted expert of forks")
        return ForksDemonstrator(settings, left_share=self.left_share, spread=self.spread)


@dataclass(frozen=True, kw_only=True)
class AvoidingExpert(ExpertConfig):
    """Takes all 24 routes of the env avoiding in turn; see `experts.scripted`.

    Attributes:
        spread: Half width of the variation between episodes in each gap [m].
    """

    spread: Annotated[float, Range(ge=0, le=0.015, unit="m")] = 0.012

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that it does not know."""
        from steadyhand.envs.avoiding.config import AvoidingConfig
        from steadyhand.experts.scripted import AvoidingDemonstrator

        settings = settings_of(env, AvoidingConfig, "The scripted expert of avoiding")
        return AvoidingDemonstrator(settings, spread=self.spread)


@dataclass(frozen=True, kw_only=True)
class TabletopExpert(ExpertConfig):
    """Brings blocks to their zones, in the order that the start says; see `experts.tabletop`.

    Attributes:
        spread: Half width of the variation between episodes of where in a zone a block is laid [m].
        slowest: Least pace of an episode, as a share of the highest speed; each episode has its own.
    """

    spread: Annotated[float, Range(ge=0, le=0.035, unit="m")] = 0.025
    slowest: PositiveShare = 0.8

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that it does not know."""
        from steadyhand.envs.tabletop.config import TabletopConfig
        from steadyhand.experts.tabletop import TabletopDemonstrator

        settings = settings_of(env, TabletopConfig, "The scripted expert of the tabletop")
        return TabletopDemonstrator(settings, spread=self.spread, slowest=self.slowest)


@dataclass(frozen=True, kw_only=True)
class MetaworldExpert(ExpertConfig):
    """Does any of Meta-World's tasks by the script that comes with it; see `experts.metaworld`."""

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that it does not know."""
        from steadyhand.envs.worlds.metaworld import MetaworldConfig
        from steadyhand.experts.metaworld import MetaworldScript

        return MetaworldScript(settings_of(env, MetaworldConfig, "Meta-World's script").task)


@dataclass(frozen=True, kw_only=True)
class FetchExpert(ExpertConfig):
    """Does the Fetch tasks by a script that reads where things are; see `experts.fetch`."""

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that it does not know."""
        from steadyhand.envs.worlds.fetch import FetchConfig
        from steadyhand.experts.fetch import FetchScript

        return FetchScript(settings_of(env, FetchConfig, "The script of the Fetch tasks").task)


@dataclass(frozen=True, kw_only=True)
class AlohaExpert(ExpertConfig):
    """Hands over the cube or inserts the peg with the arms of ALOHA; see `experts.aloha`."""

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that it does not know."""
        from steadyhand.envs.worlds.aloha import AlohaConfig
        from steadyhand.experts.aloha import AlohaDemonstrator

        return AlohaDemonstrator(settings_of(env, AlohaConfig, "The script of ALOHA's tasks").task)


@dataclass(frozen=True, kw_only=True)
class SwingUpExpert(ExpertConfig):
    """Swings the env pendulum up and balances it; see `experts.swing_up`.

    Attributes:
        gain: Torque for each unit of energy missing and of speed [s/J N m].
        margin: Share of the region that can be held in which it balances rather than pumps.
    """

    gain: float = 1.0
    margin: float = 0.9

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that it does not know."""
        from steadyhand.envs.pendulum.config import PendulumConfig
        from steadyhand.experts.swing_up import SwingUp

        settings = settings_of(env, PendulumConfig, "The swing-up expert")
        return SwingUp(settings, gain=self.gain, margin=self.margin)


@dataclass(frozen=True, kw_only=True)
class DynamicProgrammingExpert(ExpertConfig):
    """Plays the best action of the env tabular; see `experts.tabular`.

    Attributes:
        discount: Weight of a reward one step later.
    """

    discount: Share = 1.0

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that it does not know."""
        from steadyhand.envs.tabular.config import TabularConfig
        from steadyhand.experts.tabular import DynamicProgramming

        return DynamicProgramming(
            settings_of(env, TabularConfig, "Dynamic programming").mdp(), discount=self.discount
        )


@dataclass(frozen=True, kw_only=True)
class LqrExpert(ExpertConfig):
    """Plays the best feedback for the env linear; see `experts.linear`."""

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that it does not know."""
        from steadyhand.envs.linear.config import LinearConfig
        from steadyhand.experts.linear import regulator

        return regulator(settings_of(env, LinearConfig, "The linear-quadratic regulator"))


@dataclass(frozen=True, kw_only=True)
class WeightsExpert(ExpertConfig):
    """An expert network in a file of weights; see `experts.network` and `experts.actor`.

    Attributes:
        path: A trained actor (.safetensors), or a .npz or .safetensors file with W0, b0, ..., W_out, b_out,
            obs_mean and obs_meansq.
        feature: Which feature the network reads; empty takes the only one that the env shows, or all by name.
    """

    path: Path
    feature: str = ""

    def build(self, env: "BatchEnv") -> "Controller":
        """Read the file, and ask it once, so that what does not fit fails before a run.

        Raises:
            ArtifactError: The file is missing, unreadable, or lacks an array.
            SpecError: The network does not fit the env.
        """
        from steadyhand.core.specs import STATE
        from steadyhand.experts.actor import actor_expert, read_actor
        from steadyhand.experts.network import network_of

        actor = read_actor(self.path) if self.path.suffix == ".safetensors" else None
        feature = feature_of(self.feature, env)
        if actor is None:
            return _asked(network_of(self.path, action=env.spec.action, feature=feature or STATE), env)
        expert = actor_expert(actor, action=env.spec.action, feature=feature, name=self.path.name)
        return _asked(expert, env)


@dataclass(frozen=True, kw_only=True)
class ModelExpert(ExpertConfig):
    """A model of Stable-Baselines3 in a file; see `experts.stable_baselines`.

    The file is unpickled by a process of its own, which hands over the actor alone.

    Attributes:
        path: The .zip file that `model.save` wrote.
        feature: Which feature the model reads; empty takes the only one that the env shows, or all by name.
        normalization: The file that `VecNormalize.save` wrote, if it was trained on normalised observations.
    """

    path: Path
    feature: str = ""
    normalization: Path | None = None

    def build(self, env: "BatchEnv") -> "Controller":
        """Convert the model and ask it, so that what does not fit fails before a run.

        Raises:
            CapabilityError: Stable-Baselines3 is not installed.
            ArtifactError: The file is missing, no such model, or of a kind that cannot be converted.
            SpecError: The model does not fit the env.
        """
        from steadyhand.experts.actor import actor_expert
        from steadyhand.experts.stable_baselines import converted

        actor = converted(self.path, normalization=self.normalization)
        feature = feature_of(self.feature, env)
        return _asked(actor_expert(actor, action=env.spec.action, feature=feature, name=self.path.name), env)


@dataclass(frozen=True, kw_only=True)
class TrainedExpert(ExpertConfig):
    """An expert that was trained by reinforcement learning and comes along; see `experts.trained`."""

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that it does not know."""
        from steadyhand.envs.worlds.locomotion import LocomotionConfig
        from steadyhand.experts.trained import trained_actor

        if isinstance(env.config, LocomotionConfig):
            return WeightsExpert(path=trained_actor(env.config.task), feature="observed").build(env)
        path = trained_actor(settings_of(env, GymnasiumConfig, "A trained expert").env_id)
        return WeightsExpert(path=path).build(env)


def feature_of(feature: str, env: "BatchEnv") -> str | None:
    """Return the full name of a feature; None stands for all of them.

    Args:
        feature: Full or short name; empty takes the only one that the env shows, or all.
        env: The env.

    Raises:
        SpecError: The env has no such feature.
    """
    from steadyhand.core.specs import full_names

    features = {**env.spec.observation, **env.spec.privileged}
    if not feature:
        shown = list(env.spec.observation)
        return shown[0] if len(shown) == 1 else None
    for candidate in (*full_names(feature), f"privileged.{feature}"):
        if candidate in features:
            return candidate
    raise SpecError("The env has no such feature.", got=feature, available=features)


def _asked(expert: "Expert", env: "BatchEnv") -> "Expert":
    """Return an expert that was asked once about made-up features."""
    import numpy as np

    made_up = {
        name: np.full(
            (1, *feature.shape), feature.start if feature.num_classes is not None else 0, dtype=feature.dtype
        )
        for name, feature in {**env.spec.observation, **env.spec.privileged}.items()
    }
    expert.action(made_up, made_up)  # asked without `act`, it counts as no query
    return expert


def settings_of(env: "BatchEnv", kind: type[S], expert: str) -> S:
    """Return the settings of the env that an expert is made for.

    Raises:
        CapabilityError: It is another env.
    """
    if not isinstance(env.config, kind):
        raise CapabilityError(
            f"{expert} does not know this env.",
            got=env.spec.env_id,
            hint="name another with --expert: a file of weights, or the folder of a policy",
        )
    return env.config
