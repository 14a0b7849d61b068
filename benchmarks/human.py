"""Gated methods with simulated humans of several delays and miss rates: for docs/results/human.md.

    python benchmarks/human.py run [--only NAME] [--shard I/N]   compute the cells that are missing
    python benchmarks/human.py table                             write the tables into the page

A cell is one (delay, miss rate, method, seed) in the regime "hard" of regimes.py, or the drives of one
method and seed fitted anew with several weightings; see pages.py.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import remedies
from pages import PAGES, experiment
from regimes import REGIMES, trainer_of

from steadyhand.cli.experiment import main
from steadyhand.core.codec import from_data
from steadyhand.core.protocol import Actor, Controller
from steadyhand.core.seeding import RowStreams, derive
from steadyhand.correction.human import RoadEdge, SimulatedHuman
from steadyhand.correction.marks import Marks
from steadyhand.correction.weighting import LEFT_OUT, EilMarks, InterventionWeighting, Sirius, by_group
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.recipes.comparison import Row, difference, rate
from steadyhand.recipes.experiment import Cell
from steadyhand.recipes.remedies import remedy
from steadyhand.rollout.evaluate import evaluate

EXPERIMENT = experiment("human")

HARD = REGIMES["hard"]
METHODS = ("hg-dagger", "iwr", "sirius", "eil")
HUMANS = tuple(
    SimulatedHuman(risk=RoadEdge(), reaction_delay=delay, miss_rate=miss)
    for miss in (0.0, 0.3)
    for delay in (0.1, 0.2, 0.3)
)
DRIVERS = ("hg-dagger", "iwr")
SAME_DRIVES_HUMAN = SimulatedHuman(risk=RoadEdge(), reaction_delay=0.2)


def settings_of(name: str, human: SimulatedHuman, seed: int) -> remedies.Settings:
    """Return what a cell is made of: that of the regime, but for the human."""
    regime = replace(HARD, budget=replace(HARD.budget, human=human))
    return remedies.settings_of(regime, remedy(name), seed)


def cell(name: str, human: SimulatedHuman, seed: int) -> Cell[Any]:
    """Return one entry of the first table; the human of remedies.py has been there already."""
    if human == HARD.budget.human:
        return remedies.cell("hard", remedy(name), seed)
    settings = settings_of(name, human, seed)
    return EXPERIMENT.cell(
        f"{name} delay {human.reaction_delay:g} misses {human.miss_rate:g} seed {seed}",
        settings=settings,
        compute=remedies.compute,
    )


FITS = 5
"""Fits of each weighting, from other initial parameters."""


@dataclass(frozen=True, kw_only=True)
class SameDrives:
    """What a cell of the second table depends on.

    Attributes:
        driver: The run whose drives are fitted.
        weightings: Names of the fits.
        fits: How often each is fitted, from other initial parameters: in so small a net they matter.
    """

    driver: remedies.Settings
    weightings: tuple[str, ...]
    fits: int = FITS


def same_drives_cell(name: str, seed: int, *, terms: bool = False) -> Cell[Any]:
    """Return one entry of the second table, or of that of EIL's terms."""
    settings = SameDrives(
        driver=settings_of(name, SAME_DRIVES_HUMAN, seed), weightings=tuple(TERMS if terms else WEIGHTINGS)
    )
    return EXPERIMENT.cell(
        f"{'terms on ' if terms else ''}drives of {name} seed {seed}",
        settings=settings,
        compute=same_drives,
    )


def _weighted_without_robot(episodes: Sequence[Episode]) -> list[Marks]:
    """IWR's shares of interventions and demonstrations, the robot's own steps left out."""
    groups = [
        np.where(robot_steps(episode), LEFT_OUT, episode.intervention.astype(np.int64))
        for episode in episodes
    ]
    return by_group(episodes, groups, {0: 0.5, 1: 0.5})


LABELS_ALONE = "HG-DAgger: labels alone"
WEIGHTINGS: dict[str, Callable[[Sequence[Episode]], Sequence[Marks] | None]] = {
    LABELS_ALONE: lambda _: None,
    "IWR": InterventionWeighting().marks,
    "IWR, expert's answer as the target at the robot's steps": InterventionWeighting().marks,
    "IWR without the robot's steps": _weighted_without_robot,
    "Sirius": Sirius().marks,
}

TERMS: dict[str, Callable[[Sequence[Episode]], Sequence[Marks] | None]] = {
    "EIL's head, labels alone": EilMarks(good=0.0, bad=0.0).marks,
    "and good steps": EilMarks(bad=0.0).marks,
    "and bad steps": EilMarks(good=0.0).marks,
    "EIL: and both": EilMarks().marks,
}
"""Fits whose head also judges."""


def robot_steps(episode: Episode) -> np.ndarray:
    """Return which steps have no label but what the robot did."""
    return ~episode.expert_action_valid & (episode.actor == Actor.POLICY)


def same_drives(settings: SameDrives) -> dict[str, Any]:
    """Drive with one method, fit the drives of all its rounds with every weighting, test each fit."""
    run = settings.driver
    with trainer_of(run.env, run.policy, run.training, num_rows=run.num_starts, seed=run.seed) as trainer:
        env, expert, plain = trainer.env, trainer.expert, trainer.learner
        judging, starts = plain.judging(), env.starts("test", run.num_starts, seed=0)
        taught = trainer.teach(run.method)
        assert taught.rounds is not None
        episodes = [
            episode for one in taught.rounds.folders for episode in plain.read(one / "episodes") or []
        ]
        answers = [expert_answers(env, expert, episode) for episode in episodes]
        fits: dict[str, Any] = {}
        for name in settings.weightings:
            marks = {**WEIGHTINGS, **TERMS}[name](episodes)
            learner = judging if name in TERMS else plain
            data = relabelled(episodes, answers) if "expert's answer" in name else episodes
            success: list[list[int]] = []
            for number in range(settings.fits):
                here = trainer.folder / f"{name} {number}"
                seed = derive(run.seed, "same drives", number)
                learner.fit(data, folder=here, seed=seed, warm_start=None, marks=marks)
                controller = learner.controller(here, num_rows=env.num_rows)
                driven = evaluate(env, controller, starts, name=name, seed=run.seed, positions=False)
                success.append(driven.told.astype(int).tolist())
            fits[name] = {
                "success": success,
                "robot_share": round(robot_share(episodes, marks), 4),
            }
    return {"fits": fits, **targets(episodes, answers)}


def expert_answers(env: BatchEnv, expert: Controller, episode: Episode) -> np.ndarray:
    """Return what the expert would have done at each step, (T, A), by driving the episode again."""
    rows = np.zeros(1, dtype=np.int64)
    env.reset([from_data(json.loads(episode.provenance.start), Start, source="provenance")], rows)
    expert.begin(rows)
    out = np.zeros_like(episode.action)
    for step, action in enumerate(episode.action):
        observation = env.observe(rows)
        for name, value in episode.observation.items():
            assert np.array_equal(observation[name][0], value[step]), "the replay is another drive"
        streams = RowStreams(np.zeros(1, dtype=np.uint64))
        out[step] = expert.act(observation, env.privileged(rows), rows, streams).label[0]
        env.step(action[None], rows)
    return out


def relabelled(episodes: Sequence[Episode], answers: Sequence[np.ndarray]) -> list[Episode]:
    """Return the drives with the expert's answer as the target at every step."""
    return [
        replace(episode, expert_action=answer, expert_action_valid=np.ones(len(episode), dtype=bool))
        for episode, answer in zip(episodes, answers, strict=True)
    ]


def robot_share(episodes: Sequence[Episode], marks: Sequence[Marks] | None) -> float:
    """Return the share of the training weight that lies on what the robot did by itself."""
    if marks is None:
        return 0.0
    own = sum(float(mark.weight[robot_steps(one)].sum()) for one, mark in zip(episodes, marks, strict=True))
    return own / sum(float(mark.weight.sum()) for mark in marks)


def targets(episodes: Sequence[Episode], answers: Sequence[np.ndarray]) -> dict[str, float]:
    """Return how far the robot's own steps are from what the expert would have done in the same places."""
    robot = [robot_steps(episode) for episode in episodes]
    done = np.concatenate([one.action[here] for one, here in zip(episodes, robot, strict=True)])
    wanted = np.concatenate([one[here] for one, here in zip(answers, robot, strict=True)])
    failed = sum(
        int(here.sum())
        for one, here in zip(episodes, robot, strict=True)
        if one.terminated and one.success is False
    )
    return {
        "robot_steps": len(done),
        "labelled_steps": int(sum(one.expert_action_valid.sum() for one in episodes)),
        "robot_steps_in_failed_drives": failed,
        "error": float(np.sqrt(np.square(done - wanted).mean())),
        "spread": float(wanted.std()),
    }


def cells() -> list[Cell[Any]]:
    """Return all cells, seed by seed."""
    found: list[Cell[Any]] = []
    for seed in range(HARD.seeds):
        found += [cell(name, human, seed) for human in HUMANS for name in METHODS]
        found += [same_drives_cell(name, seed) for name in DRIVERS]
        found.append(same_drives_cell(DRIVERS[0], seed, terms=True))
    return found


def table() -> str:
    """Return the table over humans: those of this page's script, then the one of the car's tables."""
    rows = [
        "| risk | delay | misses | method | success, 95 % interval | each seed, of 64 | autonomy | labels | "
        "human steps | switches | env steps | violations |",
        "|---|--:|--:|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for human in (*HUMANS, HARD.budget.human):
        for name in METHODS:
            found = [cell(name, human, seed).result() for seed in range(HARD.seeds)]
            done = [result for result in found if result is not None]
            if not done:
                continue
            row = Row.of(remedy(name).title, done)
            costs = [row.burden[key] for key in ("human_steps", "switches", "env_steps", "violations")]
            who = f"{type(human.risk).__name__} | {human.reaction_delay:g} s | {100 * human.miss_rate:.0f} %"
            rows.append(
                f"| {who} | {row.title} | {rate(row.told)} | {each(row.told)} | "
                f"{100 * remedies.autonomy_of(done):.1f} % | {row.labels:.0f} | "
                + " | ".join(f"{cost:.0f}" for cost in costs)
                + " |"
            )
    return "\n".join(rows)


def same_drives_table() -> str:
    """Return the table of weightings on the same drives."""
    rows = [
        "| drives of | fitted as | success, 95 % interval | minus labels alone | each seed, of 320 | "
        "weight on the robot's own steps |",
        "|---|---|---|---|---|--:|",
    ]
    for name in DRIVERS:
        done = _done(name)
        made = {weighting: _fitted(weighting, done) for weighting in WEIGHTINGS} if done else {}
        for weighting, row in made.items():
            share = 100 * float(np.mean([result["fits"][weighting]["robot_share"] for result in done]))
            rows.append(
                f"| {remedy(name).title} | {weighting} | {rate(row.told)} | "
                f"{difference(row, made[LABELS_ALONE])} | {each(row.told, FITS)} | {share:.0f} % |"
            )
    return "\n".join(rows)


def terms_table() -> str:
    """Return what each of EIL's terms does on HG-DAgger's drives."""
    found = [same_drives_cell(DRIVERS[0], seed, terms=True).result() for seed in range(HARD.seeds)]
    done = [one for one in found if one is not None]
    rows = [
        "| trained on | success, 95 % interval | minus labels alone | each seed, of 320 |",
        "|---|---|---|---|",
    ]
    made = {name: _fitted(name, done) for name in TERMS} if done else {}
    for name, row in made.items():
        against = difference(row, made["EIL's head, labels alone"])
        rows.append(f"| {name} | {rate(row.told)} | {against} | {each(row.told, FITS)} |")
    return "\n".join(rows)


def _fitted(weighting: str, done: Sequence[Mapping[str, Any]]) -> Row:
    """Return a weighting as one row of (seeds, starts): a start's success is the mean over its fits."""
    success = np.array([result["fits"][weighting]["success"] for result in done], dtype=np.float64)
    return Row(title=weighting, success=success.mean(axis=1))


def targets_table() -> str:
    """Return what the robot's own steps teach, seed by seed, beside what came of it."""
    rows = [
        "| drives of | seed | labelled steps | the robot's | of these in drives that left the road | "
        "distance from the expert | spread of the expert | (distance / spread)^2 | labels alone | IWR |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name in DRIVERS:
        for seed in range(HARD.seeds):
            one = same_drives_cell(name, seed).result()
            if one is None:
                continue
            lost = 100 * one["robot_steps_in_failed_drives"] / one["robot_steps"]
            wrong = 100 * (one["error"] / one["spread"]) ** 2
            alone, weighted = (np.sum(one["fits"][key]["success"]) for key in (LABELS_ALONE, "IWR"))
            rows.append(
                f"| {remedy(name).title} | {seed} | {one['labelled_steps']} | {one['robot_steps']} | "
                f"{lost:.0f} % | {one['error']:.3f} | {one['spread']:.3f} | {wrong:.0f} % | "
                f"{alone} of 320 | {weighted} of 320 |"
            )
    return "\n".join(rows)


def each(success: np.ndarray, fits: int = 1) -> str:
    """Return the successes of each seed, over all of its fits."""
    return " ".join(f"{fits * seed.sum():.0f}" for seed in success)


def _done(name: str) -> list[dict[str, Any]]:
    found = [same_drives_cell(name, seed).result() for seed in range(HARD.seeds)]
    return [one for one in found if one is not None]


TABLES = {
    "human": table,
    "human same drives": same_drives_table,
    "human targets": targets_table,
    "human terms": terms_table,
}


def describe(result: Mapping[str, Any]) -> str:
    """Return a cell's outcome in a few words."""
    if "fits" in result:
        fits = result["fits"].values()
        return (
            f"{[int(np.sum(fit['success'])) for fit in fits]}, weight {[fit['robot_share'] for fit in fits]}"
        )
    return remedies.describe(result)


if __name__ == "__main__":
    main(cells(), page=PAGES / "human.md", tables=TABLES, describe=describe, doc=__doc__)
