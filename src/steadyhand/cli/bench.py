"""`steadyhand bench remedies`: which remedy to choose, for your env and your policy class."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from steadyhand.cli import terminal
from steadyhand.cli.arguments import (
    SEEN,
    EnvName,
    Overrides,
    SuccessText,
    listed,
    optional,
    parse,
    with_overrides,
)
from steadyhand.cli.correct import REMEDIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from steadyhand.recipes.bench import BenchRun, Row
    from steadyhand.recipes.remedies import Remedy


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Teach with each remedy and seed on the same labels, and drive all of them from the same test starts.

    An interrupted run goes on where it stopped when the same command is given again.
    """

    env: EnvName
    """`car`, `forks`, `avoiding`, `pendulum`, `tabular`, `linear`, or a Gymnasium id such as Walker2d-v5."""
    out: Path = Path("runs/bench")
    """Folder of the run: one small file for each (remedy, seed)."""
    only: Annotated[tuple[str, ...], listed("REMEDY", default="all")] = ()
    """Which remedies; see `steadyhand correct --help`."""
    seeds: int = 3
    """Seeds of data, noise and training; one seed gives no interval."""
    labels: int = 500
    """Labels for each remedy."""
    rounds: int = 5
    """Rounds of the interactive remedies."""
    episodes: int = 4
    """Drives in a round; the others get as many in all."""
    query_every: int = 1
    """DAgger asks at every so many steps: fewer labels from longer drives."""
    expert: str = "auto"
    """Who labels; auto takes the one that comes along with the env."""
    success: SuccessText = "auto"
    observation: Annotated[tuple[str, ...], listed("SENSE", default=SEEN)] = ()
    """Features that policies see; for the car any of state, scan, lidar, retina, ranges, camera."""
    recipe: Annotated[str, optional("NAME", default="none")] = ""
    """A published method instead of encoder and head; see docs/recipes.md."""
    encoder: str = "auto"
    """How observations are read; auto takes SmallConv for pictures, StateMLP otherwise."""
    head: str = "auto"
    """The policy class; auto takes Categorical for discrete actions, Regression otherwise."""
    steps: int = 1500
    """Gradient steps of each fit."""
    batch_size: int = 64
    """Windows in a batch."""
    starts: int = 64
    """Test starts."""
    set: Overrides = ()
    """Change any field of run.json, as path=value; for example budget.sigma=0.1."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    from steadyhand.core.errors import ConfigError

    if not arguments or arguments[0] in ("-h", "--help"):
        terminal.say("usage: steadyhand bench remedies ENV [options]\n")
        terminal.say("  remedies  every remedy for compounding error, at equal labels\n")
        terminal.say("`steadyhand bench remedies --help` explains it.")
        return 0
    if arguments[0] != "remedies":
        raise ConfigError("There is no such bench.", got=arguments[0], available=["remedies"])
    chosen = parse(Arguments, arguments[1:], verb="bench remedies")
    run = with_overrides(_run(chosen), chosen.set)
    from steadyhand.recipes.bench import bench
    from steadyhand.recipes.learner import PolicyLearner

    built = run.env.build(1)
    learner = PolicyLearner(built.spec, policy=run.policy, training=run.training)
    built.close()

    def on_cell(one: "Remedy", seed: int, result: "Mapping[str, Any]") -> None:
        if "refusal" in result:
            outcome = f"not here: {result['refusal'].splitlines()[0]}"
        elif result["success"] is None:
            mean = sum(result["returns"]) / len(result["returns"])
            outcome = f"returned {mean:.4g} on average, {result['labels']} labels"
        else:
            outcome = f"{sum(result['success'])} of {len(result['success'])}, {result['labels']} labels"
        terminal.say(f"  {one.name:<16} seed {seed}: {outcome}")

    terminal.heading(f"{len(run.remedies)} remedies, {run.seeds} seeds, {run.budget.labels} labels each")
    terminal.say(f"The policy {learner.in_brief}")
    show(bench(run, chosen.out, on_cell=on_cell))
    terminal.say(f"\ncells: {(chosen.out / 'cells').resolve()}")
    return 0


def show(rows: "list[Row]") -> None:
    """Print the table."""
    from steadyhand.recipes.bench import difference, mean_return, rate, return_difference, tells_success

    clone = next((row for row in rows if row.title == "cloning" and not row.refusal), None)
    is_told = tells_success(rows)
    header = ["remedy", "success", *([] if is_told else ["return"]), "minus cloning", "labels", "env steps"]
    lines: list[list[str]] = []
    for row in rows:
        if row.refusal:
            continue
        line = [row.title, "-" if row.success is None else rate(row.success)]
        line += [difference(row, clone)] if is_told else [mean_return(row), return_difference(row, clone)]
        lines.append([*line, f"{row.labels:.0f}", f"{row.burden['env_steps']:.0f}"])
    terminal.say("")
    terminal.table(header, lines, left=1)
    if not is_told:
        terminal.say("Nothing tells success here: the return is compared.")
    for row in rows:
        if row.refusal:
            terminal.say(f"{row.title} does not fit here: {row.refusal}")


def _run(chosen: Arguments) -> "BenchRun":
    from steadyhand.core.errors import ConfigError
    from steadyhand.recipes.bench import BenchRun
    from steadyhand.recipes.choices import Wish, env_that_shows, learner_of
    from steadyhand.recipes.experts import expert_from_text
    from steadyhand.recipes.remedies import Budget
    from steadyhand.training.config import TrainConfig

    unknown = [name for name in chosen.only if name not in REMEDIES]
    if unknown:
        raise ConfigError("There is no such remedy.", got=unknown[0], available=REMEDIES)
    env, shown = env_that_shows(chosen.env, chosen.observation, success=chosen.success)
    one = env.build(1)
    spec = one.spec
    one.close()
    policy, training = learner_of(
        Wish(observation=shown, recipe=chosen.recipe, encoder=chosen.encoder, head=chosen.head),
        observation=spec.observation,
        action=spec.action,
        default=TrainConfig(num_steps=chosen.steps, batch_size=chosen.batch_size, learning_rate=1e-3),
    )
    return BenchRun(
        env=env,
        expert=expert_from_text(chosen.expert, env),
        policy=policy,
        training=training,
        remedies=chosen.only or tuple(REMEDIES),
        budget=Budget(
            labels=chosen.labels,
            rounds=chosen.rounds,
            episodes=chosen.episodes,
            query_every=chosen.query_every,
        ),
        seeds=chosen.seeds,
        num_starts=chosen.starts,
    )
