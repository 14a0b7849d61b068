"""Several remedies on equal terms: the run behind `steadyhand bench remedies`.

Every remedy gets the same budget of labels, test starts and seeds, as many fits as there are rounds, the same
choice among them on the same validation starts, and the same search for its own settings on other seeds. A
cell is one (remedy, seed), with all its fits; `recipes.experiment` computes and keeps it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from steadyhand.core.codec import write_json
from steadyhand.core.description import described
from steadyhand.core.errors import ConfigError, SteadyhandError
from steadyhand.core.lock import working_in
from steadyhand.core.question import answering
from steadyhand.core.seeding import derive, short
from steadyhand.core.settings import Settings
from steadyhand.correction.budget import Budget
from steadyhand.correction.contract import RoundsConfig
from steadyhand.correction.remedy import Remedy, TrainedPolicy
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.config import EnvConfig
from steadyhand.experts.config import ExpertConfig
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.cells import StoredCell
from steadyhand.recipes.comparison import (
    Row,
    Selection,
    Terms,
    best_fit,
    ranked,
    require_equal,
)
from steadyhand.recipes.experiment import Cell, Experiment, compute_cells
from steadyhand.recipes.folder import start_run
from steadyhand.recipes.remedies import remedies, remedy
from steadyhand.recipes.search import Candidate, Search, candidates
from steadyhand.recipes.teach import trying_out
from steadyhand.rollout.evaluate import evaluate
from steadyhand.training.config import TrainConfig

MAX_ROWS = 64
SEARCH_SEED = 1_000_000
"""Seeds of results lie below it, those of searches from here on."""
OnCell = Callable[[Cell["Trial"], StoredCell], None]


@dataclass(frozen=True, kw_only=True)
class BenchRun(Settings):
    """Teach every remedy with every seed, and drive all of them from the same test starts.

    Attributes:
        env: The env.
        expert: The expert that labels.
        policy: The policy.
        training: Training of each fit.
        remedies: Names of the remedies.
        budget: What each may spend.
        seeds: Number of seeds.
        num_starts: Test starts.
        selection: Which of a remedy's fits is its policy; see `comparison.Terms`.
        fits: Fits of the remedies without rounds; 0 gives them as many as there are rounds.
        search: For the settings of each remedy.
        unequal: Whether a comparison on unequal terms is wanted all the same, which the table then says.
    """

    env: EnvConfig
    expert: ExpertConfig
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    remedies: tuple[str, ...] = field(default_factory=lambda: tuple(one.name for one in remedies()))
    budget: Budget = field(default_factory=Budget)
    seeds: int = 3
    num_starts: int = 64
    selection: Selection = "best"
    fits: int = 0
    search: Search = field(default_factory=Search)
    unequal: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        titles = [remedy(name).title for name in self.remedies]
        if len({*titles}) < len(titles):
            raise ConfigError(
                "A bench tells remedies apart by their names in its table.",
                got=", ".join(titles),
                expected="each once",
                hint="name each once; a remedy of your own needs a title of its own",
            )
        if self.seeds < 1 or self.num_starts < 1 or self.fits < 0:
            raise ConfigError("A bench needs seeds and starts.", got=(self.seeds, self.num_starts, self.fits))
        if not self.unequal:
            require_equal({remedy(name).title: self.terms(name) for name in self.remedies})

    def method(self, name: str) -> Remedy:
        """Return the settings that a remedy is given."""
        return remedy(name).from_budget(self.budget)

    def num_fits(self, name: str) -> int:
        """Return how many fits there are of a remedy."""
        method = self.method(name)
        if isinstance(method, RoundsConfig):
            return method.rounds
        return self.fits or (1 if self.selection == "last" else self.budget.rounds)

    def terms(self, name: str) -> Terms:
        """Return on which terms a remedy is tried."""
        method = self.method(name)
        decides = self.selection == "best"
        return Terms(
            starts=self.num_starts,
            labels=method.num_labels,
            fits=1 if self.selection == "last" else self.num_fits(name),
            selection=self.selection,
            validation_starts=self.budget.validation_starts if decides else 0,
            trials=self.search.trials,
            seeds=self.seeds,
        )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a cell depends on.

    Attributes:
        env: The env.
        expert: The expert that labels.
        policy: The policy.
        training: Training of each fit.
        method: The remedy and its settings.
        fits: Fits, if it has no rounds.
        validation_starts: Starts on which every fit is tried to choose among them; 0 if nothing is chosen.
        num_starts: Test starts; 0 for a search, which sees none of them.
        seed: Seed of everything but the test starts.
    """

    env: EnvConfig
    expert: ExpertConfig
    policy: PolicyConfig
    training: TrainConfig
    method: Remedy
    fits: int
    validation_starts: int
    num_starts: int
    seed: int


def taught_fits(trial: Trial) -> dict[str, Any]:
    """Teach one remedy with one seed; return what every fit does, and what it cost, as JSON data.

    A remedy that does not fit the env or the policy class is not an error here: its result says why.
    """
    num_rows = min(max(trial.num_starts, trial.validation_starts), MAX_ROWS)
    try:
        with trying_out(
            trial.env,
            trial.expert,
            policy=trial.policy,
            training=trial.training,
            num_rows=num_rows,
            seed=trial.seed,
        ) as trainer:
            taught = trainer.teach(trial.method, fits=trial.fits)
            fits = [_driven(trial, trainer.env, taught, one) for one in taught.fits]
            return {"fits": fits, **outcome_of(taught)}
    except SteadyhandError as error:
        return {"refusal": str(error)}


def outcome_of(taught: TrainedPolicy) -> dict[str, Any]:
    """Return what a remedy cost as JSON data."""
    return {"labels": taught.labels, "burden": asdict(taught.burden), "note": taught.note}


def _driven(trial: Trial, env: BatchEnv, taught: TrainedPolicy, folder: Path) -> dict[str, Any]:
    """Drive one fit from the validation starts, the same for all remedies, and from the test starts."""
    controller = taught.learner.controller(folder, num_rows=env.num_rows)
    found: dict[str, Any] = {}
    if trial.validation_starts:
        seed = derive(trial.seed, "validation")
        starts = env.starts("validation", trial.validation_starts, seed=short(seed))
        tried = evaluate(env, controller, starts, name=taught.name, seed=seed, positions=False)
        found["validation"] = {
            "success": None if tried.success is None else float(tried.success.mean()),
            "return": float(tried.returns.mean()),
            "steps": int(tried.lengths.sum()),
        }
    if trial.num_starts:
        tests = env.starts("test", trial.num_starts, seed=0)
        driven = evaluate(env, controller, tests, name=taught.name, seed=trial.seed, positions=False)
        found["success"] = None if driven.success is None else driven.success.astype(int).tolist()
        found["returns"] = [round(float(value), 4) for value in driven.returns]
    return found


def bench(
    run: BenchRun, folder: Path, *, executor: Executor | None = None, on_cell: OnCell | None = None
) -> list[Row]:
    """Compute every cell that `folder` does not hold yet, and return one row for each remedy, the best first.

    Args:
        run: What is compared.
        folder: Where the cells are kept.
        executor: Who computes; see `recipes.workers`.
        on_cell: Called with each cell that was computed.

    Raises:
        ConfigError: `folder` holds another run, or cells that another env or expert of the same name made.
        SteadyhandError: Some cells failed; all others are kept.
    """
    with working_in(folder):
        start_run(run, folder, resume=True)
        with answering(folder, "bench", _asked(run), answers="cells.parquet"):
            return _computed(run, folder, executor, on_cell)


def _asked(run: BenchRun) -> dict[str, object]:
    """Return what the settings name and do not hold: an env, expert or part of one's own, with its code."""
    parts = [*(remedy(name) for name in run.remedies), type(run.policy.encoder), type(run.policy.head)]
    env = run.env.build(1)
    with closing(env):
        said = {"env": env, "expert": run.expert.build(env), "parts": parts}
        return {name: described(one) for name, one in said.items()}


def _computed(run: BenchRun, folder: Path, executor: Executor | None, on_cell: OnCell | None) -> list[Row]:
    if run.search.trials > 1:
        tried = [cell for name in run.remedies for cell in _search_cells(run, folder, name)]
        compute_cells(tried, executor=executor, on_cell=on_cell)
    cells = [_cell(run, folder, name, seed) for seed in range(run.seeds) for name in run.remedies]
    compute_cells(cells, executor=executor, on_cell=on_cell)
    rows = ranked([_row(run, folder, name) for name in run.remedies])
    write_json(folder / "result.json", {"rows": [_in_short(row) for row in rows]})
    return rows


def _in_short(row: Row) -> dict[str, Any]:
    """Return a row's means as JSON data, as result.json holds them; the cells hold the rest."""
    return {
        "title": row.title,
        "success": None if row.success is None else float(row.success.mean()),
        "return": None if row.returns is None else float(row.returns.mean()),
        "labels": row.labels,
        "refusal": row.refusal,
    }


def _candidates(run: BenchRun, name: str) -> list[Candidate]:
    return candidates(run.method(name), run.training, trials=run.search.trials, name=name)


def _trial(run: BenchRun, name: str, candidate: Candidate, seed: int, *, num_starts: int) -> Trial:
    decides = run.selection == "best" or not num_starts
    return Trial(
        env=run.env,
        expert=run.expert,
        policy=run.policy,
        training=candidate.training,
        method=candidate.method,
        fits=run.num_fits(name),
        validation_starts=run.budget.validation_starts if decides else 0,
        num_starts=num_starts,
        seed=seed,
    )


def _search_cells(run: BenchRun, folder: Path, name: str) -> list[Cell[Trial]]:
    """Return the cells of a search, candidate by candidate."""
    return [
        _experiment(folder).cell(
            f"search {name} trial {number} seed {seed}",
            settings=_trial(run, name, candidate, SEARCH_SEED + seed, num_starts=0),
            compute=taught_fits,
        )
        for number, candidate in enumerate(_candidates(run, name))
        for seed in range(run.search.seeds)
    ]


def _tried(run: BenchRun, folder: Path, name: str) -> dict[int, dict[str, Any]]:
    """Return how the settings of a search did, by number; those that were refused with any seed are out."""
    results = [cell.result() or {} for cell in _search_cells(run, folder, name)]
    seeds = run.search.seeds
    found: dict[int, dict[str, Any]] = {}
    for number in range(len(results) // seeds):
        those = results[number * seeds : (number + 1) * seeds]
        if all("fits" in result for result in those):
            found[number] = _mean([_score(result["fits"], run.selection) for result in those])
    return found


def _chosen(run: BenchRun, folder: Path, name: str) -> Candidate:
    """Return the settings that did best in the search; the given ones where all were refused."""
    found = _candidates(run, name)
    tried = _tried(run, folder, name) if len(found) > 1 else {}
    return found[[*tried][best_fit([*tried.values()])]] if tried else found[0]


def _score(fits: Sequence[dict[str, Any]], selection: Selection) -> dict[str, Any]:
    """Return success and return on validation starts of the policy that the rule makes of the fits."""
    seen = [fit["validation"] for fit in fits]
    if selection == "mean":
        return _mean(seen)
    return seen[-1] if selection == "last" else seen[best_fit(seen)]


def _mean(scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    told = all(one["success"] is not None for one in scores)
    return {
        "success": float(np.mean([one["success"] for one in scores])) if told else None,
        "return": float(np.mean([one["return"] for one in scores])),
    }


def _cell(run: BenchRun, folder: Path, name: str, seed: int) -> Cell[Trial]:
    candidate = _chosen(run, folder, name)
    settings = _trial(run, name, candidate, seed, num_starts=run.num_starts)
    return _experiment(folder).cell(f"{name} seed {seed}", settings=settings, compute=taught_fits)


def _row(run: BenchRun, folder: Path, name: str) -> Row:
    results = [_cell(run, folder, name, seed).result() or {} for seed in range(run.seeds)]
    title = remedy(name).title
    refused = [result["refusal"] for result in results if "refusal" in result]
    if refused:
        return Row(title=title, success=None, refusal=refused[0])
    terms, searched = run.terms(name), 0.0
    if run.search.trials > 1:
        if not _tried(run, folder, name):
            terms = replace(terms, trials=1)
        tried = [cell.result() or {} for cell in _search_cells(run, folder, name)]
        searched += sum(fit["validation"]["steps"] for one in tried for fit in one.get("fits", ()))
    row = Row.of_fits(title, results, terms=terms, searched=searched)
    return replace(row, settings=_chosen(run, folder, name).changes)


@cache
def _experiment(folder: Path) -> Experiment:
    return Experiment(name="cells", folder=folder)
