"""The noise of DART: the learner's error on held-out pairs, its shape and size, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, assert_never

import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped

from steadyhand.core.codec import load
from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Actor
from steadyhand.core.seeding import generator
from steadyhand.core.settings import Range, Settings
from steadyhand.core.specs import FeatureSpec
from steadyhand.correction.learner import Learner
from steadyhand.data.episode import Episode

ESTIMATE = "estimate.json"
"""Where the driver's folder of a round holds its disturbance."""
Shape = Literal["full", "diagonal", "isotropic"]
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class WholeEpisodes(Settings):
    """Every so manieth episode is held out.

    Attributes:
        every: One of so many; the last of each group.
    """

    every: Annotated[int, Range(ge=2)] = 4

    def steps(self, index: int, length: int) -> Bool[np.ndarray, " T"]:
        """Return which steps of episode number `index` are held out."""
        return np.full(length, index % self.every == self.every - 1)


@dataclass(frozen=True, kw_only=True)
class Thinned(Settings):
    """All steps but every so manieth are held out, the first kept step of each episode drawn.

    The protocol of the released experiments (every 10th step, after Ho and Ermon, 2016): training pairs then
    hardly correlate, but a held-out step may lie right beside one that was trained on.

    Attributes:
        keep_every: Distance of the steps that are trained on.
    """

    keep_every: Annotated[int, Range(ge=2)] = 10

    def steps(self, index: int, length: int) -> Bool[np.ndarray, " T"]:
        """Return which steps of episode number `index` are held out."""
        first = int(generator(index, "dart", "thinned").integers(self.keep_every))
        return (np.arange(length) - first) % self.keep_every != 0


HeldOut = WholeEpisodes | Thinned


@dataclass(frozen=True, kw_only=True)
class NoiseEstimate:
    """The disturbance of a round and where it comes from.

    Attributes:
        covariance: (A, A) of the noise, in squared units of the action; None for discrete actions.
        epsilon: Share of steps with another action, for discrete actions.
        pairs: Held-out pairs that it was estimated on; 0 before there is a learner.
        error_trace: Trace of the learner's second moment before scaling and floor; the rate of disagreement
            for discrete actions; None before there is a learner.
        watched_success: Share of whole drives of the disturbed expert that succeeded, if any were watched and
            success is told.
    """

    covariance: Matrix | None = None
    epsilon: float = 0.0
    pairs: int = 0
    error_trace: float | None = None
    watched_success: float | None = None

    @property
    def trace(self) -> float:
        """Trace of the covariance; epsilon for discrete actions."""
        return self.epsilon if self.covariance is None else float(np.trace(np.array(self.covariance)))

    @property
    def correlation(self) -> Matrix | None:
        """The covariance's shape: correlations between dimensions, 0 with one that is not disturbed."""
        if self.covariance is None:
            return None
        covariance = np.array(self.covariance)
        deviation = np.sqrt(np.diag(covariance))
        product = np.outer(deviation, deviation)
        return as_matrix(np.divide(covariance, product, out=np.zeros_like(product), where=product > 0))


@dataclass(frozen=True, kw_only=True)
class NoiseRecord:
    """What the disturbance of one round was, and what became of it.

    Attributes:
        round: Number of the round, from 1.
        estimate: What was asked for.
        executed: (A, A) second moment of executed minus intended actions in disturbed episodes, after the
            clipping at the bounds; None for discrete actions or where nothing was disturbed.
        executed_mean: (A,) their mean: the bias that clipping leaves, inwards where the expert is at a bound.
        changed: Share of disturbed steps at which something else was executed than intended.
        clean_episodes: Episodes that were left undisturbed.
        episodes: Episodes of the round.
        failures: Episodes that ended in failure while the expert drove.
        successes: Episodes that ran to their end and succeeded; most are cut before.
    """

    round: int
    estimate: NoiseEstimate
    executed: Matrix | None
    executed_mean: tuple[float, ...] | None
    changed: float | None
    clean_episodes: int
    episodes: int
    failures: int
    successes: int


def initial_estimate(action: FeatureSpec, variance: float, *, epsilon: float) -> NoiseEstimate:
    """Return the disturbance before there is a learner: the same in all directions, or epsilon."""
    if action.num_classes is not None:
        return NoiseEstimate(epsilon=epsilon)
    return NoiseEstimate(covariance=as_matrix(variance * np.eye(action.size)))


def noise_records(learner: Learner, folders: Sequence[Path]) -> list[NoiseRecord]:
    """Return what the disturbance of each round of DART was; `folders` are those of its iterates."""
    return [
        noise_record(
            number, load(here / "driver" / ESTIMATE, NoiseEstimate), learner.read(here / "episodes") or ()
        )
        for number, here in enumerate(folders, start=1)
    ]


def noise_record(number: int, estimate: NoiseEstimate, episodes: Sequence[Episode]) -> NoiseRecord:
    """Return what the disturbance of a round did to its episodes."""
    disturbed = [episode for episode in episodes if (episode.actor == Actor.NOISE).any()]
    executed = mean = changed = None
    if disturbed:
        difference = np.concatenate(
            [_flat(e.action - e.expert_action)[e.expert_action_valid] for e in disturbed]
        )
        changed = float((difference != 0).any(axis=1).mean())
        if estimate.covariance is not None:
            executed, mean = as_matrix(second_moment(difference)), tuple(difference.mean(axis=0).tolist())
    return NoiseRecord(
        round=number,
        estimate=estimate,
        executed=executed,
        executed_mean=mean,
        changed=changed,
        clean_episodes=len(episodes) - len(disturbed),
        episodes=len(episodes),
        failures=sum(episode.terminated and episode.success is False for episode in episodes),
        successes=sum(episode.success is True for episode in episodes),
    )


def held_out_error(
    learner: Learner,
    iterate: Path,
    episodes: Sequence[Episode],
    held_out: HeldOut,
    *,
    window: int | None = None,
) -> Float64[np.ndarray, "N A"]:
    """Return the iterate's answers minus the expert's labels at held-out steps.

    Args:
        learner: Answers for its iterate.
        iterate: Folder of the iterate.
        episodes: All that the iterate's training could have read, in the same order.
        held_out: Which of their steps it was not trained on.
        window: Number of last episodes with held-out steps that count.

    Raises:
        ConfigError: There are none.
    """
    steps = [
        held_out.steps(index, len(episode)) & episode.expert_action_valid
        for index, episode in enumerate(episodes)
    ]
    chosen = [index for index, one in enumerate(steps) if one.any()][-(window or len(steps)) :]
    if not chosen:
        raise ConfigError(
            "No pair is held out, so the learner's error cannot be estimated.",
            got=f"{len(episodes)} episodes, {held_out}",
            hint="collect more episodes in the first round, or hold out more of them",
        )
    answers = learner.answers(iterate, [episodes[index] for index in chosen])
    errors = [
        (_flat(answer).astype(np.float64) - _flat(episodes[index].expert_action))[steps[index]]
        for index, answer in zip(chosen, answers, strict=True)
    ]
    return np.concatenate(errors)


def second_moment(error: Float[np.ndarray, "N A"]) -> Float64[np.ndarray, "A A"]:
    """Return E[e e^T], about zero: an error that is always the same must be disturbed too."""
    wide = error.astype(np.float64)
    return wide.T @ wide / len(wide)


def shaped(moment: Float64[np.ndarray, "A A"], shape: Shape) -> Float64[np.ndarray, "A A"]:
    """Return a moment of the same trace: "full" as it is, "diagonal", or "isotropic"."""
    match shape:
        case "full":
            return moment
        case "diagonal":
            return np.diag(np.diag(moment))
        case "isotropic":
            return np.eye(len(moment)) * (np.trace(moment) / len(moment))
        case _:
            assert_never(shape)


def scaled(moment: Float64[np.ndarray, "A A"], alpha: float, *, horizon: int) -> Float64[np.ndarray, "A A"]:
    """Return alpha / (T tr M) M, whose trace is alpha / T; isotropic where the moment is zero."""
    trace = float(np.trace(moment))
    if trace <= 0.0:
        return np.eye(len(moment)) * (alpha / (horizon * len(moment)))
    return moment * (alpha / (horizon * trace))


def as_matrix(values: Float[np.ndarray, "A A"]) -> Matrix:
    """Return a matrix as a config can hold it."""
    return tuple(tuple(row) for row in values.tolist())


def _flat(values: Shaped[np.ndarray, "T ..."]) -> Shaped[np.ndarray, "T A"]:
    return values.reshape(len(values), -1)
