"""Model-based reinforcement learning in the small: does a planner exploit the errors of a learnt model?

    python benchmarks/learned_model.py run      compute the cells that are missing
    python benchmarks/learned_model.py table    write the tables into docs/results/learned-model.md

Fixed before the first cell: 200 steps of random inputs, then drives planned by MPPI on CCIL's residual model,
fitted anew after each; one net, five nets, and five nets with a cost on their disagreement; the same planner
on the true model; three seeds; 16 test starts that all share. After a round the planner is asked for plans
from 64 states that are spread over the whole state space, and each plan is costed by the model and by the
truth; beside them stand input sequences at random, which nobody chose for being cheap.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pendulum_v1 as v1
from jaxtyping import Float64
from learned_car import CarWorld
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.seeding import derive, generator
from steadyhand.envs.problem import ControlProblem
from steadyhand.experts.control.learned import Chart, learned_problem
from steadyhand.experts.control.sampling import Mppi
from steadyhand.recipes.experiment import Cell
from steadyhand.recipes.model_based import Act, Driven, ModelBased, ModelPlanner, learn_by_planning
from steadyhand.training.config import TrainConfig

EXPERIMENT = experiment("learned-model")
Task = Literal["pendulum", "car"]
NUM_STARTS, NUM_PLANS, IMPROVEMENTS = 16, 64, 5
TRAINING = TrainConfig(
    num_steps=500, batch_size=128, learning_rate=3e-3, weight_decay=1e-5, warmup_steps=20, log_every=500
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a cell depends on.

    Attributes:
        task: Which task.
        learner: How a model is learnt and planned on; None plans on the true one.
        read: Rounds after which the planner drives from the test starts.
        seed: Seed of everything random.
    """

    task: Task
    learner: ModelBased | None
    read: tuple[int, ...] = (0, 1, 4)
    seed: int = 0


def learner(task: Task, num_nets: int, disagreement: float) -> ModelBased:
    """Return the settings of a task."""
    rule = Mppi(num_samples=64) if task == "pendulum" else Mppi(num_samples=64, sigma=0.3, num_nodes=3)
    return ModelBased(
        rounds=4, num_nets=num_nets, disagreement=disagreement, horizon=20, rule=rule, training=TRAINING
    )


def _seen_after(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    del x
    return v1.seen(y)


def _state_after(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    del x
    return v1.state_of(z)


class PendulumWorld:
    """Gymnasium's pendulums.

    Args:
        num_rows: Number of test starts.
        seed: Seed of the starts of what is collected.
    """

    def __init__(self, num_rows: int, *, seed: int) -> None:
        self._num_rows, self._seed = num_rows, seed
        self.problem = v1.problem()
        self.chart = Chart(enter=_seen_after, read=_state_after)

    def seen(self, x: Float64[np.ndarray, "B 2"]) -> Float64[np.ndarray, "B 3"]:
        """Return what Gymnasium shows."""
        return v1.seen(x)

    def collect(self, act: Act, number: int) -> Driven:
        """Drive one episode from a start of the family "train"."""
        start = v1.starts("train", 1, seed=derive(self._seed, "collect", number))
        path, done, total = v1.drive(act, start)
        last = v1.step(path[:, -1:], done[:, -1:])
        after = np.concatenate([path[:, 1:], last], axis=1)
        return Driven(state=path[0], action=done[0], next_state=after[0], total=float(total[0]))

    def returns(self, act: Act) -> list[float]:
        """Return what is got from every test start."""
        return np.round(v1.drive(act, v1.starts("test", self._num_rows))[2], 2).tolist()


def world_of(task: Task, *, seed: int) -> PendulumWorld | CarWorld:
    """Return where is learnt and tested."""
    return (PendulumWorld if task == "pendulum" else CarWorld)(NUM_STARTS, seed=seed)


def compute(settings: Settings) -> dict[str, Any]:
    """Learn, and read the planner after some rounds."""
    world = world_of(settings.task, seed=settings.seed)
    how = settings.learner or learner(settings.task, 1, 0.0)

    def read(problem: ControlProblem) -> list[float]:
        seed = derive(settings.seed, "test")
        planner = ModelPlanner(problem, how.rule, horizon=how.horizon, num_rows=NUM_STARTS, seed=seed)
        return world.returns(planner)

    begin = time.process_time()
    if settings.learner is None:
        returns = read(world.problem)
        return {"returns": returns, "seconds": round(time.process_time() - begin, 1)}
    rounds: list[dict[str, Any]] = []
    spent = 0.0
    for done in learn_by_planning(world.problem, world.collect, how, chart=world.chart, seed=settings.seed):
        spent += time.process_time() - begin
        model = learned_problem(world.problem, done.nets, chart=world.chart, disagreement=how.disagreement)
        row: dict[str, Any] = {"steps": done.steps, "seconds": round(spent, 1)}
        row["driven"] = round(done.driven.total, 2)
        if settings.task == "pendulum":
            believed = learned_problem(world.problem, done.nets, chart=world.chart)
            row |= _belief(world.problem, model, believed, how, seed=settings.seed)
        if done.number in settings.read:
            row["returns"] = read(model)
        rounds.append(row)
        begin = time.process_time()
    return {"rounds": rounds}


def _belief(
    truth: ControlProblem, model: ControlProblem, believed: ControlProblem, how: ModelBased, *, seed: int
) -> dict[str, list[float]]:
    """Return what plans and random inputs cost by the model, without its cost of doubt, and in truth."""
    start = generator(0, "states to plan from").uniform(-1.0, 1.0, (NUM_PLANS, 2)) * [np.pi, v1.MAX_SPEED]
    planner = ModelPlanner(
        model, how.rule, horizon=how.horizon, num_rows=NUM_PLANS, seed=derive(seed, "belief")
    )
    kept = planner.plan
    for _ in range(IMPROVEMENTS):
        planner.plan = np.concatenate([kept[:, :1], kept[:, :-1]], axis=1)  # so that its shift gives `kept`
        planner(start)
        kept = planner.plan
    random = generator(seed, "random inputs").uniform(truth.low, truth.high, kept.shape)
    found: dict[str, list[float]] = {}
    for name, inputs in (("plan", kept), ("random", random)):
        for judge, problem in (("model", believed), ("truth", truth)):
            path = problem.rollout(_wide(problem, start), inputs)
            found[f"{name} by {judge}"] = np.round(problem.cost(path, inputs), 3).tolist()
    return found


def _wide(problem: ControlProblem, start: np.ndarray) -> np.ndarray:
    """Return states with as many entries as the problem's."""
    return np.pad(start, ((0, 0), (0, problem.num_states - start.shape[1])))


KINDS: dict[str, tuple[int, float]] = {
    "one net": (1, 0.0),
    "five nets, disagreement costs": (5, 10.0),
    "five nets": (5, 0.0),
}
SEEDS = range(3)


def cell(task: Task, kind: str, seed: int) -> Cell[Any]:
    """Return one entry of the tables."""
    how = learner(task, *KINDS[kind]) if kind in KINDS else None
    return EXPERIMENT.cell(
        f"{task} {kind} seed {seed}", settings=Settings(task=task, learner=how, seed=seed), compute=compute
    )


def cells() -> list[Cell[Any]]:
    """Return all of them, the headline first."""
    wanted: list[tuple[Task, str]] = [
        ("pendulum", "true model"),
        ("pendulum", "one net"),
        ("pendulum", "five nets, disagreement costs"),
        ("car", "true model"),
        ("car", "one net"),
        ("pendulum", "five nets"),
        ("car", "five nets, disagreement costs"),
    ]
    return [cell(*one, seed) for one in wanted for seed in SEEDS]


def found(task: Task, kind: str) -> list[dict[str, Any]]:
    """Return the results of all seeds; none if one is missing."""
    results = [cell(task, kind, seed).result() for seed in SEEDS]
    whole = [one for one in results if one is not None]
    return whole if len(whole) == len(results) else []


def spread(seeds: list[float]) -> str:
    """Return the mean of seeds and their range."""
    return f"{np.mean(seeds):.3g} ({min(seeds):.3g} to {max(seeds):.3g})"


def belief_table() -> str:
    """Return what plans cost by the model and in truth."""
    lines = [
        "| real steps | model | plan, by the model | plan, in truth | truth less belief | of random inputs |",
        "|---|---|---|---|---|---|",
    ]
    for number in range(5):
        for kind in KINDS:
            rows = [one["rounds"][number] for one in found("pendulum", kind)]
            if not rows:
                continue
            by = {
                name: [float(np.mean(row[name])) for row in rows]
                for name in ("plan by model", "plan by truth", "random by model", "random by truth")
            }
            gap, fair = (
                [
                    true - said
                    for true, said in zip(by[f"{name} by truth"], by[f"{name} by model"], strict=True)
                ]
                for name in ("plan", "random")
            )
            columns = (by["plan by model"], by["plan by truth"], gap, fair)
            lines.append(f"| {rows[0]['steps']} | {kind} | {' | '.join(map(spread, columns))} |")
    return "\n".join(lines)


def return_table() -> str:
    """Return what planners get from the test starts, by real steps."""
    lines = ["| task | model | real steps | return | CPU time |", "|---|---|---|---|---|"]
    tasks: tuple[Task, ...] = ("pendulum", "car")
    for task in tasks:
        for kind in KINDS:
            results = found(task, kind)
            for number in (0, 1, 4) if results else ():
                rows = [one["rounds"][number] for one in results]
                got = spread([float(np.mean(row["returns"])) for row in rows])
                cpu = np.mean([row["seconds"] for row in rows])
                steps = np.mean([row["steps"] for row in rows])
                lines.append(f"| {task} | {kind} | {steps:.0f} | {got} | {cpu:.0f} s |")
        if truth := found(task, "true model"):
            got = spread([float(np.mean(one["returns"])) for one in truth])
            lines.append(f"| {task} | the true one | 0 | {got} | - |")
    return "\n".join(lines)


TABLES = {"beliefs": belief_table, "returns": return_table}


def describe(result: Mapping[str, Any]) -> str:
    """Return a result in a few words."""
    last = result["rounds"][-1] if "rounds" in result else result
    return f"{np.mean(last['returns']):.1f}"


if __name__ == "__main__":
    main(cells(), page=PAGES / "learned-model.md", tables=TABLES, describe=describe, doc=__doc__)
