"""Episodes become the numbers of a report."""

import numpy as np
from jaxtyping import Float

from steadyhand.analysis.multimodality import ModeSummary
from steadyhand.analysis.results import Cost, ErrorCurve, Kind, PolicyResult
from steadyhand.core.errors import DataError
from steadyhand.core.statistics import bootstrap_mean, wilson
from steadyhand.rollout.evaluate import Evaluation


def summarise(
    evaluation: Evaluation,
    *,
    kind: Kind = "policy",
    cost: Cost | None = None,
    rollout_wall_s: float | None = None,
    note: str = "",
    modes: ModeSummary | None = None,
    seed: int = 0,
) -> PolicyResult:
    """Return what the report needs of n episodes.

    Args:
        evaluation: The episodes; its name is that of tables and plots.
        kind: "expert" or "policy".
        cost: What making it took.
        rollout_wall_s: Time of the episodes [s].
        note: A remark for the table.
        modes: Which ways it took; see `analysis.multimodality.summarise_modes`.
        seed: Seed of the bootstrap.

    Raises:
        DataError: No episodes, or arrays that do not have one entry for each start.
    """
    _check_columns(evaluation)
    success, dt, error = evaluation.success, evaluation.control_dt, evaluation.error
    failure = evaluation.first_failure
    median = float(np.quantile(failure, 0.5, method="inverted_cdf"))
    return PolicyResult(
        name=evaluation.name,
        kind=kind,
        successes=None if success is None else tuple(success.tolist()),
        returns=tuple(evaluation.returns.tolist()),
        lengths=tuple(evaluation.lengths.tolist()),
        first_failure=tuple(time if np.isfinite(time) else None for time in failure.tolist()),
        control_dt=dt,
        success_interval=None if success is None else wilson(int(success.sum()), len(success)),
        mean_return=bootstrap_mean(evaluation.returns, seed=seed),
        median_first_failure=median if np.isfinite(median) else None,
        error_curve=None if error is None else error_curve(error, control_dt=dt),
        cost=cost or Cost(),
        rollout_wall_s=rollout_wall_s,
        note=note,
        modes=modes,
    )


def _check_columns(evaluation: Evaluation) -> None:
    columns = (evaluation.returns, evaluation.lengths, evaluation.terminated)
    columns += tuple(one for one in (evaluation.success, evaluation.error) if one is not None)
    sizes, expected = [len(column) for column in columns], len(evaluation.starts)
    if expected == 0 or any(size != expected for size in sizes):
        raise DataError(
            f"The episodes of {evaluation.name} do not add up.",
            got=f"{expected} starts and columns of {sizes}",
            expected="one entry for each start, at least one start",
        )


def error_curve(error: Float[np.ndarray, "n T"], *, control_dt: float, num_bins: int = 120) -> ErrorCurve:
    """Return |error| in at most `num_bins` bins of equal time, as far as any episode lasted.

    Args:
        error: (n, T) |error| at each step, NaN after the end.
        control_dt: Time between steps [s].
        num_bins: Most bins.
    """
    alive = ~np.isnan(error)
    num_steps = int(alive.any(0).sum())
    width = max(1, -(-num_steps // num_bins))
    columns: list[tuple[float, float, float, float, int]] = []
    for first in range(0, num_steps, width):
        last = min(first + width, num_steps)
        values = np.abs(error[:, first:last][alive[:, first:last]])
        low, high = np.quantile(values, [0.1, 0.9])
        count = int(alive[:, first].sum())
        columns.append(
            ((first + last) / 2 * control_dt, float(values.mean()), float(low), float(high), count)
        )
    time, mean, p10, p90, counts = zip(*columns, strict=True) if columns else ((), (), (), (), ())
    return ErrorCurve(time=time, mean=mean, p10=p10, p90=p90, alive=counts)
