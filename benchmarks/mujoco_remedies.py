"""Remedies on Walker2d, HalfCheetah and Ant under the protocol of DART: tables of docs/results/mujoco.md.

    STEADYHAND_DATA=DIR python benchmarks/mujoco_remedies.py run [--only NAME]   compute what is missing
    python benchmarks/mujoco_remedies.py table                                   write the tables

DIR holds mujoco-experts, networks that somebody else trained, which do not ship with the project; the `sim`
extra is needed. As in the released experiments of Laskey et al. (2017) a round is one trajectory of 500
steps, of which every 10th is a training pair: 50 labels. The learner is an MLP 64-64 tanh on whitened inputs,
fitted anew by Adam at 0.01 for 100 epochs of batches of 128. Round 1 is the same for all methods: the expert,
undisturbed. A cell is one (env, method, seed) with the returns of its iterates over 500 steps from 10 test
starts, the same for all. Settings were fixed before any result was seen; nothing was tuned on them.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.core.statistics import clustered_mean
from steadyhand.correction.burden import Burden
from steadyhand.correction.collect import collect
from steadyhand.correction.dart_noise import Thinned, as_matrix, held_out_error, second_moment
from steadyhand.correction.marks import Marks
from steadyhand.correction.mixture import BetaMixture
from steadyhand.correction.noise import CorrelatedNoise, GaussianNoise, NoisyExecution
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.experts.config import WeightsExpert
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.experiment import Cell
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.rollout.evaluate import evaluate
from steadyhand.training.config import TrainConfig

EXPERIMENT = experiment("mujoco")

ENVS = ("Walker2d", "HalfCheetah", "Ant")
SEEDS = range(5)
ENOUGH = 0.95
"""Share of the expert's return that counts as having learnt the task."""
MARGIN = 0.05
"""What a remedy may lose on the control, as a share of the expert's return."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """How a round's trajectory is made, and what is done in training.

    Attributes:
        sigma: Deviation of noise on the expert's execution in every second round; labels stay clean.
        dart: The noise is DART's, from round 2 on.
        floor: Added to the variance of DART's noise in each dimension.
        dagger: The learner drives from round 2 on; the expert labels.
        input_noise: Deviation of noise on the whitened inputs in training.
    """

    sigma: float = 0.0
    dart: bool = False
    floor: float = 0.0
    dagger: bool = False
    input_noise: float = 0.0


METHODS = {
    "cloning": Method(),
    "clean-label noise 0.1": Method(sigma=0.1),
    "clean-label noise 0.3": Method(sigma=0.3),
    "DART": Method(dart=True),
    "DART, floor 0.01": Method(dart=True, floor=0.01),
    "DAgger": Method(dagger=True),
    "NoiseBC 0.03": Method(input_noise=0.03),
    "NoiseBC 0.1": Method(input_noise=0.1),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a cell depends on.

    Attributes:
        env: The env, without its version.
        method: The remedy.
        seed: Seed of everything but the test starts.
        steps: Length of a trajectory and of an evaluation.
        keep_every: One of so many steps is a training pair; the others are held out.
        evaluated: Rounds after which the iterate is evaluated; the last is the last round.
        renewed: Rounds before which DART's noise is estimated anew.
        window: Trajectories that the estimate is made on.
        epochs: Epochs of each fit.
        learning_rate: Learning rate of Adam.
        batch_size: Pairs in a batch of a gradient step.
        starts: Test starts.
    """

    env: str
    method: Method
    seed: int
    steps: int = 500
    keep_every: int = 10
    evaluated: tuple[int, ...] = (1, 2, 3, 4, 5, 7, 10, 15, 20)
    renewed: tuple[int, ...] = (2, 8)
    window: int = 5
    epochs: int = 100
    learning_rate: float = 0.01
    batch_size: int = 128
    starts: int = 10


def build(settings: Settings) -> tuple[BatchEnv, Controller]:
    """Return the env that the expert was trained on, and the expert."""
    root = os.environ.get("STEADYHAND_DATA")
    if root is None:
        raise SystemExit("set STEADYHAND_DATA to the folder that holds mujoco-experts")
    kwargs = {"use_contact_forces": True} if settings.env == "Ant" else {}
    config = GymnasiumConfig(
        env_id=f"{settings.env}-v4", max_episode_steps=settings.steps, kwargs=dict(kwargs)
    )
    env = config.build(settings.starts)
    weights = Path(root) / "mujoco-experts" / f"expert_mlp_{settings.env}.npz"
    return env, WeightsExpert(path=weights).build(env)


@dataclass
class CellRun:
    """One cell in progress: its rounds so far."""

    settings: Settings
    env: BatchEnv
    expert: Controller
    folder: Path

    def __post_init__(self) -> None:
        self.thinned = Thinned(keep_every=self.settings.keep_every)
        self.episodes: list[Episode] = []
        self.covariance = np.zeros((self.env.spec.action.size,) * 2)

    def round(self, number: int) -> None:
        """Collect one trajectory and fit anew on everything."""
        settings = self.settings
        self.episodes += collect(
            self.env,
            self.driver(number),
            self.env.starts("train", 1, seed=derive(settings.seed, "start", number) % 2**31),
            source="correction" if settings.method.dagger and number > 1 else "demonstration",
            seed=derive(settings.seed, "collect", number),
            num_rows=1,
            max_steps=settings.steps,
            round=number,
        )
        self.learner().fit(
            self.episodes,
            folder=self.folder_of(number),
            seed=derive(settings.seed, "fit", number),
            warm_start=None,
            marks=self.marks(),
        )

    def driver(self, number: int) -> Controller:
        """Return who drives in a round, and labels."""
        method, action = self.settings.method, self.env.spec.action
        if number == 1:
            return self.expert
        if method.dagger:
            return BetaMixture(self.controller(number - 1), self.expert, beta=0.0)
        if method.dart:
            if number in self.settings.renewed:
                self.covariance = self.estimate(number - 1)
            noise = CorrelatedNoise(covariance=as_matrix(self.covariance))
            return NoisyExecution(self.expert, noise=noise, action=action, clean_fraction=0.0)
        if method.sigma > 0 and number % 2 == 0:
            noise = GaussianNoise(sigma=method.sigma)
            return NoisyExecution(self.expert, noise=noise, action=action, clean_fraction=0.0)
        return self.expert

    def estimate(self, number: int) -> np.ndarray:
        """Return DART's covariance from the held-out steps of the last trajectories."""
        error = held_out_error(
            self.learner(),
            self.folder_of(number),
            self.episodes,
            self.thinned,
            window=self.settings.window,
        )
        return second_moment(error) + self.settings.method.floor * np.eye(error.shape[1])

    def marks(self) -> list[Marks]:
        """Return weights that leave held-out steps out of training."""
        held_out = [self.thinned.steps(index, len(one)) for index, one in enumerate(self.episodes)]
        return [Marks(weight=(~steps).astype(np.float32)) for steps in held_out]

    def pairs(self) -> int:
        """Return the number of training pairs so far."""
        return sum(int((marks.weight > 0).sum()) for marks in self.marks())

    def learner(self) -> PolicyLearner:
        """Return the learner, with as many gradient steps as the epochs are long."""
        settings = self.settings
        policy = PolicyConfig(
            encoder=StateMLP(hidden=(64, 64), activation="tanh"), input_noise=settings.method.input_noise
        )
        training = TrainConfig(
            num_steps=-(-settings.epochs * self.pairs() // settings.batch_size),
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=0.0,
            schedule="constant",
            warmup_steps=0,
        )
        return PolicyLearner(self.env.spec, policy=policy, training=training)

    def controller(self, number: int) -> Controller:
        """Return the iterate of a round."""
        return self.learner().controller(self.folder_of(number), num_rows=self.env.num_rows)

    def folder_of(self, number: int) -> Path:
        """Return where the iterate of a round is kept."""
        return self.folder / f"round-{number:02d}"


def compute(settings: Settings) -> dict[str, Any]:
    """Return the expert's returns, and those of every evaluated iterate."""
    env, expert = build(settings)
    starts = env.starts("test", settings.starts, seed=0)

    def returns(controller: Controller) -> list[float]:
        found = evaluate(env, controller, starts, name="", seed=settings.seed, positions=False)
        return [round(float(value), 1) for value in found.returns]

    result: dict[str, Any] = {"expert": returns(expert), "labels": [], "returns": []}
    with tempfile.TemporaryDirectory() as folder:
        run = CellRun(settings, env, expert, Path(folder))
        for number in range(1, settings.evaluated[-1] + 1):
            run.round(number)
            if number in settings.evaluated:
                result["labels"].append(run.pairs())
                result["returns"].append(returns(run.controller(number)))
    collected = [round(float(one.reward.sum()), 1) for one in run.episodes]
    falls = Burden.of(run.episodes).violations
    return {
        **result,
        "collected": collected,
        "falls": falls,
        "noise_trace": float(np.trace(run.covariance)),
    }


def cell(env: str, method: str, seed: int) -> Cell[Any]:
    """Return one entry of the tables."""
    settings = Settings(env=env, method=METHODS[method], seed=seed)
    return EXPERIMENT.cell(
        f"{env} {method.replace(',', '')} seed {seed}",
        settings=settings,
        compute=compute,
    )


def cells() -> list[Cell[Any]]:
    """Return all cells, one seed of everything first."""
    return [cell(env, method, seed) for seed in SEEDS for env in ENVS for method in METHODS]


@cache
def results(env: str, method: str) -> tuple[dict[str, Any], ...]:
    """Return the results that there are, by seed."""
    found = [cell(env, method, seed).result() for seed in SEEDS]
    return tuple(one for one in found if one)


def last_of(env: str, method: str) -> np.ndarray:
    """Return (seeds, starts) returns of the last iterates as shares of the expert's mean return."""
    return np.array([np.array(one["returns"][-1]) / np.mean(one["expert"]) for one in results(env, method)])


def labels_to(result: Mapping[str, Any]) -> int | None:
    """Return the labels of the first iterate that reaches 95 % of the expert's return, None if none does."""
    goal = ENOUGH * np.mean(result["expert"])
    means = np.mean(result["returns"], axis=1)
    return next((n for n, mean in zip(result["labels"], means, strict=True) if mean >= goal), None)


def interval_of(values: np.ndarray) -> str:
    """Return a mean share in percent with its interval over seeds and starts."""
    if len(values) < 2:
        return f"{100 * values.mean():.0f}"
    estimate = clustered_mean(values)
    assert estimate.interval is not None
    low, high = 100 * estimate.interval.low, 100 * estimate.interval.high
    return f"{100 * estimate.value:.0f} ({low:.0f} to {high:.0f})"


def burden_row(env: str, method: str) -> str | None:
    """Return a row of the table of labels."""
    found = results(env, method)
    if not found:
        return None
    reached = [labels_to(one) for one in found]
    there = sorted(one for one in reached if one is not None)
    # Seeds that never reach the goal count as later than all others.
    middle = [*there, *[None] * (len(reached) - len(there))][(len(reached) - 1) // 2]
    total = np.mean([one["labels"][-1] for one in found])
    own = np.mean([np.mean(one["collected"][1:]) / np.mean(one["expert"]) for one in found])
    falls = sum(one["falls"] for one in found)
    figures = [
        f"{len(there)} of {len(found)}",
        "never" if middle is None else f"{middle}",
        f"{total:.0f}",
        interval_of(last_of(env, method)),
        f"{100 * own:.0f}",
        f"{falls}",
    ]
    return f"| {env} | {method} | " + " | ".join(figures) + " |"


def labels_table() -> str:
    """Return the table of labels to 95 % of the expert."""
    columns = "seeds that reach 95 % | labels until then, median | labels in all"
    rest = "return after all, % of expert | return while collecting, % | falls while collecting"
    lines = [f"| env | method | {columns} | {rest} |", "|---" * 8 + "|"]
    lines += [row for env in ENVS for method in METHODS if (row := burden_row(env, method)) is not None]
    return "\n".join(lines)


def curve_table() -> str:
    """Return the table of returns by round."""
    rounds = Settings(env=ENVS[0], method=Method(), seed=0).evaluated
    lines = ["| env | method | " + " | ".join(f"round {number}" for number in rounds) + " |"]
    lines.append("|---" * (2 + len(rounds)) + "|")
    for env in ENVS:
        for method in METHODS:
            if found := results(env, method):
                shares = np.mean(
                    [np.mean(one["returns"], axis=1) / np.mean(one["expert"]) for one in found], axis=0
                )
                lines.append(f"| {env} | {method} | " + " | ".join(f"{100 * s:.0f}" for s in shares) + " |")
    return "\n".join(lines)


def control_table() -> str:
    """Return the table of the control: does a remedy lose more than the margin against cloning?"""
    lines = ["| method | method - cloning, % of expert | not worse by 5 % |", "|---|---|---|"]
    base = results("Walker2d", "cloning")
    for method in METHODS:
        found = results("Walker2d", method)
        if method == "cloning" or len(found) < 2 or len(found) != len(base):
            continue
        estimate = clustered_mean(last_of("Walker2d", method) - last_of("Walker2d", "cloning"))
        assert estimate.interval is not None
        low, high = (100 * bound for bound in (estimate.interval.low, estimate.interval.high))
        verdict = (
            "yes" if low > -100 * MARGIN else "**no: worse**" if high < -100 * MARGIN else "**not shown**"
        )
        lines.append(f"| {method} | {100 * estimate.value:+.1f} ({low:+.1f} to {high:+.1f}) | {verdict} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    "mujoco-labels": labels_table,
    "mujoco-rounds": curve_table,
    "mujoco-control": control_table,
}


def describe(result: Mapping[str, Any]) -> str:
    """Return a cell's outcome in a few words."""
    share = np.mean(result["returns"][-1]) / np.mean(result["expert"])
    return f"{100 * share:.0f} % of the expert, 95 % after {labels_to(result)} labels"


if __name__ == "__main__":
    main(cells(), page=PAGES / "mujoco.md", tables=TABLES, describe=describe, doc=__doc__)
