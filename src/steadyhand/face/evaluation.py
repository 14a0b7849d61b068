"""Driving from the same starts, and comparing what came of it."""

from pathlib import Path

from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller
from steadyhand.envs.base import BatchEnv, Family
from steadyhand.experts.base import Expert
from steadyhand.face.envs import Drivable, as_env
from steadyhand.face.policy import Policy, load
from steadyhand.rollout.evaluate import Evaluation
from steadyhand.rollout.evaluate import evaluate as drive
from steadyhand.rollout.executors import ExecutorConfig

Driver = Policy | Controller | str | Path
"""Who can be evaluated: a policy, its folder, an expert, or any other controller."""


def evaluate(
    who: Driver,
    env: Drivable,
    *,
    starts: int = 64,
    family: Family = "test",
    executor: ExecutorConfig | None = None,
    seed: int = 0,
    name: str = "",
) -> Evaluation:
    """Let a policy drive once from each of some starts, which are the same for everybody.

    Args:
        who: A policy, the folder of one, an expert, or any other controller.
        env: The env.
        starts: Number of starts; a longer list begins with the shorter one.
        family: Family of the starts; figures are quoted on "test".
        executor: What makes one action a step of a policy's chunks, if not its own.
        seed: Of the starts, and of what is drawn.
        name: Name for tables.

    Returns:
        The outcome; `print` shows how many succeeded, `a - b` the paired difference.

    Raises:
        ConfigError: There is no start.
        SpecError: The policy does not fit the env.
    """
    if starts < 1:
        raise ConfigError("An evaluation needs a start.", got=starts, expected=">= 1")
    built = as_env(env)
    controller, own_name = as_driver(who, built, executor=executor)
    return drive(built, controller, built.starts(family, starts, seed=seed), name=name or own_name, seed=seed)


def as_driver(
    who: Driver, env: BatchEnv, *, executor: ExecutorConfig | None = None
) -> tuple[Controller, str]:
    """Return who drives as a controller of the rows of an env, and its name."""
    if isinstance(who, str | Path):
        who = load(who)
    if isinstance(who, Policy):
        return who.controller(env, executor=executor), who.name
    return who, "expert" if isinstance(who, Expert) else type(who).__name__
