"""Windows against brute force: they cover every step, never cross an episode, and follow branches."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadyhand.core.errors import DataError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.episode import demonstration
from steadyhand.data.frames import Frames, Windower, WindowSpec

OFFSETS = st.lists(st.integers(-6, 8), min_size=1, max_size=5, unique=True).map(tuple)
LENGTHS = st.lists(st.integers(1, 7), min_size=1, max_size=5)


def frames_of(lengths: list[int], branches: list[tuple[int, int]] | None = None) -> Frames:
    branches = branches or []
    sizes = [*lengths, *([1] * len(branches))]
    total = sum(sizes)
    column = np.arange(total, dtype=np.float32)[:, None]
    spec = FeatureSpec(shape=(1,))
    return Frames(
        observation_spec={"observation.state": spec},
        action_spec=spec,
        control_dt=0.1,
        observation={"observation.state": column},
        action=column,
        expert_action=column,
        weight=np.ones(total, dtype=np.float32),
        episode_ends=np.cumsum(sizes).astype(np.int64),
        branch=np.array([(-1, -1)] * len(lengths) + branches, dtype=np.int64).reshape(-1, 2),
    )


def oracle(lengths: list[int], branches: list[tuple[int, int]], step: int, offset: int) -> tuple[int, bool]:
    """Return (index, is_pad) of one entry, by walking along lists of step numbers."""
    episodes: list[list[int]] = []
    first = 0
    for length in lengths:
        episodes.append(list(range(first, first + length)))
        first += length
    if step < first:
        steps = next(episode for episode in episodes if step in episode)
        place = steps.index(step)
    else:
        parent, place = branches[step - first]
        steps = [*episodes[parent]]
        steps[place] = step
    wanted = place + offset
    if wanted < 0:
        position, is_pad = 0, True
    elif wanted >= len(steps):
        position, is_pad = len(steps) - 1, True
    else:
        position, is_pad = wanted, False
    if is_pad and steps[position] >= first and offset != 0:
        # Beside the branch itself, only recorded steps are read.
        return episodes[branches[step - first][0]][position], True
    return steps[position], is_pad


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int]]]:
    lengths = draw(LENGTHS)
    count = draw(st.integers(0, 4))
    branches: list[tuple[int, int]] = []
    for _ in range(count):
        parent = draw(st.integers(0, len(lengths) - 1))
        branches.append((parent, draw(st.integers(0, lengths[parent] - 1))))
    return lengths, branches


@given(case=cases(), obs=OFFSETS, action=OFFSETS)
def test_windows_equal_brute_force(
    case: tuple[list[int], list[tuple[int, int]]], obs: tuple[int, ...], action: tuple[int, ...]
) -> None:
    lengths, branches = case
    frames = frames_of(lengths, branches)
    windows = Windower(frames, WindowSpec(obs_offsets=obs, action_offsets=action))(np.arange(len(frames)))
    for offsets, index, is_pad in (
        (obs, windows.obs_index, windows.obs_is_pad),
        (action, windows.action_index, windows.action_is_pad),
    ):
        for step in range(len(frames)):
            for column, offset in enumerate(offsets):
                found = (int(index[step, column]), bool(is_pad[step, column]))
                assert found == oracle(lengths, branches, step, offset)


@given(lengths=LENGTHS, offsets=OFFSETS)
def test_every_step_is_covered_exactly_as_often_as_it_must(
    lengths: list[int], offsets: tuple[int, ...]
) -> None:
    frames = frames_of(lengths)
    windows = Windower(frames, WindowSpec(action_offsets=offsets))(np.arange(len(frames)))
    counts = Counter(windows.action_index[~windows.action_is_pad].tolist())
    first = 0
    for length in lengths:
        for t in range(length):
            assert counts[first + t] == sum(0 <= t - offset < length for offset in offsets)
        first += length


@given(lengths=LENGTHS, offsets=OFFSETS)
def test_windows_never_cross_an_episode(lengths: list[int], offsets: tuple[int, ...]) -> None:
    frames = frames_of(lengths)
    windows = Windower(frames, WindowSpec(obs_offsets=offsets))(np.arange(len(frames)))
    owner = frames.episode_of
    np.testing.assert_array_equal(owner[windows.obs_index], np.repeat(owner[:, None], len(offsets), axis=1))
    zero = [column for column, offset in enumerate(offsets) if offset == 0]
    assert not windows.obs_is_pad[:, zero].any()


@given(case=cases(), offsets=OFFSETS, data=st.data())
def test_batches_do_not_depend_on_their_neighbours(
    case: tuple[list[int], list[tuple[int, int]]], offsets: tuple[int, ...], data: st.DataObject
) -> None:
    frames = frames_of(*case)
    windower = Windower(frames, WindowSpec(obs_offsets=offsets, action_offsets=offsets))
    steps = np.array(data.draw(st.lists(st.integers(0, len(frames) - 1), min_size=1, max_size=8)))
    whole = windower(np.arange(len(frames)))
    part = windower(steps)
    np.testing.assert_array_equal(part.obs_index, whole.obs_index[steps])
    np.testing.assert_array_equal(part.action_is_pad, whole.action_is_pad[steps])


@given(case=cases(), offsets=OFFSETS)
def test_the_table_changes_nothing(
    case: tuple[list[int], list[tuple[int, int]]], offsets: tuple[int, ...]
) -> None:
    frames = frames_of(*case)
    windower = Windower(frames, WindowSpec(obs_offsets=offsets, action_offsets=(0, 1)))
    steps = np.arange(len(frames))
    worked_out = [windower(steps[first : first + 1]) for first in range(len(frames) - 1)]
    looked_up = windower(steps)
    for name in ("obs_index", "obs_is_pad", "action_index", "action_is_pad"):
        for step, one in enumerate(worked_out):
            np.testing.assert_array_equal(getattr(one, name)[0], getattr(looked_up, name)[step])


def test_branch_windows_read_the_branch_once_and_then_the_parent() -> None:
    frames = frames_of([4, 5], [(1, 2)])
    windows = Windower(frames, WindowSpec(obs_offsets=(-1, 0), action_offsets=(0, 1, 2, 3)))(np.array([9]))
    assert windows.obs_index.tolist() == [[5, 9]]
    assert windows.action_index.tolist() == [[9, 7, 8, 8]]
    assert windows.action_is_pad.tolist() == [[False, False, False, True]]


@pytest.mark.parametrize("branch", [(2, 0), (3, 0), (5, 0), (0, 4)])
def test_branches_that_hang_in_the_air_are_refused(branch: tuple[int, int]) -> None:
    with pytest.raises(DataError):
        Windower(frames_of([4, 5], [branch]), WindowSpec())


def test_a_step_without_an_experts_label_weighs_nothing() -> None:
    column = np.arange(4, dtype=np.float32)[:, None]
    one = replace(
        demonstration({"observation.state": column}, column, control_dt=0.1),
        expert_action_valid=np.array([True, False, True, False]),
        weight=np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32),
    )
    spec = FeatureSpec(shape=(1,))
    frames = Frames.from_episodes([one], observation_spec={"observation.state": spec}, action_spec=spec)
    assert frames.weight.tolist() == [1.0, 0.0, 3.0, 0.0]
