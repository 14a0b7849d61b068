"""Experts as settings, by the names of the command line, and of whatever somebody has."""

import sys
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.modules import imported
from steadyhand.core.parts import UnknownPart, made
from steadyhand.core.protocol import Controller
from steadyhand.core.strict import kind_of
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.config import EnvConfig
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.experts.config import (
    ExpertConfig,
    ModelExpert,
    PurePursuitExpert,
    TrainedExpert,
    WeightsExpert,
)
from steadyhand.experts.trained import is_trained
from steadyhand.recipes.parts import choices_of

ACTOR = "actor.safetensors"
"""Where the folder of a trained expert keeps its actor."""
_FILES = (
    "FILE.npz",
    "FILE.safetensors",
    "FILE.zip",
    "a folder of a policy or of a trained expert",
    "module:function",
)


@dataclass(frozen=True, kw_only=True)
class PolicyExpert(ExpertConfig):
    """A saved policy as the expert.

    Attributes:
        path: Folder of the policy.
    """

    path: Path

    def build(self, env: BatchEnv) -> Controller:
        """Return the policy as a controller whose answers are labels."""
        from steadyhand.recipes.policies import open_policy
        from steadyhand.rollout.executors.receding import RecedingHorizon
        from steadyhand.rollout.labelled import Labelled

        policy = open_policy(self.path, env.spec)
        return Labelled(RecedingHorizon(policy, num_rows=env.num_rows, n_action_steps=1))


@dataclass(frozen=True, kw_only=True)
class FunctionExpert(ExpertConfig):
    """A function of the observation in a module of one's own, or a model, network or controller in it.

    Attributes:
        source: Where it is, such as "my_experts:balance"; the module must be imported already.
        feature: Which feature a function reads; empty takes the only one that the env shows, or all by name.
    """

    source: str
    feature: str = ""

    def build(self, env: BatchEnv) -> Controller:
        """Return the expert for an env; a class of controllers is made without arguments.

        Raises:
            ConfigError: The module is not imported, or lacks it.
            SpecError: It does not fit the env.
        """
        who = self.found()
        return controller_of(who() if isinstance(who, type) else who, env, feature=self.feature)

    def __reduce__(self) -> tuple[Any, ...]:
        """In a process that computes for this one its module is imported, too."""
        return _function_expert, (self.source, self.feature)

    def found(self) -> Any:
        """Return what is there.

        Raises:
            ConfigError: The module is not imported, or lacks it.
        """
        module, _, path = self.source.partition(":")
        if module not in sys.modules:
            raise ConfigError(
                "The module of this expert is not imported.",
                got=self.source,
                hint=f"files import no code: import {module} first (on the command line --plugin {module})",
            )
        try:
            return attrgetter(path)(sys.modules[module])
        except AttributeError:
            names = [name for name, value in vars(sys.modules[module]).items() if callable(value)]
            raise ConfigError(f"{module} has no such expert.", got=path, available=names) from None


def _function_expert(source: str, feature: str) -> FunctionExpert:
    imported(source.partition(":")[0])
    return FunctionExpert(source=source, feature=feature)


def controller_of(who: Any, env: BatchEnv, *, feature: str = "", batched: bool | None = None) -> Controller:
    """Return whatever knows what to do as a controller of an env.

    Args:
        who: A controller, the settings of an expert, a torch module or a model with `predict`, of a batch, or
            a function of the observation.
        env: The env.
        feature: Which feature a function, model or module reads.
        batched: Whether a function takes a batch, where it must not be asked.

    Raises:
        CapabilityError: It is nothing of the kind, or does not know this env.
        SpecError: It does not fit the env.
    """
    if isinstance(who, Controller):
        return who
    if isinstance(who, ExpertConfig):
        return who.build(env)
    if "torch" in sys.modules:
        from torch import nn

        from steadyhand.experts.network import ModuleExpert

        if isinstance(who, nn.Module):
            return ModuleExpert(who, action=env.spec.action, **({"feature": feature} if feature else {}))
    if callable(getattr(who, "predict", None)):
        from steadyhand.experts.stable_baselines import model_expert

        return model_expert(who, env, feature=feature)
    if callable(who):
        from steadyhand.experts.function import function_expert

        return function_expert(who, env, feature=feature, batched=batched)
    raise CapabilityError(
        "This is no expert.",
        got=type(who).__name__,
        available=["a name", "a function", "a model with predict", "a module", "a file", "a policy"],
    )


def default_expert(env: EnvConfig | None) -> ExpertConfig | None:
    """Return the expert that comes along with an env; None if none does."""
    if isinstance(env, GymnasiumConfig):
        return TrainedExpert() if is_trained(env.env_id) else None
    return made(ExpertConfig, env.expert) if env is not None and env.expert else None


def expert_from_text(text: str, env: EnvConfig | None) -> ExpertConfig:
    """Read an expert from the command line.

    Args:
        text: "auto", "scripted" (forks, avoiding, pendulum), an expert by name ("pure-pursuit", "lqr", one of
            an installed package, or "module:Class"), "module:function" or "file.py:function" of one's own, a
            file of weights, or the folder of a policy or of a trained expert.
        env: Settings of the env that it is to act in; None where it has none.

    Raises:
        CapabilityError: There is no such expert, or none comes along with the env.
    """
    path = Path(text)
    if text in ("auto", "scripted"):
        expert = default_expert(env)
        if expert is None or (text == "scripted" and isinstance(expert, PurePursuitExpert)):
            raise CapabilityError(
                "No such expert comes along with this env.",
                got=f"--expert {text} for {'an env without settings' if env is None else type(env).__name__}",
                available=_FILES,
                hint="name one with --expert",
            )
        return expert
    if path.suffix in (".npz", ".safetensors"):
        return WeightsExpert(path=path)
    if path.suffix == ".zip":
        return ModelExpert(path=path)
    if (path / ACTOR).is_file():
        return WeightsExpert(path=path / ACTOR)
    if (path / "policy.json").is_file():
        return PolicyExpert(path=path)
    if (path / "policy" / "policy.json").is_file():
        return PolicyExpert(path=path / "policy")
    if ":" in text:
        module, _, name = text.partition(":")
        own = FunctionExpert(source=f"{imported(module).__name__}:{name}")
        if not isinstance(found := own.found(), type) or issubclass(found, Controller):
            return own
        text = own.source
    try:
        return made(ExpertConfig, text)
    except UnknownPart as error:
        names = choices_of("expert")
        what = f", {kind_of(path.stat().st_mode)} without a policy in it" if path.exists() else ""
        raise CapabilityError(
            "There is no such expert.",
            got=f"{text}{what}",
            available=["auto", "scripted", *names, *_FILES],
        ) from error
