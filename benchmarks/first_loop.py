"""The first loop over seeds, learners and label budgets: all tables of docs/results/first-loop.md.

    python benchmarks/first_loop.py run [--only NAME]   compute the cells that are missing
    python benchmarks/first_loop.py table               write the tables into docs/results/first-loop.md

A cell is one (learner, labels, method, seed); see pages.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.statistics import clustered_rate
from steadyhand.correction.remedy import TrainedPolicy
from steadyhand.envs.base import BatchEnv
from steadyhand.experts.config import PurePursuitExpert
from steadyhand.policies.encoders.image import SmallConv
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.experiment import Cell
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.recipes.teach import trying_out
from steadyhand.recipes.tour import Method, TourRun, lessons_of, with_labels
from steadyhand.rollout.evaluate import evaluate

EXPERIMENT = experiment("first-loop")

SEEDS = range(5)
LEARNERS = {
    "MLP on pixels": TourRun(),
    "conv net on pixels": TourRun(policy=PolicyConfig(encoder=SmallConv())),
    "MLP on lidar": TourRun(
        env=replace(TourRun().env, observation=("lidar",)), policy=PolicyConfig(encoder=StateMLP())
    ),
}
FACTORS = (1, 4, 20)
METHODS: tuple[Method, ...] = ("cloning", "noise injection", "DAgger")
WANTED: list[tuple[str, int, Method]] = [
    *(("MLP on pixels", 1, method) for method in METHODS),
    *((learner, factor, "cloning") for learner in LEARNERS for factor in FACTORS),
    ("MLP on lidar", 1, "noise injection"),
    ("MLP on lidar", 1, "DAgger"),
    ("conv net on pixels", 1, "noise injection"),
    ("conv net on pixels", 1, "DAgger"),
    ("MLP on pixels", 4, "noise injection"),
    ("MLP on pixels", 4, "DAgger"),
]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a cell depends on."""

    method: Method
    run: TourRun


def cell(learner: str, factor: int, method: Method, seed: int) -> Cell[Any]:
    """Return one entry of the tables."""
    run = replace(LEARNERS[learner], seed=seed, fork=None)
    settings = Settings(method=method, run=with_labels(run, factor))
    return EXPERIMENT.cell(
        f"{learner} {method} {factor}x seed {seed}",
        settings=settings,
        compute=compute,
    )


def compute(settings: Settings) -> dict[str, Any]:
    """Teach, drive from the test starts, return what the tables need."""
    run = settings.run
    with trying_out(
        run.env,
        PurePursuitExpert(),
        policy=run.policy,
        training=run.training,
        num_rows=run.num_starts,
        seed=run.seed,
    ) as trainer:
        taught = lessons_of(run, trainer, settings.method)
        outcome = drive(trainer.env, trainer.learner, taught, run)
    return {"labels": taught.labels, "note": taught.note, **outcome}


def drive(env: BatchEnv, learner: PolicyLearner, taught: TrainedPolicy, run: TourRun) -> dict[str, Any]:
    """Evaluate on the test starts, the same for every cell."""
    starts = env.starts("test", run.num_starts, seed=0)
    controller = learner.controller(taught.folder, num_rows=env.num_rows)
    evaluation = evaluate(env, controller, starts, name=taught.name, seed=run.seed, positions=False)
    return {
        "success": evaluation.told.astype(int).tolist(),
        "seconds": [round(float(n) * env.spec.control_dt, 2) for n in evaluation.lengths],
    }


def cells() -> list[Cell[Any]]:
    """Return all cells of the tables, the headline first, without repeats."""
    seen: dict[tuple[str, int, Method], None] = dict.fromkeys(WANTED)
    return [cell(*one, seed) for one in seen for seed in SEEDS]


def successes(learner: str, factor: int, method: Method) -> np.ndarray | None:
    """Return (seeds, starts) successes, or None if a cell is missing."""
    results = [cell(learner, factor, method, seed).result() for seed in SEEDS]
    if any(result is None for result in results):
        return None
    return np.array([result["success"] for result in results if result], dtype=bool)


def headline() -> str:
    """Return the table of seeds."""
    rows = [
        "| method | labels | "
        + " | ".join(f"seed {seed}" for seed in SEEDS)
        + " | in all | rate, 95 % interval |"
    ]
    rows.append("|---" * (len(SEEDS) + 4) + "|")
    for method in METHODS:
        kept = successes("MLP on pixels", 1, method)
        if kept is None:
            continue
        estimate = clustered_rate(kept)
        assert estimate.interval is not None
        low, high = estimate.interval.low, estimate.interval.high
        per_seed = " | ".join(f"{row.sum()}/{len(row)}" for row in kept)
        total = f"{kept.sum()}/{kept.size}"
        share = f"{100 * estimate.value:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
        rows.append(f"| {method} | {TourRun().num_labels} | {per_seed} | {total} | {share} |")
    return "\n".join(rows)


def regimes() -> str:
    """Return the table of learners and budgets."""
    rows = [
        "| learner | method | " + " | ".join(f"{TourRun().num_labels * f} labels" for f in FACTORS) + " |"
    ]
    rows.append("|---|---" + "|---" * len(FACTORS) + "|")
    for learner in LEARNERS:
        for method in METHODS:
            columns: list[str] = []
            for factor in FACTORS:
                kept = successes(learner, factor, method)
                if kept is None:
                    columns.append("")
                    continue
                interval = clustered_rate(kept).interval
                assert interval is not None
                each = ", ".join(str(row.sum()) for row in kept)
                spread = f"{100 * interval.low:.0f} to {100 * interval.high:.0f}"
                columns.append(f"**{100 * kept.mean():.0f} %** ({spread}): {each}")
            if any(columns):
                rows.append(f"| {learner} | {method} | " + " | ".join(columns) + " |")
    return "\n".join(rows)


TABLES = {"headline": headline, "regimes": regimes}


def describe(result: Mapping[str, Any]) -> str:
    """Return a cell's outcome in a few words."""
    return f"{sum(result['success'])} of {len(result['success'])}"


if __name__ == "__main__":
    main(cells(), page=PAGES / "first-loop.md", tables=TABLES, describe=describe, doc=__doc__)
