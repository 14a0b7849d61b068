"""Errors of a policy's chunks on held-out episodes, beside answers that need no learning.

A loss says little by itself: a robot commanded at 30 Hz hardly moves between two steps, so repeating the last
command is already a good guess, and one that is handed the expert's own last command, which no policy is.
Beating it at the first step is hard; falling behind it over the whole chunk, or behind the mean action, is a
warning.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64

from steadyhand.core.errors import DataError
from steadyhand.core.specs import STATE
from steadyhand.data.frames import Frames, Windower
from steadyhand.data.stats import SpreadFloor, array_stats
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.policy import PolicyModule

BATCH = 512
_NEIGHBOURS = 4000
"""Most training steps among which a nearest neighbour is looked for; above it, they are thinned evenly."""


@dataclass(frozen=True, kw_only=True)
class OfflineError:
    """Mean absolute error in raw action units over W held-out windows.

    Attributes:
        name: Name of whoever answers.
        mean: Over all dimensions and predicted steps.
        by_step: (H,) over all dimensions, for each predicted step.
        relative: `mean` after dividing each dimension by its standard deviation over the held-out actions,
            or its floor where it hardly moves (`data.stats.SpreadFloor`).
    """

    name: str
    mean: float
    by_step: tuple[float, ...]
    relative: float


@dataclass(frozen=True, kw_only=True)
class OfflineAccuracy:
    """Share of right answers over W held-out windows, for discrete actions.

    Attributes:
        name: Name of whoever answers.
        accuracy: Over all predicted steps.
        by_class: Mean over the classes that occur of the share of right answers among their steps: what
            "always the most frequent class" cannot raise above 1 / classes.
        by_step: (H,) accuracy of each predicted step.
    """

    name: str
    accuracy: float
    by_class: float
    by_step: tuple[float, ...]


def offline_errors(
    policy: PolicyModule, frames: Frames, steps: Int64[np.ndarray, " M"], *, name: str = "policy"
) -> list[OfflineError]:
    """Compare the policy's mode with trivial answers on the windows around `steps`.

    The answers: "repeat last command" (the action of the step before, for the whole chunk), "copy the state"
    (only where the state has as many entries as the action) and "mean action". The first step of each episode
    has no last command and is left out for all.

    Raises:
        DataError: The action is discrete, or no window is left.
    """
    if frames.action_spec.kind == "discrete":
        raise DataError("Absolute errors need a continuous action.", got="a discrete action")
    held = _HeldOut.of(policy, frames, steps)
    steps, valid, target = held.steps, held.valid, held.target
    answers = {
        name: _predict(policy, held.source, steps),
        "repeat last command": frames.action[steps - 1][:, None],
    }
    state = frames.observation.get(STATE)
    if state is not None and state.shape[1:] == target.shape[2:]:
        answers["copy the state"] = state[steps][:, None]
    answers["mean action"] = target[valid].mean(axis=0)[None, None]
    stats = array_stats(target[valid])
    scale = np.maximum(stats.std, SpreadFloor().of("action", frames.action_spec, stats))
    scale = np.where(scale > 0.0, scale, 1.0)
    return [_error(label, answer, target, valid, scale) for label, answer in answers.items()]


def offline_accuracies(
    policy: PolicyModule,
    frames: Frames,
    steps: Int64[np.ndarray, " M"],
    *,
    train_steps: Int64[np.ndarray, " N"],
    name: str = "policy",
) -> list[OfflineAccuracy]:
    """Compare the policy's most likely classes with trivial answers on the windows around `steps`.

    The answers: "repeat last command", "most frequent class" of the training labels, and "nearest neighbour":
    the labels that followed the most similar training step (Euclidean, over the normalised vector features
    that the policy reads; left out where it reads none). The first step of each episode has no last command
    and is left out for all.

    Raises:
        DataError: The action is not discrete, or no window is left.
    """
    if frames.action_spec.kind != "discrete":
        raise DataError("Accuracies need a discrete action.", got=f"a {frames.action_spec.kind} action")
    held = _HeldOut.of(policy, frames, steps)
    train_steps = train_steps[frames.weight[train_steps] > 0]
    values, counts = np.unique(frames.expert_action[train_steps], return_counts=True)
    answers = {
        name: _predict(policy, held.source, held.steps),
        "repeat last command": frames.action[held.steps - 1][:, None],
        "most frequent class": values[counts.argmax()].reshape(1, 1, 1),
    }
    neighbour = _nearest(policy, frames, held.steps, train_steps[:: -(-len(train_steps) // _NEIGHBOURS)])
    if neighbour is not None:
        cut = Windower(frames, policy.window)(neighbour)
        answers["nearest neighbour"] = frames.expert_action[cut.action_index[:, held.future]]
    return [_accuracy(label, answer, held) for label, answer in answers.items()]


@dataclass(frozen=True, kw_only=True)
class _HeldOut:
    """The windows that answers are compared on.

    Attributes:
        source: Cuts them.
        steps: (W,) steps that have a label and a step before them.
        future: Which of the predicted steps lie at the current one or after it.
        valid: (W, H) whether a step lies inside the episode and has a label.
        target: (W, H, A) labels.
    """

    source: WindowSource
    steps: np.ndarray
    future: slice
    valid: np.ndarray
    target: np.ndarray

    @classmethod
    def of(cls, policy: PolicyModule, frames: Frames, steps: Int64[np.ndarray, " M"]) -> "_HeldOut":
        first = np.zeros(len(frames), dtype=bool)
        first[frames.episode_starts] = True
        steps = steps[~first[steps] & (frames.weight[steps] > 0)]
        if len(steps) == 0:
            raise DataError("There is no held-out step to compare on.", hint="hold out at least one episode")
        future = slice(-policy.config.chunk_start, None)
        cut = Windower(frames, policy.window)(steps)
        return cls(
            source=WindowSource(frames, policy.window, features=policy.features),
            steps=steps,
            future=future,
            valid=~cut.action_is_pad[:, future] & (frames.weight[cut.action_index[:, future]] > 0),
            target=frames.expert_action[cut.action_index[:, future]],
        )


def _nearest(policy: PolicyModule, frames: Frames, steps: np.ndarray, among: np.ndarray) -> np.ndarray | None:
    """Return the most similar of the steps `among` for each of `steps`; None where no vector is read."""
    vectors = [name for name in policy.affines if name in policy.spec.observation]
    if not vectors:
        return None

    def place(chosen: np.ndarray) -> torch.Tensor:
        parts = (
            policy.affines[name](
                torch.from_numpy(frames.observation[name][chosen]).to(policy.device)
            ).flatten(1)
            for name in vectors
        )
        return torch.cat(list(parts), dim=1)

    there = place(among)
    chosen = [
        torch.cdist(place(steps[first : first + BATCH]), there).argmin(1).cpu().numpy()
        for first in range(0, len(steps), BATCH)
    ]
    return among[np.concatenate(chosen)]


def _accuracy(name: str, answer: np.ndarray, held: _HeldOut) -> OfflineAccuracy:
    right = (np.broadcast_to(answer, held.target.shape) == held.target)[..., 0] & held.valid
    classes = held.target[..., 0]
    shares = [
        right[mask].mean()
        for mask in (held.valid & (classes == one) for one in np.unique(classes[held.valid]))
    ]
    count = np.maximum(held.valid.sum(axis=0), 1)
    return OfflineAccuracy(
        name=name,
        accuracy=float(right.sum() / held.valid.sum()),
        by_class=float(np.mean(shares)),
        by_step=tuple(float(value) for value in right.sum(axis=0) / count),
    )


def _predict(policy: PolicyModule, source: WindowSource, steps: np.ndarray) -> np.ndarray:
    policy.eval()
    chunks: list[np.ndarray] = []
    for begin in range(0, len(steps), BATCH):
        batch = source.batch(steps[begin : begin + BATCH])
        chunks.append(policy.predict_chunk(batch.observation, batch.obs_is_pad).cpu().numpy())
    return np.concatenate(chunks)


def _error(
    name: str,
    answer: np.ndarray,
    target: np.ndarray,
    valid: np.ndarray,
    scale: Float64[np.ndarray, " A"] | np.ndarray,
) -> OfflineError:
    difference = np.abs(np.broadcast_to(answer, target.shape) - target).astype(np.float64)
    count = np.maximum(valid.sum(axis=0), 1)
    by_step = (difference.mean(axis=2) * valid).sum(axis=0) / count
    return OfflineError(
        name=name,
        mean=float(difference[valid].mean()),
        by_step=tuple(float(value) for value in by_step),
        relative=float((difference / scale)[valid].mean()),
    )
