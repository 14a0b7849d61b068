"""`steadyhand bench remedies`: which remedy to choose, for your env and your policy class."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from steadyhand.cli import terminal
from steadyhand.cli.arguments import parse, with_overrides
from steadyhand.cli.flags import (
    EnvName,
    ExpertName,
    Learner,
    LearnerFlags,
    Overrides,
    SuccessText,
    env_and_learner,
    listed,
    optional,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from steadyhand.recipes.bench import BenchRun, Trial
    from steadyhand.recipes.cells import StoredCell
    from steadyhand.recipes.comparison import Row
    from steadyhand.recipes.experiment import Cell


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Teach with each remedy and seed on equal terms, and drive all of them from the same test starts.

    Equal are labels, starts, seeds, the number of fits, the choice among them and the search for settings. An
    interrupted run goes on where it stopped when the same command is given again.
    """

    env: EnvName
    out: Path = Path("runs/bench")
    """Folder of the run; cells.parquet in it has a row for each (remedy, seed)."""
    only: Annotated[tuple[str, ...], listed("REMEDY", default="all")] = ()
    """Which remedies; see `steadyhand correct --help`."""
    seeds: int = 3
    """Seeds of data, noise and training; the intervals of one seed are for new starts alone."""
    labels: int = 500
    """Labels for each remedy."""
    rounds: int = 5
    """Rounds of the interactive remedies."""
    episodes: int = 4
    """Drives in a round; the others get as many in all."""
    query_every: int = 1
    """DAgger asks at every so many steps: fewer labels from longer drives."""
    expert: ExpertName = "auto"
    """The expert that labels and takes over."""
    success: SuccessText = "auto"
    learner: LearnerFlags = field(default_factory=Learner)
    starts: int = 64
    """Test starts."""
    selection: Literal["best", "last", "mean"] = "best"
    """Which fit is a remedy's policy: the best on validation starts, the last, or the mean of all."""
    fits: int = 0
    """Fits of the remedies without rounds; 0 gives them as many as there are rounds."""
    search: int = 1
    """Settings of each remedy that are tried on other seeds before; 1 takes them as they are."""
    unequal: bool = False
    """Compare also what would not be on equal terms; the table says where they differ."""
    jobs: int = 1
    """Processes of this machine that compute."""
    ray: Annotated[str, optional("ADDRESS", default="none")] = ""
    """Compute on a Ray cluster instead: its address, auto, or local."""
    set: Overrides = ()
    """Change any field of run.json, as path=value; for example budget.sigma=0.1."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    from steadyhand.core.errors import ConfigError

    if not arguments or arguments[0] in ("-h", "--help"):
        terminal.say("usage: steadyhand bench remedies ENV [options]\n")
        terminal.say("  remedies  every remedy for compounding error, on the same budget of labels\n")
        terminal.say("`steadyhand bench remedies --help` explains it.")
        return 0
    if arguments[0] != "remedies":
        raise ConfigError("There is no such bench.", got=arguments[0], available=["remedies"])
    chosen = parse(Arguments, arguments[1:], verb="bench remedies")
    run = with_overrides(_run(chosen), chosen.set)
    from steadyhand.cli.experiment import executor_of
    from steadyhand.recipes.bench import bench
    from steadyhand.recipes.learner import PolicyLearner

    built = run.env.build(1)
    learner = PolicyLearner(built.spec, policy=run.policy, training=run.training)
    built.close()

    def on_cell(cell: "Cell[Trial]", row: "StoredCell") -> None:
        words = (
            cell.name.replace("-trial-", " trial ").replace("-seed-", " seed ").replace("search-", "search ")
        )
        terminal.say(f"  {words:<32} {_in_words(row.result)}", indent=33)

    terminal.heading(f"{len(run.remedies)} remedies, {run.seeds} seeds, {run.budget.labels} labels each")
    terminal.say(f"The policy {learner.in_brief}")
    with executor_of(jobs=chosen.jobs, ray=chosen.ray or None) as executor:
        rows = bench(run, chosen.out, executor=executor, on_cell=on_cell)
    show(rows)
    terminal.say(f"\ncells: {(chosen.out / 'cells.parquet').resolve()}")
    return 0


def show(rows: "list[Row]") -> None:
    """Print the table, and under it the terms on which it was made."""
    from steadyhand.recipes import comparison

    clone = next((row for row in rows if row.title == "cloning" and not row.refusal), None)
    is_told = comparison.tells_success(rows)
    header = ["remedy", "success", *([] if is_told else ["return"]), "all fits", "minus cloning"]
    lines: list[list[str]] = []
    for row in rows:
        if row.refusal:
            continue
        line = [row.title, "-" if row.success is None else comparison.rate(row.success)]
        line += [] if is_told else [comparison.mean_return(row)]
        versus = comparison.difference if is_told else comparison.return_difference
        line += [comparison.spread(row), versus(row, clone)]
        lines.append([*line, *(f"{cost:.0f}" for cost in _costs(row))])
    terminal.say("")
    terminal.table([*header, "labels", "env steps", "validation steps"], lines, left=1)
    if not is_told:
        terminal.say("Nothing tells success here: the return is compared.")
    terminal.say(comparison.caption(rows))
    terminal.say(comparison.meaning(rows))
    for row in rows:
        if row.settings:
            terminal.say(f"{row.title}: {row.settings}")
    for row in rows:
        if row.refusal:
            terminal.say(f"{row.title} does not fit here: {row.refusal}")


def _costs(row: "Row") -> tuple[float, float, float]:
    return row.labels, row.burden["env_steps"], row.validation_steps


def _in_words(result: "Mapping[str, Any]") -> str:
    """Return what became of a cell."""
    if "refusal" in result:
        return f"not here: {result['refusal'].splitlines()[0]}"
    labels = f"{result['labels']} labels"
    if "returns" not in result["fits"][0]:
        return f"tried on validation starts, {labels}"
    if any(fit["success"] is None for fit in result["fits"]):
        returns = [f"{sum(fit['returns']) / len(fit['returns']):.4g}" for fit in result["fits"]]
        return f"fits returned {', '.join(returns)} on average, {labels}"
    kept = ", ".join(str(sum(fit["success"])) for fit in result["fits"])
    return f"{kept} of {len(result['fits'][0]['success'])}, {labels}"


def _run(chosen: Arguments) -> "BenchRun":
    from steadyhand.correction.budget import Budget
    from steadyhand.recipes.bench import BenchRun
    from steadyhand.recipes.experts import expert_from_text
    from steadyhand.recipes.remedies import remedies, remedy
    from steadyhand.recipes.search import Search
    from steadyhand.training.config import TrainConfig

    for name in chosen.only:
        remedy(name)
    env, policy, training = env_and_learner(
        chosen.env,
        chosen.learner,
        success=chosen.success,
        overrides=chosen.set,
        default=TrainConfig(num_steps=1500, batch_size=64, learning_rate=1e-3),
        num_checkpoints=0,
    )
    return BenchRun(
        env=env,
        expert=expert_from_text(chosen.expert, env),
        policy=policy,
        training=training,
        remedies=chosen.only or tuple(one.name for one in remedies()),
        budget=Budget(
            labels=chosen.labels,
            rounds=chosen.rounds,
            episodes=chosen.episodes,
            query_every=chosen.query_every,
        ),
        seeds=chosen.seeds,
        num_starts=chosen.starts,
        selection=chosen.selection,
        fits=chosen.fits,
        search=Search(trials=chosen.search),
        unequal=chosen.unequal,
    )
