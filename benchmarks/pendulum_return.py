"""What does MPPI pay on Gymnasium's own Pendulum-v1, under its own cost?

    python benchmarks/pendulum_return.py run      compute the cells that are missing
    python benchmarks/pendulum_return.py table    write the table into docs/results/control.md

The settings were fixed before the first cell: those of a prototype in another code, which paid -186 at best.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.seeding import RowStreams, generator
from steadyhand.envs.problem import ControlProblem
from steadyhand.experts.control.sampling import Mppi, plan_by_sampling, shifted
from steadyhand.recipes.experiment import Cell

EXPERIMENT = experiment("pendulum-return")


@dataclass(frozen=True, kw_only=True)
class Gymnasium:
    """What MPPI on Gymnasium's own Pendulum-v1, with its own cost, depends on.

    Attributes:
        rule: Samples, noise and temperature.
        horizon: Steps that it looks ahead.
        num_starts: Starts, at any angle and turning at up to 1 rad/s.
        seed: Seed of starts and samples.
    """

    rule: Mppi
    horizon: int = 30
    num_starts: int = 64
    seed: int = 0


GYMNASIUM_RUNS = {
    "deviation 2 N m": Gymnasium(rule=Mppi(num_samples=256, sigma=1.0)),
    "deviation 1 N m": Gymnasium(rule=Mppi(num_samples=256, sigma=0.5)),
    "deviation 1 N m, temperature 0.1": Gymnasium(rule=Mppi(num_samples=256, sigma=0.5, temperature=0.1)),
}


def gymnasium_pendulum() -> ControlProblem:
    """Return Gymnasium's Pendulum-v1: its motion, integrated as there, and its cost."""

    def moved(x: Any, u: Any, xp: Any) -> Any:
        rate = x[..., 1] + (15.0 * xp.sin(x[..., 0]) + 3.0 * xp.clip(u[..., 0], -2.0, 2.0)) * 0.05
        rate = xp.clip(rate, -8.0, 8.0)
        return xp.stack([x[..., 0] + 0.05 * rate, rate], -1)

    def running(x: Any, u: Any, xp: Any) -> Any:
        angle = (x[..., 0] + np.pi) % (2.0 * np.pi) - np.pi
        return np.sqrt(2.0) * xp.stack([angle, 0.1**0.5 * x[..., 1], 0.001**0.5 * u[..., 0]], -1)

    def ended(x: Any, xp: Any) -> Any:
        return xp.zeros_like(x)

    return ControlProblem(
        dynamics=moved,
        running=running,
        terminal=ended,
        low=np.array([-2.0]),
        high=np.array([2.0]),
        goal=np.zeros(2),
        rest=np.zeros(1),
        angles=(0,),
        control_dt=0.05,
    )


def gymnasium_return(settings: Gymnasium) -> dict[str, Any]:
    """Let MPPI swing up Gymnasium's own pendulums, and return what they paid."""
    import gymnasium

    count, problem = settings.num_starts, gymnasium_pendulum()
    random = generator(settings.seed, "gymnasium pendulum")
    x = random.uniform(-1.0, 1.0, (count, 2)) * [np.pi, 1.0]
    envs = [gymnasium.make("Pendulum-v1").unwrapped for _ in range(count)]
    for env, start in zip(envs, x, strict=True):
        env.reset(seed=0)
        env.state = start.copy()  # pyright: ignore[reportAttributeAccessIssue]
    plan, paid = np.zeros((count, settings.horizon, 1)), np.zeros(count)
    streams, planning = RowStreams.from_seed(settings.seed, count), 0.0
    for _ in range(200):
        begin = time.perf_counter()
        plan, _ = plan_by_sampling(problem, settings.rule, x, plan, streams)
        planning += time.perf_counter() - begin
        for row, env in enumerate(envs):
            paid[row] += float(env.step(plan[row, 0].astype(np.float32))[1])
        x = np.array([env.state for env in envs])  # pyright: ignore[reportAttributeAccessIssue]
        plan = shifted(plan, problem.rest)
        streams.advance()
    upright = np.abs((x[:, 0] + np.pi) % (2.0 * np.pi) - np.pi) < 0.2
    step_ms = 1e3 * planning / (200 * count)
    return {"returns": paid.round(2).tolist(), "success": upright.astype(int).tolist(), "plan_ms": step_ms}


def cells() -> list[Cell[Any]]:
    """Return all of them."""
    return [
        EXPERIMENT.cell(name, settings=one, compute=gymnasium_return) for name, one in GYMNASIUM_RUNS.items()
    ]


def gymnasium_table() -> str:
    """Return what MPPI pays on Gymnasium's own pendulum."""
    lines = ["| noise | mean return | upright at the end | a plan |", "|---|---|---|---|"]
    for name, settings in GYMNASIUM_RUNS.items():
        cell = EXPERIMENT.cell(name, settings=settings, compute=gymnasium_return)
        if (found := cell.result()) is None:
            continue
        paid = np.array(found["returns"])
        half = 1.96 * paid.std(ddof=1) / np.sqrt(len(paid))
        upright = f"{sum(found['success'])} of {len(paid)}"
        lines.append(f"| {name} | {paid.mean():.1f} +- {half:.1f} | {upright} | {found['plan_ms']:.2g} ms |")
    return "\n".join(lines)


TABLES = {"gymnasium": gymnasium_table}


def describe(result: Mapping[str, Any]) -> str:
    """Return a result in a few words."""
    return f"mean return {np.mean(result['returns']):.1f}"


if __name__ == "__main__":
    main(cells(), page=PAGES / "control.md", tables=TABLES, describe=describe, doc=__doc__)
