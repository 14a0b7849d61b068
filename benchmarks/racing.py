"""Who gets a car round tracks that it has never seen faster: pure pursuit or MPPI?

    python benchmarks/racing.py run      compute the cells that are missing
    python benchmarks/racing.py table    write the table into docs/results/control.md

The rule of comparison was fixed before the first cell. Each driver has a short list of settings, both lists
of which are below. On 64 validation starts (16 tracks) the setting counts that goes farthest among those with
the fewest crashes; it alone drives from 64 test starts (16 other tracks), for a minute each. What is compared
is progress along the centre line for each second, start by start. With a speed to choose pure pursuit is
offered speeds up to the fastest that the car has; without, both drive at 2.5 m/s and only the line counts.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.statistics import wilson
from steadyhand.envs.base import Family
from steadyhand.envs.car.config import CarConfig
from steadyhand.experts.config import ExpertConfig, PurePursuitExpert
from steadyhand.experts.control.config import MppiExpert
from steadyhand.experts.control.sampling import Mppi
from steadyhand.recipes.experiment import Cell
from steadyhand.rollout.evaluate import evaluate

EXPERIMENT = experiment("racing")
Action = Literal["steering", "steering_speed"]
Driver = Literal["pure pursuit", "mppi"]


@dataclass(frozen=True, kw_only=True)
class Race:
    """What a race depends on.

    Attributes:
        action: What the car is told.
        driver: Who drives.
        num_starts: Starts of the choice and of the test.
        choice_steps: Steps of each drive of the choice.
        steps: Steps of each drive of the test.
        num_samples: Samples of MPPI.
        seed: Seed of the driver's draws.
    """

    action: Action
    driver: Driver
    num_starts: int = 64
    choice_steps: int = 400
    steps: int = 1200
    num_samples: int = 128
    seed: int = 0


def candidates(race: Race) -> dict[str, tuple[ExpertConfig, float]]:
    """Return a driver's settings, each with the speed that the car is told to keep [m/s]."""
    if race.driver == "mppi":
        return {
            f"horizon {horizon} s, noise {sigma}, temperature {heat}": (
                MppiExpert(
                    horizon=horizon,
                    rule=Mppi(num_samples=race.num_samples, sigma=sigma, num_nodes=3, temperature=heat),
                ),
                2.5,
            )
            for horizon, sigma, heat in product((0.5, 0.75), (0.15, 0.3), (0.1, 0.5))
        }
    speeds = (2.5,) if race.action == "steering" else (2.5, 3.0, 3.5, 4.0, 4.5, 5.0)
    return {
        f"look-ahead {lookahead} m, {speed} m/s": (PurePursuitExpert(lookahead=lookahead), speed)
        for lookahead, speed in product((0.6, 1.0, 1.4, 1.8, 2.2), speeds)
    }


def drive(race: Race, expert: ExpertConfig, speed: float, family: Family) -> dict[str, Any]:
    """Let a driver drive from every start of a family."""
    steps = race.steps if family == "test" else race.choice_steps
    config = CarConfig(observation=("state",), action=race.action, max_episode_steps=steps)
    # All begin at the same speed: that which is to be kept is told to pure pursuit alone.
    env = config.build(race.num_starts)
    driver = expert.build(replace(config, speed=speed).build(1) if race.driver == "pure pursuit" else env)
    begin = time.perf_counter()
    found = evaluate(env, driver, env.starts(family, race.num_starts), seed=race.seed, name="driver")
    wall = time.perf_counter() - begin
    return {
        "pace": np.round(found.returns / (found.lengths * config.control_dt), 4).tolist(),
        "crashes": int((found.lengths < steps).sum()),
        "step_ms": round(1e3 * wall / int(found.lengths.sum()), 3),
    }


def run_race(race: Race) -> dict[str, Any]:
    """Choose a setting on validation starts and drive with it from test starts."""
    offered = candidates(race)
    tried = {name: drive(race, *one, "validation") for name, one in offered.items()}
    chosen = min(tried, key=lambda name: (tried[name]["crashes"], -float(np.mean(tried[name]["pace"]))))
    said = {
        name: {"pace": round(float(np.mean(one["pace"])), 4), "crashes": one["crashes"]}
        for name, one in tried.items()
    }
    return {"chosen": chosen, "validation": said, "test": drive(race, *offered[chosen], "test")}


RACES: dict[str, Race] = {
    f"{action} {driver}": Race(action=action, driver=driver)
    for action in ("steering", "steering_speed")
    for driver in ("pure pursuit", "mppi")
}


def cells() -> list[Cell[Any]]:
    """Return all of them."""
    return [EXPERIMENT.cell(name, settings=race, compute=run_race) for name, race in RACES.items()]


def race_table() -> str:
    """Return how fast each driver is, and by how much more than pure pursuit on the same starts."""
    lines = [
        "| the car is told | driver | setting | progress | more than pure pursuit | crashes | a step |",
        "|---|---|---|---|---|---|---|",
    ]
    base: dict[str, np.ndarray] = {}
    for cell in cells():
        if (found := cell.result()) is None:
            continue
        race, test = cell.settings, found["test"]
        pace = np.array(test["pace"])
        more = "-"
        if race.driver == "pure pursuit":
            base[race.action] = pace
        elif race.action in base:
            apart = pace - base[race.action]
            half = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
            share = 100.0 * apart.mean() / base[race.action].mean()
            more = f"{apart.mean():+.3f} +- {half:.3f} m/s ({share:+.1f} %)"
        most = 100.0 * wilson(test["crashes"], len(pace)).high
        columns = (
            race.action.replace("_", " and "),
            race.driver,
            found["chosen"],
            f"{pace.mean():.3f} m/s",
            more,
            f"{test['crashes']} of {len(pace)} (at most {most:.0f} %)",
            f"{test['step_ms']:.2g} ms",
        )
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


TABLES = {"race": race_table}


def describe(result: Mapping[str, Any]) -> str:
    """Return a result in a few words."""
    test = result["test"]
    return f"{result['chosen']}: {np.mean(test['pace']):.3f} m/s, {test['crashes']} crashes"


if __name__ == "__main__":
    main(cells(), page=PAGES / "control.md", tables=TABLES, describe=describe, doc=__doc__)
