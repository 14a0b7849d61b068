"""What each step of a drive says about the robot, read off from when somebody took over.

A person who watches and does nothing says "good enough"; one who takes over says that what the robot did just
before was not. They react late, so that window is a time, not a number of steps. One segmenter serves EIL's
set not-G and Sirius' class before an intervention.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Int64

from steadyhand.core.protocol import Actor
from steadyhand.core.settings import NotNegative, Settings
from steadyhand.data.episode import Episode


class Segment(IntEnum):
    """What a step belongs to."""

    DEMONSTRATION = 0
    """Somebody else than the policy acted, and had not taken over from it."""
    ROBOT = 1
    """The policy drove and nobody objected."""
    BEFORE = 2
    """The policy drove, just before somebody took over or it failed."""
    REACTION = 3
    """The first moments after a takeover: what is done is right, where it is done is not."""
    CORRECTION = 4
    """The rest of a takeover."""
    UNKNOWN = 5
    """The policy drove and nobody watched, or the record ends before anybody could have objected."""


@dataclass(frozen=True, kw_only=True)
class SegmentWindows(Settings):
    """Times around a takeover.

    Attributes:
        before: alpha_l, what the robot did so long before a takeover was bad [s]. About the human's reaction
            time: longer poisons good pairs, shorter teaches that all was well until the last frame.
        after: alpha_e, so long after a takeover the state is still a bad one [s].
    """

    before: NotNegative = 0.5
    after: NotNegative = 0.5


def segment(episode: Episode, windows: SegmentWindows) -> Int64[np.ndarray, " T"]:
    """Return the `Segment` of each step.

    A failure while the policy drives counts as a takeover that came too late. Where an episode was cut before
    the env judged it, the last `before` seconds of the policy are UNKNOWN: a takeover may have been coming.
    So is all that the policy did in a "rollout", which nobody watched in order to take over.
    Windows never reach past the steps of one actor: a robot that had control for less than `before` was bad
    all that time, and the correction before it is untouched.
    """
    taken, watched = episode.intervention, episode.provenance.source != "rollout"
    robot = ~taken & (episode.actor == Actor.POLICY)
    unhindered = Segment.ROBOT if watched else Segment.UNKNOWN
    found = np.where(robot, unhindered, Segment.DEMONSTRATION).astype(np.int64)
    found[taken] = Segment.CORRECTION
    before = round(windows.before / episode.control_dt)
    after = round(windows.after / episode.control_dt)
    starts = np.flatnonzero(np.diff(taken.astype(np.int8), prepend=0) > 0)
    for start in starts:
        _mark(found, robot, int(start), before, Segment.BEFORE)
        ends = np.flatnonzero(~taken[start : start + after])
        found[start : start + (int(ends[0]) if len(ends) else after)] = Segment.REACTION
    if episode.terminated and episode.success is False:
        _mark(found, robot, len(episode), before, Segment.BEFORE)
    elif episode.success is None:
        _mark(found, robot, len(episode), before, Segment.UNKNOWN)
    return found


def _mark(found: np.ndarray, robot: np.ndarray, end: int, count: int, name: Segment) -> None:
    """Name the robot's steps in the `count` before `end`, up to whoever drove before it."""
    first = max(0, end - count)
    others = np.flatnonzero(~robot[first:end])
    found[first + (int(others[-1]) + 1 if len(others) else 0) : end] = name
