"""The law where actions are continuous: cloning, noise, chunks and DAgger on a linear system and its twin."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, assert_never

import numpy as np
import torch
from pages import experiment

from steadyhand.core.specs import STATE
from steadyhand.correction.collect import collect
from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.noise import GaussianNoise, NoisyExecution
from steadyhand.correction.rounds import teach_in_rounds
from steadyhand.data.episode import Episode
from steadyhand.envs.linear.config import LinearConfig
from steadyhand.envs.linear.env import LinearSystem
from steadyhand.experts.linear import LinearFeedback, regulator, slow_direction, spectral_radius
from steadyhand.policies.artifact import load_policy
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.heads.ridge import Ridge
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.experiment import Cell
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.rollout.executors.receding import RecedingHorizon
from steadyhand.rollout.session import Session, StepEvent
from steadyhand.training.config import TrainConfig

EXPERIMENT = experiment("law")

System = Literal["unstable", "stable"]
Learner = Literal["linear", "MLP"]
Remedy = Literal["cloning", "noise", "noise, executed labels", "DAgger"]

SEEDS = range(3)
EXECUTED = (1, 2, 4, 8)
SYSTEMS: tuple[System, ...] = ("unstable", "stable")
LEARNERS: tuple[Learner, ...] = ("linear", "MLP")
SIGMAS = (0.001, 0.01, 0.1, 1.0)
SHOWN = (1, 5, 10, 20, 40, 80, 160)


@dataclass(frozen=True, kw_only=True)
class LinearSettings:
    """What a cell depends on.

    Attributes:
        system: Open-loop unstable, or the stable twin.
        learner: "linear": ridge regression in closed form. "MLP": two layers of 64.
        remedy: Where the data come from.
        sigma: Standard deviation of the noise on what the expert executes.
        clean_fraction: Share of demonstrations without noise.
        labels: In all.
        demonstrations: Drives that share them; of DAgger, in all rounds together.
        rounds: Rounds of DAgger.
        horizon: Predicted steps.
        updates: Gradient updates of the MLP.
        drive_steps: Length of a test drive; demonstrations are labels / demonstrations steps long.
        starts: Test starts.
        limit: Norm of the state at which a drive has failed.
        seed: Seed of data and weights.
    """

    system: System
    learner: Learner
    remedy: Remedy
    sigma: float = 0.1
    clean_fraction: float = 0.5
    labels: int = 1000
    demonstrations: int = 20
    rounds: int = 4
    horizon: int = 8
    updates: int = 1000
    drive_steps: int = 200
    starts: int = 50
    limit: float = 1e3
    seed: int = 0


def linear_settings() -> list[LinearSettings]:
    """Return the settings of all cells of linear systems."""
    remedies: tuple[Remedy, ...] = ("cloning", "noise", "DAgger")
    main = [
        LinearSettings(system=system, learner=learner, remedy=remedy, seed=seed)
        for system in SYSTEMS
        for learner in LEARNERS
        for remedy in remedies
        for seed in SEEDS
    ]
    kinds: tuple[Remedy, ...] = ("noise", "noise, executed labels")
    sweep = [
        LinearSettings(system="unstable", learner="MLP", remedy=remedy, sigma=sigma, seed=seed)
        for remedy in kinds
        for sigma in SIGMAS
        for seed in SEEDS
    ]
    return list(dict.fromkeys([*main, *sweep]))


def cells() -> list[Cell[Any]]:
    """Return all cells."""
    return [cell(settings) for settings in linear_settings()]


def cell(settings: LinearSettings) -> Cell[Any]:
    """Return one entry of the tables."""
    noise = f" {settings.sigma:g}" if "noise" in settings.remedy else ""
    name = f"linear {settings.system} {settings.learner} {settings.remedy}{noise} seed {settings.seed}"
    return EXPERIMENT.cell(
        name.replace(",", ""),
        settings=settings,
        compute=compute,
    )


def system_of(settings: LinearSettings) -> LinearConfig:
    """Return the system, its starts along the line on which the expert comes home."""
    config = LinearConfig(
        system=settings.system, limit=settings.limit, max_episode_steps=settings.drive_steps
    )
    line = slow_direction(config.a + config.b @ regulator(config).gain)
    return replace(config, line=(float(line[0]), float(line[1])))


def compute(settings: LinearSettings) -> dict[str, Any]:
    """Teach, drive from the test starts with each executed length."""
    config = system_of(settings)
    policy = policy_of(settings, config)
    result: dict[str, Any] = {}
    for executed in EXECUTED:
        size, success = drive(policy, config, settings, executed)
        result[f"executed {executed}"] = {
            "radius": float(f"{loop_radius(policy, config, executed):.4g}"),
            "success": int(success.sum()),
            "deviation": [float(f"{value:.3g}") for value in size],
        }
    return result


def policy_of(settings: LinearSettings, config: LinearConfig) -> PolicyModule:
    """Collect the labels and train."""
    env, expert = config.build(settings.starts), regulator(config)
    learner = PolicyLearner(env.spec, policy=policy_config(settings), training=training(settings))
    with tempfile.TemporaryDirectory() as folder:
        if settings.remedy == "DAgger":
            outcome = teach_in_rounds(
                env,
                expert,
                learner,
                config=DaggerConfig(
                    rounds=settings.rounds,
                    labels_per_round=settings.labels // settings.rounds,
                    episodes_per_round=settings.demonstrations // settings.rounds,
                ),
                folder=Path(folder),
                seed=settings.seed,
            )
            return load_policy(outcome.best_folder / "policy").eval()
        episodes = demonstrations(settings, env, expert)
        learner.fit(episodes, folder=Path(folder), seed=settings.seed, warm_start=None)
        return load_policy(Path(folder) / "policy").eval()


def demonstrations(settings: LinearSettings, env: LinearSystem, expert: LinearFeedback) -> list[Episode]:
    """Return the labelled drives of the expert, disturbed or not."""
    controller = expert
    if settings.remedy != "cloning":
        noise = GaussianNoise(sigma=settings.sigma)
        controller = NoisyExecution(
            expert, noise=noise, action=env.spec.action, clean_fraction=settings.clean_fraction
        )
    episodes = collect(
        env,
        controller,
        env.starts("train", settings.demonstrations, seed=settings.seed),
        source="demonstration",
        seed=settings.seed,
        num_labels=settings.labels,
        max_steps=settings.labels // settings.demonstrations,
    )
    if settings.remedy != "noise, executed labels":
        return episodes
    return [_executed(episode) for episode in episodes]


def _executed(episode: Episode) -> Episode:
    """The classic mistake: what was executed becomes the label."""
    return replace(episode, expert_action=episode.action)


def policy_config(settings: LinearSettings) -> PolicyConfig:
    """Return the policy class."""
    match settings.learner:
        case "linear":
            return PolicyConfig(encoder=StateMLP(hidden=()), head=Ridge(), horizon=settings.horizon)
        case "MLP":
            return PolicyConfig(
                encoder=StateMLP(hidden=(64, 64)), head=Regression(), horizon=settings.horizon
            )
        case _:
            assert_never(settings.learner)


def training(settings: LinearSettings) -> TrainConfig:
    """Return the training loop; the closed form needs none."""
    updates = 1 if settings.learner == "linear" else settings.updates
    return TrainConfig(num_steps=updates, batch_size=128, warmup_steps=min(100, updates // 10))


def drive(
    policy: PolicyModule, config: LinearConfig, settings: LinearSettings, executed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the typical distance to the expert's own path after each step, (T + 1,), and who succeeded.

    Typical: the geometric mean over the starts. It ends where the first drive fails.
    """
    env = config.build(settings.starts)
    starts = env.starts("test", settings.starts)
    first = np.array([[start.options["x1"], start.options["x2"]] for start in starts])
    loop = config.a + config.b @ regulator(config).gain
    paths = np.full((config.max_episode_steps + 1, settings.starts, 2), np.nan)
    paths[0] = first
    success = np.zeros(settings.starts, dtype=bool)

    def note(event: StepEvent) -> None:
        paths[event.time + 1, event.start_index] = env.state(event.rows)["values"]
        success[event.start_index[event.ended]] = event.result.success[event.ended]

    controller = RecedingHorizon(policy, num_rows=settings.starts, n_action_steps=executed)
    session = Session(env, controller, starts, seed=settings.seed, listeners=[note])
    while session.step() is not None:
        pass
    expert = [first]
    for _ in range(config.max_episode_steps):
        expert.append(expert[-1] @ loop.T)
    distance = np.linalg.norm(paths - np.array(expert), axis=2)
    whole = ~np.isnan(distance).any(axis=1)
    typical = np.exp(np.log(np.maximum(distance[whole], 1e-300)).mean(axis=1))
    typical[0] = 0.0
    return typical, success


def loop_radius(policy: PolicyModule, config: LinearConfig, executed: int) -> float:
    """Return the growth per step of the closed loop about the origin, from its derivative there."""
    small = 1e-2
    probes = np.concatenate([small * np.eye(2), -small * np.eye(2)]).astype(np.float32)
    chunk = policy.predict_chunk({STATE: torch.from_numpy(probes[:, None])}).numpy().astype(np.float64)
    gains = (chunk[:2] - chunk[2:]).transpose(1, 2, 0) / (2.0 * small)
    motion = np.eye(2)
    for gain in gains[:executed]:
        motion = config.a @ motion + config.b @ gain
    return spectral_radius(motion) ** (1.0 / executed)


def growth(deviation: list[float]) -> float:
    """Return the factor a step by which a typical deviation grows: the slope of its logarithm, exponentiated.

    Over the second half of the drive, as far as it went before the first failure.
    """
    value = np.array(deviation[1:])
    half = value[len(value) // 2 :]
    return float(np.exp(np.polyfit(np.arange(len(half)), np.log(half), 1)[0]))


def _row(settings: LinearSettings, executed: int) -> list[dict[str, Any]]:
    """Return what the seeds of a setting found, missing ones left out."""
    results = [cell(replace(settings, seed=seed)).result() for seed in SEEDS]
    return [result[f"executed {executed}"] for result in results if result]


def _span(values: list[float], digits: str = ".2f") -> str:
    """Return median (lowest to highest)."""
    return f"{np.median(values):{digits}} ({min(values):{digits}} to {max(values):{digits}})"


def remedies() -> str:
    """Return the table of systems, learners, remedies and executed lengths."""
    head = "| system | learner | data | executed steps | growth a step | radius of the loop | end at rest |"
    rows = [head, "|---" * 7 + "|"]
    for system in SYSTEMS:
        for learner in LEARNERS:
            for remedy in ("cloning", "noise", "DAgger"):
                for executed in EXECUTED if remedy == "cloning" else (1, 8):
                    settings = LinearSettings(system=system, learner=learner, remedy=remedy)
                    found = _row(settings, executed)
                    if found:
                        rows.append(_line(f"| {system} | {learner} | {remedy} | {executed}", found, settings))
    return "\n".join(rows)


def _line(begin: str, found: list[dict[str, Any]], settings: LinearSettings) -> str:
    factors = _span([growth(one["deviation"]) for one in found])
    radius = _span([one["radius"] for one in found])
    count = sum(one["success"] for one in found)
    return f"{begin} | {factors} | {radius} | {count} of {len(found) * settings.starts} |"


def sweep() -> str:
    """Return the table of the noise's size."""
    rows = ["| labels | sigma | growth a step | radius of the loop | end at rest |", "|---" * 5 + "|"]
    kinds: dict[Remedy, str] = {"noise": "intended", "noise, executed labels": "executed"}
    for remedy, words in kinds.items():
        for sigma in SIGMAS:
            settings = LinearSettings(system="unstable", learner="MLP", remedy=remedy, sigma=sigma)
            found = _row(settings, 1)
            if found:
                rows.append(_line(f"| {words} | {sigma:g}", found, settings))
    return "\n".join(rows)


def paths() -> str:
    """Return the table of how clones leave the expert's path: the semi-log plot as numbers."""
    rows = ["| system | learner | " + " | ".join(f"step {step}" for step in SHOWN) + " |"]
    rows.append("|---" * (len(SHOWN) + 2) + "|")
    for system in SYSTEMS:
        for learner in LEARNERS:
            found = _row(LinearSettings(system=system, learner=learner, remedy="cloning"), 1)
            if not found:
                continue
            columns: list[str] = []
            for step in SHOWN:
                still = [one["deviation"][step] for one in found if len(one["deviation"]) > step]
                columns.append(f"{np.median(still):.1e}" if len(still) == len(found) else "failed")
            rows.append(f"| {system} | {learner} | " + " | ".join(columns) + " |")
    return "\n".join(rows)


TABLES = {"law paths": paths, "law linear": remedies, "law sigma": sweep}


def describe(result: Mapping[str, Any]) -> str:
    """Return a cell's outcome in a few words."""
    found = {length: result[f"executed {length}"] for length in EXECUTED}
    return "; ".join(
        f"{length}: radius {one['radius']:.3g}, {one['success']} at rest" for length, one in found.items()
    )
