"""`steadyhand train`: train a policy on a data set."""

import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from steadyhand.cli import terminal
from steadyhand.cli.arguments import parse, with_overrides
from steadyhand.cli.flags import (
    ASSUMED_DT,
    ChosenEpisodes,
    ControlDt,
    Device,
    Learner,
    LearnerFlags,
    Log,
    Overrides,
    Rename,
    Threads,
    assumed_rate,
    classes_from_text,
    optional,
    renaming,
    step_of,
)
from steadyhand.face.progress import progress

if TYPE_CHECKING:
    from steadyhand.policies.spec import PolicyConfig
    from steadyhand.recipes.train import TrainOutcome
    from steadyhand.recipes.train_run import TrainRun
    from steadyhand.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train a policy on a data set.

    A data set is a folder in LeRobot's format (v3.0 or v2.1), a recording of ours, or a .npz of flat arrays.
    A tenth of the episodes is held out. Afterwards the error on them is printed beside the error of answers
    that need no learning, such as repeating the last command.
    """

    data: Annotated[tyro.conf.Positional[Path | None], optional("[DATA]", default="that of --config")] = None
    """Folder of the data set, or a .npz file; not needed with --config."""
    out: Path = Path("runs/train")
    """Folder of the run; the policy is written to its `policy` folder."""
    learner: LearnerFlags = field(default_factory=Learner)
    start: Annotated[
        Path | None,
        tyro.conf.arg(name="from", metavar="RUN", help_behavior_hint="(default: fresh weights)"),
    ] = None
    """Start from the weights and statistics of this policy or run, and train the same parts further."""
    keep: Literal["last", "best"] = "last"
    """Weights of the policy: the last ones, or those of the lowest held-out loss. Both stay on disk."""
    device: Device = "cpu"
    threads: Threads = 1
    precision: Literal["float32", "bf16"] = "float32"
    """bf16 computes the forward pass in bfloat16, by torch's autocast."""
    accumulate: int = 1
    """Parts in which a batch is computed one after the other, to save memory."""
    validation_fraction: float = 0.1
    """Share of episodes held out."""
    control_dt: ControlDt = None
    rename: Rename = ()
    episodes: ChosenEpisodes = ""
    classes: Annotated[str, optional("N or A..B", default="what the data say, otherwise numbers")] = ""
    """The action is a choice: one of N, from 0 on, or one of A to B, as in 1..3 or --classes=-1..1."""
    seed: int = 0
    """Seed of the split, the initial weights and the order of the data."""
    config: Annotated[Path | None, optional("RUN.JSON", default="none")] = None
    """Take everything from this file instead; then change it with --set."""
    set: Overrides = ()
    """Change any field of run.json, as path=value; for example policy.head.error=l1."""
    log: Log = "none"
    cache: Annotated[Path | None, optional("DIR", default="in the data, or the user's cache")] = None
    """Where decoded pictures are kept, at the size that the encoder reads."""
    resume: bool = False
    """Go on with a stopped run, or with more --steps with a finished one whose learning rate did not fall."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    chosen = parse(Arguments, arguments, verb="train")
    from steadyhand.recipes.logs import logging_to
    from steadyhand.recipes.train import train

    run = with_overrides(_run(chosen), chosen.set)
    said = assumed_rate(run.data, chosen.control_dt)
    if said and chosen.config is None and run.control_dt == ASSUMED_DT:
        terminal.say(f"note: {said}")
    try:
        with (
            progress("training") as bar,
            logging_to(chosen.log, chosen.out, run) as on_metrics,
        ):
            outcome = train(
                run,
                chosen.out,
                resume=chosen.resume,
                cache=chosen.cache,
                on_progress=bar(str(chosen.out)),
                on_metrics=on_metrics,
                say=terminal.say,
            )
    except (KeyboardInterrupt, SystemExit):
        _say_where_it_stopped(chosen.out)
        raise
    _say_result(outcome)
    return 0


def _say_result(outcome: "TrainOutcome") -> None:
    fit = outcome.fit
    held_out = "" if fit.validation_loss is None else f", held-out loss {fit.validation_loss:.4g}"
    terminal.say(
        f"{fit.steps} steps in {fit.wall_time_s:.1f} s on {terminal.counted(outcome.num_train, 'episode')}: "
        f"loss {fit.train_loss:.4g}{held_out}"
    )
    if (compared := outcome.table) is not None:
        terminal.say(f"\n{compared.caption}:")
        terminal.table(compared.headers, compared.rows)
    terminal.say(f"\npolicy: {outcome.folder / 'policy'}\nreport: {outcome.page.resolve()}")
    for line in outcome.warnings:
        terminal.say(line)


def _say_where_it_stopped(folder: Path) -> None:
    from steadyhand.recipes.train import TRAINING
    from steadyhand.training.checkpoint import Checkpoints

    if (last := Checkpoints.last(folder / TRAINING)) is not None:
        step, state = last
        sys.stderr.write(f"\nstep {step} is kept in {state}, a policy as it is; --resume continues\n")


def _run(chosen: Arguments) -> "TrainRun":
    from steadyhand.core.codec import load
    from steadyhand.core.errors import ConfigError
    from steadyhand.recipes.train_run import TrainRun

    if chosen.config is not None:
        both = ("data", "out", "config", "set", "log", "cache", "resume", "learner")
        flags = [one for one in fields(chosen) if one.name not in both]
        doubled = [*chosen.learner.learning()]
        doubled += [one.name for one in flags if getattr(chosen, one.name) != one.default]
        if doubled:
            raise ConfigError(
                "With --config the run is described by that file, not by flags.",
                got=", ".join(_flag(name) for name in doubled),
                hint="change it with --set, such as --set training.num_steps=500",
            )
        run = load(chosen.config, TrainRun)
        return run if chosen.data is None else replace(run, data=chosen.data)
    if chosen.data is None:
        raise ConfigError(
            "There is no data set to train on.", hint="steadyhand train DATA, or --config run.json"
        )
    policy, training = _learner(chosen, chosen.data) if chosen.start is None else _started(chosen)
    beat = max(1, training.num_steps // 10)
    return TrainRun(
        data=chosen.data,
        policy=policy,
        training=replace(
            training,
            checkpoint_every=beat,
            validation_every=beat,
            keep=chosen.keep,
            device=chosen.device,
            num_threads=chosen.threads,
            precision=chosen.precision,
            accumulate=chosen.accumulate,
        ),
        validation_fraction=chosen.validation_fraction,
        control_dt=step_of(chosen.control_dt),
        rename=renaming(chosen.rename) or {},
        episodes=chosen.episodes,
        classes=classes_from_text(chosen.classes),
        start=chosen.start,
        seed=chosen.seed,
    )


def _flag(name: str) -> str:
    return "--from" if name == "start" else f"--{name.replace('_', '-')}"


def _started(chosen: Arguments) -> "tuple[PolicyConfig, TrainConfig]":
    """Return the parts of the policy that is trained further, and the training of its run, if it has one."""
    from steadyhand.core.codec import load
    from steadyhand.core.errors import ConfigError
    from steadyhand.face.learning import with_numbers
    from steadyhand.policies.artifact import load_policy
    from steadyhand.recipes.policies import policy_folder
    from steadyhand.recipes.train_run import TrainRun
    from steadyhand.training.config import TrainConfig

    learning = chosen.learner.learning()
    given = [name for name in learning if name not in ("steps", "batch_size", "learning_rate")]
    if given:
        raise ConfigError(
            "With --from the policy's parts are those of that policy.",
            got=", ".join(map(_flag, given)),
            hint="leave them out, or train a fresh policy without --from",
        )
    assert chosen.start is not None
    folder = policy_folder(chosen.start)
    path = folder.parent / "run.json"
    try:
        training = load(path, TrainRun).training
    except ConfigError:  # a policy of another kind of run, or on its own
        training = TrainConfig()
    return load_policy(folder).config, with_numbers(training, learning)


def _learner(chosen: Arguments, data: Path) -> "tuple[PolicyConfig, TrainConfig]":
    from steadyhand.data.dataset import open_any
    from steadyhand.face.learning import settings_of
    from steadyhand.recipes.choices import refuse_depth
    from steadyhand.training.config import TrainConfig

    dataset = open_any(
        data,
        control_dt=step_of(chosen.control_dt),
        rename=renaming(chosen.rename),
        episodes=chosen.episodes or None,
        classes=classes_from_text(chosen.classes),
    )
    learner = chosen.learner
    refuse_depth(learner.observation, dataset.depth)
    return settings_of(learner.learning(), dataset.observation, dataset.action, default=TrainConfig())
