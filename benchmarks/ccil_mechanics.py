"""Do corrective labels help where all of a Markov state is seen? The arm and the planar quadrotor.

    python benchmarks/ccil_mechanics.py run      compute the cells that are missing
    python benchmarks/ccil_mechanics.py table    write the table into docs/results/experts-and-worlds.md

The number of demonstrations was chosen by cloning alone, on validation starts and with seeds that are not in
the table, so that cloning lies between 20 and 80 % in their mean. All else is as in ccil_methods.py: the same
number of expert labels for every method, the same policy, the same number of updates, the same test starts.
Settings of CCIL are the library's defaults; the oracle takes its labels from `env.dynamics`, implicitly, and
keeps all.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from ccil_methods import Method, Settings, compute
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.statistics import clustered_mean, clustered_rate
from steadyhand.correction.ccil_config import CcilConfig, KeepAll
from steadyhand.envs.quadrotor.config import PlanarQuadrotorConfig
from steadyhand.envs.two_link.config import ArmConfig
from steadyhand.experts.control.config import ComputedTorqueExpert, RegulatorExpert
from steadyhand.recipes.experiment import Cell

EXPERIMENT = experiment("ccil-mechanics")
METHODS: tuple[Method, ...] = (
    "cloning",
    "CCIL oracle",
    "CCIL explicit",
    "CCIL implicit",
    "DAgger",
    "NoiseBC",
)
SEEDS = 3
TASKS = {
    "arm": Settings(
        method="cloning",
        env=ArmConfig(max_torque=40.0, max_episode_steps=120, hold_time=0.4),
        expert=ComputedTorqueExpert(stiffness=36.0, damping=12.0),
        drives=40,
        steps=120,
        epochs=150,
        batch_size=256,
        drives_per_round=8,
    ),
    "planar quadrotor": Settings(
        method="cloning",
        env=PlanarQuadrotorConfig(start_scale=0.5),
        expert=RegulatorExpert(),
        drives=3,
        steps=200,
        epochs=400,
        batch_size=256,
        drives_per_round=1,
    ),
}


def settings(task: str, method: Method, seed: int) -> Settings:
    """Return what a cell depends on."""
    base = replace(TASKS[task], method=method, seed=seed)
    match method:
        case "CCIL oracle":
            return replace(base, ccil=CcilConfig(label="implicit", rejection=KeepAll()))
        case "CCIL explicit":
            return replace(base, ccil=CcilConfig())
        case "CCIL implicit":
            return replace(base, ccil=CcilConfig(label="implicit"))
        case "DAgger":
            return replace(base, rounds=base.drives // base.drives_per_round)
        case "NoiseBC":
            return replace(base, sigmas=(0.003, 0.01, 0.03, 0.1, 0.3))
        case _:
            return base


def cell(task: str, method: Method, seed: int) -> Cell[Settings]:
    """Return one cell."""
    return EXPERIMENT.cell(f"{task} {method} {seed}", settings=settings(task, method, seed), compute=compute)


def cells() -> list[Cell[Settings]]:
    """Return all of them, seed by seed."""
    return [
        cell(task, method, seed)
        for part in (METHODS[:-1], METHODS[-1:])
        for seed in range(SEEDS)
        for task in TASKS
        for method in part
    ]


def table() -> str:
    """Return success by method, and the difference from cloning."""
    lines = [
        "| task | method | seeds x starts | success (95 %) | minus cloning | each seed, of 100 |",
        "|---|---|---|---|---|---|",
    ]
    for task in TASKS:
        for method in METHODS:
            found = [cell(task, method, seed).result() for seed in range(SEEDS)]
            base = [cell(task, "cloning", seed).result() for seed in range(SEEDS)]
            pairs = [(one, two) for one, two in zip(found, base, strict=True) if one and two]
            if pairs:
                lines.append(_line(task, method, pairs))
    return "\n".join(lines)


def _line(task: str, method: Method, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    kept = np.array([one["success"] for one, _ in pairs], dtype=float)
    apart = kept - np.array([two["success"] for _, two in pairs], dtype=float)
    rate = clustered_rate(kept)
    more = "0"
    if method != "cloning":
        more = f"{100 * apart.mean():+.0f}"
        if len(apart) > 1 and (span := clustered_mean(apart).interval) is not None:
            more += f" ({100 * span.low:+.0f} to {100 * span.high:+.0f})"
    each = ", ".join(str(int(value)) for value in kept.sum(axis=1))
    assert rate.interval is not None
    interval = f"{100 * rate.interval.low:.0f} to {100 * rate.interval.high:.0f}"
    shape = f"{kept.shape[0]} x {kept.shape[1]}"
    return f"| {task} | {method} | {shape} | **{100 * kept.mean():.0f} %** ({interval}) | {more} | {each} |"


TABLES = {"ccil on markov states": table}


def describe(result: Mapping[str, Any]) -> str:
    """Return a result in a few words."""
    return f"{sum(result['success'])} of {len(result['success'])}"


if __name__ == "__main__":
    main(cells(), page=PAGES / "experts-and-worlds.md", tables=TABLES, describe=describe, doc=__doc__)
