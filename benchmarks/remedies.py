"""Every remedy on the car, from the same starts, on one budget of labels: tables of docs/results/remedies.md.

    python benchmarks/remedies.py run [--only NAME] [--shard I/N]   compute the cells that are missing
    python benchmarks/remedies.py table                             write the tables into the page

A cell is one (regime, remedy, seed); see pages.py and, for the regimes, regimes.py.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from pages import PAGES
from regimes import EXPERIMENT, REGIMES, Regime, probe_cell, regimes, trainer_of

from steadyhand.cli.experiment import main
from steadyhand.core.seeding import derive
from steadyhand.correction.contract import RoundsConfig
from steadyhand.correction.gates import LossGate
from steadyhand.correction.record import best_of
from steadyhand.correction.remedy import Remedy
from steadyhand.envs.car.config import CarConfig
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.bench import outcome_of
from steadyhand.recipes.comparison import Row, Terms, caption, difference, rate
from steadyhand.recipes.experiment import Cell
from steadyhand.recipes.remedies import remedies, remedy
from steadyhand.rollout.autonomy import autonomy
from steadyhand.rollout.evaluate import evaluate
from steadyhand.training.config import TrainConfig

AUTONOMY_SECONDS = 40.0
NUM_STARTS = 64


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a cell depends on."""

    env: CarConfig
    policy: PolicyConfig
    training: TrainConfig
    method: Remedy
    num_starts: int = NUM_STARTS
    autonomy_seconds: float = AUTONOMY_SECONDS
    seed: int = 0


def published() -> list[type[Remedy]]:
    """Return our own remedies, without those of packages that are installed or tried here."""
    return [one for one in remedies() if one.__module__.startswith("steadyhand.")]


def remedies_of(regime: Regime) -> list[type[Remedy]]:
    """Return the remedies of a regime."""
    return [remedy(name) for name in regime.remedies] if regime.remedies else published()


def settings_of(regime: Regime, one: type[Remedy], seed: int) -> Settings:
    """Return what a cell is made of; a gate that reads a likelihood gets a learner that has one."""
    method, policy = one.from_budget(regime.budget), regime.policy
    if isinstance(getattr(method, "gate", None), LossGate):
        policy = replace(policy, head=Gaussian())
    return Settings(env=regime.env, policy=policy, training=regime.training, method=method, seed=seed)


def cell(name: str, one: type[Remedy], seed: int) -> Cell[Any]:
    """Return one entry of the tables."""
    settings = settings_of(REGIMES[name], one, seed)
    return EXPERIMENT.cell(
        f"{name} {one.name} seed {seed}",
        settings=settings,
        compute=compute,
    )


def compute(settings: Settings) -> dict[str, Any]:
    """Teach, drive from the test starts, return what the tables need."""
    with trainer_of(
        settings.env,
        settings.policy,
        settings.training,
        num_rows=settings.num_starts,
        seed=settings.seed,
    ) as trainer:
        env, taught = trainer.env, trainer.teach(settings.method)
        starts = env.starts("test", settings.num_starts, seed=0)
        controller = taught.learner.controller(taught.folder, num_rows=env.num_rows)
        evaluation = evaluate(env, controller, starts, name=taught.name, seed=settings.seed, positions=False)
        help_needed = autonomy(env, controller, starts, seconds=settings.autonomy_seconds, seed=settings.seed)
    return {
        "success": evaluation.told.astype(int).tolist(),
        "seconds": [round(float(n) * env.spec.control_dt, 2) for n in evaluation.lengths],
        "interventions": help_needed.interventions.tolist(),
        **outcome_of(taught),
    }


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Settings of an offline remedy that may choose among fresh fits, as interactive ones choose a round.

    Attributes:
        env: The car.
        policy: The learner.
        training: Training of each fit.
        method: Where the labels come from.
        fits: Fits from other initial weights, on the same labels.
        validation_starts: Starts by which one of them is chosen: success, then return.
        num_starts: Test starts.
        seed: Seed of everything: data, weights and draws.
    """

    env: CarConfig
    policy: PolicyConfig
    training: TrainConfig
    method: Remedy
    fits: int
    validation_starts: int
    num_starts: int = NUM_STARTS
    seed: int = 0


SELECTED = ("cloning", "noise")


def selection_cell(name: str, seed: int) -> Cell[Any]:
    """Return the cell of an offline remedy in the regime "hard" with the fits and the choice of DAgger."""
    regime = REGIMES["hard"]
    settings = Selection(
        env=regime.env,
        policy=regime.policy,
        training=regime.training,
        method=remedy(name).from_budget(regime.budget),
        fits=regime.budget.rounds,
        validation_starts=regime.budget.validation_starts,
        seed=seed,
    )
    return EXPERIMENT.cell(
        f"hard {name} best of {settings.fits} fits seed {seed}",
        settings=settings,
        compute=select,
    )


def select(settings: Selection) -> dict[str, Any]:
    """Fit several times to the same labels; return the test drives of the first, of the best, and of each.

    The first fit is the one that the regime's own table shows.
    """
    scores: list[tuple[float, float]] = []
    tested: list[list[int]] = []
    with trainer_of(
        settings.env,
        settings.policy,
        settings.training,
        num_rows=settings.num_starts,
        seed=settings.seed,
    ) as trainer:
        env, learner = trainer.env, trainer.learner
        starts = env.starts("test", settings.num_starts, seed=0)
        chosen_by = derive(settings.seed, "validation")
        validation = env.starts("validation", settings.validation_starts, seed=chosen_by % 2**31)
        taught = trainer.teach(settings.method)
        episodes = learner.read(taught.folder / "episodes") or []
        for number in range(settings.fits):
            here = taught.folder
            if number:
                here = trainer.folder / f"fit-{number}"
                seed = derive(settings.seed, "fit", taught.name, number)
                learner.fit(episodes, folder=here, seed=seed, warm_start=None)
            controller = learner.controller(here, num_rows=env.num_rows)
            tried = evaluate(env, controller, validation, name="validation", seed=chosen_by, positions=False)
            scores.append((float(tried.told.mean()), float(tried.returns.mean())))
            driven = evaluate(env, controller, starts, name="test", seed=settings.seed, positions=False)
            tested.append(driven.told.astype(int).tolist())
    best = best_of([success for success, _ in scores], [value for _, value in scores])
    return {"validation": scores, "best": best, "success": tested[best], "each": [sum(one) for one in tested]}


def selection() -> str:
    """Return the table of the offline remedies that may choose among as many fits as there are rounds."""
    rows = [
        "| remedy | one fit, each seed, of 64 | best of five, each seed | all five fits of each seed |",
        "|---|---|---|---|",
    ]
    for name in SELECTED:
        found = [selection_cell(name, seed).result() for seed in range(REGIMES["hard"].seeds)]
        there = [one for one in found if one is not None]
        if there:
            single = " ".join(str(one["each"][0]) for one in there)
            best = " ".join(str(sum(one["success"])) for one in there)
            every = "; ".join(" ".join(map(str, one["each"])) for one in there)
            rows.append(f"| {remedy(name).title} | {single} | {best} | {every} |")
    return "\n".join(rows)


def cells() -> list[Cell[Any]]:
    """Return all cells: the regimes' own numbers, then seed by seed, so that every remedy has some early."""
    found = [probe_cell(name) for name in REGIMES]
    for seed in range(max(regime.seeds for regime in REGIMES.values())):
        for name, regime in REGIMES.items():
            if seed < regime.seeds:
                found += [cell(name, one, seed) for one in remedies_of(regime)]
    found += [selection_cell(name, seed) for seed in range(REGIMES["hard"].seeds) for name in SELECTED]
    return found


COSTS = ("human_steps", "interventions", "switches", "env_steps", "violations")


def results_of(name: str, one: type[Remedy]) -> list[dict[str, Any]]:
    """Return the results of the seeds that are there."""
    found = [cell(name, one, seed).result() for seed in range(REGIMES[name].seeds)]
    return [result for result in found if result is not None]


def autonomy_of(results: Sequence[Mapping[str, Any]]) -> float:
    """Return Bojarski's figure, a mean over seeds."""
    lost = np.array([result["interventions"] for result in results])
    return float(np.maximum(0.0, 1.0 - lost.sum(1) * 6.0 / (lost.shape[1] * AUTONOMY_SECONDS)).mean())


def terms_of(regime: Regime, one: type[Remedy]) -> Terms:
    """Return on which terms a remedy was tried: the best of its rounds, or its one fit."""
    method = one.from_budget(regime.budget)
    rounds = method.rounds if isinstance(method, RoundsConfig) else 1
    return Terms(
        starts=NUM_STARTS,
        labels=regime.budget.labels,
        fits=rounds,
        selection="best",
        validation_starts=regime.budget.validation_starts if rounds > 1 else 0,
        trials=1,
        seeds=regime.seeds,
    )


def table(name: str) -> str:
    """Return the table of a regime, best success first."""
    rows = [
        "| remedy | fits | success, 95 % interval | each seed, of 64 | minus cloning | autonomy | labels | "
        "human steps | interventions | switches | env steps | violations |",
        "|---|--:|---|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    done = {one.title: results for one in remedies_of(REGIMES[name]) if (results := results_of(name, one))}
    terms = {one.title: terms_of(REGIMES[name], one) for one in remedies_of(REGIMES[name])}
    made = {title: Row.of(title, results, terms=terms[title]) for title, results in done.items()}
    helped = {title: autonomy_of(results) for title, results in done.items()}
    for row in sorted(made.values(), key=lambda row: (-row.told.mean(), -helped[row.title], row.title)):
        each = " ".join(f"{int(seed.sum())}" for seed in row.told)
        costs = [row.burden[key] for key in COSTS]
        rows.append(
            f"| {row.title} | {terms[row.title].fits} | {rate(row.told)} | {each} | "
            f"{difference(row, made.get('cloning'))} | "
            f"{100 * helped[row.title]:.1f} % | {row.labels:.0f} | "
            + " | ".join(f"{cost:.0f}" for cost in costs)
            + " |"
        )
    return "\n".join([*rows, "", caption([*made.values()])])


def summary() -> str:
    """Return one line a remedy: the share of test starts that it keeps in each regime, best first."""
    rows = [
        "| remedy | " + " | ".join(regime.title for regime in REGIMES.values()) + " |",
        "|---|" + "--:|" * len(REGIMES),
    ]
    kept: dict[str, list[float]] = {}
    for one in published():
        found = [results_of(name, one) for name in REGIMES]
        kept[one.title] = [Row.of(one.title, some).told.mean() if some else math.nan for some in found]
    for title, shares in sorted(kept.items(), key=lambda pair: (-float(np.nanmean(pair[1])), pair[0])):
        cells = ["" if math.isnan(share) else f"{100 * share:.0f} %" for share in shares]
        rows.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


TABLES = {
    "car summary": summary,
    "car regimes": regimes,
    **{f"car {name}": partial(table, name) for name in REGIMES},
    "car selection": selection,
}


def describe(result: Mapping[str, Any]) -> str:
    """Return a cell's outcome in a few words."""
    if "gap" in result:
        return f"gap {result['gap']:.3f}, outside {result['outside']:.2f}"
    if "each" in result:
        return f"{result['each']}, chosen: {result['best']}"
    return f"{sum(result['success'])} of {len(result['success'])}, {result['labels']} labels"


if __name__ == "__main__":
    main(cells(), page=PAGES / "remedies.md", tables=TABLES, describe=describe, doc=__doc__)
