"""Four ways to a controller: reinforcement learning without and with a model, planning, imitation.

    python benchmarks/four_ways.py run      compute the cells that are missing
    python benchmarks/four_ways.py table    write the tables into docs/results/four-ways.md

Fixed before the first cell: budgets, settings (RL Baselines3 Zoo's where it has some), 16 test starts that
are the same for every way and seed, three seeds. An env step counts when it is taken in the true env by
whoever learns or demonstrates; rollouts inside a planner do not. Times are CPU seconds of one core, which is
the wall time where nobody else uses it. No way was tuned on the test starts; each is read at every budget.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pendulum_v1 as v1
from learned_car import CAR, CarWorld
from learned_model import PendulumWorld, learner, spread, world_of
from learned_model import found as learnt
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.seeding import derive
from steadyhand.recipes.experiment import Cell
from steadyhand.recipes.model_based import Act, ModelPlanner
from steadyhand.rollout.evaluate import evaluate

EXPERIMENT = experiment("four-ways")
Task = Literal["pendulum", "car"]
NUM_STARTS = 16
SEEDS = range(3)


@dataclass(frozen=True, kw_only=True)
class Reinforced:
    """What a run of Stable-Baselines3 depends on.

    Attributes:
        task: Which task.
        algorithm: SAC or PPO.
        budgets: Env steps after which it is read on the test starts.
        seed: Seed of everything random.
    """

    task: Task
    algorithm: Literal["SAC", "PPO"]
    budgets: tuple[int, ...]
    seed: int


def reinforce(settings: Reinforced) -> dict[str, Any]:
    """Train, and read the deterministic actor at every budget."""
    import gymnasium
    import torch

    torch.set_num_threads(1)
    if settings.task == "pendulum":
        env = gymnasium.make("Pendulum-v1")
    else:
        import steadyhand.envs.gym as ours

        env = ours.OneGym("car", observation=CAR.observation, max_episode_steps=CAR.max_episode_steps)
    model = _model(settings, env)
    returns, seconds, spent, before = [], [], 0.0, 0
    for budget in settings.budgets:
        begin = time.process_time()
        model.learn(budget - before, reset_num_timesteps=before == 0)
        spent += time.process_time() - begin
        before = budget
        seconds.append(round(spent, 1))
        returns.append(_read(settings.task, model))
    return {"budgets": list(settings.budgets), "seconds": seconds, "returns": returns}


def _model(settings: Reinforced, env: Any) -> Any:
    from stable_baselines3 import PPO, SAC

    if settings.algorithm == "SAC":  # the zoo's: defaults, and a learning rate of its own on the pendulum
        return SAC("MlpPolicy", env, learning_rate=1e-3, seed=settings.seed, device="cpu")
    return PPO(
        "MlpPolicy",
        env,
        n_steps=1024,
        gae_lambda=0.95,
        gamma=0.9,
        n_epochs=10,
        learning_rate=1e-3,
        clip_range=0.2,
        use_sde=True,
        sde_sample_freq=4,
        seed=settings.seed,
        device="cpu",
    )


def _read(task: Task, model: Any) -> list[float]:
    if task == "pendulum":
        start = v1.starts("test", NUM_STARTS)
        returns = v1.drive(
            lambda x: model.predict(v1.seen(x).astype(np.float32), deterministic=True)[0], start
        )[2]
        return np.round(returns, 2).tolist()
    from steadyhand.experts.stable_baselines import model_expert

    env = CAR.build(NUM_STARTS)
    found = evaluate(env, model_expert(model, env, feature=""), env.starts("test", NUM_STARTS), name="rl")
    return np.round(found.returns, 3).tolist()


@dataclass(frozen=True, kw_only=True)
class Imitated:
    """What imitation of the planner on the true model depends on.

    Attributes:
        task: Which task.
        asks: Whether the clone drives all but the first time and the planner says what it would do (DAgger).
        budgets: Env steps after which the clone is read on the test starts.
        seed: Seed of everything random.
        training_steps: Gradient steps of each clone.
    """

    task: Task
    asks: bool
    budgets: tuple[int, ...] = (200, 400, 1000, 2000)
    seed: int
    training_steps: int = 1500


def imitate(settings: Imitated) -> dict[str, Any]:
    """Collect, clone, and read the clone at every budget."""
    world = world_of(settings.task, seed=settings.seed)
    how = learner(settings.task, 1, 0.0)
    seen, told = list[np.ndarray](), list[np.ndarray]()
    clone: Act | None = None
    begin, spent, steps = time.process_time(), 0.0, 0
    returns: list[list[float]] = []
    seconds: list[float] = []
    while steps < settings.budgets[-1]:
        drive = len(seen)
        seed = derive(settings.seed, "demonstrator", drive)
        planner = ModelPlanner(world.problem, how.rule, horizon=how.horizon, num_rows=1, seed=seed)
        labels: list[np.ndarray] = []

        driver = clone if settings.asks else None
        done = world.collect(_asking(planner, driver, labels), drive)
        steps += len(done.state)
        seen.append(world.seen(done.state).astype(np.float32))
        told.append(np.concatenate(labels).astype(np.float32))
        if settings.asks or steps in settings.budgets:
            clone = _clone(world, seen, told, settings)
        if steps in settings.budgets:
            spent += time.process_time() - begin
            seconds.append(round(spent, 1))
            assert clone is not None
            returns.append(world.returns(clone))
            begin = time.process_time()
    return {"budgets": list(settings.budgets), "seconds": seconds, "returns": returns}


def _asking(planner: Act, driver: Act | None, labels: list[np.ndarray]) -> Act:
    """Return a drive that notes what the planner says, and does it where nobody else drives."""

    def act(x: np.ndarray) -> np.ndarray:
        labels.append(planner(x))
        return labels[-1] if driver is None else driver(x)

    return act


def _clone(
    world: PendulumWorld | CarWorld, seen: list[np.ndarray], told: list[np.ndarray], settings: Imitated
) -> Act:
    import steadyhand as sh

    arrays = {
        "observation.state": np.concatenate(seen),
        "action": np.concatenate(told),
        "episode_ends": np.cumsum([len(one) for one in seen]),
    }
    data = sh.load_dataset(arrays)
    steps = settings.training_steps
    policy = sh.train(data, validation_fraction=0.0, steps=steps, seed=settings.seed, quiet=True)

    def act(x: np.ndarray) -> np.ndarray:
        policy.reset()  # it remembers nothing, and is asked about one row or many
        return np.asarray(policy({"observation.state": world.seen(x).astype(np.float32)}), np.float64)

    return act


def cells() -> list[Cell[Any]]:
    """Return all of them, what takes longest last."""
    plans: list[tuple[str, Task, Literal["SAC", "PPO"], tuple[int, ...]]] = [
        ("pendulum SAC", "pendulum", "SAC", (500, 1000, 2000, 5000)),
        ("pendulum PPO", "pendulum", "PPO", (5120, 10240, 20480, 51200)),
        ("car SAC", "car", "SAC", (500, 1000, 2000, 5000)),
    ]
    imitations: list[tuple[str, Task, bool]] = [
        ("pendulum cloning", "pendulum", False),
        ("pendulum DAgger", "pendulum", True),
        ("car cloning", "car", False),
        ("car DAgger", "car", True),
    ]
    imitated = [
        EXPERIMENT.cell(
            f"{name} seed {seed}", settings=Imitated(task=task, asks=asks, seed=seed), compute=imitate
        )
        for name, task, asks in imitations
        for seed in SEEDS
    ]
    return imitated + [
        EXPERIMENT.cell(
            f"{name} seed {seed}",
            settings=Reinforced(task=task, algorithm=algorithm, budgets=budgets, seed=seed),
            compute=reinforce,
        )
        for name, task, algorithm, budgets in plans
        for seed in SEEDS
    ]


def ways() -> dict[tuple[Task, str], list[Mapping[str, Any]]]:
    """Return the results of all seeds of each way, budgets as keys of `returns` and `seconds`."""
    found: dict[tuple[Task, str], list[Mapping[str, Any]]] = {}
    tasks: tuple[Task, ...] = ("pendulum", "car")
    for task in tasks:
        for kind in ("one net", "five nets, disagreement costs"):
            for one in learnt(task, kind):
                rounds = [row for row in one["rounds"] if "returns" in row]
                columns = {"budgets": [row["steps"] for row in rounds]}
                columns |= {name: [row[name] for row in rounds] for name in ("returns", "seconds")}
                found.setdefault((task, f"model-based, {kind}"), []).append(columns)
        for cell in cells():
            name, _, _ = cell.name.partition("-seed-")
            if name.startswith(task) and (result := cell.result()) is not None:
                found.setdefault((task, name.removeprefix(f"{task}-")), []).append(result)
    return {way: results for way, results in found.items() if len(results) == len(SEEDS)}


def table() -> str:
    """Return what each way reaches, by real env steps."""
    lines = ["| task | way | env steps | return | CPU time |", "|---|---|---|---|---|"]
    for (task, way), results in ways().items():
        for number, budget in enumerate(results[0]["budgets"]):
            got = spread([float(np.mean(one["returns"][number])) for one in results])
            cpu = np.mean([one["seconds"][number] for one in results])
            lines.append(f"| {task} | {NAMES.get(way, way)} | {budget} | {got} | {cpu:.0f} s |")
    tasks: tuple[Task, ...] = ("pendulum", "car")
    for task in tasks:
        if truth := learnt(task, "true model"):
            got = spread([float(np.mean(one["returns"])) for one in truth])
            lines.append(f"| {task} | planner on the true model (MPPI) | 0 | {got} | - |")
    return "\n".join(lines)


NAMES = {
    "sac": "model-free, SAC",
    "ppo": "model-free, PPO",
    "cloning": "imitation, cloning",
    "dagger": "imitation, DAgger",
}
TABLES = {"four ways": table}


def describe(result: Mapping[str, Any]) -> str:
    """Return a result in a few words."""
    return f"{np.mean(result['returns'][-1]):.1f} after {result['budgets'][-1]} steps"


if __name__ == "__main__":
    main(cells(), page=PAGES / "four-ways.md", tables=TABLES, describe=describe, doc=__doc__)
