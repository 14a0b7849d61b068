"""Several remedies, several seeds, the same starts and labels: the run behind `steadyhand bench remedies`."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from steadyhand.core.codec import read_json, write_json
from steadyhand.core.errors import ConfigError, SteadyhandError
from steadyhand.core.lock import working_in
from steadyhand.core.statistics import clustered_mean, wilson
from steadyhand.envs.catalogue import EnvConfig
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.experts import ExpertConfig, build_expert
from steadyhand.recipes.folder import start_run
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.recipes.remedies import REMEDIES, Budget, Remedy, remedy
from steadyhand.recipes.runs import MethodConfig
from steadyhand.recipes.teach import School, Taught
from steadyhand.rollout.evaluate import evaluate
from steadyhand.training.config import TrainConfig

MAX_ROWS = 64


@dataclass(frozen=True, kw_only=True)
class BenchRun:
    """Teach every remedy with every seed, and drive all of them from the same test starts.

    Attributes:
        env: The env.
        expert: Who labels.
        policy: The policy.
        training: Training of each fit.
        remedies: Names of the remedies.
        budget: What each may spend.
        seeds: Number of seeds.
        num_starts: Test starts.
    """

    env: EnvConfig
    expert: ExpertConfig
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    remedies: tuple[str, ...] = tuple(one.name for one in REMEDIES)
    budget: Budget = field(default_factory=Budget)
    seeds: int = 3
    num_starts: int = 64

    def __post_init__(self) -> None:
        for name in self.remedies:
            remedy(name)
        if self.seeds < 1 or self.num_starts < 1:
            raise ConfigError("A bench needs seeds and starts.", got=(self.seeds, self.num_starts))


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """The finished seeds of one remedy.

    Attributes:
        title: Its name.
        success: (seeds, starts).
        returns: (seeds, starts); None if they were not kept.
        labels: Mean labels of a seed.
        burden: Mean costs of a seed, by the names of `correction.burden.Burden`.
        refusal: Why it cannot be used here; the rest is empty then.
    """

    title: str
    success: Float64[np.ndarray, "seeds starts"]
    returns: Float64[np.ndarray, "seeds starts"] | None = None
    labels: float = 0.0
    burden: Mapping[str, float] = field(default_factory=dict[str, float])
    refusal: str = ""

    @classmethod
    def of(cls, title: str, results: Sequence[Mapping[str, Any]]) -> "Row":
        """Return the row of some seeds' results; see `outcome_of`."""
        burdens = [result["burden"] for result in results]
        kept = all("returns" in result for result in results)
        return cls(
            title=title,
            success=np.array([result["success"] for result in results], dtype=np.float64),
            returns=np.array([result["returns"] for result in results], dtype=np.float64) if kept else None,
            labels=float(np.mean([result["labels"] for result in results])),
            burden={key: float(np.mean([burden[key] for burden in burdens])) for key in burdens[0]},
        )


def teach_and_drive(
    *,
    env: EnvConfig,
    expert: ExpertConfig,
    policy: PolicyConfig,
    training: TrainConfig,
    method: MethodConfig,
    num_starts: int,
    seed: int,
) -> dict[str, Any]:
    """Teach one remedy with one seed; return its success and cost on the test starts as JSON data."""
    built = env.build(min(num_starts, MAX_ROWS))
    learner = PolicyLearner(built.spec, policy=policy, training=training)
    with tempfile.TemporaryDirectory() as folder:
        school = School(
            env=built,
            expert=build_expert(expert, built),
            learner=learner,
            updates=training.num_steps,
            folder=Path(folder),
            seed=seed,
        )
        taught = school.teach(method)
        controller = taught.learner.controller(taught.folder, num_rows=built.num_rows)
        starts = built.starts("test", num_starts, seed=0)
        driven = evaluate(built, controller, starts, name=taught.name, seed=seed, positions=False)
    built.close()
    return {
        "success": driven.success.astype(int).tolist(),
        "returns": [round(float(value), 4) for value in driven.returns],
        **outcome_of(taught),
    }


def outcome_of(taught: Taught) -> dict[str, Any]:
    """Return what a remedy cost as JSON data."""
    return {"labels": taught.labels, "burden": asdict(taught.burden), "note": taught.note}


def bench(
    run: BenchRun, folder: Path, *, on_cell: Callable[[Remedy, int, Mapping[str, Any]], None] | None = None
) -> list[Row]:
    """Compute every (remedy, seed) that `folder` does not hold yet, and return one row for each remedy.

    A remedy that does not fit the env or the policy class is not an error here: its row says why.

    Raises:
        ConfigError: `folder` holds another run.
    """
    with working_in(folder):
        start_run(run, folder, resume=True)
        for seed in range(run.seeds):
            for name in run.remedies:
                path = _path(folder, name, seed)
                if not path.is_file():
                    write_json(path, _cell(run, remedy(name), seed))
                    if on_cell is not None:
                        on_cell(remedy(name), seed, read_json(path))
        return rows_of(run, folder)


def rows_of(run: BenchRun, folder: Path) -> list[Row]:
    """Return the rows of the cells in `folder`, best success first, refused remedies last."""
    rows: list[Row] = []
    for name in run.remedies:
        paths = [_path(folder, name, seed) for seed in range(run.seeds)]
        results = [read_json(path) for path in paths if path.is_file()]
        refused = [result["refusal"] for result in results if "refusal" in result]
        if refused:
            rows.append(Row(title=remedy(name).title, success=np.zeros((0, 0)), refusal=refused[0]))
        elif results:
            rows.append(Row.of(remedy(name).title, results))
    return sorted(rows, key=lambda row: (bool(row.refusal), -row.success.mean() if row.success.size else 0.0))


def rate(success: Float64[np.ndarray, "seeds starts"]) -> str:
    """Return a success rate, with an interval for new seeds and starts if there are several seeds.

    Where all outcomes are equal a bootstrap would claim certainty; Wilson's over the starts does not.
    """
    text = f"{100 * success.mean():.0f} %"
    if success.min() == success.max():
        interval = wilson(int(success[0].sum()), success.shape[1])
        return f"{text} ({100 * interval.low:.0f} to {100 * interval.high:.0f})"
    estimate = clustered_mean(success, seed=0) if len(success) > 1 else None
    if estimate is None or estimate.interval is None:
        return text
    low, high = max(0.0, estimate.interval.low), min(1.0, estimate.interval.high)
    return f"{text} ({100 * low:.0f} to {100 * high:.0f})"


def difference(row: Row, baseline: Row | None) -> str:
    """Return the paired difference of success, in points: same seeds, same starts."""
    if baseline is None or row is baseline:
        return ""
    seeds = min(len(row.success), len(baseline.success))
    values = row.success[:seeds] - baseline.success[:seeds]
    text = f"{100 * values.mean():+.0f}"
    estimate = clustered_mean(values, seed=0) if seeds > 1 and values.any() else None
    if estimate is None or estimate.interval is None:
        return text
    return f"{text} ({100 * estimate.interval.low:+.0f} to {100 * estimate.interval.high:+.0f})"


def _cell(run: BenchRun, one: Remedy, seed: int) -> dict[str, Any]:
    try:
        return teach_and_drive(
            env=run.env,
            expert=run.expert,
            policy=run.policy,
            training=run.training,
            method=one.make(run.budget),
            num_starts=run.num_starts,
            seed=seed,
        )
    except SteadyhandError as error:
        return {"refusal": str(error)}


def _path(folder: Path, name: str, seed: int) -> Path:
    return folder / "cells" / f"{name}-seed-{seed}.json"
