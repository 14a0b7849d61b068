"""Does a gate take a choice for ignorance? The table `bimodal gate` of docs/results/gates.md.

    python benchmarks/bimodal_gate.py run [--only NAME]   compute the cells that are missing
    python benchmarks/bimodal_gate.py table               write the table into the page

Demonstrators of the env forks pass a tree on the left or on the right: in front of it two answers are right,
and nowhere else. All gates are calibrated alike, on held-out demonstrations away from the fork, to let 5 % of
those steps go over. What is asked, fixed before a result was seen: at which share of the steps of further
demonstrations do they hand over where there is one right answer (5 % if the calibration holds), where there
are two (the same, if a choice is not taken for ignorance), and off the demonstrations, where they should.
A cell is one seed and number of demonstrations, with all gates.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.seeding import RowStreams, derive, generator
from steadyhand.core.specs import STATE
from steadyhand.core.statistics import student_mean
from steadyhand.correction.collect import collect
from steadyhand.correction.contract import Stage
from steadyhand.correction.gates.calibration import threshold_at
from steadyhand.correction.gates.fitter import GateFitter
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.forks.config import ForksConfig
from steadyhand.experts.config import ForksExpert
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.scores import Doubt, Neighbour, OwnLoss, Score, Seen, proposals
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.experiment import Cell
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.training.config import EmaConfig, TrainConfig

EXPERIMENT = experiment("bimodal-gate")

SEEDS = range(3)
DEMONSTRATIONS = (40, 10)
"""To train on. 10 was added after the first cell of 40 was seen; all else was fixed before."""
HORIZON = 4
OPEN = 0.05
"""This close to the line y = 0 both sides of the tree are open [m]."""
BEHIND = 0.25
"""As far behind the fork two answers are still right, while the side is open [m]."""
SPEED = 0.64
"""Of the demonstrator along x [m/s]."""


def _policy(head: Any, encoder: StateMLP) -> PolicyConfig:
    return PolicyConfig(encoder=encoder, head=head, horizon=HORIZON)


ONE_SHOT = TrainConfig(num_steps=2000, batch_size=64)
NET = DenoisingMLP(hidden=(128, 128, 128))
CLASSES: dict[str, tuple[PolicyConfig, TrainConfig]] = {
    "regression": (_policy(Regression(), StateMLP(hidden=(128, 128))), ONE_SHOT),
    "mixture": (_policy(Mixture(num_modes=8), StateMLP(hidden=(128, 128))), ONE_SHOT),
    "diffusion": (_policy(Diffusion(net=NET), StateMLP(hidden=())), replace(ONE_SHOT, ema=EmaConfig())),
}
GATES = {
    "doubt, regressions": "ensemble of 5 regressions, variance of their answers (Ensemble-, ThriftyDAgger)",
    "doubt, diffusions": "ensemble of 5 diffusions, variance of their samples",
    "doubt, diffusions, same noise": "the same, all drawing with the same noise",
    "loss, diffusion": "a diffusion's loss of its own sample (Diff-DAgger)",
    "loss, mixture": "a mixture's -log p of its own samples",
    "nearest": "distance to the 5th nearest training step (CRSAIL)",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a cell depends on.

    Attributes:
        env: The env.
        expert: Who demonstrates.
        demonstrations: To train on.
        held_out: To calibrate with, and to measure on: as many each.
        classes: Policy and training by name.
        members: Members of each ensemble.
        draws: Draws of `OwnLoss`.
        level: Quantile that the gates are calibrated to.
        off: Places off the demonstrations.
        apart: Least distance of those from each training step [m].
        seed: Seed of everything: data, weights and draws.
    """

    env: ForksConfig = field(default_factory=lambda: ForksConfig(late=True, start_std=0.03))
    expert: ForksExpert = field(default_factory=ForksExpert)
    demonstrations: int = 40
    held_out: int = 40
    classes: dict[str, tuple[PolicyConfig, TrainConfig]] = field(default_factory=lambda: CLASSES)
    members: int = 5
    draws: int = 16
    level: float = 0.95
    off: int = 1000
    apart: float = 0.15
    seed: int = 0


def cell(count: int, seed: int) -> Cell[Any]:
    """Return one entry of the table."""
    settings = Settings(demonstrations=count, seed=seed)
    return EXPERIMENT.cell(
        f"forks {count} demonstrations seed {seed}",
        settings=settings,
        compute=compute,
    )


def compute(settings: Settings) -> dict[str, Any]:
    """Demonstrate, fit, score; return the share handed over by gate and place."""
    env = settings.env.build(settings.held_out)
    train = demonstrations(env, settings, "train", settings.demonstrations)
    calibration = demonstrations(env, settings, "held out", settings.held_out)
    test = demonstrations(env, settings, "test", settings.held_out)
    places = {
        **split(np.concatenate([episode.observation[STATE] for episode in test]), settings),
        "off": off_places(np.concatenate([episode.observation[STATE] for episode in train]), settings),
    }
    calm = split(np.concatenate([episode.observation[STATE] for episode in calibration]), settings)["one"]
    result: dict[str, Any] = {"steps": {name: len(value) for name, value in places.items()}}
    with tempfile.TemporaryDirectory() as folder:
        for name, score, fitter in scores(env, settings, train, Path(folder)):
            threshold = threshold_at(at(score, fitter, calm, settings.seed), settings.level)
            result[name] = {
                place: round(float((at(score, fitter, value, settings.seed) > threshold).mean()), 4)
                for place, value in places.items()
            }
    return result


def demonstrations(env: BatchEnv, settings: Settings, name: str, count: int) -> list[Episode]:
    """Return the demonstrations of a purpose."""
    seed = derive(settings.seed, name)
    starts = env.starts("train", count, seed=seed % 2**31)
    return collect(env, settings.expert.build(env), starts, source="demonstration", seed=seed)


def split(state: np.ndarray, settings: Settings) -> dict[str, np.ndarray]:
    """Return the states with one right answer, and those with two.

    Two, where the chunk reaches the fork and the side is still open.
    """
    fork, step = settings.env.fork_x, SPEED * settings.env.control_dt
    x, y = state.T
    two = (np.abs(y) <= OPEN) & (x >= fork - (HORIZON - 1) * step) & (x <= fork + BEHIND)
    return {"one": state[~two], "two": state[two]}


def off_places(known: np.ndarray, settings: Settings) -> np.ndarray:
    """Return places between start and finish, not in the tree, and far from every training step."""
    random, config = generator(settings.seed, "off"), settings.env
    kept = np.zeros((0, 2), dtype=np.float32)
    while len(kept) < settings.off:
        drawn = random.uniform((0.0, -0.9), (config.goal_x, 0.9), (settings.off, 2)).astype(np.float32)
        far = np.linalg.norm(drawn[:, None] - known, axis=2).min(1) >= settings.apart
        free = np.hypot(drawn[:, 0] - config.disc_x, drawn[:, 1]) > config.radius
        kept = np.concatenate([kept, drawn[far & free]])
    return kept[: settings.off]


def scores(
    env: BatchEnv, settings: Settings, train: Sequence[Episode], folder: Path
) -> list[tuple[str, Score, GateFitter]]:
    """Fit what the gates need, as a round of correction would."""
    shops: dict[str, GateFitter] = {}
    for name, (policy, training) in settings.classes.items():
        learner, here = PolicyLearner(env.spec, policy=policy, training=training), folder / name
        learner.fit(train, folder=here / "iterate", seed=derive(settings.seed, "fit", name), warm_start=None)
        stage = Stage(
            env=env,
            expert=settings.expert.build(env),
            learner=learner,
            round=2,
            seed=derive(settings.seed, "stage", name),
            folder=here,
            iterate=here / "iterate",
            policy=learner.controller(here / "iterate", num_rows=env.num_rows),
            training=train,
            held_out=(),
            family="train",
            num_rows=env.num_rows,
        )
        shops[name] = GateFitter(stage)
    out: list[tuple[str, Score, GateFitter]] = []
    for name, fitter in shops.items():
        members = [] if name == "mixture" else fitter.members(settings.members)
        if members:
            own = Doubt(members, fitter.scale, measure="mean", noise="own")
            out.append((f"doubt, {name}s", own, fitter))
        if name == "regression":
            out.append(("nearest", Neighbour(fitter.policy, fitter.bank()), fitter))
        else:
            out.append((f"loss, {name}", OwnLoss(fitter.policy, num_draws=settings.draws), fitter))
        if name == "diffusion":
            out.append((f"doubt, {name}s, same noise", Doubt(members, fitter.scale, measure="mean"), fitter))
    return out


def at(score: Score, fitter: GateFitter, state: np.ndarray, seed: int) -> np.ndarray:
    """Return a score at states, for what the policy proposes there."""
    seen = Seen(observation={STATE: state[:, None]})
    streams = RowStreams.from_seed(derive(seed, "score", len(state)), len(state))
    return score(seen, proposals(fitter.policy, seen, streams.fork("proposal")), streams)


def table() -> str:
    """Return the table."""
    rows = [
        "| gate | demonstrations | one right answer | two | off the demonstrations |",
        "|---|---|---|---|---|",
    ]
    for count in DEMONSTRATIONS:
        results = [found for seed in SEEDS if (found := cell(count, seed).result()) is not None]
        for name, text in GATES.items() if results else ():
            columns = [share([found[name][place] for found in results]) for place in ("one", "two", "off")]
            rows.append(f"| {text} | {count} | " + " | ".join(columns) + " |")
    return "\n".join(rows)


def share(values: Sequence[float]) -> str:
    """Return the mean over seeds, its 95 % interval by Student's t, and each seed's figure, in percent."""
    estimate = student_mean(100 * np.array(values))
    assert estimate.interval is not None
    low, high = max(estimate.interval.low, 0.0), min(estimate.interval.high, 100.0)
    each = ", ".join(f"{100 * value:.0f}" for value in values)
    return f"**{estimate.value:.0f} %** ({low:.0f} to {high:.0f}): {each}"


def describe(result: Mapping[str, Any]) -> str:
    """Return a cell's outcome in a few words."""
    return "; ".join(f"{name}: {result[name]}" for name in GATES)


TABLES = {"bimodal gate": table}

if __name__ == "__main__":
    cells = [cell(count, seed) for count in DEMONSTRATIONS for seed in SEEDS]
    main(cells, page=PAGES / "gates.md", tables=TABLES, describe=describe, doc=__doc__)
