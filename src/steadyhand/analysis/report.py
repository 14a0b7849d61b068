"""One experiment on one page: `report.html` for people, `report.json` with the same numbers for programs."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from steadyhand.analysis.page import Video, render
from steadyhand.analysis.quantities import error_of
from steadyhand.analysis.results import ComparedPair, PolicyResult, Report, Wording
from steadyhand.analysis.verdict import verdict
from steadyhand.core.codec import load, to_data
from steadyhand.core.errors import DataError
from steadyhand.core.statistics import Estimate, paired_difference
from steadyhand.core.strict import replacing

HTML_NAME = "report.html"
JSON_NAME = "report.json"


def completed(report: Report, *, random_returns: Sequence[float] | None = None) -> Report:
    """Compare the policies on their common starts and return the report with what follows from its results.

    Args:
        report: The experiment: its results, and everything that is told about it.
        random_returns: Return of uniformly random actions from each of the same starts.

    Raises:
        DataError: No results, equal names, or results from different numbers of starts.
    """
    _check(report.results)
    report = replace(
        report,
        comparisons=_comparisons(report.results, report.seed),
        wording=_wording(report),
        random_return=None if random_returns is None else float(np.mean(random_returns)),
        expert_gain=_expert_gain(report.results, random_returns, report.seed),
    )
    return replace(report, verdict=verdict(report))


def _check(results: Sequence[PolicyResult]) -> None:
    names = [result.name for result in results]
    if not results or len(set(names)) != len(names):
        raise DataError("A report needs results with different names.", got=names)
    sizes = {result.name: result.num_starts for result in results}
    if len(set(sizes.values())) > 1:
        raise DataError(
            "Results must come from the same starts.",
            got=sizes,
            hint="evaluate every policy from the same list of starts",
        )


def _wording(report: Report) -> Wording:
    """Return how the task is spoken of, with what its error measures where nobody said."""
    words = report.wording
    if not words.error:
        quantity = error_of(report.env)
        words = replace(words, error=quantity.name, error_unit=quantity.unit)
    return words if report.tells_success else replace(words, surviving="Not ended by the env yet")


def write_report(report: Report, folder: Path, *, videos: Sequence[Video] = ()) -> Path:
    """Write `report.html` and `report.json` and return the path of the page.

    Each file appears whole or not at all. The page holds everything, videos included, and asks the network
    for nothing; videos beyond its size limit are left out, and the page says so.

    Args:
        report: What to show.
        folder: Made if absent.
        videos: Shown in order; those of one `group` side by side.

    Raises:
        DataError: A video is not MP4.
    """
    page = render(report, videos)
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / JSON_NAME, f"{json_text(to_data(report))}\n")
    return _replace(folder / HTML_NAME, page)


def read_report(path: Path) -> Report:
    """Read a `report.json`.

    Raises:
        ConfigError: It is missing, or is no report of this version.
    """
    return load(path, Report)


def json_text(data: Any, *, indent: int = 0) -> str:
    """Return indented JSON in which a list of plain values stays on one line.

    Raises:
        ValueError: A number is NaN or infinite.
    """
    nested = isinstance(data, dict) or (
        isinstance(data, list | tuple) and any(isinstance(item, dict | list | tuple) for item in data)
    )
    if not data or not nested:
        return json.dumps(data, allow_nan=False)
    pad = " " * (indent + 1)
    if isinstance(data, dict):
        items = [f"{json.dumps(key)}: {json_text(item, indent=indent + 1)}" for key, item in data.items()]
    else:
        items = [json_text(item, indent=indent + 1) for item in data]
    opening, closing = "{}" if isinstance(data, dict) else "[]"
    joined = f",\n{pad}".join(items)
    return f"{opening}\n{pad}{joined}\n{' ' * indent}{closing}"


def _comparisons(results: Sequence[PolicyResult], seed: int) -> tuple[ComparedPair, ...]:
    policies = [result for result in results if result.kind == "policy"]
    if not policies:
        return ()
    baseline, *others = policies

    return tuple(
        ComparedPair(
            name=other.name,
            baseline=baseline.name,
            success=None
            if other.successes is None or baseline.successes is None
            else paired_difference(np.array(other.successes), np.array(baseline.successes), seed=seed),
            returns=paired_difference(np.array(other.returns), np.array(baseline.returns), seed=seed),
        )
        for other in others
    )


def _expert_gain(
    results: Sequence[PolicyResult], random_returns: Sequence[float] | None, seed: int
) -> Estimate | None:
    expert = next((one for one in results if one.kind == "expert"), None)
    if expert is None or random_returns is None:
        return None
    return paired_difference(np.array(expert.returns), np.array(random_returns), seed=seed).difference


def _replace(path: Path, text: str) -> Path:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
