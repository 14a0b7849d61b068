"""Error of a policy's chunks on held-out episodes, beside answers that need no learning.

A loss says little by itself: a robot commanded at 30 Hz hardly moves between two steps, so repeating the last
command is already a good guess, and one that is handed the expert's own last command, which no policy is.
Beating it at the first step is hard; falling behind it over the whole chunk, or behind the mean action, is a
warning.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from steadyhand.core.errors import DataError
from steadyhand.core.specs import STATE
from steadyhand.data.frames import Frames, Windower
from steadyhand.data.stats import SpreadFloor, array_stats
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.policy import Policy

BATCH = 512


@dataclass(frozen=True, kw_only=True)
class OfflineError:
    """Mean absolute error in raw action units over W held-out windows.

    Attributes:
        name: Whose answer.
        mean: Over all dimensions and predicted steps.
        by_step: (H,) over all dimensions, for each predicted step.
        relative: `mean` after dividing each dimension by its standard deviation over the held-out actions,
            or its floor where it hardly moves (`data.stats.SpreadFloor`).
    """

    name: str
    mean: float
    by_step: tuple[float, ...]
    relative: float


def offline_errors(
    policy: Policy, frames: Frames, steps: Int64[np.ndarray, " M"], *, name: str = "policy"
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
    first = np.zeros(len(frames), dtype=bool)
    first[frames.episode_starts] = True
    steps = steps[~first[steps] & (frames.weight[steps] > 0)]
    if len(steps) == 0:
        raise DataError("There is no held-out step to compare on.", hint="hold out at least one episode")
    source = WindowSource(frames, policy.window, features=policy.features)
    future = slice(-policy.config.chunk_start, None)
    cut = Windower(frames, policy.window)(steps)
    valid = ~cut.action_is_pad[:, future] & (frames.weight[cut.action_index[:, future]] > 0)
    target = frames.expert_action[cut.action_index[:, future]]
    answers = {
        name: _predict(policy, source, steps),
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


def _predict(policy: Policy, source: WindowSource, steps: np.ndarray) -> np.ndarray:
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
