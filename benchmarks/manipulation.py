"""Manipulation, cloned and corrected: the tables of docs/results/manipulation.md.

    python benchmarks/manipulation.py run [--only NAME]   compute the cells that are missing
    python benchmarks/manipulation.py table               write the tables into the page

A row of the table is a place (env, what policies see, encoder), a policy class and the number of
demonstrations; a cell is one seed of it. The scripted expert or the planner of the env demonstrates from
training starts, a policy is fitted and drives from the test starts; then come rounds of DAgger: the policy
drives from fresh training starts, the expert labels every step, and a policy is fitted anew to everything.
Settings were chosen on validation starts, as the page says, before a test start was seen.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.parts import made
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.core.statistics import wilson
from steadyhand.correction.collect import collect
from steadyhand.correction.mixture import BetaMixture
from steadyhand.data.episode import Episode
from steadyhand.data.frames import Frames
from steadyhand.envs.base import BatchEnv, Family
from steadyhand.envs.config import EnvConfig
from steadyhand.envs.tabletop.config import TabletopConfig
from steadyhand.experts.config import ExpertConfig, TabletopExpert
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.encoders.image import SmallConv
from steadyhand.policies.encoders.objects import ObjectTransformer
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.act import Act
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.experiment import Cell
from steadyhand.recipes.learner import fitted
from steadyhand.rollout.evaluate import evaluate
from steadyhand.rollout.executors.receding import RecedingHorizon
from steadyhand.training.config import EmaConfig, TrainConfig

EXPERIMENT = experiment("manipulation")
SEEDS = range(3)


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a policy is taught: an env, who shows it, and what is seen of it.

    Attributes:
        env: The env, which shows what policies see.
        expert: Who demonstrates and labels; None takes the expert that comes along.
        encoder: How observations are read by heads of one vector.
        attended: How they are read by heads that attend to tokens.
        demonstrations: Number of demonstrations.
        num_steps: Gradient steps of each fit.
        horizon: Predicted steps of a chunk.
        executed: Executed steps of each chunk.
        rounds: Rounds of DAgger.
        drives: Drives of each round.
    """

    env: EnvConfig
    expert: ExpertConfig | None = None
    encoder: EncoderConfig
    attended: EncoderConfig
    demonstrations: int
    num_steps: int
    horizon: int = 8
    executed: int = 4
    rounds: int = 1
    drives: int = 100


@dataclass(frozen=True, kw_only=True)
class Method:
    """A policy class, small enough to be trained on a core in minutes.

    Attributes:
        head: The head.
        attends: Whether it attends to tokens.
        averages: Whether it drives with averaged weights.
    """

    head: HeadConfig
    attends: bool = False
    averages: bool = False


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a cell depends on.

    Attributes:
        env: The env.
        expert: Who demonstrates and labels.
        policy: The policy.
        training: Training of each fit; its seed is the cell's.
        demonstrations: Number of demonstrations.
        rounds: Rounds of DAgger.
        drives: Drives of each round.
        family: Starts of the evaluation.
        starts: Number of them.
        seed: Seed of data, weights and draws.
    """

    env: EnvConfig
    expert: ExpertConfig
    policy: PolicyConfig
    training: TrainConfig
    demonstrations: int
    rounds: int
    drives: int
    family: Family = "test"
    starts: int = 64
    seed: int = 0


TELLS = ("state", "objects", "goal")
TABLE = TabletopExpert()
WHOLE, APART = ObjectTransformer(), ObjectTransformer(join="all")
PLACES = {
    "tabletop, one block, flat": Place(
        env=TabletopConfig(task="instruct", observation=TELLS),
        expert=TABLE,
        encoder=StateMLP(),
        attended=StateMLP(),
        demonstrations=300,
        num_steps=2000,
    ),
    "tabletop, one block": Place(
        env=TabletopConfig(task="instruct", observation=TELLS),
        expert=TABLE,
        encoder=WHOLE,
        attended=APART,
        demonstrations=300,
        num_steps=2000,
    ),
    "tabletop, sorting": Place(
        env=TabletopConfig(observation=("state", "objects")),
        expert=TABLE,
        encoder=WHOLE,
        attended=APART,
        demonstrations=150,
        num_steps=3000,
        drives=50,
    ),
    "tabletop, one block, pixels": Place(
        env=TabletopConfig(task="instruct", observation=("state", "camera", "goal")),
        expert=TABLE,
        encoder=SmallConv(),
        attended=SmallConv(),
        demonstrations=1000,
        num_steps=2000,
        drives=300,
    ),
}
DENOISER = DenoisingMLP(hidden=(256, 256, 256))
METHODS = {
    "regression": Method(head=Regression(error="l1")),
    "ACT": Method(
        head=Act(
            width=64,
            num_heads=4,
            feedforward=128,
            num_encoder_layers=1,
            num_decoder_layers=1,
            num_posterior_layers=1,
            latent_dim=8,
            dropout=0.0,
        ),
        attends=True,
    ),
    "diffusion": Method(head=Diffusion(net=DENOISER, prediction="sample"), averages=True),
    "flow": Method(head=Flow(net=DENOISER, prediction="sample"), averages=True),
}
ROWS: tuple[tuple[str, str], ...] = (
    *(("tabletop, one block", method) for method in METHODS),
    ("tabletop, one block, flat", "regression"),
    *(("tabletop, sorting", method) for method in METHODS),
    *(("tabletop, one block, pixels", method) for method in METHODS),
)
"""Place and policy class of each row, in the order in which they are wanted."""


def settings_of(place: str, method: str, *, seed: int) -> Settings:
    """Return what a cell depends on."""
    where, how = PLACES[place], METHODS[method]
    expert = where.expert or made(ExpertConfig, where.env.expert)
    return Settings(
        env=where.env,
        expert=expert,
        policy=PolicyConfig(
            encoder=where.attended if how.attends else where.encoder,
            head=how.head,
            horizon=where.horizon,
            n_action_steps=where.executed,
        ),
        training=TrainConfig(
            num_steps=where.num_steps,
            batch_size=128,
            learning_rate=1e-3,
            ema=EmaConfig() if how.averages else None,
        ),
        demonstrations=where.demonstrations,
        rounds=where.rounds,
        drives=where.drives,
        seed=seed,
    )


def compute(settings: Settings) -> dict[str, Any]:
    """Clone, evaluate, then correct and evaluate after each round."""
    env = settings.env.build(settings.starts)
    expert = settings.expert.build(env)
    begin = time.perf_counter()
    episodes = driven(env, expert, settings, round=0)
    shown = time.perf_counter() - begin
    result: dict[str, Any] = {"shown_s": round(shown, 1), "labels": [], "success": [], "train_s": []}
    for number in range(settings.rounds + 1):
        policy = fit(env, episodes, settings, round=number)
        controller = RecedingHorizon(policy.policy.eval(), num_rows=env.num_rows)
        found = evaluate(
            env,
            controller,
            env.starts(settings.family, settings.starts),
            name="policy",
            seed=settings.seed,
            positions=False,
        )
        result["labels"].append(policy.labels)
        result["train_s"].append(policy.train_s)
        result["success"].append(found.told.astype(int).tolist())
        result["parameters"] = sum(one.numel() for one in policy.policy.parameters())
        if number < settings.rounds:
            mixed = BetaMixture(controller, expert, beta=0.0)
            episodes += driven(env, mixed, settings, round=number + 1)
    return result


def driven(env: BatchEnv, driver: Controller, settings: Settings, *, round: int) -> list[Episode]:
    """Return the demonstrations, round 0, or drives of the policy that the expert has labelled."""
    count = settings.drives if round else settings.demonstrations
    seed = derive(settings.seed, "drive", round)
    return collect(
        env,
        driver,
        env.starts("train", count, seed=seed % 2**31),
        source="correction" if round else "demonstration",
        seed=seed,
        round=round,
    )


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A policy, the number of labels that it learnt from, and how long that took."""

    policy: PolicyModule
    labels: int
    train_s: float = field(compare=False)


def fit(env: BatchEnv, episodes: list[Episode], settings: Settings, *, round: int) -> Fit:
    """Fit a policy anew to all episodes."""
    spec = env.spec
    frames = Frames.from_episodes(episodes, observation_spec=spec.observation, action_spec=spec.action)
    seed = derive(settings.seed, "fit", round) % 2**31
    training = replace(settings.training, seed=seed)
    policy, done = fitted(frames, settings.policy, training, weights_seed=seed)
    labels = int((frames.weight > 0).sum())
    return Fit(policy=policy, labels=labels, train_s=round_to(done.wall_time_s))


def round_to(seconds: float) -> float:
    """Return a time to a tenth of a second."""
    return float(np.round(seconds, 1))


def cell(place: str, method: str, seed: int) -> Cell[Any]:
    """Return one seed of a row."""
    name = f"{place} {method} seed {seed}".replace(",", "")
    return EXPERIMENT.cell(name, settings=settings_of(place, method, seed=seed), compute=compute)


def cells() -> list[Cell[Any]]:
    """Return all of them, one seed of every row first."""
    return [cell(place, method, seed) for seed in SEEDS for place, method in ROWS]


def lines() -> Iterator[str]:
    """Yield a line for each row of which there is a cell."""
    for place, method in ROWS:
        done = [found for seed in SEEDS if (found := cell(place, method, seed).result())]
        if not done:
            continue
        where, size = PLACES[place], done[0]["parameters"]
        tries = [" | ".join(shares(done, number)) for number in range(where.rounds + 1)]
        minutes = np.mean([sum(one["train_s"]) for one in done]) / 60
        yield (
            f"| {place} | {method} | {size:,} | {where.demonstrations} | {' | '.join(tries)} "
            f"| {minutes:.1f} | {len(done)} |"
        )


def shares(done: Sequence[Mapping[str, Any]], number: int) -> tuple[str, str]:
    """Return the labels and the success of all seeds after a round."""
    found = np.array([one["success"][number] for one in done])
    each = ", ".join(str(one) for one in found.sum(axis=1))
    interval = wilson(int(found.sum()), found.size)
    labels = int(np.mean([one["labels"][number] for one in done]))
    share = f"**{100 * found.mean():.0f} %** ({100 * interval.low:.0f} to {100 * interval.high:.0f}; {each})"
    return f"{labels}", share


def rows_table() -> str:
    """Return what each policy class does before and after correction."""
    head = "| place | policy | parameters | demonstrations | labels | success of the clone "
    head += "| labels | after DAgger | training, min | seeds |"
    return "\n".join([head, "|---" * 10 + "|", *lines()])


TABLES = {"rows": rows_table}


def describe(result: Mapping[str, Any]) -> str:
    """Return a result in a few words."""
    return " then ".join(f"{sum(one)} of {len(one)}" for one in result["success"])


if __name__ == "__main__":
    main(cells(), page=PAGES / "manipulation.md", tables=TABLES, describe=describe, doc=__doc__)
