"""The regimes of the car in which remedies.py compares, and the two numbers that define each."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pages import experiment

from steadyhand.correction.budget import Budget
from steadyhand.correction.collect import collect
from steadyhand.correction.noise import GaussianNoise, NoisyExecution
from steadyhand.correction.offline import Cloning
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.car.config import CarConfig, Lidar
from steadyhand.experts.config import PurePursuitExpert
from steadyhand.policies.encoders.image import FlatImage
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.experiment import Cell
from steadyhand.recipes.remedies import remedy
from steadyhand.recipes.teach import Trainer, trying_out
from steadyhand.training.config import TrainConfig

EXPERIMENT = experiment("remedies")


def trainer_of(
    env: CarConfig, policy: PolicyConfig, training: TrainConfig, *, num_rows: int, seed: int
) -> AbstractContextManager[Trainer]:
    """Return what a cell is computed with; pure pursuit labels."""
    return trying_out(
        env, PurePursuitExpert(), policy=policy, training=training, num_rows=num_rows, seed=seed
    )


@dataclass(frozen=True, kw_only=True)
class Regime:
    """An env, a learner and a budget.

    Attributes:
        title: For the page.
        env: The car.
        policy: The learner.
        budget: What every remedy may spend.
        num_steps: Gradient steps of each fit.
        seeds: Number of seeds.
        remedies: Names of the remedies; all if empty.
    """

    title: str
    env: CarConfig
    policy: PolicyConfig
    budget: Budget
    num_steps: int = 1500
    seeds: int = 3
    remedies: tuple[str, ...] = ()

    @property
    def training(self) -> TrainConfig:
        """Training of each fit."""
        return TrainConfig(num_steps=self.num_steps, batch_size=64, learning_rate=1e-3)


def _vectors(hidden: tuple[int, ...]) -> PolicyConfig:
    return PolicyConfig(encoder=StateMLP(hidden=hidden), head=Regression())


FAST = CarConfig(observation=("lidar",), road_width=0.5, speed=3.0, max_episode_steps=800)
CENTRED = replace(FAST, speed=3.5, lidar=Lidar(num_beams=8), start_lateral_std=0.0, start_heading_std=0.0)
SMALL = Budget(labels=500, rounds=5, episodes=4, query_every=5, validation_starts=16)
REGIMES = {
    "realizable": Regime(
        title="realizable",
        env=CarConfig(observation=("state", "lidar"), max_episode_steps=800),
        policy=_vectors((64, 64)),
        budget=SMALL,
    ),
    "goldilocks": Regime(title="Goldilocks", env=FAST, policy=_vectors(()), budget=SMALL, seeds=10),
    "hard": Regime(title="hard", env=CENTRED, policy=_vectors((2,)), budget=SMALL),
    "camera": Regime(
        title="camera",
        env=CarConfig(),
        policy=PolicyConfig(encoder=FlatImage(hidden=(64,)), head=Regression()),
        budget=Budget(labels=1000, rounds=10, episodes=4, query_every=10, validation_starts=32),
        num_steps=3000,
        remedies=(
            "cloning",
            "noise",
            "dart",
            "side-cameras",
            "alvinn-views",
            "dagger",
            "hg-dagger",
            "eil",
        ),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Settings of the two numbers that define a regime.

    Attributes:
        env: The car.
        policy: The learner.
        training: Training of the learner.
        demonstrations: The demonstrations that every offline remedy starts from.
        num_labels: Labels of the best fit.
        sigma: Disturbance under which they are collected, so that they lie where cars go astray.
    """

    env: CarConfig
    policy: PolicyConfig
    training: TrainConfig
    demonstrations: Cloning
    num_labels: int = 20_000
    sigma: float = 0.5
    seed: int = 0


def probe_cell(name: str) -> Cell[Any]:
    """Return the cell with the numbers that define a regime."""
    regime = REGIMES[name]
    demonstrations = remedy("cloning").from_budget(regime.budget)
    assert isinstance(demonstrations, Cloning)
    settings = Probe(
        env=regime.env,
        policy=regime.policy,
        training=replace(regime.training, num_steps=4 * regime.num_steps),
        demonstrations=demonstrations,
    )
    return EXPERIMENT.cell(f"{name} regime", settings=settings, compute=probe)


def probe(settings: Probe) -> dict[str, Any]:
    """Return the realizability gap and how far a clone leaves what was demonstrated."""
    with trainer_of(
        settings.env, settings.policy, settings.training, num_rows=32, seed=settings.seed
    ) as trainer:
        env, learner = trainer.env, trainer.learner
        disturbed = NoisyExecution(
            trainer.expert,
            noise=GaussianNoise(sigma=settings.sigma),
            action=env.spec.action,
            clean_fraction=0.2,
        )
        wide = collect(
            env,
            disturbed,
            env.starts("train", 4000, seed=settings.seed + 1),
            source="probe",
            seed=settings.seed,
            num_labels=settings.num_labels,
            max_steps=100,
        )
        kept, rest = wide[: len(wide) * 4 // 5], wide[len(wide) * 4 // 5 :]
        best = trainer.folder / "best"
        learner.fit(kept, folder=best, seed=settings.seed, warm_start=None)
        label = np.concatenate([episode.expert_action for episode in rest])
        answer = np.concatenate(learner.answers(best, rest))
        clone = trainer.teach(settings.demonstrations)
        driven = collect(
            env,
            learner.controller(clone.folder, num_rows=env.num_rows),
            env.starts("train", 32, seed=settings.seed + 2),
            source="probe",
            seed=settings.seed,
        )
        demonstrated = learner.read(clone.folder / "episodes") or []
        return {
            "gap": float(((answer - label) ** 2).mean() / label.var()),
            "outside": outside(env, [e.observation for e in demonstrated], [e.observation for e in driven]),
        }


def outside(
    env: BatchEnv, demonstrated: list[Mapping[str, np.ndarray]], driven: list[Mapping[str, np.ndarray]]
) -> float:
    """Return the share of driven steps farther off than 99 % of demonstrations are from each other.

    Distances are to the nearest step of another demonstration, in standardised inputs; the first tenth of the
    demonstrations sets the radius.
    """
    names = list(env.spec.observation)

    def flat(observation: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.concatenate(
            [observation[name].reshape(len(observation[name]), -1) for name in names], axis=1
        ).astype(np.float64)

    parts = [flat(one) for one in demonstrated]
    whole = np.concatenate(parts)
    mean, std = whole.mean(0), np.maximum(whole.std(0), 1e-6)
    parts = [(part - mean) / std for part in parts]
    held = max(1, len(parts) // 10)
    reference = np.concatenate(parts[held:])
    radius = np.quantile(nearest(np.concatenate(parts[:held]), reference), 0.99)
    steps = np.concatenate([(flat(one) - mean) / std for one in driven])
    return float((nearest(steps[:: max(1, len(steps) // 4000)], reference) > radius).mean())


def nearest(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the distance of each point to the nearest of `reference`."""
    square = (reference**2).sum(1)
    found = [
        np.sqrt(np.maximum((square + (some**2).sum(1)[:, None] - 2 * some @ reference.T).min(1), 0.0))
        for some in np.array_split(points, max(1, len(points) // 500))
    ]
    return np.concatenate(found)


def regimes() -> str:
    """Return the table of the numbers that define the regimes."""
    rows = [
        "| regime | sees | learner | road, speed | labels | realizability gap | steps of the clone outside |",
        "|---|---|---|---|--:|--:|--:|",
    ]
    for name, regime in REGIMES.items():
        found = probe_cell(name).result()
        gap, out = ("", "") if found is None else (f"{found['gap']:.3f}", f"{100 * found['outside']:.0f} %")
        beams = f" ({regime.env.lidar.num_beams} beams)" if "lidar" in regime.env.observation else ""
        hidden = getattr(regime.policy.encoder, "hidden", ())
        what = "linear" if not hidden else "MLP " + "-".join(map(str, hidden))
        sees = " + ".join(regime.env.observation) + beams
        rows.append(
            f"| {regime.title} | {sees} | {what} | "
            f"{regime.env.road_width:g} m, {regime.env.speed:g} m/s | {regime.budget.labels} | {gap} "
            f"| {out} |"
        )
    return "\n".join(rows)
