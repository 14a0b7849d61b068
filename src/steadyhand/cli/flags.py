"""Flags that several verbs have, each said once: its type, what it means, and how the help shows it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from steadyhand.core.errors import ConfigError
from steadyhand.recipes.config import Size
from steadyhand.recipes.logs import LogName

if TYPE_CHECKING:
    from steadyhand.envs.config import EnvConfig
    from steadyhand.face.learning import Learning
    from steadyhand.policies.spec import PolicyConfig
    from steadyhand.training.config import TrainConfig

Overrides = Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="PATH=VALUE")]
"""Fields of run.json to change, as path=value or as JSON; may be given several times."""


def listed(metavar: str, *, default: str, help: str | None = None) -> Any:
    """Return how the help shows a flag that takes several values, and what no value means."""
    return tyro.conf.arg(
        metavar=f"{metavar} [{metavar} ...]", help=help, help_behavior_hint=f"(default: {default})"
    )


def optional(metavar: str, *, default: str) -> Any:
    """Return how the help shows a flag that may be left out."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


def choice(kind: str, *, metavar: str, default: str = "", others: str = "or module:Class") -> Any:
    """Return how the help shows a flag that names a part: the default, and every name there is.

    The names are read from the tables of parts when help is asked for, those of installed packages included.

    Args:
        kind: A kind of part.
        metavar: What stands for the value.
        default: In words, where the value alone does not say it.
        others: What else may be given.
    """

    def hint(value: str) -> str:
        from steadyhand.recipes.parts import choices_of

        names = [*choices_of(kind), *filter(None, [others])]
        return f"({default or f'default: {value}'}; available: {', '.join(names)})"

    return tyro.conf.arg(metavar=metavar, help_behavior_hint=hint)


def _envs() -> str:
    from steadyhand.recipes.parts import choices_of

    names = ", ".join(choices_of("env"))
    return f"The env: {names}, any Gymnasium id such as CartPole-v1 or module:Name-v0, or module:Class."


_LATE: Any = _envs  # tyro calls it when help is asked for
_ENV = tyro.conf.arg(metavar="ENV", help=_LATE)
EnvName = Annotated[tyro.conf.Positional[str], _ENV]
"""An env, as the argument that needs no flag."""
EnvFlag = Annotated[str, _ENV]

ExpertName = Annotated[
    str,
    choice(
        "expert",
        metavar="EXPERT",
        default="default: auto, the one that comes along with the env",
        others="scripted, a .npz, .safetensors or .zip file of weights, the folder of a policy, or "
        "module:function, a function of the observation",
    ),
]

Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    tyro.conf.arg(help="Where to compute; auto takes CUDA, else MPS, else the CPU."),
]

Threads = Annotated[int, tyro.conf.arg(help="Threads of torch; small networks are fastest with one.")]

SENSES = (
    "of the car any of state, scan, lidar, retina, ranges, camera; of the tabletop state, objects, camera"
)
"""What the envs with a choice can show."""

Log = Annotated[
    LogName,
    tyro.conf.arg(
        help="Report metrics to this tool as well, by its own package; metrics.jsonl is written in any case."
    ),
]
"""Where metrics go beside metrics.jsonl."""

SuccessText = Annotated[
    str,
    tyro.conf.arg(
        metavar="RULE",
        help="When an episode of a Gymnasium env counts as a success: `ever`, `last` (both with `:KEY` of "
        "the info), `terminated`, `survived`, `return>=200`, `mean_reward>=0.5` or `none`.",
        help_behavior_hint="(default: what is known of the env)",
    ),
]
"""A success rule; see `core.success`."""


ASSUMED_DT = 0.05
"""Time between steps of an npz file where nobody tells it [s]."""

ControlDt = Annotated[
    float | None,
    tyro.conf.arg(
        metavar="SECONDS",
        help="Time between steps [s]; only for a .npz file, which does not know it.",
        help_behavior_hint="(default: 0.05, and it is said)",
    ),
]


def step_of(control_dt: float | None) -> float:
    """Return the time between steps [s], which folders know themselves."""
    return ASSUMED_DT if control_dt is None else control_dt


def assumed_rate(data: Path, control_dt: float | None) -> str:
    """Return that nobody told the rate of an npz file, in words; empty where somebody did."""
    if control_dt is not None or data.suffix != ".npz":
        return ""
    return f"nobody tells its rate, so {1 / ASSUMED_DT:g} Hz is assumed; --control-dt tells it"


Rename = Annotated[
    tyro.conf.UseAppendAction[tuple[str, ...]],
    tyro.conf.arg(
        metavar="OLD=NEW",
        help="Name of a feature in the files and its name here, such as actions=action; may be given again.",
        help_behavior_hint="(default: the names in the files)",
    ),
]

ChosenEpisodes = Annotated[
    str,
    tyro.conf.arg(
        metavar="EPISODES",
        help="Episodes to read: numbers and ranges, those behind a ! left out, such as '0-9,!4' (in quotes, "
        "as the shell takes the ! otherwise).",
        help_behavior_hint="(default: all)",
    ),
]


def renaming(texts: Sequence[str]) -> dict[str, str] | None:
    """Return what `--rename` says, None if it was not given."""
    from steadyhand.data.selection import names_from

    return names_from(texts) if texts else None


def classes_from_text(text: str) -> tuple[int, int] | None:
    """Return the lowest and the highest class of "3" (0 to 2) or "1..3"; None of an empty text.

    Raises:
        ConfigError: It is neither, or there is no class.
    """
    if not text:
        return None
    first, separator, last = text.partition("..")
    try:
        classes = (int(first), int(last)) if separator else (0, int(first) - 1)
    except ValueError:
        classes = (0, -1)
    if classes[0] > classes[1]:
        raise ConfigError(
            "--classes names the values of a discrete action.",
            got=text,
            expected="a number of classes such as 3 (0 to 2), or the lowest and the highest such as 1..3",
        )
    return classes


@dataclass(frozen=True, kw_only=True)
class Learner:
    """What the policy is made of, and how it is trained."""

    observation: Annotated[
        tuple[str, ...],
        listed(
            "FEATURE",
            default="all that encoder or recipe can read, of the car retina",
            help=f"Features to see, such as observation.state, or state for short; {SENSES}.",
        ),
    ] = ()
    recipe: Annotated[str, choice("recipe", metavar="NAME", default="default: none")] = ""
    """A published method instead of encoder, head and numbers of steps; see docs/recipes.md."""
    size: Size = "small"
    """Size of the recipe: for a laptop, or with the paper's constants."""
    encoder: Annotated[str, choice("encoder", metavar="NAME")] = "auto"
    """How observations are read; auto takes SmallConv for pictures, StateMLP otherwise."""
    head: Annotated[str, choice("head", metavar="NAME")] = "auto"
    """The policy class; auto takes Categorical for discrete actions, Regression otherwise."""
    n_obs_steps: Annotated[int | None, optional("INT", default="1")] = None
    """Observed steps, the current one included."""
    horizon: Annotated[int | None, optional("INT", default="1; 16 for a head whose net is a UNet")] = None
    """Predicted steps of a chunk."""
    n_action_steps: Annotated[int | None, optional("INT", default="half of the horizon, at least 1")] = None
    """Executed steps of each prediction."""
    steps: Annotated[
        int | None, optional("INT", default="10000, correct 3000, bench 1500; or the recipe's")
    ] = None
    """Gradient steps of each fit."""
    batch_size: Annotated[
        int | None, optional("INT", default="256, correct and bench 64; or the recipe's")
    ] = None
    """Windows in a batch."""
    learning_rate: Annotated[float | None, optional("FLOAT", default="0.001, or the recipe's")] = None
    """Learning rate of AdamW, after the warm-up."""

    def learning(self) -> "Learning":
        """Return what was given, in the words of `steadyhand.train`."""
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        given = (one.name for one in fields(self) if said[one.name] != one.default)
        return {name: said[name] for name in given}  # pyright: ignore[reportReturnType]  the same names


LearnerFlags = tyro.conf.OmitArgPrefixes[Learner]
"""The flags of a learner, as a group of their own in the help."""


def env_and_learner(
    text: str,
    learner: Learner,
    *,
    success: str,
    overrides: Sequence[str],
    default: "TrainConfig",
    num_checkpoints: int = 10,
) -> "tuple[EnvConfig, PolicyConfig, TrainConfig]":
    """Return the settings of an env that is named, and of a learner in it.

    Args:
        text: The env.
        learner: What was said of the learner.
        success: The rule of success; see `core.success`.
        overrides: What --set says; what it says of the env may change what there is to see.
        default: Training where nobody says how.
        num_checkpoints: Number of checkpoints of a training.

    Raises:
        ConfigError: There is no such env, part or feature.
    """
    from steadyhand.analysis.replay import World
    from steadyhand.cli.arguments import with_overrides
    from steadyhand.face.learning import settings_of
    from steadyhand.recipes.env_choices import env_that_shows

    env, seen = env_that_shows(text, learner.observation, success=success)
    of_env = [one for one in overrides if one.startswith(("env.", "env="))]
    env = with_overrides(World(env=env), of_env).env
    built = env.build(1)
    spec = built.spec
    built.close()
    learning = replace(learner, observation=seen).learning()
    return env, *settings_of(
        learning, spec.observation, spec.action, default=default, num_checkpoints=num_checkpoints
    )
