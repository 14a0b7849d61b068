"""From scores to thresholds: quantiles of steps that no gate has filtered.

A gate that is calibrated on what it lets through raises or lowers its own threshold round by round, because
it chooses the steps that it then takes for normal. So thresholds here come from drives of the policy alone
(`Stage.drive`) or from demonstrations that it was not trained on (`Stage.held_out`), never from gated drives.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from steadyhand.core.errors import ConfigError
from steadyhand.core.seeding import RowStreams, derive
from steadyhand.correction.gate import GateInput
from steadyhand.data.episode import Episode
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.scores import Score, Seen, proposals
from steadyhand.rollout.executors.history import History

BATCH = 1024
"""Windows that are scored at once."""


def threshold_at(values: Float64[np.ndarray, " N"], level: float) -> float:
    """Return the smallest of `values` that at least the share `level` of them does not exceed.

    At most the share 1 - level of `values` lies above it, ties or not.

    Raises:
        ConfigError: There are no values, or `level` is not a share.
    """
    if len(values) == 0:
        raise ConfigError("A quantile needs values.", got="no calibration steps")
    if not 0.0 <= level <= 1.0:
        raise ConfigError("A quantile's level is a share.", got=level, expected="0 to 1")
    # (level * N) - eps: 0.95 * 20 is 19.000000000000004 or 18.999999999999996.
    place = int(np.ceil(level * len(values) - 1e-9)) - 1
    return float(np.sort(values)[max(place, 0)])


def conformal_threshold(values: Float64[np.ndarray, " N"], level: float) -> float:
    """Return the ceil((N + 1) level)-th smallest value, or infinity (split conformal prediction).

    A further value that is exchangeable with these exceeds it with probability 1 - level at most. Steps of
    one episode are not exchangeable with those of another, so for gates this is a rule of thumb and no
    promise.
    """
    if not 0.0 <= level <= 1.0:
        raise ConfigError("A quantile's level is a share.", got=level, expected="0 to 1")
    place = int(np.ceil((len(values) + 1) * level - 1e-9)) - 1
    if place >= len(values):
        return float("inf")
    return float(np.sort(values)[max(place, 0)])


def joint_thresholds(
    one: Float64[np.ndarray, " N"], other: Float64[np.ndarray, " N"], share: float
) -> tuple[float, float]:
    """Return thresholds with `one > t_1 or other > t_2` at no more than `share` of the steps.

    Both stand at the same quantile of their own score, the lowest one whose union spends no more than
    `share`: with r the rank of a step's score, the union at rank c is max(r_1, r_2) > c, so c is the
    (1 - share) quantile of that maximum. Two quantiles at 1 - share would spend up to 2 share.
    """
    ranks = [
        np.searchsorted(np.sort(values), values, side="right").astype(np.float64) for values in (one, other)
    ]
    level = threshold_at(np.maximum(*ranks), 1.0 - share)
    first, second = (
        float(values[rank <= level].max()) for values, rank in zip((one, other), ranks, strict=True)
    )
    return first, second


class ScoreRecorder:
    """Scores of a running policy: keeps the windows that it reads, row by row.

    Args:
        policy: Whose windows are kept; every score reads the same.
        scores: Name -> score.
        num_rows: Rows of the env.
    """

    def __init__(self, policy: PolicyModule, scores: Mapping[str, Score], *, num_rows: int) -> None:
        self._history = History(policy, num_rows)
        self._scores = dict(scores)

    def __call__(self, inputs: GateInput) -> dict[str, Float64[np.ndarray, " B"]]:
        """Take in a step and return its scores; must hear of every step once."""
        self._history.add(inputs.observation, inputs.rows)
        window, is_pad = self._history.window(inputs.observation, inputs.rows, np.arange(len(inputs.rows)))
        seen = Seen(observation=window, is_pad=is_pad)
        return {
            name: score(seen, inputs.proposal, inputs.generator.fork(name))
            for name, score in self._scores.items()
        }

    def begin(self, rows: np.ndarray) -> None:
        """Forget `rows`."""
        self._history.forget(rows)

    def state(self) -> dict[str, np.ndarray]:
        """Return the windows."""
        return self._history.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        self._history.restore(state)


def windows_of(policy: PolicyModule, episode: Episode) -> Seen:
    """Return what the policy would have read at each step of an episode, (T, O, ...)."""
    history, row = History(policy, 1), np.zeros(1, dtype=np.int64)
    parts: list[Seen] = []
    for step in range(len(episode)):
        now = {name: episode.observation[name][step : step + 1] for name in policy.features}
        history.add(now, row)
        window, is_pad = history.window(now, row, row)
        parts.append(Seen(observation={k: v.copy() for k, v in window.items()}, is_pad=is_pad))
    return Seen.joined(parts)


def batches_of(
    policy: PolicyModule, episodes: Sequence[Episode], *, seed: int
) -> Iterator[tuple[int, slice, Seen, RowStreams]]:
    """Yield (episode, steps, windows, streams) for all steps in order, at most `BATCH` at a time."""
    for number, episode in enumerate(episodes):
        seen = windows_of(policy, episode)
        streams = RowStreams.from_seed(derive(seed, "episode", number), len(episode))
        for first in range(0, len(episode), BATCH):
            steps = slice(first, min(first + BATCH, len(episode)))
            yield number, steps, seen[steps], streams.take(np.arange(steps.start, steps.stop))


def answers(policy: PolicyModule, episodes: Sequence[Episode], *, seed: int) -> list[np.ndarray]:
    """Return what a policy proposes at each step, drawn as it drives: (T, A) for each episode."""
    parts: list[list[np.ndarray]] = [[] for _ in episodes]
    for number, _, seen, streams in batches_of(policy, episodes, seed=seed):
        parts[number].append(proposals(policy, seen, streams))
    return [np.concatenate(part) for part in parts]


def scored(
    score: Score,
    policy: PolicyModule,
    episodes: Sequence[Episode],
    actions: Sequence[np.ndarray],
    *,
    seed: int,
) -> Float64[np.ndarray, " N"]:
    """Return the score of each step of all episodes, with the given proposals, end to end."""
    parts = [
        score(seen, actions[number][steps], streams)
        for number, steps, seen, streams in batches_of(policy, episodes, seed=seed)
    ]
    return np.concatenate(parts)
