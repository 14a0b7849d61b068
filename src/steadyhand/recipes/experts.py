"""Experts as configurations: what a run.json can name."""

from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Controller
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.car.env import Car
from steadyhand.experts.network import WeightsExpert
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.policies.artifact import load_policy
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
    """
    match config:
        case PurePursuitExpert():
            if not isinstance(env, Car):
                raise CapabilityError(
                    "Pure pursuit drives the car and nothing else.",
                    got=env.spec.env_id,
                    hint="give a file of weights or a policy folder as the expert",
                )
            return PurePursuit(env.config, lookahead=config.lookahead)
        case WeightsExpert():
            return config.build(env.spec.action)
        case PolicyExpert():
            return Labelled(
                RecedingHorizon(load_policy(config.path), num_rows=env.num_rows, n_action_steps=1)
            )
        case _:
            assert_never(config)


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
