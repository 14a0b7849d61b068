"""`steadyhand expert`: train an expert by reinforcement learning, or take one out of a saved model."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from steadyhand.cli import terminal
from steadyhand.cli.arguments import parse, with_overrides
from steadyhand.cli.flags import SENSES, EnvName, Overrides, SuccessText, listed, optional
from steadyhand.face.progress import progress

if TYPE_CHECKING:
    from steadyhand.recipes.reinforce import TrainedOutcome, Trial

VERBS = {
    "train": "train an expert by reinforcement learning, through Stable-Baselines3 (extra `rl`)",
    "convert": "take the actor out of a model that Stable-Baselines3 saved, as safetensors",
}


@dataclass(frozen=True, kw_only=True)
class TrainArguments:
    """Train an expert by reinforcement learning, through Stable-Baselines3, which the extra `rl` installs.

    The numbers are those of RL Baselines3 Zoo for the env and the algorithm where it has some. On the way the
    actor is evaluated on validation starts, and the best one is kept; in the end that one is reported on test
    starts. The folder is an expert afterwards: --expert FOLDER.

    An interrupted run goes on where it stopped when the same command is given again.
    """

    env: EnvName
    out: Path = Path("runs/expert")
    """Folder of the run; the best actor is written to `actor.safetensors` in it."""
    algorithm: Annotated[
        Literal["SAC", "TD3", "PPO", "A2C", "DDPG", "DQN"] | None,
        optional("NAME", default="what the zoo tuned first, otherwise SAC, of choices PPO"),
    ] = None
    """The algorithm: SAC, TD3, PPO, A2C, DDPG or DQN."""
    steps: Annotated[int | None, optional("INT", default="the zoo's")] = None
    """Steps in the env."""
    observation: Annotated[
        tuple[str, ...], listed("SENSE", default="all, of the car retina", help=f"What to show, {SENSES}.")
    ] = ()
    success: SuccessText = "auto"
    starts: int = 16
    """Validation starts that the best actor is chosen on."""
    seed: int = 0
    """Seed of everything random."""
    set: Overrides = ()
    """Change any field of run.json, as path=value; for example options.learning_rate=0.001."""


@dataclass(frozen=True, kw_only=True)
class ConvertArguments:
    """Take the actor out of a model that Stable-Baselines3 saved, as safetensors, without the algorithm.

    The model is unpickled by a process of its own, which can run any code: convert only files that you trust.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL.zip")]
    """The file that `model.save` wrote."""
    out: Annotated[Path | None, optional("FILE.safetensors", default="beside the model")] = None
    """Where the actor is to be."""
    normalization: Annotated[Path | None, optional("FILE", default="none")] = None
    """What `VecNormalize.save` wrote, if the model was trained on normalised observations."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    from steadyhand.core.errors import ConfigError

    if not arguments or arguments[0] in ("-h", "--help"):
        terminal.say("usage: steadyhand expert train | convert ...\n")
        for name, text in VERBS.items():
            terminal.say(f"  {name:<8} {text}", indent=11)
        terminal.say("\n`steadyhand expert train --help` explains one.")
        return 0
    match arguments[0]:
        case "train":
            return _train(parse(TrainArguments, arguments[1:], verb="expert train"))
        case "convert":
            return _convert(parse(ConvertArguments, arguments[1:], verb="expert convert"))
        case other:
            raise ConfigError("`steadyhand expert` does not do this.", got=other, available=VERBS)


def _train(chosen: TrainArguments) -> int:
    from steadyhand.recipes.env_choices import env_from_text
    from steadyhand.recipes.reinforce import expert_run, train_expert

    env = env_from_text(chosen.env, observation=chosen.observation, success=chosen.success)
    run = expert_run(env, algorithm=chosen.algorithm, seed=chosen.seed)
    run = replace(run, starts=chosen.starts, steps=chosen.steps or run.steps)
    run = with_overrides(run, chosen.set)
    terminal.say(f"{run.algorithm} in {chosen.env}: {run.steps} steps")
    with progress("training") as bar:
        outcome = train_expert(run, chosen.out, on_step=bar(str(chosen.out)), on_trial=_say_trial)
    _say_outcome(outcome)
    terminal.say(f"next: steadyhand record {chosen.env} --expert {chosen.out} --out demos")
    return 0


def _say_trial(trial: "Trial") -> None:
    kept = ", the best so far" if trial.is_best else ""
    terminal.say(f"  {trial.steps} steps: validation return {trial.mean_return:.4g}{kept}")


def _say_outcome(outcome: "TrainedOutcome") -> None:
    test = outcome.test
    success = "" if test.success is None else f", success {int(test.success.sum())} of {len(test.success)}"
    mean, interval = outcome.mean_return.value, outcome.mean_return.interval
    spread = "" if interval is None else f" (95 %: {interval.low:.4g} to {interval.high:.4g})"
    terminal.say(
        f"the best, after {outcome.best_steps} steps: return {mean:.4g}{spread} "
        f"from {terminal.counted(len(test.returns), 'test start')}{success}"
    )
    terminal.say(f"expert: {outcome.actor}")


def _convert(chosen: ConvertArguments) -> int:
    from steadyhand.core.errors import ConfigError
    from steadyhand.experts.stable_baselines import convert

    out = chosen.out or chosen.model.with_suffix(".safetensors")
    if out.suffix != ".safetensors":
        raise ConfigError("An actor is written as safetensors.", got=out, expected="a name in .safetensors")
    if out.exists():
        raise ConfigError(f"{out} exists already.", hint="choose another file with --out, or delete this one")
    convert(chosen.model, out, normalization=chosen.normalization)
    terminal.say(f"{out}: --expert {out}")
    return 0
