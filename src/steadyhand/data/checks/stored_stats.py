"""Whether meta/stats.json belongs to the data."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from steadyhand.core.errors import DataError
from steadyhand.core.specs import ACTION
from steadyhand.data.checks.scan import Known
from steadyhand.data.dataset import StoredDataset
from steadyhand.data.formats.files import read_json_file
from steadyhand.data.formats.schema import EXPERT_ACTION
from steadyhand.data.problems import Problem
from steadyhand.data.stats import QUANTILES, FeatureStats

_EXACT = ("mean", "std", "min", "max")


def stored_stats_problems(
    dataset: StoredDataset, known: Mapping[str, Known], *, is_ours: bool
) -> Iterator[Problem]:
    """Tell where the stored statistics are not those of the files."""
    path = dataset.root / "meta/stats.json"
    if not path.exists():
        return
    try:
        stored = read_json_file(path)
    except DataError as error:
        yield Problem(code="stats", severity="warning", where="meta/stats.json", what=error.what)
        return
    if not isinstance(stored, dict):
        return
    for name, one in known.items():
        if one.compacted is None or len(one.spec.shape) != 1:
            continue
        entry = stored.get(name)
        if name == ACTION and is_ours:
            entry = stored.get(EXPERT_ACTION, entry)
        # Quantiles are exact where all steps are at hand, and lie in the files.
        keys = (*_EXACT, *QUANTILES) if one.is_complete and not dataset.num_pending else _EXACT
        wrong = [key for key in keys if _differs(entry, key, one.stats(one.compacted))]
        if wrong:
            only_quantiles = all(key in QUANTILES for key in wrong)
            yield Problem(
                code="stored-stats",
                severity="note" if only_quantiles else "warning",
                where=f"meta/stats.json, {name}",
                what=f"{', '.join(wrong)} differ from the data",
                hint="LeRobot averages the quantiles of episodes; statistics are recomputed here"
                if only_quantiles
                else "the file belongs to other data; statistics are recomputed here",
            )


def _differs(entry: Any, key: str, stats: FeatureStats) -> bool:
    try:
        stored = np.asarray(entry[key], dtype=np.float64)
    except (TypeError, KeyError, ValueError):
        return True
    exact = getattr(stats, key)
    scale = 1e-3 * (stats.max - stats.min) + 1e-6
    return stored.shape != exact.shape or bool((np.abs(stored - exact) > scale).any())
