"""End-to-end steering against seeing the lane and pursuing it, at equal labels: docs/results/recipes.md.

    python benchmarks/modular.py run [--only NAME]   compute the cells that are missing
    python benchmarks/modular.py table               write the tables into the page

Both see the same pictures of the same drives through the same network. One is told the expert's steering,
the other the lane's pose; that one steers by pure pursuit, the expert's own law. See pages.py for how cells
are kept.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.protocol import Controller, Decision, Observation, Switch
from steadyhand.core.seeding import RowStreams, derive
from steadyhand.core.statistics import clustered_rate
from steadyhand.correction.collect import collect
from steadyhand.data.frames import Frames
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.car.config import CarConfig
from steadyhand.experts.config import PurePursuitExpert
from steadyhand.policies.encoders.image import SmallConv
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.experiment import Cell
from steadyhand.recipes.learner import fitted
from steadyhand.recipes.modular import LanePursuit, teach_to_see
from steadyhand.rollout.evaluate import evaluate
from steadyhand.rollout.executors.receding import RecedingHorizon
from steadyhand.rollout.session import run
from steadyhand.training.config import TrainConfig

EXPERIMENT = experiment("modular")

Way = Literal["end to end", "modular"]
WAYS: tuple[Way, ...] = ("end to end", "modular")
SEEDS = range(3)
LABELS = (250, 1000, 4000)
CAMERA = "observation.images.front"
WATCHED = 200
"""Steps over which the steering is compared with the expert's."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a cell depends on.

    Attributes:
        way: Who drives.
        labels: Labelled pictures.
        drives: Drives of the expert that they come from, equally long.
        policy: The network.
        training: Training of the network.
        rollouts: Test starts.
        seed: Seed of everything: data, weights and draws.
    """

    way: Way
    labels: int
    drives: int = 16
    policy: PolicyConfig = field(
        default_factory=lambda: PolicyConfig(encoder=SmallConv(), observation=(CAMERA,))
    )
    training: TrainConfig = field(default_factory=lambda: TrainConfig(num_steps=2000, batch_size=64))
    rollouts: int = 64
    seed: int = 0


def cell(way: Way, labels: int, seed: int) -> Cell[Any]:
    """Return one entry of the tables."""
    settings = Settings(way=way, labels=labels, seed=seed)
    words = f"{way} {labels} seed {seed}"
    return EXPERIMENT.cell(words, settings=settings, compute=compute)


def cells() -> list[Cell[Any]]:
    """Return all cells of the tables."""
    return [cell(way, labels, seed) for seed in SEEDS for labels in LABELS for way in WAYS]


def compute(settings: Settings) -> dict[str, Any]:
    """Record, fit, drive from the test starts; return what the tables need."""
    config = CarConfig(observation=("state", "retina"))
    env = config.build(settings.rollouts)
    expert = PurePursuitExpert().build(env)
    demos = collect(
        env,
        expert,
        env.starts("train", settings.drives, seed=settings.seed),
        source="demonstration",
        seed=derive(settings.seed, "demonstrate"),
        num_labels=settings.labels,
        num_rows=settings.drives,
        max_steps=-(-settings.labels // settings.drives),
    )
    spec = env.spec
    frames = Frames.from_episodes(demos, observation_spec=spec.observation, action_spec=spec.action)
    driver = taught(settings, frames, config)
    starts = env.starts("test", settings.rollouts, seed=0)
    driven = evaluate(env, driver, starts, name=settings.way, seed=settings.seed, positions=False)
    assert driven.error is not None
    return {
        "labels": len(frames),
        "success": driven.told.astype(int).tolist(),
        "seconds": [round(float(n) * spec.control_dt, 2) for n in driven.lengths],
        "lateral": round(float(np.nanmean(driven.error)), 5),
        "steering error": {
            who: round(steering_error(env, driver, expert, settings, own=own), 5)
            for who, own in (("expert drives", False), ("drives itself", True))
        },
    }


def taught(settings: Settings, frames: Frames, config: CarConfig) -> Controller:
    """Return the driver."""
    seed = derive(settings.seed, "fit")
    if settings.way == "modular":
        with tempfile.TemporaryDirectory() as folder:
            network = teach_to_see(
                frames, Path(folder), policy=settings.policy, training=settings.training, seed=seed
            )
        return LanePursuit(network, config)
    training = replace(settings.training, seed=seed % 2**31)
    policy, _ = fitted(frames, settings.policy, training, weights_seed=seed)
    return RecedingHorizon(policy, num_rows=settings.rollouts)


class Beside(Switch):
    """Lets one controller drive and notes how far the other one's action is from it."""

    def __init__(self, driver: Controller, other: Controller) -> None:
        super().__init__(driver=driver, other=other)
        self._pair = (driver, other)
        self.differences: list[np.ndarray] = []

    def act(
        self, observation: Observation, privileged: Observation, rows: np.ndarray, generator: RowStreams
    ) -> Decision:
        """Ask both."""
        one, two = (each.act(observation, privileged, rows, generator) for each in self._pair)
        self.differences.append(np.abs(one.action - two.action)[:, 0])
        return one

    def _driver(self, rows: np.ndarray) -> np.ndarray:
        return np.zeros_like(rows)


def steering_error(
    env: BatchEnv, driver: Controller, expert: Controller, settings: Settings, *, own: bool
) -> float:
    """Return the mean distance from the expert's steering, where `driver` drives or where the expert does."""
    pair = Beside(driver, expert) if own else Beside(expert, driver)
    run(env, pair, env.starts("test", settings.rollouts, seed=0), seed=settings.seed, max_steps=WATCHED)
    return float(np.concatenate(pair.differences).mean())


def results(way: Way, labels: int) -> list[dict[str, Any]]:
    """Return the results of the seeds that are there."""
    found = [cell(way, labels, seed).result() for seed in SEEDS]
    return [result for result in found if result is not None]


def curves() -> str:
    """Return the learning curves."""
    rows = [
        "| labels | driver | success: interval (seeds) | median way, s | distance from the centre line, cm "
        "| steering error where the expert drives | where it drives itself |"
    ]
    rows.append("|---|---|---|---|---|---|---|")
    for labels in LABELS:
        for way in WAYS:
            found = results(way, labels)
            if not found:
                continue
            success = np.array([one["success"] for one in found])
            # Cars on one track stay or leave together, and start k lies on track k modulo their number.
            by_track = success.reshape(len(found), -1, CarConfig().num_held_out_tracks).mean(axis=1)
            interval = clustered_rate(by_track).interval if len(found) > 1 else None
            spread = f"{100 * interval.low:.0f} to {100 * interval.high:.0f}" if interval else ""
            each = ", ".join(str(row.sum()) for row in success)
            errors = {
                who: np.mean([one["steering error"][who] for one in found])
                for who in ("expert drives", "drives itself")
            }
            rows.append(
                f"| {labels} | {way} | **{100 * success.mean():.0f} %**: {spread} ({each}) "
                f"| {np.median(np.concatenate([one['seconds'] for one in found])):.1f} "
                f"| {100 * np.mean([one['lateral'] for one in found]):.1f} "
                f"| {errors['expert drives']:.3f} | {errors['drives itself']:.3f} |"
            )
    return "\n".join(rows)


TABLES = {"modular": curves}


def describe(result: Mapping[str, Any]) -> str:
    """Return a cell's outcome in a few words."""
    return f"{sum(result['success'])} of {len(result['success'])}, steering error {result['steering error']}"


if __name__ == "__main__":
    main(cells(), page=PAGES / "recipes.md", tables=TABLES, describe=describe, doc=__doc__)
