"""Where do computed torque and PD fail on the arm?

    python benchmarks/joints.py run      compute the cells that are missing
    python benchmarks/joints.py table    write the table into docs/results/control.md

The rule was fixed before the first cell. All controllers have the gains that the library begins with, motors
of 60 N m, 5 s, the same 64 test starts at any posture, and believe that both links weigh 1 kg. Then the lower
one weighs that, or 1.3 kg. What is told is how far the worse joint is from where it was sent, in the median
and at most: at the goal upright, where gravity pulls at nothing, and at a posture where it pulls hard.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.seeding import RowStreams
from steadyhand.envs.two_link.config import ArmConfig
from steadyhand.experts.config import ExpertConfig
from steadyhand.experts.control.config import ComputedTorqueExpert, JointExpert, PdExpert
from steadyhand.recipes.experiment import Cell

EXPERIMENT = experiment("joints")
UPRIGHT, OUT = (float(np.pi), 0.0), (float(np.pi) / 2.0, 0.3)
BELIEVED = (1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What a reach depends on.

    Attributes:
        env: The arm.
        expert: Who moves it.
        target: Where it is sent [rad].
        num_starts: Number of starts.
        seed: Seed of the expert's draws.
    """

    env: ArmConfig
    expert: ExpertConfig
    target: tuple[float, float]
    num_starts: int = 64
    seed: int = 0


CONTROLLERS: dict[str, JointExpert] = {
    "PD": PdExpert(masses=BELIEVED),
    "PD that holds gravity": PdExpert(masses=BELIEVED, held=1.0),
    "computed torque": ComputedTorqueExpert(masses=BELIEVED),
}
PLACES = {"upright": UPRIGHT, "held out": OUT}
MASSES = {"1 kg": 1.0, "1.3 kg": 1.3}


def reach(settings: Reach) -> dict[str, Any]:
    """Send the arm from every start, and say how far it is from where it was sent."""
    rows = np.arange(settings.num_starts)
    env = settings.env.build(len(rows))
    expert = settings.expert.build(env)
    env.reset(env.starts("test", len(rows)), rows)
    expert.begin(rows)
    streams = RowStreams.from_seed(settings.seed, len(rows))
    for _ in range(settings.env.max_episode_steps):
        env.step(expert.act(env.observe(rows), {}, rows, streams).action, rows)
        streams.advance()
    off = env.x_of(env.observe(rows))[:, :2] - settings.target
    worse = np.abs((off + np.pi) % (2.0 * np.pi) - np.pi).max(axis=1)
    return {"off": worse.round(4).tolist()}


def cell(name: str, place: str, mass: str) -> Cell[Reach]:
    """Return one cell."""
    settings = Reach(
        env=ArmConfig(max_torque=60.0, masses=(1.0, MASSES[mass])),
        expert=replace(CONTROLLERS[name], target=PLACES[place]),
        target=PLACES[place],
    )
    return EXPERIMENT.cell(f"{name} {place} {mass}", settings=settings, compute=reach)


def cells() -> list[Cell[Reach]]:
    """Return all of them."""
    return [cell(name, place, mass) for name in CONTROLLERS for place in PLACES for mass in MASSES]


def table() -> str:
    """Return how far each controller is off."""
    columns = [(place, mass) for place in PLACES for mass in MASSES]
    head = " | ".join(f"{place}, {mass}" for place, mass in columns)
    lines = [f"| controller | {head} |", "|---" * (1 + len(columns)) + "|"]
    for name in CONTROLLERS:
        entries: list[str] = []
        for place, mass in columns:
            found = cell(name, place, mass).result()
            entries.append("-" if found is None else _said(found))
        lines.append(f"| {name} | {' | '.join(entries)} |")
    return "\n".join(lines)


def _said(found: Mapping[str, Any]) -> str:
    return f"{np.median(found['off']):.3f} (at most {np.max(found['off']):.3f}) rad"


TABLES = {"joints": table}


def describe(result: Mapping[str, Any]) -> str:
    """Return a result in a few words."""
    return _said(result)


if __name__ == "__main__":
    main(cells(), page=PAGES / "control.md", tables=TABLES, describe=describe, doc=__doc__)
