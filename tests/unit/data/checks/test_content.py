"""Numbers that stand still, leap or occur twice: each detector just below its threshold and just above."""

from pathlib import Path

import numpy as np
import pytest

from check_blocks import HUNDRED, block, known, told
from lerobot_folders import FEATURES, rows, write_v21
from steadyhand.core.specs import ACTION, STATE, FeatureSpec
from steadyhand.data.checks import check
from steadyhand.data.checks.content import (
    ActionJumps,
    Duplicates,
    FarValues,
    Idle,
    Labels,
    StateLeaps,
    WrongCuts,
    set_by_few,
)
from steadyhand.data.formats.arrays import ArrayDataset, episodes_from_arrays


def steps(*changes: float) -> np.ndarray:
    """Return a value that starts at 0 and changes by these."""
    return np.concatenate([[0.0], np.cumsum(changes)])[:, None]


def test_few_values_set_a_range_that_is_over_five_times_as_wide_as_the_others() -> None:
    sample = np.tile(HUNDRED, (1, 4))  # 98 wide: a range of 490 is five times that
    sample[:, 3] = 7.0  # a pulse: nothing is wider than nothing
    low, high = np.array([-100, -100, 300, 0]), np.array([390, 391, 790, 7])
    assert set_by_few(low, high, sample) == (1,)


# Idle


def still(count: int, *, moving: float, of: int = 20) -> np.ndarray:
    """Return a value with `of` changes, `count` of which are 1 and the others `moving`."""
    return steps(*[1.0] * count, *[moving] * (of - count))


@pytest.mark.parametrize(
    ("state", "action", "share"),
    [
        # A thousandth of a range of 1000 is 1; more than three tenths of the time.
        (still(6, moving=1.5), still(6, moving=1.5), None),
        (still(7, moving=1.5), still(7, moving=1.5), "35%"),
        (still(20, moving=1.0), still(6, moving=1.5), None),
        (still(6, moving=1.5), still(20, moving=1.0), None),
        (steps(0.0), steps(0.0), "100%"),
    ],
)
def test_idle_is_where_everything_moves_by_a_thousandth_of_its_range_at_most(state, action, share) -> None:
    ends = np.array([[-400.0, 0.0], [600.0, 1000.0]])
    first = known(ends, ends[:1]), known(ends, ends[:1])
    other = np.zeros_like(state)
    wide = np.concatenate([state, other], axis=1)
    found = told(
        Idle({STATE: first[0], ACTION: first[1]}),
        block(wide, action=np.concatenate([other, action], axis=1)),
    )
    assert [share in one.what for one in found] == [True] * (share is not None)


def test_between_two_episodes_nothing_is_idle_nor_moves() -> None:
    both = known([[0.0], [1.0]], [[0.0]])
    # Of four episodes of two steps one stands still: 1 of 4, not 4 of 7.
    states = [[[0.0], [0.0]], *([[0.0], [1.0]], [[1.0], [0.0]]) * 1, [[0.0], [1.0]]]
    assert not told(Idle({STATE: both}), block(*states, numbers=[0, 1, 2, 3]))


# Leaps


def jumps(*actions: np.ndarray, usual: np.ndarray | None = None, constant: bool = False) -> list[str]:
    sample = np.concatenate([HUNDRED - 400, 10 * HUNDRED], axis=1)
    if constant:
        sample[:, 1] = 5.0
    change = np.tile([1.0, 10.0], (101, 1)) if usual is None else usual
    detector = ActionJumps(known(sample, change))
    blocks = [block(np.zeros((len(a) - 5, 1)), np.zeros((5, 1)), action=a) for a in actions]
    return [f"{one.where}: {one.what}" for one in told(detector, *blocks)]


def moved(first: float, second: float, *, at: int = 3, length: int = 11) -> np.ndarray:
    """Return an action of two values that is somewhere else from step `at` on."""
    return np.where(np.arange(length)[:, None] >= at, [[first, second]], 0.0)


def test_an_action_jumps_where_it_crosses_over_half_its_range() -> None:
    # The ranges are 98 and 980; the first of two episodes has six steps.
    assert not jumps(moved(49, 490))
    assert not jumps(moved(0, 980, at=6)), "between two episodes"
    (first,) = jumps(moved(49.5, 0, at=8), moved(0, 0))
    assert first.startswith("episode 1: ")
    assert first.endswith("first at step 2")
    (both,) = jumps(moved(0, 491, at=4) + moved(50, 0, at=2) + moved(0, 980, at=9))
    assert both.startswith("episodes 0, 1: ")
    assert both.endswith("first at step 2")


def test_an_action_that_usually_leaps_jumps_where_it_does_so_five_times_as_far() -> None:
    usual = np.concatenate([0.1 * HUNDRED, 0.0 * HUNDRED], axis=1)  # 99 % are 9.9 at most
    assert not jumps(moved(49.2, 0), usual=usual)
    assert jumps(moved(49.8, 0), usual=usual)
    usual[:, 0] *= 2
    assert not jumps(moved(98.5, 0), usual=usual)
    assert jumps(moved(99.5, 0), usual=usual)


def test_where_every_episode_is_one_step_long_an_action_jumps_all_the_same() -> None:
    assert jumps(moved(49.5, 0), usual=np.zeros((0, 2)))
    assert not jumps(moved(49.0, 0), usual=np.zeros((0, 2)))
    assert not jumps(moved(0, 0), constant=True)


def leaps(width: int, far: int, by: float, *, usual: float = 1.0, still: int = 0, at: int = 3) -> list[str]:
    """Return what is told where `far` of `width` values change by `by` at a step, `still` more never do."""
    sample = np.concatenate([np.tile(HUNDRED, (1, width)), np.full((101, still), 7.0)], axis=1)
    change = np.where(np.arange(width + still) < width, usual, 0.0) * np.ones((101, 1))
    state = np.where((np.arange(width + still) < far) & (np.arange(11)[:, None] >= at), by, 0.0)
    first = {
        ACTION: known(HUNDRED, HUNDRED),
        "observation.mode": known(HUNDRED, HUNDRED, kind="rotation"),
        "observation.once": known(HUNDRED, np.zeros((0, 1))),
        STATE: known(sample, change),
    }
    detector = StateLeaps(first)
    return [one.what for one in told(detector, block(state[:6], state[6:], numbers=[4, 5]))]


@pytest.mark.parametrize(
    ("width", "far", "is_told"),
    [(4, 1, False), (4, 2, True), (10, 2, False), (10, 3, True), (20, 5, False), (20, 6, True)],
)
def test_a_state_leaps_where_three_tenths_of_its_values_do_and_two_at_least(width, far, is_told) -> None:
    assert bool(leaps(width, far, 30.0)) == is_told


def test_a_value_leaps_over_a_quarter_of_its_range_and_thrice_as_far_as_usual() -> None:
    assert not leaps(2, 2, 24.5)  # of 98
    assert leaps(2, 2, 25.0) == ["the observation is suddenly somewhere else, first at step 3 of episode 4"]
    assert leaps(2, 2, 25.0, at=8)[0].endswith("first at step 2 of episode 5")
    assert not leaps(2, 2, 25.0, at=6), "between two episodes"
    assert not leaps(2, 2, 30.0, usual=10.0)
    assert leaps(2, 2, 30.5, usual=10.0)


def test_values_that_never_change_count_as_none_of_a_state() -> None:
    assert leaps(5, 2, 30.0, still=5)
    assert not leaps(7, 2, 30.0, still=3)
    assert not leaps(1, 4, 30.0, still=5)  # a pulse of what hardly ever moves is no leap
    detector = StateLeaps({STATE: known(np.full((101, 3), 7.0), np.zeros((101, 3)))})
    assert not told(detector, block(np.arange(12.0).reshape(4, 3)))


# Cuts


def cut(*episodes: tuple[float, float], width: int = 3, usual: float = 1.0, **more) -> list[str]:
    """Return what is told of episodes that go from one value to another, in all of `width` places."""
    states = [np.repeat([[first], [last]], width, axis=1) for first, last in episodes]
    return cuts(states, usual=np.full(width, usual), **more)


def cuts(states: list[np.ndarray], usual: np.ndarray, **more) -> list[str]:
    width = states[0].shape[1]
    first = {
        ACTION: known(HUNDRED, HUNDRED),
        "observation.mode": known(HUNDRED, HUNDRED, kind="rotation"),
        "observation.once": known(HUNDRED, np.zeros((0, 1))),
        STATE: known(np.tile(HUNDRED, (1, width)), np.tile(usual, (101, 1))),
    }
    parts = [block(state, numbers=[n]) for n, state in enumerate(states)]
    if more:
        parts = [block(*states, **more)]
    return [
        f"{one.severity} {one.where} {one.what.removeprefix(AS_BEFORE)}"
        for one in told(WrongCuts(first), *parts)
    ]


AS_BEFORE = "goes on where the episode before ended, "
APART = [(40, 60), (80, 95)]


def test_an_episode_goes_on_where_it_is_a_usual_step_from_the_end_of_the_one_before() -> None:
    assert cut((0, 10), (11, 20), *APART) == ["warning episode 1 in 1 of 3 cases"]
    assert cut((0, 10), (9, 20), *APART, numbers=[3, 4, 5, 6]) == ["warning episode 4 in 1 of 3 cases"]
    assert not cut((0, 10), (12, 20), *APART)
    assert not cut((0, 10), (11, 20), *APART, numbers=[0, 2, 3, 4]), "another one lay between"
    assert not cut((0, 10), (11, 20), *APART, branches=(1,))
    assert not cut((0, 10), (11, 20), *APART, width=2), "two values tell little"


def test_that_all_episodes_go_on_where_one_stopped_is_good_to_know() -> None:
    assert cut((0, 10), (11, 30)) == ["warning episode 1 in 1 of 1 cases"]
    assert cut((0, 10), (11, 30), (31, 50)) == ["note episodes 1, 2 in 2 of 2 cases"]


@pytest.mark.parametrize(("usual", "is_told"), [(0.0, False), (1.0, True), (48.75, True), (49.0, False)])
def test_values_that_stand_still_or_go_anywhere_do_not_tell(usual: float, is_told: bool) -> None:
    states = [np.array([[a, a, 5.0], [b, b, 5.0]]) for a, b in ((0, 10), (11, 20), (40, 60), (80, 95))]
    assert bool(cuts(states, np.array([1.0, 1.0, usual]))) == is_told


@pytest.mark.parametrize(("far", "is_told"), [(1, True), (2, False)])
def test_one_of_twenty_values_may_leap_where_a_recording_was_cut(far: int, is_told: bool) -> None:
    states = [np.repeat([[a], [b]], 20, axis=1) for a, b in ((0.0, 10.0), (11.0, 20.0), (40, 60), (80, 95))]
    states[1][0, :far] += 5.0
    assert bool(cuts(states, np.ones(20))) == is_told


@pytest.mark.parametrize(
    ("hub", "found", "is_told"),
    [
        # By chance is told hub^2 / 36 times, and thrice the root of that above it is still chance.
        *[(9, 6, False), (9, 7, True)],  # 2.25 + 4.5 = 6.75
        *[(12, 10, False), (12, 11, True)],  # 4 + 6 = 10
    ],
)
def test_a_cut_is_told_where_chance_does_not_explain_it(hub: int, found: int, is_told: bool) -> None:
    """Of 37 episodes the first `hub` end and the last `hub` start at one place, `found` others go on."""
    first, last = 1000.0 + 20 * np.arange(37), 3000.0 + 20 * np.arange(37)
    first[-hub:], last[:hub] = 501.0, 500.0
    first[13 : 13 + found] = last[12 : 12 + found] + 1
    assert hub <= 12
    assert 13 + found <= 37 - hub
    states = [np.repeat([[a], [b]], 20, axis=1) for a, b in zip(first, last, strict=True)]
    for state in states[:hub]:
        state[1, 4] = 495.0
    assert bool(cuts(states, np.ones(20))) == is_told


# Far values


@pytest.mark.parametrize(
    ("sample", "value", "is_far"),
    [
        # A million times 98, from the middle of 50.
        *[(HUNDRED, 98e6 + 16, False), (HUNDRED, 98e6 + 80, True)],
        *[(HUNDRED, -98e6 + 72, False), (HUNDRED, -98e6 + 16, True)],
        # A thousand times the size of what nearly never changes, and of 1 at least.
        *[(np.full((101, 1), -2e3), 1.9e6, False), (np.full((101, 1), -2e3), 2.1e6, True)],
        *[(np.full((101, 1), 0.5), -990.0, False), (np.full((101, 1), 0.5), 1010.0, True)],
    ],
)
def test_how_far_is_far(sample: np.ndarray, value: float, is_far: bool) -> None:
    detector = FarValues({STATE: known(sample, sample)})
    found = told(detector, block([[50.0], [value]], [[50.0]]))
    assert [one.where for one in found] == [f"{STATE}, episode 0, step 1"] * is_far


def test_far_values_are_counted_over_blocks_in_labels_and_observations() -> None:
    width = np.tile(HUNDRED, (1, 2))
    detector = FarValues({STATE: known(width, width, names=("x", "y")), ACTION: known(width, width)})
    far, fine = [[0.0, 1e9]], [[1.0, 2.0]]
    label = np.array([[1.0, 1.0], [1e9, -1e9], [1.0, 1.0]])
    action, state = told(
        detector,
        block(fine, fine, fine, numbers=[0, 1, 2], label=label),
        block([*fine, *far, *far], numbers=[3], label=np.ones((3, 2))),
        block(far, numbers=[4], label=np.ones((1, 2))),
    )
    assert (state.where, action.where) == (f"{STATE}, episode 3, step 1", "action, episode 1, step 0")
    assert state.what.startswith("1e+09 in dimension 1 (y) is over")
    assert state.what.endswith(", and 2 more such values")
    assert action.what.startswith("1e+09 in dimension 0 is over")
    assert action.what.endswith(", and 1 more such values")


# Copies of episodes


def test_copies_among_some_episodes_have_their_numbers_in_the_data() -> None:
    random = np.random.default_rng(0)
    state, action = random.normal(size=(5, 4, 3)), random.normal(size=(5, 4, 2))
    state[4], action[4] = state[3], action[3]
    data = episodes_from_arrays(
        {STATE: state.reshape(20, 3)},
        action.reshape(20, 2),
        np.arange(4, 21, 4),
        control_dt=0.1,
        episodes="1,3-",
    )
    found = block(*state[[1, 3, 4]], numbers=[1, 3, 4], action=action[[1, 3, 4]].reshape(12, 2))
    (problem,) = told(Duplicates(data), found)
    assert problem.where == "episode 4 (of 3)"
    assert not told(Duplicates(data), block(*state[[1, 3, 4]], numbers=[1, 3, 4], branches=(1,)))


def filmed(same: bool, **more: np.ndarray) -> ArrayDataset:
    """Return two episodes of equal numbers, whose pictures are equal or not."""
    pictures = np.tile(np.arange(4, dtype=np.uint8)[:, None, None, None], (2, 8, 8, 3))
    pictures[6, 2, 3, 1] += not same
    state = np.tile(np.arange(4.0)[:, None], (2, 1))
    ends, camera = np.array([4, 8]), "observation.images.top"
    return episodes_from_arrays({STATE: state, camera: pictures}, state, ends, control_dt=0.1, **more)


@pytest.mark.parametrize("same", [True, False])
def test_pictures_count_where_it_is_asked_for(same: bool) -> None:
    state = np.arange(4.0)[:, None]
    both = block(state, state, action=np.tile(state, (2, 1)))
    assert len(told(Duplicates(filmed(same)), both)) == 1
    assert len(told(Duplicates(filmed(same), pictures=True), both)) == same


@pytest.mark.parametrize("ending", ["terminated", "success"])
def test_equal_numbers_that_ended_otherwise_are_no_copy(ending: str) -> None:
    state = np.arange(4.0)[:, None]
    both = block(state, state, action=np.tile(state, (2, 1)))
    assert not told(Duplicates(filmed(True, **{ending: np.array([True, False])})), both)


def test_what_cannot_be_read_is_no_copy(tmp_path: Path) -> None:
    success = {"next.success": {"dtype": "float32", "shape": [1], "names": None}}
    data = [rows(0, **{"next.success": np.full(12, value, np.float32)}) for value in (1.0, 0.3, 1.0)]
    root = write_v21(tmp_path / "d", data, FEATURES | success)
    (problem,) = (one for one in check(root).problems if one.code == "duplicate")
    assert problem.where == "episode 2 (of 0)"


# Labels


def test_labels_that_train_nothing_and_labels_that_train_backwards() -> None:
    spec = FeatureSpec(shape=(2,))
    state = np.zeros((3, 1))
    asked = np.array([True, False, True])
    weight = np.array([0.0, 1.0, 0.0], np.float32)
    (problem,) = told(Labels(spec, is_ours=True), block(state, weight=weight, is_labelled=asked))
    assert problem.code == "no-labels"
    weight[2] = 1.0
    assert not told(Labels(spec, is_ours=True), block(state, weight=weight, is_labelled=asked))
    weight = np.array([1.0, -0.5, -1.0], np.float32)
    both = block(state, numbers=[2], weight=weight), block(state, numbers=[3], weight=weight[::-1])
    (problem,) = told(Labels(spec, is_ours=False), *both)
    assert (problem.code, problem.where) == ("weight", "episode 2, step 1")


def test_every_actor_that_there_is_not_is_told_once() -> None:
    state = np.zeros((5, 1))
    blocks = [block(state, numbers=[n], actor=np.array([0, 3, 9, 4, 9], np.uint8)) for n in (6, 7)]
    found = told(Labels(FeatureSpec(shape=(2,)), is_ours=True), *blocks)
    assert [(one.where, one.what[:8]) for one in found] == [
        ("episode 6, step 2", "actor 9 "),
        ("episode 6, step 3", "actor 4 "),
    ]
    assert not told(Labels(FeatureSpec(shape=(2,)), is_ours=False), *blocks)


@pytest.mark.parametrize(
    ("low", "high", "share"),
    [
        ((-1.0, 0.0), (0.5, 0.1), None),
        ((-1.0, 0.0), (0.5, 0.09), "25.0%"),
        ((-0.9, 0.0), (0.4, 0.1), "50.0%"),
        ((-0.9, 0.0), None, "25.0%"),
        (None, (0.4, np.inf), "25.0%"),
        ((-np.inf, 0.05), (np.inf, np.inf), "50.0%"),
        (None, None, None),
    ],
)
def test_how_many_labels_lie_outside_the_bounds(low, high, share) -> None:
    label = np.array([[-1.0, 0.1], [0.5, 0.0], [0.0, 0.0], [7.0, -7.0]], np.float32)
    asked = np.array([True, True, True, False])
    detector = Labels(FeatureSpec(shape=(2,), low=low, high=high), is_ours=True)
    found = told(detector, block(np.zeros((4, 1)), label=label, is_labelled=asked))
    assert [one.what.split(" of ")[0] for one in found] == [share] * (share is not None)


@pytest.mark.parametrize(("label", "is_told"), [(200.0001, False), (200.001, True), (-200.0001, False)])
def test_a_label_that_is_rounded_over_its_bound_is_not_outside(label: float, is_told: bool) -> None:
    detector = Labels(FeatureSpec(shape=(2,), low=(-200.0, -1.0), high=(200.0, 1.0)), is_ours=True)
    labels = np.array([[label, 0.0]], np.float32)
    found = told(detector, block(np.zeros((1, 1)), label=labels, is_labelled=np.array([True])))
    assert bool(found) == is_told
