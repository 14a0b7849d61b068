"""Segments against their definition, step by step, and in seconds."""

from dataclasses import replace

import numpy as np
import pytest

from drives import drive
from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Actor
from steadyhand.correction.segments import Segment, SegmentWindows, segment
from steadyhand.data.episode import EpisodeOrigin

LETTERS = {
    "D": Segment.DEMONSTRATION,
    "r": Segment.ROBOT,
    "b": Segment.BEFORE,
    "h": Segment.REACTION,
    "H": Segment.CORRECTION,
    "?": Segment.UNKNOWN,
}


def letters(found):
    return "".join(next(k for k, v in LETTERS.items() if v == step) for step in found)


def by_definition(episode, before, after, *, failed, judged):
    """Walk through the drive with no more than the words of the docstring."""
    taken, length = episode.intervention, len(episode)
    robot = ~taken & (episode.actor == Actor.POLICY)
    out = []
    for t in range(length):
        if taken[t]:
            since = 0
            while t - since - 1 >= 0 and taken[t - since - 1]:
                since += 1
            out.append(Segment.REACTION if since < after else Segment.CORRECTION)
        elif not robot[t]:
            out.append(Segment.DEMONSTRATION)
        else:
            end = t
            while end < length and robot[end]:
                end += 1
            near = end - t <= before
            if (near and end < length and taken[end]) or (near and end == length and failed):
                out.append(Segment.BEFORE)
            elif near and end == length and not judged:
                out.append(Segment.UNKNOWN)
            else:
                out.append(Segment.ROBOT)
    return np.array(out)


@pytest.mark.parametrize(
    ("terminated", "success"),
    [(False, True), (False, False), (True, True), (True, False), (False, None), (True, None)],
)
def test_segments_are_those_of_the_definition(terminated, success):
    random = np.random.default_rng(0)
    for _ in range(100):
        who = "".join("rrrhhD"[random.integers(6)] * int(random.integers(1, 6)) for _ in range(8))
        before, after = random.integers(0, 6, 2)
        episode = drive(who, terminated=terminated, success=success)
        found = segment(episode, SegmentWindows(before=0.1 * before, after=0.1 * after))
        expected = by_definition(
            episode, before, after, failed=terminated and success is False, judged=success is not None
        )
        assert np.array_equal(found, expected), (who, before, after)


def test_a_drive_reads_as_it_was():
    windows = SegmentWindows(before=0.3, after=0.2)
    assert letters(segment(drive("rrrrrhhhhrrrr"), windows)) == "rrbbbhhHHrrrr"
    assert letters(segment(drive("hhhrrhh"), windows)) == "hhHbbhh"  # the correction before it is untouched
    assert letters(segment(drive("rrrrr", terminated=True, success=False), windows)) == "rrbbb"
    assert letters(segment(drive("rrrrr", success=None), windows)) == "rr???"
    assert letters(segment(drive("DDDD", success=None), windows)) == "DDDD"
    assert letters(segment(drive("rrhhh", terminated=True, success=False), windows)) == "bbhhH"


def test_a_rollout_that_nobody_watched_says_nothing():
    unwatched = replace(drive("rrrrrr"), provenance=EpisodeOrigin(source="rollout"))
    assert letters(segment(unwatched, SegmentWindows(before=0.2))) == "??????"


@pytest.mark.parametrize("factor", [2, 5])
def test_windows_are_times_and_not_steps(factor):
    coarse = segment(drive("rrrrrrrhhhhhrrr", dt=0.1), SegmentWindows(before=0.4, after=0.2))
    slow = "".join(letter * factor for letter in "rrrrrrrhhhhhrrr")
    fine = segment(drive(slow, dt=0.1 / factor), SegmentWindows(before=0.4, after=0.2))
    assert np.array_equal(fine, np.repeat(coarse, factor))


def test_windows_are_not_negative():
    with pytest.raises(ConfigError, match=r"before = -0\.1"):
        SegmentWindows(before=-0.1)
