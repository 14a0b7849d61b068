"""A narrow road and an expert that reacts late: where DART cannot collect. For docs/results/dart.md.

    python benchmarks/dart_gap.py run [--only NAME]   compute the cells that are missing
    python benchmarks/dart_gap.py table               write the tables into docs/results/dart.md

A cell is one (method, seed); see pages.py.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.core.statistics import clustered_rate, wilson
from steadyhand.correction.burden import Burden
from steadyhand.correction.collect import collect
from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.dart import DartConfig
from steadyhand.correction.dart_noise import WholeEpisodes, noise_records
from steadyhand.correction.rounds import teach_in_rounds
from steadyhand.correction.view_config import SideCameras
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.car import CarConfig
from steadyhand.experts.delayed import Delayed, Labels
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.experiment import Cell
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.rollout.evaluate import evaluate
from steadyhand.training.config import TrainConfig

EXPERIMENT = experiment("dart-gap")

SEEDS = (1, 2, 3)
ROUNDS, LABELS, EPISODES = 5, 200, 2
STARTS = 64
Kind = Literal["expert", "cloning", "dart", "dagger", "views"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a cell depends on.

    Attributes:
        kind: The remedy; "expert": the expert drives the test starts itself.
        labels: "driven": late, as the expert drives. "hindsight": the expert looks through the record. The
            demonstrations that DAgger begins with are always labelled as driven.
        rounds: Settings of DART or DAgger.
        views: Settings of the views.
        env: The car.
        delay: Reaction time [steps].
        lookahead: Look-ahead distance of the expert [m].
        policy: The learner.
        training: Training of each fit.
        seed: Seed of everything but the test starts.
    """

    kind: Kind
    labels: Labels = "driven"
    rounds: DartConfig | DaggerConfig | None = None
    views: SideCameras | None = None
    env: CarConfig = field(
        default_factory=lambda: CarConfig(
            observation=("lidar",), road_width=0.3, speed=2.5, max_episode_steps=400
        )
    )
    delay: int = 3
    lookahead: float = 1.0
    policy: PolicyConfig = field(default_factory=lambda: PolicyConfig(encoder=StateMLP(hidden=(64, 64))))
    training: TrainConfig = field(default_factory=lambda: TrainConfig(num_steps=2000, batch_size=64))
    seed: int = 0


def _dart(alpha: float | None = None) -> DartConfig:
    return DartConfig(
        rounds=ROUNDS,
        labels_per_round=LABELS,
        episodes_per_round=EPISODES,
        validation_starts=16,
        watch=16,
        alpha=alpha,
        held_out=WholeEpisodes(every=2),
    )


_DAGGER = DaggerConfig(
    rounds=ROUNDS - 1, labels_per_round=LABELS, episodes_per_round=EPISODES, validation_starts=16
)
METHODS = {
    "expert alone": Settings(kind="expert"),
    "cloning": Settings(kind="cloning"),
    "DART, closed form": Settings(kind="dart", rounds=_dart()),
    "DART, alpha 3": Settings(kind="dart", rounds=_dart(3.0)),
    "DART, alpha 30": Settings(kind="dart", rounds=_dart(30.0)),
    "DART, closed form, labels in hindsight": Settings(kind="dart", labels="hindsight", rounds=_dart()),
    "DAgger, labels in hindsight": Settings(kind="dagger", labels="hindsight", rounds=_DAGGER),
    "DAgger, late labels": Settings(kind="dagger", rounds=_DAGGER),
    "side cameras": Settings(kind="views", views=SideCameras(offset=0.08, num_random=0)),
}


def cell(method: str, seed: int) -> Cell[Any]:
    """Return one entry of the table."""
    settings = replace(METHODS[method], seed=seed)
    return EXPERIMENT.cell(
        f"{method.replace(',', '')} seed {seed}",
        settings=settings,
        compute=compute,
    )


def seeds_of(method: str) -> tuple[int, ...]:
    """Return the seeds of a method; the expert alone needs one, since nothing about it is drawn."""
    return SEEDS[:1] if method == "expert alone" else SEEDS


def cells() -> list[Cell[Any]]:
    """Return all cells."""
    return [cell(method, seed) for method in METHODS for seed in seeds_of(method)]


def compute(settings: Settings) -> dict[str, Any]:
    """Teach, then drive from the test starts, which are the same for every cell."""
    env = settings.env.build(STARTS)
    learner = PolicyLearner(env.spec, policy=settings.policy, training=settings.training)
    if settings.kind == "expert":
        return {"success": _drive(env, late(settings, "driven"))}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if settings.rounds is None:
            return offline(settings, env, learner, folder)
        return in_rounds(settings, settings.rounds, env, learner, folder)


def late(settings: Settings, labels: Labels) -> Delayed:
    """Return the expert."""
    driver = PurePursuit(settings.env, lookahead=settings.lookahead)
    return Delayed(driver, delay=settings.delay, labels=labels)


def offline(settings: Settings, env: BatchEnv, learner: PolicyLearner, folder: Path) -> dict[str, Any]:
    """Clone demonstrations, with views or without."""
    expert, count = late(settings, "driven"), ROUNDS * EPISODES
    starts = env.starts("train", 2 * count, seed=derive(settings.seed, "starts") % 2**31)
    episodes = collect(
        env,
        expert,
        starts,
        source="demonstration",
        seed=derive(settings.seed, "collect"),
        num_labels=ROUNDS * LABELS,
        num_rows=count,
        max_steps=ROUNDS * LABELS // count,
        views=settings.views,
    )
    learner.fit(episodes, folder=folder / "fit", seed=derive(settings.seed, "fit"), warm_start=None)
    driven = _drive(env, learner.controller(folder / "fit", num_rows=env.num_rows))
    burden = Burden.of(episodes)
    return {"success": driven, "last": driven, "labels": burden.labels, **_costs(burden)}


def in_rounds(
    settings: Settings, rounds: DartConfig | DaggerConfig, env: BatchEnv, learner: PolicyLearner, folder: Path
) -> dict[str, Any]:
    """Teach by DART or DAgger and drive with the returned iterate and with the last one."""
    expert, shown = late(settings, settings.labels), list[Episode]()
    if isinstance(rounds, DaggerConfig):
        starts = env.starts("train", 2 * EPISODES, seed=derive(settings.seed, "starts") % 2**31)
        shown = collect(
            env,
            late(settings, "driven"),
            starts,
            source="demonstration",
            seed=derive(settings.seed, "collect"),
            num_labels=LABELS,
            num_rows=EPISODES,
            max_steps=LABELS // EPISODES,
        )
    result = teach_in_rounds(
        env, expert, learner, config=rounds, initial=shown, folder=folder, seed=settings.seed
    )
    burden = result.burden + Burden.of(shown)
    outcome = {
        "success": _drive(env, learner.controller(result.best_folder, num_rows=env.num_rows)),
        "last": _drive(env, learner.controller(result.folders[-1], num_rows=env.num_rows)),
        "best": result.best,
        "validation": [record.validation_success for record in result.rounds],
        "labels": burden.labels,
        **_costs(burden),
    }
    if isinstance(rounds, DartConfig):
        noise = [one.estimate for one in noise_records(learner, result.folders)]
        outcome["deviation"] = [round(float(np.sqrt(one.trace)), 4) for one in noise]
        outcome["watched"] = [one.watched_success for one in noise]
    return outcome


def _costs(burden: Burden) -> dict[str, int]:
    return {"drives": burden.episodes, "violations": burden.violations, "human_steps": burden.human_steps}


def _drive(env: BatchEnv, controller: Controller) -> list[int]:
    starts = env.starts("test", STARTS, seed=0)
    return evaluate(env, controller, starts, name="test", positions=False).told.astype(int).tolist()


def gap() -> str:
    """Return the table."""
    rows = [
        "| method | labels | off the road while collecting | expert, whole drives under the noise | noise |"
        " last iterate | returned iterate |",
        "|---" * 7 + "|",
    ]
    for method in METHODS:
        wanted = [cell(method, seed) for seed in seeds_of(method)]
        results = [result for one in wanted if (result := one.result()) is not None]
        if len(results) == len(wanted):
            rows.append(_row(method, results))
    return "\n".join(rows)


def _row(method: str, results: Sequence[Mapping[str, Any]]) -> str:
    if method == "expert alone":
        kept = np.array(results[0]["success"])
        interval = wilson(int(kept.sum()), len(kept))
        share = f"{100 * kept.mean():.0f} % ({100 * interval.low:.0f} to {100 * interval.high:.0f})"
        return f"| {method} | | | {share} | 0 | | |"
    failed, drives = (sum(result[name] for result in results) for name in ("violations", "drives"))
    watched = noise = ""
    if "watched" in results[0]:
        watched = f"{100 * np.mean([result['watched'][1:] for result in results]):.0f} %"
        noise = f"{np.mean([result['deviation'][1:] for result in results]):.2f}"
    columns = (
        method,
        str(results[0]["labels"]),
        f"{failed} of {drives}",
        watched,
        noise,
        _share([result["last"] for result in results]),
        _share([result["success"] for result in results]),
    )
    return f"| {' | '.join(columns)} |"


def _share(successes: Sequence[Sequence[int]]) -> str:
    kept = np.array(successes, dtype=float)
    interval = clustered_rate(kept).interval
    assert interval is not None
    each = ", ".join(f"{row.sum():.0f}" for row in kept)
    return f"{100 * kept.mean():.0f} % ({100 * interval.low:.0f} to {100 * interval.high:.0f}): {each}"


TABLES = {"dart gap": gap}


def describe(result: Mapping[str, Any]) -> str:
    """Return a cell's outcome in a few words."""
    return f"{sum(result.get('last', result['success']))} of {len(result['success'])}"


if __name__ == "__main__":
    main(cells(), page=PAGES / "dart.md", tables=TABLES, describe=describe, doc=__doc__)
