"""`steadyhand train`: train a policy on a data set."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from steadyhand.cli import terminal
from steadyhand.cli.arguments import (
    ChosenEpisodes,
    Overrides,
    Rename,
    classes_from_text,
    is_terminal,
    listed,
    optional,
    parse,
    renaming,
    with_overrides,
)

if TYPE_CHECKING:
    from steadyhand.policies.spec import PolicyConfig
    from steadyhand.recipes.runs import TrainRun
    from steadyhand.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train a policy on a data set.

    A data set is a folder in LeRobot's format (v3.0 or v2.1), a recording of ours, or a .npz of flat arrays.
    A tenth of the episodes is held out. Afterwards the error on them is printed beside the error of answers
    that need no learning, such as repeating the last command.
    """

    data: Annotated[tyro.conf.Positional[Path | None], optional("DATA", default="that of --config")] = None
    """Folder of the data set, or a .npz file; not needed with --config."""
    out: Path = Path("runs/train")
    """Folder of the run; the policy is written to its `policy` folder."""
    observation: Annotated[
        tuple[str, ...], listed("FEATURE", default="all that encoder or recipe can read")
    ] = ()
    """Features to see, such as observation.state, or state for short."""
    recipe: Annotated[str, optional("NAME", default="none")] = ""
    """A published method, such as diffusion_unet or act, instead of encoder, head and horizon; see
    docs/recipes.md."""
    size: Literal["small", "paper"] = "small"
    """Of the recipe: for a laptop, or with the paper's constants."""
    encoder: str = "auto"
    """How observations are read; auto takes SmallConv for pictures, StateMLP otherwise."""
    head: str = "auto"
    """The policy class; auto takes Categorical for discrete actions, Regression otherwise."""
    n_obs_steps: int = 1
    """Observed steps, the current one included."""
    horizon: int = 1
    """Predicted steps."""
    n_action_steps: int = 1
    """Executed steps of each prediction."""
    steps: Annotated[int | None, optional("INT", default="10000, or the recipe's")] = None
    """Gradient steps."""
    batch_size: Annotated[int | None, optional("INT", default="256, or the recipe's")] = None
    """Windows in a batch."""
    learning_rate: Annotated[float | None, optional("FLOAT", default="0.001, or the recipe's")] = None
    """Of AdamW, after the warm-up."""
    validation_fraction: float = 0.1
    """Share of episodes held out."""
    control_dt: float = 0.05
    """Time between steps [s]; only for a .npz file, which does not know it."""
    rename: Rename = ()
    """Name of a feature in the files and its name here, such as actions=action; may be given again."""
    episodes: ChosenEpisodes = ""
    """Episodes to read: numbers and ranges, those behind a ! left out, such as '0-9,!4' (in quotes, as the
    shell takes the ! otherwise)."""
    classes: Annotated[str, optional("N or A..B", default="what the data say, otherwise numbers")] = ""
    """The action is a choice: one of N, counted from 0, or one of A to B, as the env counts them, such as
    --classes 1..3 or --classes=-1..1."""
    seed: int = 0
    """Seed of the split, the initial weights and the order of the data."""
    config: Annotated[Path | None, optional("RUN.JSON", default="none")] = None
    """Take everything from this file instead; then change it with --set."""
    set: Overrides = ()
    """Change any field of run.json, as path=value; for example policy.head.error=l1."""
    cache: Annotated[Path | None, optional("DIR", default="in the data, or the user's cache")] = None
    """Where decoded pictures are kept, at the size that the encoder reads."""
    resume: bool = False
    """Continue an interrupted run."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    chosen = parse(Arguments, arguments, verb="train")
    from steadyhand.recipes.train import train

    run = with_overrides(_run(chosen), chosen.set)
    outcome = train(
        run,
        chosen.out,
        resume=chosen.resume,
        progress=is_terminal(),
        cache=chosen.cache,
        say=terminal.say,
    )
    fit = outcome.fit
    held_out = "" if fit.validation_loss is None else f", held-out loss {fit.validation_loss:.4g}"
    terminal.say(
        f"{fit.steps} steps in {fit.wall_time_s:.1f} s on {terminal.counted(outcome.num_train, 'episode')}: "
        f"loss {fit.train_loss:.4g}{held_out}"
    )
    if outcome.errors:
        rows = [
            [
                one.name,
                f"{one.mean:.4g}",
                f"{one.relative:.3f}",
                f"{one.by_step[0]:.4g}",
                f"{one.by_step[-1]:.4g}",
            ]
            for one in outcome.errors
        ]
        terminal.say(
            f"\nmean absolute error on {terminal.counted(outcome.num_validation, 'held-out episode')}:"
        )
        terminal.table(["", "action units", "of one std", "first step", "last step"], rows)
    terminal.say(f"\npolicy: {outcome.folder / 'policy'}")
    return 0


def _run(chosen: Arguments) -> "TrainRun":
    from steadyhand.core.codec import load
    from steadyhand.core.errors import ConfigError
    from steadyhand.recipes.runs import TrainRun

    if chosen.config is not None:
        both = ("data", "out", "config", "set", "cache", "resume")
        flags = [one for one in fields(chosen) if one.name not in both]
        doubled = [one.name for one in flags if getattr(chosen, one.name) != one.default]
        if doubled:
            raise ConfigError(
                "With --config the run is described by that file, not by flags.",
                got=", ".join(f"--{name.replace('_', '-')}" for name in doubled),
                hint="change it with --set, such as --set training.num_steps=500",
            )
        run = load(chosen.config, TrainRun)
        return run if chosen.data is None else replace(run, data=chosen.data)
    if chosen.data is None:
        raise ConfigError(
            "There is no data set to train on.", hint="steadyhand train DATA, or --config run.json"
        )
    policy, training = _learner(chosen, chosen.data)
    beat = max(1, training.num_steps // 10)
    return TrainRun(
        data=chosen.data,
        policy=policy,
        training=replace(training, checkpoint_every=beat, validation_every=beat),
        validation_fraction=chosen.validation_fraction,
        control_dt=chosen.control_dt,
        rename=renaming(chosen.rename) or {},
        episodes=chosen.episodes,
        classes=classes_from_text(chosen.classes),
        seed=chosen.seed,
    )


def _learner(chosen: Arguments, data: Path) -> "tuple[PolicyConfig, TrainConfig]":
    from steadyhand.data.dataset import open_any
    from steadyhand.recipes.choices import Wish, learner_of
    from steadyhand.training.config import TrainConfig

    dataset = open_any(
        data,
        control_dt=chosen.control_dt,
        rename=renaming(chosen.rename),
        episodes=chosen.episodes or None,
        classes=classes_from_text(chosen.classes),
    )
    wish = Wish(**{one.name: getattr(chosen, one.name) for one in fields(Wish)})
    return learner_of(
        wish,
        observation=dataset.observation,
        action=dataset.action,
        default=TrainConfig(),
    )
