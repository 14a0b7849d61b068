"""`steadyhand eval`: run policies from the same starts and compare them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from steadyhand.cli import terminal
from steadyhand.cli.arguments import Overrides, is_terminal, listed, parse, with_overrides


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Run policies from the same starts and compare them: success with interval, return, first failure.

    The first policy is the baseline that the others are compared to, start by start. Writes report.html with
    videos, and report.json.
    """

    policies: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="POLICY", help_behavior_hint="")
    ] = ()
    """Folders of policies, or run folders of `steadyhand train` and `correct`."""
    env: Annotated[str, tyro.conf.arg(metavar="ENV")]
    """`car`, or a Gymnasium id such as CartPole-v1."""
    out: Path = Path("runs/eval")
    """Folder of the report; one evaluation each, which the same command repeats."""
    observation: Annotated[tuple[str, ...], listed("SENSE", default="what the policies read")] = ()
    """For the car: any of state, lidar, retina."""
    expert: str = "auto"
    """Also run this expert: `pure-pursuit`, weights or a policy; auto takes the car's; none takes none."""
    starts: int = 64
    """Number of starts."""
    family: Literal["train", "validation", "test"] = "test"
    """Family of the starts."""
    videos: int = 1
    """Starts to film."""
    sample: bool = False
    """Sample from the policies instead of asking for their mode."""
    seed: int = 0
    """Seed of starts and samples."""
    set: Overrides = ()
    """Change any field of the run, as path=value; for example env.road_width=0.8."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    chosen = parse(Arguments, arguments, verb="eval")
    from steadyhand.recipes.choices import env_from_text
    from steadyhand.recipes.evaluate import evaluate_policies
    from steadyhand.recipes.experts import PurePursuitExpert, expert_from_text
    from steadyhand.recipes.policies import needed_features
    from steadyhand.recipes.runs import EvalRun

    expert = None
    if chosen.expert == "auto":
        expert = PurePursuitExpert() if chosen.env == "car" else None
    elif chosen.expert != "none":
        expert = expert_from_text(chosen.expert)
    observation = chosen.observation
    if chosen.env == "car":
        observation = observation or needed_features(chosen.policies)
    run = EvalRun(
        policies=chosen.policies,
        env=env_from_text(chosen.env, observation=observation),
        expert=expert,
        num_starts=chosen.starts,
        family=chosen.family,
        num_videos=chosen.videos,
        deterministic=not chosen.sample,
        seed=chosen.seed,
    )
    with terminal.progress("driving", enabled=is_terminal()) as bar:
        report, page = evaluate_policies(with_overrides(run, chosen.set), chosen.out, on_step=bar)
    terminal.results(report)
    terminal.say(f"\n{report.verdict}\n\nreport: {page.resolve()}")
    return 0
