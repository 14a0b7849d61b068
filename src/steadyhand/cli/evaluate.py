"""`steadyhand eval`: run policies from the same starts and compare them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from steadyhand.cli import terminal
from steadyhand.cli.arguments import parse, with_overrides
from steadyhand.cli.flags import (
    SENSES,
    Device,
    EnvFlag,
    ExpertName,
    Overrides,
    SuccessText,
    Threads,
    choice,
    listed,
    optional,
)
from steadyhand.core.errors import ConfigError
from steadyhand.face.progress import progress


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Run policies from the same starts and compare them: success with interval, return, first failure.

    The first policy is the baseline that the others are compared to, start by start. Writes report.html with
    videos, and report.json.
    """

    policies: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="POLICY [POLICY ...]", help_behavior_hint=""),
    ] = ()
    """Folders of policies, or run folders of `steadyhand train` and `correct`."""
    env: EnvFlag
    out: Path = Path("runs/eval")
    """Folder of the report; one evaluation each, which the same command repeats."""
    success: SuccessText = "auto"
    observation: Annotated[
        tuple[str, ...], listed("SENSE", default="what the policies read", help=f"What to show, {SENSES}.")
    ] = ()
    expert: ExpertName = "auto"
    """Also run this expert; none leaves it out."""
    starts: int = 64
    """Number of starts."""
    family: Literal["train", "validation", "test"] = "test"
    """Family of the starts."""
    videos: int = 1
    """Starts to film."""
    executor: Annotated[str, choice("executor", metavar="NAME")] = "receding"
    """Play chunks (receding), average over them (ensemble), or join them while playing (real-time)."""
    n_action_steps: Annotated[int | None, optional("N", default="the policies' own")] = None
    """Steps from one prediction to the next."""
    delay: Annotated[int | None, optional("STEPS", default="0; real-time: 1")] = None
    """Control steps that a prediction takes, simulated."""
    sample: bool = False
    """Sample from the policies, whatever their class does."""
    mode: bool = False
    """Ask for the policies' modes, whatever their class does."""
    mean_of: Annotated[int, optional("N", default="no such test")] = 0
    """Also drive each policy that draws by the mean of N samples: it fails where the answers are several."""
    device: Device = "cpu"
    threads: Threads = 1
    seed: int = 0
    """Seed of starts and samples."""
    set: Overrides = ()
    """Change any field of the run, as path=value; for example env.road_width=0.8."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    chosen = parse(Arguments, arguments, verb="eval")
    from steadyhand.core.parts import made
    from steadyhand.envs.catalogue import env_config
    from steadyhand.recipes.env_choices import env_from_text
    from steadyhand.recipes.evaluate import evaluate_policies
    from steadyhand.recipes.experts import default_expert, expert_from_text
    from steadyhand.recipes.policies import needed_features
    from steadyhand.recipes.runs import EvalRun
    from steadyhand.rollout.executors.config import ExecutorConfig

    observation = chosen.observation
    if env_config(chosen.env).chooses:
        observation = observation or needed_features(chosen.policies)
    env = env_from_text(chosen.env, observation=observation, success=chosen.success)
    expert = None
    if chosen.expert == "auto":
        expert = default_expert(env)
    elif chosen.expert != "none":
        expert = expert_from_text(chosen.expert, env)
    run = EvalRun(
        policies=chosen.policies,
        env=env,
        expert=expert,
        num_starts=chosen.starts,
        family=chosen.family,
        num_videos=chosen.videos,
        executor=made(ExecutorConfig, chosen.executor).timed(
            n_action_steps=chosen.n_action_steps, delay=chosen.delay
        ),
        deterministic=_deterministic(chosen),
        mean_of=chosen.mean_of,
        device=chosen.device,
        num_threads=chosen.threads,
        seed=chosen.seed,
    )
    with progress("driving") as bar:
        report, page = evaluate_policies(with_overrides(run, chosen.set), chosen.out, on_step=bar)
    terminal.results(report)
    terminal.say(f"\n{report.verdict}\n\nreport: {page.resolve()}")
    return 0


def _deterministic(chosen: Arguments) -> bool | None:
    """Return whether modes were asked for; None if nothing was."""
    if chosen.sample and chosen.mode:
        raise ConfigError(
            "A policy answers with samples or with its mode.",
            got="--sample and --mode",
            hint="give one of them, or neither for what the policy's class does",
        )
    return chosen.mode if chosen.mode or chosen.sample else None
