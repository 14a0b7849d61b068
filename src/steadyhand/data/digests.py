"""What data are, as a digest of their content: the part of a question that no settings name."""

from collections.abc import Iterable, Sequence
from typing import TypedDict

import numpy as np
from jaxtyping import Int64

from steadyhand.core.digests import Digest
from steadyhand.data.episode import STEP_COLUMNS, Episode
from steadyhand.data.frames import Frames


class DataDigest(TypedDict):
    """What a question says of data: enough to see at a glance that they grew, and the digest for the rest."""

    episodes: int
    steps: int
    sha256: str


def frames_digest(
    frames: Frames,
    *,
    features: Iterable[str] | None = None,
    steps: Int64[np.ndarray, " M"] | None = None,
    kind: Int64[np.ndarray, " N"] | None = None,
) -> DataDigest:
    """Return the digest of all that training reads.

    Args:
        frames: The data.
        features: Observation features that are read; all if None.
        steps: Steps that are trained on; all if None.
        kind: EXPLICIT, GOOD or BAD for each step, if any was judged.
    """
    names = frames.observation if features is None else features
    digest = Digest().text(frames.control_dt, frames.action_spec)
    for name in sorted(names):
        digest.text(frames.observation_spec[name]).array(name, frames.observation[name])
    digest.arrays(
        {
            "action": frames.action,
            "expert_action": frames.expert_action,
            "weight": frames.weight,
            "episode_ends": frames.episode_ends,
            "branch": frames.branch,
        }
    )
    for name, chosen in (("steps", steps), ("kind", kind)):
        if chosen is not None:
            digest.array(name, chosen)
    count = len(frames) if steps is None else len(steps)
    return {"episodes": frames.num_episodes, "steps": count, "sha256": digest.hex()}


def episodes_digest(episodes: Sequence[Episode]) -> DataDigest:
    """Return the digest of all that episodes hold."""
    digest = Digest()
    for episode in episodes:
        end = (episode.terminated, episode.truncated, episode.success)
        digest.text(*end, episode.task, episode.control_dt, episode.provenance, episode.branch)
        digest.arrays(dict(episode.observation))
        digest.arrays({name: getattr(episode, name) for name in STEP_COLUMNS})
        last = episode.final_observation
        digest.text("no final observation") if last is None else digest.arrays(dict(last))
    return {"episodes": len(episodes), "steps": sum(map(len, episodes)), "sha256": digest.hex()}
