"""Experts as configurations: what a run.json can name."""

from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import numpy as np

from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Controller
from steadyhand.core.specs import EnvSpec
from steadyhand.envs.avoiding.config import AvoidingConfig
from steadyhand.envs.avoiding.env import Avoiding
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.car.env import Car
from steadyhand.envs.catalogue import EnvConfig
from steadyhand.envs.forks.config import ForksConfig
from steadyhand.envs.forks.env import Forks
from steadyhand.experts.base import Expert
from steadyhand.experts.network import WeightsExpert
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.experts.scripted import AvoidingDemonstrator, ForksDemonstrator
from steadyhand.recipes.policies import open_policy
from steadyhand.rollout.executors import RecedingHorizon
from steadyhand.rollout.labelled import Labelled


@dataclass(frozen=True, kw_only=True)
class PurePursuitExpert:
    """Follows the centre line of the car env; see `experts.pure_pursuit`.

    Attributes:
        lookahead: Look-ahead distance [m].
    """

    lookahead: float = 0.6


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
class PolicyExpert:
    """A saved policy as the expert.

    Attributes:
        path: Folder of the policy.
    """

    path: Path


ExpertConfig = PurePursuitExpert | ForksExpert | AvoidingExpert | WeightsExpert | PolicyExpert


def build_expert(config: ExpertConfig, env: BatchEnv) -> Controller:
    """Return the expert for an env.

    Raises:
        CapabilityError: The expert does not know this env.
        SpecError: A network does not fit the env.
    """
    match config:
        case PurePursuitExpert():
            if not isinstance(env, Car):
                raise _stranger("Pure pursuit", env)
            return PurePursuit(env.config, lookahead=config.lookahead)
        case ForksExpert():
            if not isinstance(env, Forks):
                raise _stranger("The scripted expert of forks", env)
            return ForksDemonstrator(env.config, left_share=config.left_share, spread=config.spread)
        case AvoidingExpert():
            if not isinstance(env, Avoiding):
                raise _stranger("The scripted expert of avoiding", env)
            return AvoidingDemonstrator(env.config, spread=config.spread)
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


def _try(expert: Expert, spec: EnvSpec) -> None:
    """Ask about a made-up observation, which counts as no query: what does not fit fails before a run."""
    made_up = {
        name: np.zeros((1, *feature.shape), dtype=feature.dtype)
        for name, feature in {**spec.observation, **spec.privileged}.items()
    }
    expert.action(made_up, made_up)


def _stranger(expert: str, env: BatchEnv) -> CapabilityError:
    return CapabilityError(
        f"{expert} does not know this env.",
        got=env.spec.env_id,
        hint="name another with --expert: a file of weights, or the folder of a policy",
    )


def default_expert(env: EnvConfig) -> ExpertConfig | None:
    """Return the expert that comes along with an env; None for Gymnasium's, which bring none."""
    match env:
        case CarConfig():
            return PurePursuitExpert()
        case ForksConfig():
            return ForksExpert()
        case AvoidingConfig():
            return AvoidingExpert()
        case _:
            return None


def expert_from_text(text: str, env: EnvConfig) -> ExpertConfig:
    """Read an expert from the command line.

    Args:
        text: "auto", "pure-pursuit", "scripted" (forks, avoiding), a file of weights or a policy folder.
        env: The env that it is to act in.

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
    raise CapabilityError(
        "There is no such expert.",
        got=text,
        available=["auto", "pure-pursuit", "scripted", "FILE.npz", "FILE.safetensors", "a policy folder"],
    )
