"""Experts as configurations: what a run.json can name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, assert_never

import numpy as np

from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Controller
from steadyhand.core.specs import EnvSpec
from steadyhand.core.strict import kind_of
from steadyhand.envs.avoiding.config import AvoidingConfig
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.catalogue import EnvConfig
from steadyhand.envs.forks.config import ForksConfig
from steadyhand.envs.linear.config import LinearConfig
from steadyhand.envs.pendulum.config import PendulumConfig
from steadyhand.envs.tabular.config import TabularConfig
from steadyhand.experts.base import Expert
from steadyhand.experts.delayed import Delayed, Labels
from steadyhand.experts.linear import regulator
from steadyhand.experts.network import WeightsExpert
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.experts.scripted import AvoidingDemonstrator, ForksDemonstrator
from steadyhand.experts.swing_up import SwingUp
from steadyhand.experts.tabular import DynamicProgramming
from steadyhand.recipes.policies import open_policy
from steadyhand.rollout.executors import RecedingHorizon
from steadyhand.rollout.labelled import Labelled

Settings = TypeVar("Settings")


@dataclass(frozen=True, kw_only=True)
class PurePursuitExpert:
    """Follows the centre line of the car env; see `experts.pure_pursuit`.

    Attributes:
        lookahead: Look-ahead distance [m].
    """

    lookahead: float = 0.6


@dataclass(frozen=True, kw_only=True)
class DelayedExpert:
    """Pure pursuit that reacts late; see `experts.delayed`.

    Attributes:
        delay: Reaction time [steps].
        lookahead: Look-ahead distance [m]; a late driver must look farther ahead.
        labels: As it drives, or as it would wish in hindsight.
    """

    delay: int = 3
    lookahead: float = 1.0
    labels: Labels = "driven"


@dataclass(frozen=True, kw_only=True)
class ForksExpert:
    """Passes the disc of the env forks on either side; see `experts.scripted`.

    Attributes:
        left_share: Share of episodes in which it passes on the left.
        spread: Half width of the variation between episodes at the middle of the disc [m].
    """

    left_share: float = 0.5
    spread: float = 0.06


@dataclass(frozen=True, kw_only=True)
class AvoidingExpert:
    """Takes all 24 routes of the env avoiding in turn; see `experts.scripted`.

    Attributes:
        spread: Half width of the variation between episodes in each gap [m].
    """

    spread: float = 0.012


@dataclass(frozen=True, kw_only=True)
class SwingUpExpert:
    """Swings the env pendulum up and balances it; see `experts.swing_up`.

    Attributes:
        gain: Torque for each unit of energy missing and of speed [s/J N m].
        margin: Share of the region that can be held in which it balances rather than pumps.
    """

    gain: float = 1.0
    margin: float = 0.9


@dataclass(frozen=True, kw_only=True)
class DynamicProgrammingExpert:
    """Plays the best action of the env tabular; see `experts.tabular`.

    Attributes:
        discount: Weight of a reward one step later.
    """

    discount: float = 1.0


@dataclass(frozen=True, kw_only=True)
class LqrExpert:
    """Plays the best feedback for the env linear; see `experts.linear`."""


@dataclass(frozen=True, kw_only=True)
class PolicyExpert:
    """A saved policy as the expert.

    Attributes:
        path: Folder of the policy.
    """

    path: Path


ExpertConfig = (
    PurePursuitExpert
    | DelayedExpert
    | ForksExpert
    | AvoidingExpert
    | SwingUpExpert
    | DynamicProgrammingExpert
    | LqrExpert
    | WeightsExpert
    | PolicyExpert
)


_COMES_ALONG: Mapping[type, Callable[[], ExpertConfig]] = {
    CarConfig: PurePursuitExpert,
    ForksConfig: ForksExpert,
    AvoidingConfig: AvoidingExpert,
    PendulumConfig: SwingUpExpert,
    TabularConfig: DynamicProgrammingExpert,
    LinearConfig: LqrExpert,
}


def build_expert(config: ExpertConfig, env: BatchEnv) -> Controller:
    """Return the expert for an env.

    Raises:
        CapabilityError: The expert does not know this env.
        SpecError: A network does not fit the env.
    """
    match config:
        case PurePursuitExpert() | DelayedExpert():
            return _on_the_car(config, env)
        case ForksExpert():
            settings = _settings(env, ForksConfig, "The scripted expert of forks")
            return ForksDemonstrator(settings, left_share=config.left_share, spread=config.spread)
        case AvoidingExpert():
            settings = _settings(env, AvoidingConfig, "The scripted expert of avoiding")
            return AvoidingDemonstrator(settings, spread=config.spread)
        case SwingUpExpert():
            settings = _settings(env, PendulumConfig, "The swing-up expert")
            return SwingUp(settings, gain=config.gain, margin=config.margin)
        case DynamicProgrammingExpert() | LqrExpert():
            return _solved(config, env)
        case WeightsExpert():
            expert = config.build(env.spec.action)
            _try(expert, env.spec)
            return expert
        case PolicyExpert():
            return Labelled(
                RecedingHorizon(open_policy(config.path, env.spec), num_rows=env.num_rows, n_action_steps=1)
            )
        case _:
            assert_never(config)


def _solved(config: DynamicProgrammingExpert | LqrExpert, env: BatchEnv) -> Controller:
    """Return the expert of an env whose best actions can be computed."""
    match config:
        case DynamicProgrammingExpert():
            mdp = _settings(env, TabularConfig, "Dynamic programming").mdp()
            return DynamicProgramming(mdp, discount=config.discount)
        case LqrExpert():
            return regulator(_settings(env, LinearConfig, "The linear-quadratic regulator"))
        case _:
            assert_never(config)


def _on_the_car(config: PurePursuitExpert | DelayedExpert, env: BatchEnv) -> Controller:
    driver = PurePursuit(_settings(env, CarConfig, "Pure pursuit"), lookahead=config.lookahead)
    if isinstance(config, DelayedExpert):
        return Delayed(driver, delay=config.delay, labels=config.labels)
    return driver


def _try(expert: Expert, spec: EnvSpec) -> None:
    """Ask about a made-up observation, which counts as no query: what does not fit fails before a run."""
    made_up = {
        name: np.zeros((1, *feature.shape), dtype=feature.dtype)
        for name, feature in {**spec.observation, **spec.privileged}.items()
    }
    expert.action(made_up, made_up)


def _settings(env: BatchEnv, kind: type[Settings], expert: str) -> Settings:
    """Return the settings of the env that an expert was made for; raises CapabilityError if it is another."""
    if not isinstance(env.config, kind):
        raise CapabilityError(
            f"{expert} does not know this env.",
            got=env.spec.env_id,
            hint="name another with --expert: a file of weights, or the folder of a policy",
        )
    return env.config


def default_expert(env: EnvConfig | None) -> ExpertConfig | None:
    """Return the expert that comes along with an env; None for Gymnasium's, which bring none."""
    kind = _COMES_ALONG.get(type(env))
    return None if kind is None else kind()


def expert_from_text(text: str, env: EnvConfig | None) -> ExpertConfig:
    """Read an expert from the command line.

    Args:
        text: "auto", "pure-pursuit", "scripted" (forks, avoiding, pendulum), a file of weights or a
            policy folder.
        env: Settings of the env that it is to act in; None of an env that has none, and brings no expert.

    Raises:
        CapabilityError: There is no such expert, or none comes along with the env.
    """
    path = Path(text)
    if text in ("auto", "scripted"):
        expert = default_expert(env)
        if expert is None or (text == "scripted" and isinstance(expert, PurePursuitExpert)):
            raise CapabilityError(
                "No such expert comes along with this env.",
                got=f"--expert {text} for {type(env).__name__}",
                available=["FILE.npz", "FILE.safetensors", "a policy folder"],
                hint="name one with --expert",
            )
        return expert
    if text == "pure-pursuit":
        return PurePursuitExpert()
    if path.suffix in (".npz", ".safetensors"):
        return WeightsExpert(path=path)
    if (path / "policy.json").is_file():
        return PolicyExpert(path=path)
    if (path / "policy" / "policy.json").is_file():
        return PolicyExpert(path=path / "policy")
    what = f", {kind_of(path.stat().st_mode)} without a policy in it" if path.exists() else ""
    raise CapabilityError(
        "There is no such expert.",
        got=f"{text}{what}",
        available=["auto", "pure-pursuit", "scripted", "FILE.npz", "FILE.safetensors", "a policy folder"],
    )
