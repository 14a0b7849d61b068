"""Experts as configurations, by the names of the command line."""

from dataclasses import dataclass
from pathlib import Path

from steadyhand.core.errors import CapabilityError
from steadyhand.core.parts import UnknownPart, load_all, made, spoken_name
from steadyhand.core.protocol import Controller
from steadyhand.core.strict import kind_of
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.config import EnvConfig
from steadyhand.experts.config import ExpertConfig, ModelExpert, PurePursuitExpert, WeightsExpert

_FILES = ("FILE.npz", "FILE.safetensors", "FILE.zip", "a policy folder")


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


def default_expert(env: EnvConfig | None) -> ExpertConfig | None:
    """Return the expert that comes along with an env; None for Gymnasium's, which bring none."""
    return made(ExpertConfig, env.expert) if env is not None and env.expert else None


def expert_from_text(text: str, env: EnvConfig | None) -> ExpertConfig:
    """Read an expert from the command line.

    Args:
        text: "auto", "scripted" (forks, avoiding, pendulum), an expert by name ("pure-pursuit", "lqr", one of
            an installed package, or "module:Class"), a file of weights or a policy folder.
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
    if (path / "policy.json").is_file():
        return PolicyExpert(path=path)
    if (path / "policy" / "policy.json").is_file():
        return PolicyExpert(path=path / "policy")
    try:
        return made(ExpertConfig, text)
    except UnknownPart as error:
        names = [spoken_name(ExpertConfig, one) for one in load_all(ExpertConfig)]
        what = f", {kind_of(path.stat().st_mode)} without a policy in it" if path.exists() else ""
        raise CapabilityError(
            "There is no such expert.",
            got=f"{text}{what}",
            available=["auto", "scripted", *names, *_FILES],
        ) from error
