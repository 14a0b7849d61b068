"""`steadyhand record`: let an expert drive and store the episodes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from steadyhand.cli import terminal
from steadyhand.cli.arguments import parse, with_overrides
from steadyhand.cli.flags import SENSES, EnvName, ExpertName, Overrides, SuccessText, listed, optional
from steadyhand.face.progress import progress


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Let an expert drive and store what it sees and does, as a LeRobot v3.0 data set.

    Recording can be stopped at any time, or killed: what was driven is kept, and the same command goes on to
    the same data set. It drives again what is there, and refuses if that gives anything else.
    """

    env: EnvName
    out: Path
    """Folder of the data set; it must not hold one yet, but for this recording, stopped before its end."""
    expert: ExpertName = "auto"
    """The expert that drives."""
    episodes: int = 4
    """Episodes to record."""
    labels: Annotated[int | None, optional("INT", default="no limit")] = None
    """Stop at exactly this many labels, spread evenly over the episodes."""
    success: SuccessText = "auto"
    observation: Annotated[
        tuple[str, ...], listed("SENSE", default="retina; state objects", help=f"What to show, {SENSES}.")
    ] = ()
    noise: float = 0.0
    """Disturb the executed action by this much (Ornstein-Uhlenbeck); labels stay clean."""
    family: Literal["train", "validation", "test"] = "train"
    """Family of tracks and starts."""
    video: bool = False
    """Pictures as MP4 (small, lossy), not PNG; of an env that shows none, film the first start (films/)."""
    seed: int = 0
    """Seed of starts and noise."""
    set: Overrides = ()
    """Change any field of the run, as path=value; for example env.road_width=0.8."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    chosen = parse(Arguments, arguments, verb="record")
    from steadyhand.correction.collect import outside_in_words
    from steadyhand.correction.noise import OrnsteinUhlenbeck
    from steadyhand.recipes.env_choices import env_from_text
    from steadyhand.recipes.experts import expert_from_text
    from steadyhand.recipes.record import FILM, record
    from steadyhand.recipes.runs import RecordRun

    env = env_from_text(chosen.env, observation=chosen.observation, success=chosen.success)
    run = RecordRun(
        env=env,
        expert=expert_from_text(chosen.expert, env),
        num_episodes=chosen.episodes,
        num_labels=chosen.labels,
        noise=OrnsteinUhlenbeck(sigma=chosen.noise) if chosen.noise else None,
        family=chosen.family,
        video=chosen.video,
        seed=chosen.seed,
    )
    run = with_overrides(run, chosen.set)
    try:
        with progress("recording") as bar:
            summary = record(run, chosen.out, on_step=bar(str(chosen.out)))
    except KeyboardInterrupt:
        terminal.say(f"{chosen.out}: the same command goes on; to use what is there as it is, run")
        terminal.say(f"  steadyhand data compact {chosen.out}")
        raise
    terminal.say(
        f"{chosen.out}: {terminal.counted(summary.num_episodes, 'episode')}, "
        f"{terminal.counted(summary.num_steps, 'step')}, {summary.num_labels} labels; {summary.outcome}"
    )
    if (film := chosen.out / FILM).is_file():
        terminal.say(f"film of the first drive: {film}")
    if summary.num_outside:
        terminal.say(f"note: {outside_in_words(summary, run.outside_labels)}")
    terminal.say(f"next: steadyhand train {chosen.out} --out runs/clone")
    return 0
