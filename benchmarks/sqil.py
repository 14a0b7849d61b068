"""How many steps in the env does inverse reinforcement learning need, where cloning needs none? SQIL.

    python benchmarks/sqil.py run [--only NAME]   compute the cells that are missing (extra `rl`)
    python benchmarks/sqil.py table               write the tables into docs/results/sqil.md

SQIL (Reddy, Dragan and Levine, 2020) is soft actor-critic with a reward of its own: 1 for the steps of the
demonstrations, 0 for those of the learner, half a batch of each. Here it is the SAC of Stable-Baselines3.
Both learners get the same demonstrations, nets of the same size and the same test starts. Settings were fixed
before a cell was seen: those of SAC are the zoo's for the env but for the size of the nets, and nothing was
tuned, neither for SQIL nor for cloning.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.core.statistics import clustered_mean
from steadyhand.correction.collect import collect
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.experts.config import TrainedExpert
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.experiment import Cell
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.rollout.evaluate import evaluate
from steadyhand.training.config import TrainConfig

EXPERIMENT = experiment("sqil")

SEEDS = (1, 2, 3)
DEMONSTRATIONS = (1, 5, 20)
ORDER = (5, 1, 20)
"""Which numbers of demonstrations are computed first."""
ENOUGH = 0.95
Method = Literal["expert", "cloning", "SQIL"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a cell depends on.

    Attributes:
        env_id: The env, of Gymnasium, that a trained expert comes along with.
        method: Who learns; "expert": nobody, the expert itself drives the test starts.
        demonstrations: Whole episodes of the expert; the others of the same seed are the first of these.
        seed: Seed of everything but the test starts.
        env_steps: Steps that SQIL takes in the env, with a gradient step after each.
        evaluated_every: Steps in the env between two evaluations.
        hidden: Widths of the hidden layers, of the cloned policy and of SAC's actor and critics.
        learning_rate: Learning rate of SAC.
        discount: Weight of a reward one step later.
        batch_size: Steps in a batch; of SQIL's one half is of the demonstrations.
        cloning_steps: Gradient steps of cloning.
        starts: Test starts.
    """

    env_id: str
    method: Method
    demonstrations: int = 0
    seed: int = 0
    env_steps: int = 5_000
    evaluated_every: int = 500
    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 1e-3
    discount: float = 0.99
    batch_size: int = 256
    cloning_steps: int = 5_000
    starts: int = 64


class HalfDemonstrations:
    """Stable-Baselines3's replay buffer of the learner's steps, with demonstrations in half of every batch.

    Args:
        demonstrations: The episodes.
        discount: Weight of a reward one step later.
        others: What Stable-Baselines3 gives a replay buffer.

    The learner's steps are worth 0, the demonstrations' 1. Where an episode ends by the rules of the task,
    its last state absorbs: one stays there for ever, at the same reward. That sum is put in its place in
    closed form: 0 after a step of the learner, discount / (1 - discount) after one of a demonstration. A time
    limit is no end: the values go on behind it. So no value leaks through how long an episode is.
    """

    def __init__(
        self, *others: Any, demonstrations: Sequence[Episode], discount: float, **named: Any
    ) -> None:
        from stable_baselines3.common.buffers import ReplayBuffer

        self.own = ReplayBuffer(*others, **named)
        steps = sum(len(one) for one in demonstrations)
        size, *rest = others
        del size
        self.shown = ReplayBuffer(steps, *rest, **named)
        space: Any = self.own.action_space
        for one in demonstrations:
            seen = np.concatenate([one.observation["observation.state"], _final(one)])
            meant = 2.0 * (one.action - space.low) / (space.high - space.low) - 1.0
            for step in range(len(one)):
                ends = step == len(one) - 1 and one.terminated
                worth = 1.0 / (1.0 - discount) if ends else 1.0
                self.shown.add(
                    seen[None, step],
                    seen[None, step + 1],
                    meant[None, step],
                    np.array([worth]),
                    np.array([ends]),
                    [{}],
                )

    def add(self, *step: Any) -> None:
        """Keep a step of the learner, whatever the env paid for it."""
        seen, then, action, reward, done, infos = step
        self.own.add(seen, then, action, np.zeros_like(reward), done, infos)

    def sample(self, batch_size: int, env: Any = None) -> Any:
        """Return a batch, half of it demonstrations."""
        import torch

        half = batch_size // 2
        own: Any = self.own.sample(batch_size - half, env=env)
        shown: Any = self.shown.sample(half, env=env)
        both = zip(own, shown, strict=True)
        return type(own)(*(None if one is None else torch.cat([one, other]) for one, other in both))

    def size(self) -> int:
        """Return the number of the learner's steps."""
        return self.own.size()


def _final(episode: Episode) -> np.ndarray:
    """Return what was seen after the last step, (1, O)."""
    assert episode.final_observation is not None
    return episode.final_observation["observation.state"][None]


def compute(settings: Settings) -> dict[str, Any]:
    """Return the returns from the test starts, and where SQIL stood on the way."""
    env = GymnasiumConfig(env_id=settings.env_id).build(settings.starts)
    expert = TrainedExpert().build(env)
    starts = env.starts("test", settings.starts)

    def returns(controller: Controller) -> list[float]:
        found = evaluate(env, controller, starts, name="", seed=settings.seed, positions=False)
        return [round(float(value), 2) for value in found.returns]

    if settings.method == "expert":
        return {"returns": returns(expert)}
    shown = demonstrations(settings, env, expert)
    begin = time.perf_counter()
    if settings.method == "cloning":
        with tempfile.TemporaryDirectory() as folder:
            return {
                "returns": returns(cloned(settings, env, shown, Path(folder))),
                "wall_s": round(time.perf_counter() - begin, 1),
            }
    return {**reinforced(settings, env, shown, returns), "wall_s": round(time.perf_counter() - begin, 1)}


def demonstrations(settings: Settings, env: BatchEnv, expert: Controller) -> list[Episode]:
    """Return whole episodes of the expert."""
    return collect(
        env,
        expert,
        env.starts("train", settings.demonstrations, seed=settings.seed),
        source="demonstration",
        seed=derive(settings.seed, "demonstrations"),
        num_rows=min(settings.demonstrations, env.num_rows),
    )


def cloned(settings: Settings, env: BatchEnv, shown: Sequence[Episode], folder: Path) -> Controller:
    """Return a policy that was cloned from the demonstrations."""
    learner = PolicyLearner(
        env.spec,
        policy=PolicyConfig(encoder=StateMLP(hidden=settings.hidden)),
        training=TrainConfig(num_steps=settings.cloning_steps, batch_size=settings.batch_size),
    )
    learner.fit(shown, folder=folder, seed=derive(settings.seed, "fit"), warm_start=None)
    return learner.controller(folder, num_rows=env.num_rows)


def reinforced(
    settings: Settings,
    env: BatchEnv,
    shown: Sequence[Episode],
    returns: Callable[[Controller], list[float]],
) -> dict[str, Any]:
    """Learn by SQIL; return the returns of every evaluation, the last one is what the table shows."""
    import gymnasium
    import torch
    from stable_baselines3 import SAC

    from steadyhand.experts.stable_baselines import model_expert

    torch.set_num_threads(1)
    model: Any = SAC(
        "MlpPolicy",
        gymnasium.make(settings.env_id),
        learning_rate=settings.learning_rate,
        gamma=settings.discount,
        batch_size=settings.batch_size,
        buffer_size=settings.env_steps,
        replay_buffer_class=HalfDemonstrations,  # pyright: ignore[reportArgumentType]  it has what is used
        replay_buffer_kwargs={"demonstrations": shown, "discount": settings.discount},
        policy_kwargs={"net_arch": list(settings.hidden)},
        seed=derive(settings.seed, "SQIL") % 2**31,
        device="cpu",
    )
    steps: list[int] = []
    curve: list[list[float]] = []
    while model.num_timesteps < settings.env_steps:
        model.learn(settings.evaluated_every, reset_num_timesteps=False)
        steps.append(model.num_timesteps)
        curve.append(returns(model_expert(model, env)))
    return {"returns": curve[-1], "steps": steps, "curve": curve}


ENVS: Mapping[str, Mapping[str, Any]] = {
    "Pendulum-v1": {},
    "HalfCheetah-v5": {
        "env_steps": 50_000,
        "evaluated_every": 5_000,
        "learning_rate": 3e-4,
        "starts": 16,
    },
}
"""What an env changes in the settings."""


def cell(env_id: str, method: Method, demonstrations: int = 0, seed: int = 0) -> Cell[Any]:
    """Return one entry of the tables."""
    settings = Settings(
        env_id=env_id, method=method, demonstrations=demonstrations, seed=seed, **ENVS[env_id]
    )
    words = f"{env_id} {method}"
    if method != "expert":
        words += f" {demonstrations} seed {seed}"
    return EXPERIMENT.cell(words, settings=settings, compute=compute)


def cells() -> list[Cell[Any]]:
    """Return all cells."""
    methods: tuple[Method, ...] = ("cloning", "SQIL")
    return [
        *(cell(env, "expert") for env in ENVS),
        *(
            cell(env, method, count, seed)
            for env in ENVS
            for count in ORDER
            for method in methods
            for seed in SEEDS
        ),
    ]


@cache
def results(env: str, method: Method, count: int) -> tuple[dict[str, Any], ...]:
    """Return the results that there are, by seed."""
    found = [cell(env, method, count, seed).result() for seed in SEEDS]
    return tuple(one for one in found if one)


def interval_of(found: Sequence[Mapping[str, Any]]) -> str:
    """Return a mean return with its interval over seeds and starts."""
    values = np.array([one["returns"] for one in found])
    if len(values) < 2:
        return f"{values.mean():.4g}"
    estimate = clustered_mean(values)
    assert estimate.interval is not None
    return f"{estimate.value:.4g} ({estimate.interval.low:.4g} to {estimate.interval.high:.4g})"


def steps_to(result: Mapping[str, Any], goal: float) -> int | None:
    """Return the steps in the env after which SQIL first reached a mean return, None if it never did."""
    means = np.mean(result["curve"], axis=1)
    return next((n for n, mean in zip(result["steps"], means, strict=True) if mean >= goal), None)


def return_table() -> str:
    """Return the table of what each made of the same demonstrations."""
    lines = [
        "| env | demonstrations | cloning, return | SQIL, return | its steps in the env | seeds | time |",
        "|---|---|---|---|---|---|---|",
    ]
    for env in ENVS:
        if (expert := cell(env, "expert").result()) is not None:
            lines.append(f"| {env} | the expert itself | {np.mean(expert['returns']):.4g} | | | | |")
        for count in DEMONSTRATIONS:
            clone, learnt = results(env, "cloning", count), results(env, "SQIL", count)
            if not clone or not learnt:
                continue
            taken = learnt[0]["steps"][-1]
            wall = f"{_wall(clone):.0f} s, {_wall(learnt):.0f} s"
            lines.append(
                f"| {env} | {count} | {interval_of(clone)} | {interval_of(learnt)} | {taken} "
                f"| {len(clone)}, {len(learnt)} | {wall} |"
            )
    return "\n".join(lines)


def _wall(found: Sequence[Mapping[str, Any]]) -> float:
    return float(np.median([one["wall_s"] for one in found]))


def steps_table() -> str:
    """Return the table of steps in the env until SQIL is where cloning is, and where the expert is."""
    lines = [
        "| env | demonstrations | goal | seeds that reach it | steps in the env until then, of each seed |",
        "|---|---|---|---|---|",
    ]
    for env in ENVS:
        expert = cell(env, "expert").result()
        for count in DEMONSTRATIONS:
            clone, learnt = results(env, "cloning", count), results(env, "SQIL", count)
            if expert is None or not clone or not learnt:
                continue
            best = float(np.mean(expert["returns"]))
            goals = {
                "cloning's mean return": float(np.mean([one["returns"] for one in clone])),
                "95 % of the expert's": best - (1.0 - ENOUGH) * abs(best),
            }
            for name, goal in goals.items():
                reached = [steps_to(one, goal) for one in learnt]
                said = ", ".join("never" if one is None else f"{one}" for one in reached)
                there = sum(one is not None for one in reached)
                lines.append(f"| {env} | {count} | {name}, {goal:.4g} | {there} of {len(reached)} | {said} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {"sqil returns": return_table, "sqil steps": steps_table}


def describe(result: Mapping[str, Any]) -> str:
    """Return a cell's outcome in a few words."""
    return f"mean return {np.mean(result['returns']):.4g}"


if __name__ == "__main__":
    main(cells(), page=PAGES / "sqil.md", tables=TABLES, describe=describe, doc=__doc__)
