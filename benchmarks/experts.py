"""How often does every expert do its task, and how many demonstrations a minute does that give?

    python benchmarks/experts.py run [--only NAME]   compute the cells that are missing
    python benchmarks/experts.py table               write the tables into docs/results/experts-and-worlds.md

A row is an env, an expert and a number of episodes: add one to `GROUPS`. Each group keeps its cells in a file
of its own. Envs whose package is not installed here are skipped with a word, and keep the cells that were
computed elsewhere.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from pages import PAGES, experiment

from steadyhand.cli import terminal
from steadyhand.cli.experiment import main
from steadyhand.core.statistics import wilson
from steadyhand.envs.avoiding.config import AvoidingConfig
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.cartpole.config import CartPoleConfig
from steadyhand.envs.config import EnvConfig
from steadyhand.envs.forks.config import ForksConfig
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.envs.linear.config import LinearConfig
from steadyhand.envs.pendulum.config import PendulumConfig
from steadyhand.envs.quadrotor.config import PlanarQuadrotorConfig, QuadrotorConfig
from steadyhand.envs.tabletop.config import TabletopConfig
from steadyhand.envs.tabular.config import TabularConfig
from steadyhand.envs.two_link.config import AcrobotConfig, ArmConfig
from steadyhand.envs.worlds.aloha import AlohaConfig
from steadyhand.envs.worlds.config import WorldConfig
from steadyhand.envs.worlds.fetch import FetchConfig
from steadyhand.envs.worlds.metaworld import SENTENCES, MetaworldConfig
from steadyhand.experts.config import (
    AlohaExpert,
    AvoidingExpert,
    DynamicProgrammingExpert,
    ExpertConfig,
    FetchExpert,
    ForksExpert,
    LqrExpert,
    MetaworldExpert,
    PurePursuitExpert,
    SwingUpExpert,
    TabletopExpert,
    TrainedExpert,
)
from steadyhand.experts.control.config import GeometricExpert, IlqrExpert, MppiExpert
from steadyhand.experts.control.sampling import Mppi
from steadyhand.experts.trained import trained_ids
from steadyhand.recipes.experiment import Cell
from steadyhand.rollout.evaluate import evaluate


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a row of the table depends on.

    Attributes:
        env: The env.
        expert: Who shows the way.
        episodes: Episodes, from starts of the family "test".
        copies: Copies of the env that run side by side; all episodes at once if 0.
        seed: Seed of the expert's draws.
    """

    env: EnvConfig
    expert: ExpertConfig
    episodes: int = 100
    copies: int = 0
    seed: int = 0


STATE_CAR = CarConfig(observation=("state",))
OUR_ROWS = {
    "car, pure pursuit": Row(env=STATE_CAR, expert=PurePursuitExpert()),
    "car, MPPI": Row(env=STATE_CAR, expert=MppiExpert(horizon=0.5, rule=Mppi(num_samples=128, num_nodes=3))),
    "forks, scripted": Row(env=ForksConfig(), expert=ForksExpert()),
    "avoiding, scripted": Row(env=AvoidingConfig(), expert=AvoidingExpert()),
    "pendulum, energy pumping": Row(env=PendulumConfig(), expert=SwingUpExpert()),
    "pendulum, iLQR": Row(env=PendulumConfig(), expert=IlqrExpert(horizon=5.0)),
    "tabular, dynamic programming": Row(env=TabularConfig(), expert=DynamicProgrammingExpert()),
    "linear, LQR": Row(env=LinearConfig(), expert=LqrExpert()),
    "cart-pole, iLQR": Row(env=CartPoleConfig(), expert=IlqrExpert()),
    "arm, iLQR": Row(env=ArmConfig(), expert=IlqrExpert()),
    "acrobot, iLQR": Row(env=AcrobotConfig(), expert=IlqrExpert(horizon=4.0)),
    "planar quadrotor, iLQR": Row(env=PlanarQuadrotorConfig(), expert=IlqrExpert(horizon=1.5)),
    "quadrotor, geometric": Row(env=QuadrotorConfig(), expert=GeometricExpert()),
    "quadrotor circles, geometric": Row(env=QuadrotorConfig(flight="circle"), expert=GeometricExpert()),
    "quadrotor flies the gate, geometric": Row(env=QuadrotorConfig(flight="gate"), expert=GeometricExpert()),
    "tabletop, scripted": Row(env=TabletopConfig(), expert=TabletopExpert()),
}
META_WORLD = {
    f"Meta-World {task}": Row(env=MetaworldConfig(task=task), expert=MetaworldExpert(), episodes=20, copies=4)
    for task in SENTENCES
}
LOCOMOTION = {
    f"{name}, trained": Row(env=GymnasiumConfig(env_id=name), expert=TrainedExpert(), copies=10)
    for name in trained_ids()
}
FETCH = {
    f"Fetch {task}": Row(env=FetchConfig(task=task), expert=FetchExpert(), copies=10)
    for task in ("reach", "push", "pick-and-place")
}
ALOHA = {
    f"ALOHA {task}": Row(env=AlohaConfig(task=task), expert=AlohaExpert(), copies=10)
    for task in ("transfer-cube", "insertion")
}
GROUPS: dict[str, dict[str, Row]] = {
    "ours": OUR_ROWS,
    "meta-world": META_WORLD,
    "fetch": FETCH,
    "push-t": {},
    "aloha": ALOHA,
    "ogbench": {},
    "locomotion": LOCOMOTION,
}
"""Rows by the file of their cells."""
SECTIONS = {"our experts": ("ours",), "experts of worlds": tuple(name for name in GROUPS if name != "ours")}
"""Places of the page, and the groups that stand there."""


def show(row: Row) -> dict[str, Any]:
    """Let an expert do its task from every start."""
    env = row.env.build(row.copies or row.episodes)
    starts = env.starts("test", row.episodes)
    begin = time.perf_counter()
    expert = row.expert.build(env)
    found = evaluate(env, expert, starts, seed=row.seed, name="expert")
    wall = time.perf_counter() - begin
    return {
        "success": None if found.success is None else found.success.astype(int).tolist(),
        "returns": np.round(found.returns, 3).tolist(),
        "steps": int(found.lengths.sum()),
        "wall_s": round(wall, 3),
    }


def is_installed(row: Row) -> bool:
    """Whether a row's simulator is there."""
    return not isinstance(row.env, WorldConfig) or row.env.is_installed()


def cells_of(group: str) -> list[Cell[Row]]:
    """Return the cells of a group, in the order of its rows."""
    kept = experiment(f"experts-{group}")
    return [kept.cell(name, settings=row, compute=show) for name, row in GROUPS[group].items()]


def cells() -> list[Cell[Row]]:
    """Return all of them."""
    return [cell for group in GROUPS for cell in cells_of(group)]


def table(groups: Sequence[str]) -> str:
    """Return how often each expert does its task, and what that costs."""
    lines = [
        "| env and expert | success | mean return | a step | demonstrations a minute |",
        "|---|---|---|---|---|",
    ]
    for group in groups:
        if group == "meta-world":
            lines += _pooled("Meta-World, 50 tasks", group)
            continue
        for name, cell in zip(GROUPS[group], cells_of(group), strict=True):
            if (found := cell.result()) is not None:
                lines.append(_line(name, found))
    return "\n".join(lines)


def _pooled(name: str, group: str) -> list[str]:
    """Return one line for all rows of a group, and one for each that missed some of its episodes."""
    found = {row: cell.result() for row, cell in zip(GROUPS[group], cells_of(group), strict=True)}
    kept = {row: one for row, one in found.items() if one is not None}
    if len(kept) < len(found):
        return []
    whole = {key: [value for one in kept.values() for value in one[key]] for key in ("success", "returns")}
    numbers = {key: sum(one[key] for one in kept.values()) for key in ("steps", "wall_s")}
    missed = [(row, one) for row, one in kept.items() if not all(one["success"])]
    return [_line(name, {**whole, **numbers}), *(_line(f"of which {row}", one) for row, one in missed)]


def _line(name: str, found: Mapping[str, Any]) -> str:
    success, returns = found["success"], np.array(found["returns"])
    said, kept = "not told", len(returns)
    if success is not None:
        kept = sum(success)
        interval = wilson(kept, len(success))
        said = f"{kept} of {len(success)} ({100 * interval.low:.0f} to {100 * interval.high:.0f} %)"
    step = 1e3 * found["wall_s"] / found["steps"]
    minute = 60.0 * kept / found["wall_s"]
    return f"| {name} | {said} | {returns.mean():.4g} | {step:.2g} ms | {_rounded(minute)} |"


def _rounded(count: float) -> str:
    """Return a count with two digits that say something, written out."""
    return f"{float(f'{count:.2g}'):,.0f}" if count >= 1.0 else f"{count:.2g}"


TABLES = {name: partial(table, groups) for name, groups in SECTIONS.items()}


def describe(result: Mapping[str, Any]) -> str:
    """Return a result in a few words."""
    success = result["success"]
    done = "success not told" if success is None else f"{sum(success)} of {len(success)}"
    return f"{done}, mean return {np.mean(result['returns']):.4g}"


if __name__ == "__main__":
    here = [cell for cell in cells() if is_installed(cell.settings)]
    for missing in sorted({cell.name for cell in cells()} - {cell.name for cell in here}):
        terminal.say(f"skipped, not installed: {missing}")
    main(here, page=PAGES / "experts-and-worlds.md", tables=TABLES, describe=describe, doc=__doc__)
