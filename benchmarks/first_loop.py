"""The first loop over seeds, learners and label budgets: all tables of docs/results/first-loop.md.

    python benchmarks/first_loop.py run [--only NAME]   compute the cells that are missing
    python benchmarks/first_loop.py table               write the tables into docs/results/first-loop.md

A cell is one (learner, labels, method, seed): a JSON file that names everything it depends on. A cell
whose settings have changed is computed again.
"""

import argparse
import hashlib
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from steadyhand.core.codec import read_json, to_data, write_json
from steadyhand.core.statistics import clustered_mean, wilson
from steadyhand.envs.base import BatchEnv
from steadyhand.policies.encoders.image import SmallConv
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.experts import PurePursuitExpert, build_expert
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.recipes.teach import School, Taught
from steadyhand.recipes.tour import TourRun, lessons_of, with_labels
from steadyhand.rollout.evaluate import evaluate

ROOT = Path(__file__).parents[1]
CELLS = ROOT / "docs" / "results" / "cells" / "first-loop"
PAGE = ROOT / "docs" / "results" / "first-loop.md"
SEEDS = range(5)
LEARNERS = {
    "MLP on pixels": TourRun(),
    "conv net on pixels": TourRun(policy=PolicyConfig(encoder=SmallConv())),
    "MLP on lidar": TourRun(
        env=replace(TourRun().env, observation=("lidar",)), policy=PolicyConfig(encoder=StateMLP())
    ),
}
FACTORS = (1, 4, 20)
METHODS = ("cloning", "noise injection", "DAgger")
WANTED = [
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
class Cell:
    """One entry of the tables."""

    learner: str
    factor: int
    method: str
    seed: int

    @property
    def run(self) -> TourRun:
        """All settings."""
        return with_labels(replace(LEARNERS[self.learner], seed=self.seed), self.factor)

    @property
    def key(self) -> str:
        """Hash of everything that the result depends on, but for the code."""
        text = json.dumps([self.method, to_data(self.run)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def path(self) -> Path:
        """Where the result is kept."""
        words = f"{self.learner} {self.method} {self.factor}x seed {self.seed}"
        return CELLS / f"{words.replace(' ', '-').lower()}.json"

    def is_done(self) -> bool:
        """Whether the result is there and belongs to these settings."""
        return self.path.is_file() and read_json(self.path)["key"] == self.key


def compute(cell: Cell) -> dict[str, Any]:
    """Teach, drive from the test starts, return what the tables need."""
    run = cell.run
    began = time.perf_counter()
    env = run.env.build(run.num_starts)
    expert = build_expert(PurePursuitExpert(), env)
    learner = PolicyLearner(env.spec, policy=run.policy, training=run.training)
    with tempfile.TemporaryDirectory() as folder:
        school = School(
            env=env,
            expert=expert,
            learner=learner,
            updates=run.training.num_steps,
            folder=Path(folder),
            seed=run.seed,
        )
        taught = lessons_of(run, school, cell.method)
        outcome = drive(env, learner, taught, run)
    return {
        "key": cell.key,
        "learner": cell.learner,
        "factor": cell.factor,
        "method": cell.method,
        "seed": cell.seed,
        "labels": taught.labels,
        "note": taught.note,
        **outcome,
        "wall_s": round(time.perf_counter() - began, 1),
    }


def drive(env: BatchEnv, learner: PolicyLearner, taught: Taught, run: TourRun) -> dict[str, Any]:
    """Evaluate on the test starts, the same for every cell."""
    starts = env.starts("test", run.num_starts, seed=0)
    controller = learner.controller(taught.folder, num_rows=env.num_rows)
    evaluation = evaluate(env, controller, starts, name=taught.name, seed=run.seed, positions=False)
    return {
        "success": evaluation.success.astype(int).tolist(),
        "seconds": [round(float(n) * env.spec.control_dt, 2) for n in evaluation.lengths],
    }


def wanted(only: str = "") -> list[Cell]:
    """Return all cells of the tables, the headline first, without repeats."""
    seen: dict[tuple[str, int, str], None] = dict.fromkeys(WANTED)
    cells = [
        Cell(learner=learner, factor=factor, method=method, seed=seed)
        for learner, factor, method in seen
        for seed in SEEDS
    ]
    return [cell for cell in cells if only in cell.path.name]


def successes(learner: str, factor: int, method: str) -> np.ndarray | None:
    """Return (seeds, starts) successes, or None if a cell is missing."""
    cells = [Cell(learner=learner, factor=factor, method=method, seed=seed) for seed in SEEDS]
    if not all(cell.is_done() for cell in cells):
        return None
    return np.array([read_json(cell.path)["success"] for cell in cells], dtype=bool)


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
        estimate = clustered_mean(kept.astype(float), seed=0)
        interval = estimate.interval
        low, high = (interval.low, interval.high) if interval else (np.nan, np.nan)
        per_seed = " | ".join(f"{row.sum()}/{len(row)}" for row in kept)
        total = f"{kept.sum()}/{kept.size}"
        share = f"{100 * estimate.value:.0f} % ({100 * max(low, 0.0):.0f} to {100 * min(high, 1.0):.0f})"
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
                interval = wilson(int(kept.sum()), kept.size)
                each = ", ".join(str(row.sum()) for row in kept)
                spread = f"{100 * interval.low:.0f} to {100 * interval.high:.0f}"
                columns.append(f"**{100 * kept.mean():.0f} %** ({spread}): {each}")
            if any(columns):
                rows.append(f"| {learner} | {method} | " + " | ".join(columns) + " |")
    return "\n".join(rows)


TABLES = {"headline": headline, "regimes": regimes}


def fill(text: str) -> str:
    """Return the page with its tables made anew from the cells."""
    for name, make in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end {name} -->"
        before, rest = text.split(begin, 1)
        text = before + begin + make() + end + rest.split(end, 1)[1]
    return text


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("run", "table"))
    parser.add_argument("--only", default="", help="part of a cell's file name")
    chosen = parser.parse_args()
    if chosen.action == "run":
        for cell in wanted(chosen.only):
            if not cell.is_done():
                result = compute(cell)
                write_json(cell.path, result)
                kept = sum(result["success"])  # pyright: ignore[reportArgumentType]
                print(
                    f"{cell.path.stem}: {kept} of {len(result['success'])}, {result['wall_s']} s", flush=True
                )  # pyright: ignore
    else:
        PAGE.write_text(fill(PAGE.read_text()))
        print(PAGE)


if __name__ == "__main__":
    main()
