"""CCIL beside its rivals, on its pendulum and on a car with a lidar: tables of docs/results/ccil.md.

    python benchmarks/ccil.py run [--only NAME]   compute the cells that are missing
    python benchmarks/ccil.py table               write the tables into docs/results/ccil.md

A cell is one (task, method, seed); see ccil_methods.py for the methods and pages.py for the cells. The
constants are those of the released code where our pieces allow; what differs is said on the page.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from ccil_methods import Method, Settings, compute
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.statistics import bootstrap_mean, clustered_mean, clustered_rate
from steadyhand.correction.ccil_config import CcilConfig, KeepAll, Quantile
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.pendulum.config import PendulumConfig
from steadyhand.policies.dynamics_config import DynamicsConfig, Spectral
from steadyhand.recipes.experiment import Cell
from steadyhand.training.config import TrainConfig

EXPERIMENT = experiment("ccil")

SIGMAS = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Input noise among which NoiseBC chooses, in standard deviations of each feature."""

ALL: tuple[Method, ...] = (
    "cloning",
    "NoiseBC",
    "CCIL explicit",
    "CCIL implicit",
    "CCIL disturbed",
    "CCIL oracle",
    "DART",
    "clean-label noise",
    "DAgger",
)
BIG: tuple[Method, ...] = ("cloning", "NoiseBC", "CCIL explicit", "CCIL oracle", "clean-label noise")
BIGGEST: tuple[Method, ...] = ("cloning", "CCIL explicit", "CCIL oracle")
F1TENTH: tuple[Method, ...] = (
    "cloning",
    "NoiseBC",
    "CCIL explicit",
    "CCIL implicit",
    "CCIL oracle",
    "clean-label noise",
    "cloning, short drives",
    "DART",
    "DAgger",
)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A table.

    Attributes:
        name: Name of the folder of cells.
        base: The settings that its methods share.
        methods: The rows.
        seeds: Number of seeds.
    """

    name: str
    base: Settings
    methods: tuple[Method, ...]
    seeds: int


def model(net: DynamicsConfig, *, epochs: int, batch_size: int, transitions: int, keep: float) -> CcilConfig:
    """Return CCIL's settings: Adam at 1e-3 with weight decay 1e-5, nine tenths of the transitions."""
    updates = max(1, round(epochs * 0.9 * transitions / batch_size))
    training = TrainConfig(
        num_steps=updates,
        batch_size=batch_size,
        learning_rate=1e-3,
        weight_decay=1e-5,
        schedule="constant",
        warmup_steps=0,
        log_every=1000,
    )
    return CcilConfig(dynamics=net, training=training, rejection=Quantile(share=keep))


def pendulum(name: str, *, jumps: bool, drives: int, methods: tuple[Method, ...], seeds: int) -> Task:
    """Return a task on the pendulum."""
    steps = PendulumConfig().max_episode_steps
    if jumps:
        net = DynamicsConfig(hidden=(256, 256), lipschitz=Spectral(per_layer=2.0), slack=0.1)
        ccil = model(net, epochs=500, batch_size=2048, transitions=drives * steps, keep=0.3)
    else:
        net = DynamicsConfig(hidden=(512, 512), lipschitz=Spectral(per_layer=2.0))
        ccil = model(net, epochs=100, batch_size=512, transitions=drives * steps, keep=0.3)
    base = Settings(
        method="cloning",
        env=PendulumConfig(discontinuous=jumps),
        drives=drives,
        steps=steps,
        ccil=replace(ccil, delta=1e-4 if jumps else 1e-5),
        noise=0.3,
        rounds=5,
        drives_per_round=drives // 5,
    )
    return Task(name=name, base=base, methods=methods, seeds=seeds)


def f1tenth(name: str, *, speed: float, seeds: int) -> Task:
    """Return the car with a lidar at a speed [m/s]: inputs of F1TENTH's shape, another protocol."""
    env = CarConfig(
        observation=("scan",),
        action="steering_speed",
        speed=speed,
        num_tracks=1000,
        num_held_out_tracks=100,
        start_lateral_std=0.0,
        start_heading_std=0.0,
        min_progress=0.0,
        max_episode_steps=800,
    )
    net = DynamicsConfig(hidden=(512, 512), lipschitz=Spectral(per_layer=1.0))
    base = Settings(
        method="cloning",
        env=env,
        drives=1,
        steps=800,
        batch_size=100,
        ccil=model(net, epochs=100, batch_size=512, transitions=800, keep=0.8),
        noise=0.3,
        clean_fraction=0.0,
        rounds=4,
        drives_per_round=2,
    )
    return Task(name=name, base=base, methods=F1TENTH, seeds=seeds)


TASKS = {
    task.name: task
    for task in (
        f1tenth("F1TENTH", speed=2.5, seeds=3),
        f1tenth("F1TENTH fast", speed=4.5, seeds=10),
        pendulum("smooth 15", jumps=False, drives=15, methods=ALL, seeds=3),
        pendulum("jumps 15", jumps=True, drives=15, methods=ALL, seeds=3),
        pendulum("smooth 100", jumps=False, drives=100, methods=BIG, seeds=2),
        pendulum("jumps 500", jumps=True, drives=500, methods=BIGGEST, seeds=1),
    )
}


def settings_of(task: Task, method: Method, seed: int) -> Settings:
    """Return the base settings with what the method reads, and nothing that it does not."""
    base = replace(task.base, method=method, seed=seed)
    ccil = base.ccil
    assert ccil is not None
    kinds = {
        "CCIL explicit": ccil,
        "CCIL implicit": replace(ccil, label="implicit"),
        "CCIL disturbed": replace(ccil, label="disturbed"),
        "CCIL oracle": replace(ccil, label="implicit", rejection=KeepAll()),
    }
    return replace(
        base,
        ccil=kinds.get(method),
        sigmas=SIGMAS if method == "NoiseBC" else (),
        noise=base.noise if method == "clean-label noise" else 0.0,
        rounds=base.rounds if method in ("DAgger", "DART") else 0,
        drives_per_round={
            "DAgger": base.drives_per_round,
            "DART": base.drives_per_round,
            "cloning, short drives": base.rounds * base.drives_per_round,
        }.get(method, 0),
    )


def cell(task: Task, method: Method, seed: int) -> Cell[Any]:
    """Return one entry of the tables."""
    settings = settings_of(task, method, seed)
    words = f"{task.name} {method} seed {seed}".replace(",", "")
    return EXPERIMENT.cell(words, settings=settings, compute=compute)


def cells() -> list[Cell[Any]]:
    """Return all cells of the tables, the cheap tasks first."""
    return [
        cell(task, method, seed)
        for task in TASKS.values()
        for seed in range(task.seeds)
        for method in task.methods
    ]


def results(task: Task, method: Method) -> list[dict[str, Any]]:
    """Return the results of the seeds that are there."""
    found = [cell(task, method, seed).result() for seed in range(task.seeds)]
    return [result for result in found if result is not None]


def share(values: np.ndarray) -> str:
    """Return the mean of (seeds, starts) successes and its interval over both, in percent."""
    interval = clustered_rate(values).interval
    assert interval is not None
    return f"**{100 * values.mean():.0f} %** ({100 * interval.low:.0f} to {100 * interval.high:.0f})"


def gain(task: Task, found: list[dict[str, Any]]) -> str:
    """Return what a method has over cloning on the same seeds and starts, in points, and its interval."""
    ours, cloned = (np.array([one["success"] for one in some]) for some in (found, results(task, "cloning")))
    both = min(len(ours), len(cloned))
    values = ours[:both].astype(float) - cloned[:both]
    if both < 2 or not values.any():
        return signed(values.mean()) if both else ""
    interval = clustered_mean(values).interval
    spread = (
        "" if interval is None else f" ({signed(max(interval.low, -1))} to {signed(min(interval.high, 1))})"
    )
    return f"{signed(values.mean())}{spread}"


def signed(part: float) -> str:
    """Return a share in points."""
    points = round(100 * part)
    return f"{points:+d}" if points else "0"


def cost(found: list[dict[str, Any]]) -> str:
    """Return the cost of a start, the expert's on the same starts being 1, and its interval."""
    values = np.array([np.array(one["return"]) / one["expert"]["return"] for one in found])
    if len(values) > 1:
        interval = clustered_mean(values).interval
    else:
        interval = bootstrap_mean(values[0], seed=0).interval
    spread = "" if interval is None else f" ({max(interval.low, 0):.2f} to {interval.high:.2f})"
    return f"{values.mean():.2f}{spread}"


def chosen(found: list[dict[str, Any]]) -> str:
    """Return what was chosen on validation starts, in each seed."""
    for key in ("sigma", "round"):
        if key in found[0]:
            return f"{key} " + ", ".join(str(one[key]) for one in found)
    return ""


def pendulum_table(name: str) -> str:
    """Return the table of a pendulum task."""
    task = TASKS[name]
    rows = [
        "| method | seeds x starts | success (95 %) | minus cloning | cost, expert = 1 (95 %) | chosen |",
        "|---" * 6 + "|",
    ]
    for method in task.methods:
        found = results(task, method)
        if found:
            success = np.array([one["success"] for one in found], dtype=bool)
            size = f"{len(success)} x {success.shape[1]}"
            rows.append(
                f"| {method} | {size} | {share(success)} | {gain(task, found)} | {cost(found)} "
                f"| {chosen(found)} |"
            )
    return "\n".join(rows)


PUBLISHED: Mapping[str, str] = {
    "cloning": "31.9 %, .58",
    "NoiseBC": "39.3 %, .62",
    "CCIL explicit": "56.4 %, .75",
}


def f1tenth_table(name: str) -> str:
    """Return the table of an F1TENTH task."""
    task = TASKS[name]
    rows = [
        "| method | seeds x starts | all 800 steps (95 %) | minus cloning | share of the steps "
        "| each seed, of 100 | chosen | published |",
        "|---" * 8 + "|",
    ]
    for method in task.methods:
        found = results(task, method)
        if not found:
            continue
        success = np.array([one["success"] for one in found], dtype=bool)
        driven = np.array([one["steps"] for one in found]) / task.base.steps
        each = ", ".join(str(row.sum()) for row in success)
        size = f"{len(success)} x {success.shape[1]}"
        rows.append(
            f"| {method} | {size} | {share(success)} | {gain(task, found)} | {driven.mean():.2f} | {each} "
            f"| {chosen(found)} | {PUBLISHED.get(method, '')} |"
        )
    return "\n".join(rows)


FIGURES = (
    "distance_per_step",
    "nearest_ratio",
    "action_disagreement",
    "kept_fraction",
    "heldout_error",
    "lipschitz_step",
    "lipschitz_normalised",
)


def middle(values: list[float]) -> str:
    """Return the median over seeds and, where they differ, the lowest and the highest."""
    low, high = (f"{bound:.3g}" for bound in (min(values), max(values)))
    return f"{np.median(values):.3g}" + ("" if low == high else f" ({low} to {high})")


def geometry_table() -> str:
    """Return where the labels of CCIL lie: medians over seeds, with the lowest and the highest."""
    rows = [
        "| task | labels | distance / step | nearest / demo spacing | action disagreement | kept "
        "| model error / step | end-to-end L of the step, raw | of the net, normalised |",
        "|---" * 9 + "|",
    ]
    for task in TASKS.values():
        for method in task.methods:
            found = [one["geometry"] for one in results(task, method) if "geometry" in one]
            if found:
                figures = [
                    middle([one[name] for one in found]) if name in found[0] else "true" for name in FIGURES
                ]
                rows.append(f"| {task.name} | {method} | " + " | ".join(figures) + " |")
    return "\n".join(rows)


TABLES = {
    "ccil-f1tenth": partial(f1tenth_table, "F1TENTH"),
    "ccil-f1tenth-fast": partial(f1tenth_table, "F1TENTH fast"),
    "ccil-smooth-15": partial(pendulum_table, "smooth 15"),
    "ccil-jumps-15": partial(pendulum_table, "jumps 15"),
    "ccil-smooth-100": partial(pendulum_table, "smooth 100"),
    "ccil-jumps-500": partial(pendulum_table, "jumps 500"),
    "ccil-geometry": geometry_table,
}


def describe(result: Mapping[str, Any]) -> str:
    """Return a cell's outcome in a few words."""
    return f"{sum(result['success'])} of {len(result['success'])}, return {np.mean(result['return']):.1f}"


if __name__ == "__main__":
    main(cells(), page=PAGES / "ccil.md", tables=TABLES, describe=describe, doc=__doc__)
