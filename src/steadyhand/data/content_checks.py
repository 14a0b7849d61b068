"""What looks doubtful in data that can be read: things that quietly spoil a policy."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from steadyhand.core.errors import DataError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.dataset import Dataset
from steadyhand.data.formats.files import read_json_file
from steadyhand.data.frames import Frames
from steadyhand.data.problems import Problem
from steadyhand.data.stats import QUANTILES, FeatureStats, compute_stats

_IDLE_SHARE = 0.3
_STILL = 1e-3  # of the range of a value
_JUMP = 0.5  # of the range of a value, between two steps
_LISTED = 8


def content_problems(dataset: Dataset) -> list[Problem]:
    """Return what is doubtful in the numbers of a readable data set."""
    names = [name for name, spec in dataset.observation.items() if spec.kind != "image"]
    if not dataset.num_episodes or not names:
        return []
    frames = dataset.frames(names)
    stats = compute_stats(frames)
    return [
        *_constant(frames, stats),
        *_idle(frames),
        *_jumps(frames),
        *_copies(frames),
        *_echo(frames),
        *_stored_stats(dataset),
    ]


def _listed(items: list[str]) -> str:
    return ", ".join(items[:_LISTED]) + (f" and {len(items) - _LISTED} more" if len(items) > _LISTED else "")


def _dimension(spec: FeatureSpec, place: int) -> str:
    return f"{place} ({spec.names[place]})" if spec.names else str(place)


def _constant(frames: Frames, stats: dict[str, FeatureStats]) -> Iterator[Problem]:
    specs = {**frames.observation_spec, "action": frames.action_spec}
    for name, spec in specs.items():
        places = np.flatnonzero(stats[name].constant.reshape(-1))
        if len(places):
            yield Problem(
                code="constant",
                severity="warning",
                where=name,
                what=f"never changes: dimension {_listed([_dimension(spec, int(p)) for p in places])}",
                hint="fine for an unused joint (normalisers guard it); otherwise a sensor was dead",
            )


def _is_continuous(frames: Frames) -> bool:
    return frames.action_spec.kind == "continuous"


def _same_episode(frames: Frames) -> np.ndarray:
    """Return (N - 1,) whether step t + 1 belongs to the episode of step t."""
    return frames.episode_of[1:] == frames.episode_of[:-1]


def _idle(frames: Frames) -> Iterator[Problem]:
    if not _is_continuous(frames) or len(frames) < 2:
        return
    columns = [frames.action, *(frames.observation[name] for name in frames.observation_spec)]
    still = _same_episode(frames)
    pairs = int(still.sum())
    for column in columns:
        flat = column.reshape(len(column), -1)
        span = np.ptp(flat, axis=0)
        still &= (np.abs(np.diff(flat, axis=0)) <= _STILL * span).all(axis=1)
    share = still.sum() / max(pairs, 1)
    if share > _IDLE_SHARE:
        yield Problem(
            code="idle",
            severity="warning",
            where="all episodes",
            what=f"in {share:.0%} of the steps neither action nor observation moves",
            hint="cut waiting at the start and end; a policy learns to stand still from it",
        )


def _jumps(frames: Frames) -> Iterator[Problem]:
    if not _is_continuous(frames) or len(frames) < 2:
        return
    low, high = np.quantile(frames.action, [0.01, 0.99], axis=0)
    change = np.abs(np.diff(frames.action, axis=0)) / np.maximum(high - low, 1e-9)
    usual = np.quantile(change[_same_episode(frames)], 0.99, axis=0) if _same_episode(frames).any() else 0.0
    jumps = (change > np.maximum(_JUMP, 5 * usual)).any(axis=1) & _same_episode(frames)
    episodes = np.unique(frames.episode_of[1:][jumps])
    if len(episodes):
        first = int(np.flatnonzero(jumps)[0]) + 1
        step = first - int(frames.episode_starts[frames.episode_of[first]])
        yield Problem(
            code="action-jump",
            severity="warning",
            where=f"episodes {_listed([str(number) for number in episodes])}",
            what=f"the action leaps over half its range within one step, first at step {step}",
            hint="look at these episodes: a dropped packet, an angle that wraps, or two recordings in one",
        )


def _copies(frames: Frames) -> Iterator[Problem]:
    seen: dict[bytes, int] = {}
    copies: list[str] = []
    for number, (first, end) in enumerate(zip(frames.episode_starts, frames.episode_ends, strict=True)):
        if frames.branch[number, 0] >= 0:
            continue
        digest = hashlib.sha256(np.ascontiguousarray(frames.action[first:end]).tobytes())
        for name in frames.observation_spec:
            digest.update(np.ascontiguousarray(frames.observation[name][first:end]).tobytes())
        original = seen.setdefault(digest.digest(), number)
        if original != number:
            copies.append(f"{number} (of {original})")
    if copies:
        yield Problem(
            code="duplicate",
            severity="warning",
            where=f"episodes {_listed(copies)}",
            what="the same numbers as an earlier episode",
            hint="drop the copies, or training and validation share episodes",
        )


def _echo(frames: Frames) -> Iterator[Problem]:
    for name in frames.observation_spec:
        column = frames.observation[name]
        if column.shape != frames.action.shape or frames.action_spec.kind != "continuous":
            continue
        same = (column == frames.action).all(axis=1).mean()
        if same > 0.9 and np.ptp(frames.action) > 0:
            yield Problem(
                code="action-is-observation",
                severity="warning",
                where=name,
                what=f"equals the action of the same step in {same:.0%} of the steps",
                hint="the recorder stored the position as its own command; pair o[t] with the next one",
            )


def _stored_stats(dataset: Dataset) -> Iterator[Problem]:
    path = dataset.root / "meta/stats.json"
    if not path.exists():
        return
    try:
        stored = read_json_file(path)
    except DataError as error:
        yield Problem(code="stats", severity="warning", where="meta/stats.json", what=error.what)
        return
    names = [n for n, s in dataset.observation.items() if s.kind != "image" and len(s.shape) == 1]
    compacted = np.arange(len(dataset.stored))
    if not isinstance(stored, dict) or not len(compacted):
        return
    exact = compute_stats(dataset.frames(names, episodes=compacted))
    for name, stats in exact.items():
        entry = stored.get(name)
        if name == "action" and "expert_action" in dataset.layout.features:
            entry = stored.get("expert_action")
        wrong = [key for key in ("mean", "std", "min", "max", *QUANTILES) if _differs(entry, key, stats)]
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
