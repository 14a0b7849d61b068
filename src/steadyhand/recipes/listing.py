"""What runs there are below a folder and what came of them, read from the small files that they left.

Nothing here imports torch, envs or remedies, and nothing is loaded: a run is told by what its run.json holds.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from steadyhand.core.codec import read_json
from steadyhand.core.errors import ConfigError
from steadyhand.core.lock import LOCK, QUESTION, is_held
from steadyhand.data.lock import LOCK_PATH

State = Literal["finished", "interrupted", "running", "unreadable"]

KINDS = {
    "data": "train",
    "num_episodes": "record",
    "policies": "eval",
    "method": "correct",
    "remedies": "bench",
    "dagger": "tour",
    "algorithm": "expert",
}
"""Field of run.json that only runs of one verb have -> that verb."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run folder in a few words.

    Attributes:
        folder: The folder.
        kind: The verb that makes such a run; "compare" is `steadyhand.compare`, "policy" a policy alone.
        begun: When its settings were written.
        state: Whether it came to its end, or a process works on it.
        about: The env, or the data of a training.
        policy: Encoder and head, or the policies that were run.
        result: Success or return of each policy, the losses of a training, the size of a recording.
    """

    folder: Path
    kind: str
    begun: datetime
    state: State
    about: str = ""
    policy: str = ""
    result: str = ""


def runs_below(folder: Path) -> list[RunSummary]:
    """Return the runs in a folder and in folders in it, the latest first; what lies in a run belongs to it.

    Raises:
        ConfigError: There is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(
            "There is no such folder of runs.",
            got=folder,
            hint="name one: steadyhand runs FOLDER; the current one is called .",
        )
    found: list[RunSummary] = []
    for place, inner, _ in os.walk(folder):
        if _marker(Path(place)) is None:
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            continue
        inner.clear()
        found.append(summary_of(Path(place)))
    return sorted(found, key=lambda one: one.begun, reverse=True)


def summary_of(folder: Path) -> RunSummary:
    """Return what a run folder says of itself; a file that cannot be read is named in its result.

    Raises:
        ConfigError: The folder holds no run.
    """
    marker = _marker(folder)
    if marker is None:
        found = runs_below(folder) if folder.is_dir() else []
        others = "`steadyhand runs FOLDER` lists those below a folder"
        raise ConfigError(
            "There is no run in this folder." if folder.is_dir() else "There is no such folder.",
            got=folder,
            expected="a folder that steadyhand wrote",
            hint=f"did you mean '{found[0].folder}'?" if found else others,
        )
    begun = datetime.fromtimestamp(marker.stat().st_mtime).astimezone()
    try:
        return _summary(folder, begun)
    except (ConfigError, AttributeError, LookupError, TypeError, ValueError) as error:
        is_said = isinstance(error, ConfigError)
        words = str(error).splitlines()[0] if is_said else "its files are of another version"
        return RunSummary(folder=folder, kind="?", begun=begun, state="unreadable", result=words)


def texts(path: Path, field: str) -> list[str]:
    """Return the text, or the texts, that a file of a run holds in a field; none where it is damaged."""
    try:
        held = _json(path).get(field)
    except ConfigError:
        return []
    return [one for one in (held if isinstance(held, list) else [held]) if isinstance(one, str)]


def _marker(folder: Path) -> Path | None:
    """Return the file that makes a folder a run; None if it is none."""
    if (run := folder / "run.json").is_file():
        return run
    question = folder / QUESTION
    if question.is_file() and ((folder / "report.json").is_file() or (folder / "meta").is_dir()):
        return question
    policy = folder / "policy" / "policy.json"
    return policy if policy.is_file() else None


def _summary(folder: Path, begun: datetime) -> RunSummary:
    run = _json(folder / "run.json")
    kind = _kind(folder, run)
    report, result = _json(folder / "report.json"), _json(folder / "result.json")
    is_running = is_held(folder / LOCK) or is_held(folder / LOCK_PATH)
    outcome = _outcome(kind, folder, report, result)
    is_short = kind == "train" and bool(outcome) and result["steps"] < run["training"]["num_steps"]
    state: State = "running" if is_running else "interrupted" if is_short or not outcome else "finished"
    return RunSummary(
        folder=folder,
        kind=kind,
        begun=begun,
        state=state,
        about=str(run["data"]) if kind == "train" else _env(run, report),
        policy=_policy(run),
        result=outcome,
    )


def _kind(folder: Path, run: Mapping[str, Any]) -> str:
    for field, verb in KINDS.items():
        if field in run:
            return verb
    if (folder / "report.json").is_file():
        return "compare"
    if (folder / "meta").is_dir():
        return "record"
    if (folder / "run.json").is_file() and not (folder / "policy" / "policy.json").is_file():
        raise ConfigError(f"{folder / 'run.json'} does not describe a run.")
    return "policy"


def _outcome(kind: str, folder: Path, report: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Return what came of a run in words; empty if it has not come to its end."""
    match kind:
        case "train" if result:
            held_out = result["validation_loss"]
            beside = "" if held_out is None else f", held-out {held_out:.4g}"
            return f"loss {result['train_loss']:.4g}{beside}"
        case "record":
            info = _json(folder / "meta" / "info.json")
            episodes, steps = info.get("total_episodes", 0), info.get("total_frames", 0)
            return f"{episodes} episodes, {steps} steps" if episodes else ""
        case "bench" if result:
            best = [row for row in result["rows"] if not row["refusal"]][:3]
            return ", ".join(f"{row['title']} {_percent(row)}" for row in best)
        case "policy":
            return "a policy"
        case "expert":
            trained = _json(folder / "expert.json")
            return f"return {trained['test_return']:.4g}" if trained else ""
        case _:
            policies = [one for one in report.get("results", ()) if one["kind"] == "policy"]
            drivers = policies or report.get("results", ())
            return ", ".join(f"{one['name']} {_score(one)}" for one in drivers)


def _score(result: Mapping[str, Any]) -> str:
    """Return the success of a policy, or its mean return where nothing tells success."""
    if result["successes"] is None:
        return f"{result['mean_return']['value']:.4g}"
    return f"{sum(result['successes'])}/{len(result['successes'])}"


def _percent(row: Mapping[str, Any]) -> str:
    return f"{row['return']:.4g}" if row["success"] is None else f"{100 * row['success']:.0f} %"


def _env(run: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    if report:
        return str(report["env"])
    env: Mapping[str, Any] = run.get("env", {})
    name = str(env.get("env_id") or env.get("type", ""))
    return name.removesuffix("Config").lower() if name.endswith("Config") and ":" not in name else name


def _policy(run: Mapping[str, Any]) -> str:
    if "policies" in run:
        return ", ".join(str(path) for path in run["policies"])
    if "algorithm" in run:
        return str(run["algorithm"])
    parts = run.get("policy", {})
    return " + ".join(parts[name]["type"] for name in ("encoder", "head") if name in parts)


def _json(path: Path) -> dict[str, Any]:
    """Return what a file says; nothing if there is none."""
    if not path.is_file():
        return {}
    data = read_json(path)
    if not isinstance(data, dict):
        raise ConfigError(f"{path} does not describe a run.")
    return data
