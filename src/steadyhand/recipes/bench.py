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
from steadyhand.core.statistics import clustered_mean, clustered_rate
from steadyhand.envs.config import EnvConfig
from steadyhand.experts.config import ExpertConfig
from steadyhand.policies.spec import PolicyConfig
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
        success: (seeds, starts); None where nothing tells it.
        returns: (seeds, starts); None if they were not kept.
        labels: Mean labels of a seed.
        burden: Mean costs of a seed, by the names of `correction.burden.Burden`.
        refusal: Why it cannot be used here; the rest is empty then.
    """

    title: str
    success: Float64[np.ndarray, "seeds starts"] | None
    returns: Float64[np.ndarray, "seeds starts"] | None = None
    labels: float = 0.0
    burden: Mapping[str, float] = field(default_factory=dict[str, float])
    refusal: str = ""

    @property
    def told(self) -> Float64[np.ndarray, "seeds starts"]:
        """`success`, for tables that are about nothing else."""
        assert self.success is not None, f"nothing told success in {self.title}"
        return self.success

    @classmethod
    def of(cls, title: str, results: Sequence[Mapping[str, Any]]) -> "Row":
        """Return the row of some seeds' results; see `outcome_of`."""
        burdens = [result["burden"] for result in results]
        kept = all("returns" in result for result in results)
        success = [result["success"] for result in results]
        return cls(
            title=title,
            success=None if None in success else np.array(success, dtype=np.float64),
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
            expert=expert.build(built),
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
        "success": None if driven.success is None else driven.success.astype(int).tolist(),
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
    """Return the rows of the cells in `folder`, refused remedies last.

    The best come first: by success, or by the return where success is not told in every row.
    """
    rows: list[Row] = []
    for name in run.remedies:
        paths = [_path(folder, name, seed) for seed in range(run.seeds)]
        results = [read_json(path) for path in paths if path.is_file()]
        refused = [result["refusal"] for result in results if "refusal" in result]
        if refused:
            rows.append(Row(title=remedy(name).title, success=None, refusal=refused[0]))
        elif results:
            rows.append(Row.of(remedy(name).title, results))
    is_told = tells_success(rows)

    def place(row: Row) -> tuple[bool, float]:
        score = row.success if is_told else row.returns
        return bool(row.refusal), 0.0 if score is None else -float(score.mean())

    return sorted(rows, key=place)


def tells_success(rows: Sequence[Row]) -> bool:
    """Return whether success is told in every row that is not refused."""
    return all(row.success is not None for row in rows if not row.refusal)


def rate(success: Float64[np.ndarray, "seeds starts"]) -> str:
    """Return a success rate with its interval for new seeds and starts; of one seed, for new starts alone."""
    interval = clustered_rate(success).interval
    assert interval is not None
    return f"{100 * success.mean():.0f} % ({100 * interval.low:.0f} to {100 * interval.high:.0f})"


def difference(row: Row, baseline: Row | None) -> str:
    """Return the paired difference of success, in points: same seeds, same starts; empty if not told."""
    if baseline is None or row is baseline or row.success is None or baseline.success is None:
        return ""
    return _paired(100 * row.success, 100 * baseline.success, "{:+.0f}", limit=100.0)


def mean_return(row: Row) -> str:
    """Return the mean return, with an interval for new seeds and starts if there are several seeds."""
    if row.returns is None:
        return ""
    text = f"{row.returns.mean():.4g}"
    estimate = clustered_mean(row.returns) if len(row.returns) > 1 else None
    if estimate is None or estimate.interval is None:
        return text
    return f"{text} ({estimate.interval.low:.4g} to {estimate.interval.high:.4g})"


def return_difference(row: Row, baseline: Row | None) -> str:
    """Return the paired difference of the return: same seeds, same starts; empty if it was not kept."""
    if baseline is None or row is baseline or row.returns is None or baseline.returns is None:
        return ""
    return _paired(row.returns, baseline.returns, "{:+.3g}")


def _paired(
    a: Float64[np.ndarray, "seeds starts"],
    b: Float64[np.ndarray, "_ starts"],
    form: str,
    *,
    limit: float = np.inf,
) -> str:
    """Return the mean of a - b over the seeds that both have, with its interval if there are several.

    The interval ends at plus and minus `limit`, beyond which no difference lies.
    """
    seeds = min(len(a), len(b))
    values = a[:seeds] - b[:seeds]
    text = form.format(values.mean())
    estimate = clustered_mean(values) if seeds > 1 and values.any() else None
    if estimate is None or estimate.interval is None:
        return text
    low, high = max(-limit, estimate.interval.low), min(limit, estimate.interval.high)
    return f"{text} ({form.format(low)} to {form.format(high)})"


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
