"""Whether data follow an env: its recorded actions are replayed, and what comes of them is compared.

Three pairings are tried: the observation of step t + 1 as what comes of the observation of step t and of
the action of step t - 1, t or t + 1. If another one than t fits, the recorder paired them one step apart; if
none does, the data follow other dynamics: another mass, another time step, another version of the simulator.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64

from steadyhand.analysis.replay_result import FOLLOWS, PAIRINGS, Method, Replay
from steadyhand.core.codec import from_data
from steadyhand.core.errors import CapabilityError, ConfigError, SteadyhandError
from steadyhand.data.base import Dataset
from steadyhand.data.checks.blocks import Block, blocks, vector_specs
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.envs.config import EnvConfig

_QUANTILE = 0.75
_FEWEST = 8
"""Steps, at least, that a verdict rests on."""
_STEPS = 512
_EPISODES = 16
_LONGEST = 50
"""Steps of an episode that is replayed from its seed: later ones show chaos, not faults."""


@dataclass(frozen=True, kw_only=True)
class World:
    """The env that data are compared with, and its settings."""

    env: EnvConfig


def replay(dataset: Dataset, env: BatchEnv) -> Replay:
    """Replay recorded actions in `env`: one step from stored states, or episodes from their seeds.

    Args:
        dataset: The data; pictures are not compared.
        env: Is driven about; its rows are reset or placed as needed.

    Raises:
        ConfigError: Features or action of data and env do not fit together.
        CapabilityError: The env takes no state from an observation, and the data hold no starts.
    """
    features = _shared_features(dataset, env)
    steps = _Steps.of(dataset, features)
    try:
        found = _from_states(steps, env)
    except CapabilityError as lacking:
        found = _from_seeds(dataset, steps, env, lacking)
    left_out = [name for name in dataset.observation if name not in features]
    return replace(found, outside=_outside(steps, env), unseen=(*left_out, *found.unseen))


def _outside(steps: "_Steps", env: BatchEnv) -> float:
    """Return the share of steps whose action leaves the bounds of the env."""
    spec = env.spec.action
    if spec.kind == "discrete" or spec.low is None or spec.high is None:
        return 0.0
    low, high = np.array(spec.low, dtype=np.float64), np.array(spec.high, dtype=np.float64)
    slack = 1e-6 * np.maximum(1.0, np.minimum(np.abs(low), np.abs(high)))
    action = steps.actions[:, PAIRINGS.index(0)].astype(np.float64)
    return float(((action < low - slack) | (action > high + slack)).any(axis=1).mean())


def _shared_features(dataset: Dataset, env: BatchEnv) -> dict[str, int]:
    recorded = vector_specs(dataset)
    shared = {
        name: spec.size
        for name, spec in env.spec.observation.items()
        if spec.kind != "image" and name in recorded and recorded[name].shape == spec.shape
    }
    if not recorded:
        raise CapabilityError(
            "Pictures are not compared by replay, and these data hold nothing else.",
            got=", ".join(dataset.observation),
            expected=f"a vector that {env.spec.env_id} shows, too",
            hint="record a state beside the pictures; check without --env looks at everything else",
        )
    if not shared:
        raise ConfigError(
            f"The data and {env.spec.env_id} have no vector feature in common.",
            got=", ".join(f"{name} {list(spec.shape)}" for name, spec in recorded.items()),
            expected=", ".join(f"{name} {list(spec.shape)}" for name, spec in env.spec.observation.items()),
            hint="name the env that was recorded, with --set env.FIELD=VALUE for its settings",
        )
    # Numbers may be the choices of this env, which `_for_env` checks; choices are no numbers.
    recorded_choice, choice = (action.kind == "discrete" for action in (dataset.action, env.spec.action))
    if dataset.action.shape != env.spec.action.shape or (recorded_choice and not choice):
        raise ConfigError(
            f"The data have another action than {env.spec.env_id}.",
            got=f"{dataset.action.kind} {list(dataset.action.shape)}",
            expected=f"{env.spec.action.kind} {list(env.spec.action.shape)}",
            hint="name the env that was recorded",
        )
    return shared


_Drawn = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""What was seen by feature, the same side by side, what was seen next, three actions, the episode."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Steps:
    """Some steps of the data, each with its neighbours.

    Attributes:
        labels: Name of each of the D values that are compared.
        seen: Feature -> (M, ...) what was seen.
        after: (M, D) what was seen one step later.
        actions: (M, 3, A) the actions one step before, at that step and after.
        episode: (M,) episode of each step.
        scale: (D,) usual change of a step.
    """

    labels: tuple[str, ...]
    seen: dict[str, np.ndarray]
    after: Float64[np.ndarray, "M D"]
    actions: np.ndarray
    episode: Int64[np.ndarray, " M"]
    scale: Float64[np.ndarray, " D"]

    @classmethod
    def of(cls, dataset: Dataset, features: Mapping[str, int]) -> "_Steps":
        """Draw steps evenly from all episodes."""
        every = max(1, dataset.num_frames // _STEPS)
        parts: list[_Drawn] = []
        offset = 0
        for block in blocks(dataset):
            parts.append(_drawn(block, features, every=every, offset=offset))
            offset += len(block)
        seen = {name: np.concatenate([part[0][name] for part in parts]) for name in features}
        now = np.concatenate([part[1] for part in parts])
        after = np.concatenate([part[2] for part in parts])
        actions = np.concatenate([part[3] for part in parts])
        episode = np.concatenate([part[4] for part in parts])
        if len(after) < _FEWEST:
            raise ConfigError(
                "There are too few steps to replay.",
                got=f"{len(after)} steps with one before and two after them",
                expected=f"at least {_FEWEST}",
            )
        rounding = 1e2 * np.finfo(np.float32).eps * np.abs(after).max(axis=0)
        change = np.sqrt(((after - now) ** 2).mean(axis=0))
        labels = tuple(f"{name}[{place}]" for name, size in features.items() for place in range(size))
        return cls(
            labels=labels,
            seen=seen,
            after=after,
            actions=actions,
            episode=episode,
            scale=np.maximum(np.maximum(change, rounding), 1e-9),
        )


def _drawn(block: Block, features: Mapping[str, int], *, every: int, offset: int) -> _Drawn:
    steps = np.arange(len(block))
    inner = (steps > block.starts[block.place]) & (steps < block.ends[block.place] - 1)
    # An odd stride shares no period with what repeats; the offset carries it from block to block.
    drawn = steps[inner & ((steps + offset) % every == 0)]
    together = np.concatenate([_flat(block.observation[name]) for name in features], axis=1)
    return (
        {name: block.observation[name][drawn] for name in features},
        together[drawn],
        together[drawn + 1],
        np.stack([block.action[drawn + pairing] for pairing in PAIRINGS], axis=1),
        block.numbers[block.place[drawn]],
    )


def _from_states(steps: _Steps, env: BatchEnv) -> Replay:
    count = len(steps.after)
    outcome = {pairing: np.zeros_like(steps.after) for pairing in PAIRINGS}
    placed = np.zeros_like(steps.after)
    given = np.concatenate([_flat(column) for column in steps.seen.values()], axis=1)
    for first in range(0, count, env.num_rows):
        batch = np.arange(first, min(first + env.num_rows, count))
        rows = np.arange(len(batch))
        for number, pairing in enumerate(PAIRINGS):
            env.place({name: column[batch] for name, column in steps.seen.items()}, rows)
            placed[batch] = _together(env, rows, steps)
            env.step(_for_env(env, steps.actions[batch, number]), rows)
            outcome[pairing][batch] = _together(env, rows, steps)
    # Compared is what can be put back: dimensions that are seen again, in steps where all of them are.
    off = np.abs(placed - given) > 1e-4 * np.maximum(1.0, np.abs(given))
    told = off.mean(axis=0) < 0.5
    whole = ~off[:, told].any(axis=1)
    if not told.any() or whole.sum() < _FEWEST:
        raise CapabilityError(
            f"{env.spec.env_id} cannot be put into the states of these data.",
            got=f"{int(whole.sum())} of {count} states are seen again",
            expected=f"at least {_FEWEST}",
        )
    errors = {
        pairing: (np.abs(after - steps.after) / steps.scale)[whole][:, told]
        for pairing, after in outcome.items()
    }
    labels = [label for label, kept in zip(steps.labels, told, strict=True) if kept]
    lost = tuple(label for label, kept in zip(steps.labels, told, strict=True) if not kept)
    return replace(_judged(env, "stored states", errors, steps.episode[whole], labels), unseen=lost)


def _from_seeds(dataset: Dataset, steps: _Steps, env: BatchEnv, lacking: CapabilityError) -> Replay:
    """Replay episodes from their starts; a shift shows as the observations of other steps."""
    starts = _starts(dataset)
    if not starts:
        raise CapabilityError(
            lacking.what, got="data without starts (seeds)", hint="record with steadyhand, which keeps starts"
        )
    errors: dict[int, list[np.ndarray]] = {pairing: [] for pairing in PAIRINGS}
    owners: list[np.ndarray] = []
    for number, start in starts.items():
        episode = dataset.episode(number, observation=list(steps.seen))
        if len(episode) < 4:
            continue
        recorded = np.concatenate([_flat(episode.observation[name]) for name in steps.seen], axis=1)
        length = min(len(recorded), _LONGEST)
        lived = _lived(env, start, episode.action[:length], steps)
        size = min(length, len(lived)) - 2
        if size < 1:
            continue
        inner = np.arange(1, size + 1)
        for pairing in PAIRINGS:
            # Recorded observation t is what the env showed at step t + pairing.
            away = np.abs(recorded[inner] - lived[inner + pairing]) / steps.scale
            errors[pairing].append(away)
        owners.append(np.full(size, number))
    if not owners:
        raise CapabilityError(lacking.what, got="no episode long enough to be replayed from its start")
    joined = {pairing: np.concatenate(parts) for pairing, parts in errors.items()}
    return _judged(env, "seeds", joined, np.concatenate(owners), list(steps.labels))


def _lived(env: BatchEnv, start: Start, actions: np.ndarray, steps: _Steps) -> np.ndarray:
    rows = np.array([0])
    env.reset([start], rows)
    seen = [_together(env, rows, steps)[0]]
    for action in actions:
        result = env.step(_for_env(env, action[None]), rows)
        seen.append(_together(env, rows, steps)[0])
        if result.terminated[0] or result.truncated[0]:
            break
    return np.stack(seen)


def _for_env(env: BatchEnv, action: np.ndarray) -> np.ndarray:
    """Return actions in the dtype of the env, which says whether whole numbers are choices.

    Raises:
        ConfigError: A number is none of the env's choices.
    """
    spec = env.spec.action
    if spec.kind == "discrete":
        wrong = ~spec.is_class(action) | (action != np.floor(action))
        if wrong.any():
            raise ConfigError(
                f"The data hold an action that is no choice in {env.spec.env_id}.",
                got=action[wrong][0],
                expected=f"whole numbers from {spec.start} to {spec.classes[-1]}",
                hint="name the env that was recorded",
            )
    return action.astype(spec.dtype)


def _starts(dataset: Dataset) -> dict[int, Start]:
    found: dict[int, Start] = {}
    is_branch = dataset.branch[:, 0] >= 0
    for number, origin in enumerate(dataset.provenances):
        if len(found) == _EPISODES:
            break
        if not origin.start or is_branch[number]:
            continue
        try:
            found[number] = from_data(json.loads(origin.start), Start, source="a start")
        except (ValueError, SteadyhandError):
            continue
    return found


def _judged(
    env: BatchEnv,
    method: Method,
    errors: Mapping[int, np.ndarray],
    episode: np.ndarray,
    labels: list[str],
) -> Replay:
    of_step = {pairing: values.max(axis=1) for pairing, values in errors.items()}
    spread = np.ptp(np.stack([of_step[pairing] for pairing in PAIRINGS]), axis=0)
    telling = spread > FOLLOWS
    if telling.sum() < _FEWEST:
        telling[:] = True
    typical = {pairing: float(np.quantile(values[telling], _QUANTILE)) for pairing, values in of_step.items()}
    worst = int(np.bincount(errors[0].argmax(axis=1), minlength=len(labels)).argmax())
    off = [int(n) for n in np.unique(episode) if np.median(of_step[0][episode == n]) > FOLLOWS]
    return Replay(
        env_id=env.spec.env_id,
        control_dt=env.spec.control_dt,
        method=method,
        num_steps=len(episode),
        errors=typical,
        worst=labels[worst],
        off=tuple(off) if typical[0] <= FOLLOWS else (),
    )


def _together(env: BatchEnv, rows: np.ndarray, steps: _Steps) -> np.ndarray:
    seen = env.observe(rows)
    return np.concatenate([_flat(seen[name]) for name in steps.seen], axis=1)


def _flat(column: np.ndarray) -> np.ndarray:
    return np.asarray(column, dtype=np.float64).reshape(len(column), -1)
