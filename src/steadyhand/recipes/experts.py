"""Experts as configurations: what a run.json can name."""

from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import numpy as np

from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Controller
from steadyhand.core.specs import EnvSpec
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.car.env import Car
from steadyhand.experts.base import Expert
from steadyhand.experts.network import WeightsExpert
from steadyhand.experts.pure_pursuit import PurePursuit
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
class PolicyExpert:
    """A saved policy as the expert.

    Attributes:
        path: Folder of the policy.
    """

    path: Path


ExpertConfig = PurePursuitExpert | WeightsExpert | PolicyExpert


def build_expert(config: ExpertConfig, env: BatchEnv) -> Controller:
    """Return the expert for an env.

    Raises:
        CapabilityError: The expert does not know this env.
        SpecError: A network does not fit the env.
    """
    match config:
        case PurePursuitExpert():
            if not isinstance(env, Car):
                raise CapabilityError(
                    "Pure pursuit drives the car and nothing else.",
                    got=env.spec.env_id,
                    hint="name another with --expert: a file of weights, or the folder of a policy",
                )
            return PurePursuit(env.config, lookahead=config.lookahead)
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


def expert_from_text(text: str) -> ExpertConfig:
    """Read an expert from the command line: "pure-pursuit", a file of weights or a policy folder."""
    path = Path(text)
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
        available=["pure-pursuit", "FILE.npz", "FILE.safetensors", "a policy folder"],
    )
