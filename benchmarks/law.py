"""How cost grows with the horizon: the tables of docs/results/law.md.

    python benchmarks/law.py run [--only NAME]   compute the cells that are missing
    python benchmarks/law.py table               write the tables into docs/results/law.md

A cell is one (MDP, method, what is held fixed) with all horizons, or one linear system with one remedy and
seed (law_linear.py). See pages.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, assert_never

import law_linear
import numpy as np
from law_methods import LawProblem, Outcome, cloning, dagger, forward_training, smile
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.seeding import generator
from steadyhand.envs.tabular.config import Layout, TabularConfig
from steadyhand.recipes.experiment import Cell

EXPERIMENT = experiment("law")

Method = Literal["cloning", "DAgger", "forward training", "SMILe"]
Held = Literal["labels", "demonstrations", "needed"]

HORIZONS = (8, 16, 32, 64, 128)
METHODS: tuple[Method, ...] = ("cloning", "DAgger", "forward training", "SMILe")
TARGET = 0.2


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a cell depends on.

    Attributes:
        layout: The MDP.
        method: The method.
        held: What stays the same while the horizon grows: all "labels", or the "demonstrations" (drives); or
            "needed": the cost for each number of drives in `amounts`.
        amounts: Labels, or drives.
        horizons: Horizons.
        num_sets: Independent data sets.
        num_contexts: Looks of each state.
        context_ratio: How much rarer each is than the one before.
        rounds: Rounds of SMILe.
        alpha: Mixing rate alpha of SMILe, 0 to 1.
        seed: Seed of the data.
    """

    layout: Layout
    method: Method
    held: Held
    amounts: tuple[int, ...]
    horizons: tuple[int, ...] = HORIZONS
    num_sets: int = 200
    num_contexts: int = 64
    context_ratio: float = 0.8
    rounds: int = 16
    alpha: float = 0.1
    seed: int = 0


EQUAL_LABELS: tuple[Layout, ...] = ("tight", "cliff", "unrecoverable_cliff")
EQUAL_DRIVES: tuple[Layout, ...] = ("cliff", "unrecoverable_cliff", "fall_once", "tree")
NEEDED: tuple[Layout, ...] = ("cliff", "tree")
GRID_OF_DRIVES = {
    "cloning": tuple(round(2.0 ** (k / 2)) for k in range(4, 39)),
    "DAgger": tuple(round(2.0 ** (k / 2)) for k in range(4, 25)),
}


def tabular_settings() -> list[Settings]:
    """Return the settings of all cells of finite MDPs."""
    labels = [
        Settings(layout=layout, method=method, held="labels", amounts=(2**15,))
        for layout in EQUAL_LABELS
        for method in METHODS
    ]
    drives = [
        _few_drives(layout, method)
        for layout in EQUAL_DRIVES
        for method in METHODS[:3]
        if not (layout == "fall_once" and method == "forward training")
    ]
    needed = [
        Settings(
            layout=layout,
            method=method,
            held="needed",
            amounts=GRID_OF_DRIVES[method],
            horizons=HORIZONS[:4],
            num_sets=50,
        )
        for layout in NEEDED
        for method in METHODS[:2]
    ]
    # Forward training with as many labels for each of its policies, whatever the horizon.
    per_step = [
        Settings(layout="tight", method="forward training", held="demonstrations", amounts=(512,)),
    ]
    return [*labels, *drives, *per_step, *needed]


def _few_drives(layout: Layout, method: Method) -> Settings:
    """Return the settings of a cell with a fixed number of drives; a tree must be learnt branch by branch."""
    if layout != "tree":
        return Settings(layout=layout, method=method, held="demonstrations", amounts=(512,))
    return Settings(
        layout=layout,
        method=method,
        held="demonstrations",
        amounts=(4096,),
        horizons=HORIZONS[:4],
        num_sets=100,
    )


def cell(settings: Settings) -> Cell[Any]:
    """Return one entry of the tables."""
    name = f"{settings.layout} {settings.method} {settings.held}".replace("_", " ")
    return EXPERIMENT.cell(name, settings=settings, compute=compute)


def compute(settings: Settings) -> dict[str, Any]:
    """Return the exact costs of the policies that each data set led to."""
    result: dict[str, Any] = {}
    for horizon in settings.horizons:
        problem = LawProblem(
            TabularConfig(
                layout=settings.layout,
                horizon=horizon,
                num_contexts=settings.num_contexts,
                context_ratio=settings.context_ratio,
            ),
            num_sets=settings.num_sets,
            seed=settings.seed,
            name=f"{settings.method} {settings.held}",
        )
        result[f"H {horizon}"] = _at(settings, problem, horizon)
    return result


def _at(settings: Settings, problem: LawProblem, horizon: int) -> dict[str, Any]:
    if settings.held == "needed":
        if settings.method == "DAgger":
            outcomes = dagger(problem, at=settings.amounts)
        else:
            outcomes = [cloning(problem, trajectories=count) for count in settings.amounts]
        return {"mean cost": [float(f"{outcome.cost.mean():.6g}") for outcome in outcomes]}
    amount = settings.amounts[0]
    drives = amount // horizon if settings.held == "labels" else amount
    outcome = outcome_of(settings, problem, drives)
    return {
        "labels": outcome.labels,
        "epsilon": float(f"{outcome.epsilon.mean():.6g}"),
        "cost": [float(f"{cost:.5g}") for cost in outcome.cost],
    }


def outcome_of(settings: Settings, problem: LawProblem, drives: int) -> Outcome:
    """Run one method with as many drives, or for forward training labels a step."""
    match settings.method:
        case "cloning":
            return cloning(problem, trajectories=drives)
        case "DAgger":
            return dagger(problem, at=[drives])[0]
        case "forward training":
            return forward_training(problem, labels_per_step=drives)
        case "SMILe":
            return smile(problem, trajectories=drives, rounds=settings.rounds, alpha=settings.alpha)
        case _:
            assert_never(settings.method)


def exponent(horizons: Sequence[int], costs: np.ndarray) -> float:
    """Return the slope of log(mean cost) against log(horizon); costs are (horizons, sets)."""
    return float(np.polyfit(np.log(horizons), np.log(costs.mean(axis=1)), 1)[0])


def interval(horizons: Sequence[int], costs: np.ndarray, *, resamples: int = 2000) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of `exponent`; data sets are drawn anew for each horizon."""
    random = generator(0, "law", "bootstrap")
    pick = random.integers(costs.shape[1], size=(resamples, *costs.shape))
    means = np.take_along_axis(costs[None], pick, axis=2).mean(axis=2)
    x = np.log(horizons) - np.log(horizons).mean()
    slopes = np.log(means) @ x / (x @ x)
    low, high = np.quantile(slopes, (0.025, 0.975))
    return float(low), float(high)


def costs_of(settings: Settings) -> np.ndarray | None:
    """Return the (horizons, sets) costs of a cell, or None if it is missing."""
    result = cell(settings).result()
    if result is None:
        return None
    return np.array([result[f"H {horizon}"]["cost"] for horizon in settings.horizons])


NAMES = {
    "tight": "tight example",
    "cliff": "cliff, recoverable",
    "unrecoverable_cliff": "cliff, unrecoverable",
    "fall_once": "unrecoverable, a fall costs 1 in all",
    "tree": "tree",
}


def exponents(held: Held) -> str:
    """Return the table of cost against horizon."""
    header = " | ".join(f"H = {horizon}" for horizon in HORIZONS)
    rows = [f"| MDP | method | epsilon at the shortest, longest H | {header} | exponent, 95 % interval |"]
    rows.append("|---" * (len(HORIZONS) + 4) + "|")
    for settings in tabular_settings():
        costs = costs_of(settings) if settings.held == held else None
        if costs is None:
            continue
        result = cell(settings).result() or {}
        horizons = settings.horizons
        epsilon = ", ".join(f"{result[f'H {h}']['epsilon']:.2g}" for h in (horizons[0], horizons[-1]))
        low, high = interval(horizons, costs)
        columns = [f"{mean:.3g}" for mean in costs.mean(axis=1)]
        means = " | ".join([*columns, *[""] * (len(HORIZONS) - len(columns))])
        slope = f"**{exponent(horizons, costs):.2f}** ({low:.2f} to {high:.2f})"
        rows.append(f"| {NAMES[settings.layout]} | {settings.method} | {epsilon} | {means} | {slope} |")
    return "\n".join(rows)


def needed_drives(settings: Settings, result: Mapping[str, Any]) -> list[float]:
    """Return for each horizon the drives at which the mean cost falls to the target, by log-log lines."""
    found: list[float] = []
    for horizon in settings.horizons:
        cost = np.array(result[f"H {horizon}"]["mean cost"])
        below = np.flatnonzero(cost <= TARGET)
        if len(below) == 0 or below[0] == 0:
            found.append(float("nan"))
            continue
        last = int(below[0])
        drives, costs = np.log(settings.amounts[last - 1 : last + 1]), np.log(cost[last - 1 : last + 1])
        share = (np.log(TARGET) - costs[0]) / (costs[1] - costs[0])
        found.append(float(np.exp(drives[0] + share * (drives[1] - drives[0]))))
    return found


def needed() -> str:
    """Return the table of drives needed for a cost."""
    horizons = HORIZONS[:4]
    columns = " | ".join(f"H = {horizon}" for horizon in horizons)
    rows = [f"| MDP | method | {columns} | exponent of drives | exponent of labels |"]
    rows.append("|---" * (len(horizons) + 4) + "|")
    for settings in tabular_settings():
        result = cell(settings).result() if settings.held == "needed" else None
        if result is None:
            continue
        drives = np.array(needed_drives(settings, result))
        slope = float(np.polyfit(np.log(horizons), np.log(drives), 1)[0])
        counts = " | ".join(f"{count:.0f}" for count in drives)
        name = f"{NAMES[settings.layout]} | {settings.method}"
        rows.append(f"| {name} | {counts} | **{slope:.2f}** | {slope + 1.0:.2f} |")
    return "\n".join(rows)


TABLES = {
    "law labels": partial(exponents, "labels"),
    "law demonstrations": partial(exponents, "demonstrations"),
    "law needed": needed,
    **law_linear.TABLES,
}


def describe(result: Mapping[str, Any]) -> str:
    """Return a cell's outcome in a few words."""
    if "H 8" not in result:
        return law_linear.describe(result)
    last = next(iter(reversed([value for key, value in result.items() if key.startswith("H ")])))
    return f"cost {np.mean(last.get('cost', last.get('mean cost'))):.4g} at the longest horizon"


def cells() -> list[Cell[Any]]:
    """Return all cells."""
    return [*(cell(settings) for settings in tabular_settings()), *law_linear.cells()]


if __name__ == "__main__":
    main(cells(), page=PAGES / "law.md", tables=TABLES, describe=describe, doc=__doc__)
