"""Action and observation side by side: who belongs to whom, what is a copy, and how far one lags."""

import numpy as np
import pytest

from check_blocks import block, told
from steadyhand.core.specs import STATE, FeatureSpec, discrete_spec, image_spec
from steadyhand.data.checks.pairing import Copies, Lag, partners
from steadyhand.data.problems import Problem

THREE = FeatureSpec(shape=(3,), names=("a", "b", "c"))
NAMELESS = FeatureSpec(shape=(3,))


@pytest.mark.parametrize(
    ("seen", "done", "expected"),
    [
        (FeatureSpec(shape=(4,), names=("c", "x", "y", "a")), THREE, [(0, 3), (2, 0)]),
        (FeatureSpec(shape=(3,), names=("x", "y", "z")), THREE, [(0, 0), (1, 1), (2, 2)]),
        (FeatureSpec(shape=(4,), names=("x", "y", "z", "w")), THREE, None),
        (NAMELESS, THREE, [(0, 0), (1, 1), (2, 2)]),
        (THREE, NAMELESS, [(0, 0), (1, 1), (2, 2)]),
        (FeatureSpec(shape=(2,)), NAMELESS, None),
        (FeatureSpec(shape=(3, 1)), NAMELESS, None),
        (FeatureSpec(shape=(3,), kind="rotation"), NAMELESS, None),
        (image_spec(2, 2, 1), FeatureSpec(shape=(4,)), None),
        (FeatureSpec(shape=(1,)), discrete_spec(4), None),
    ],
)
def test_what_measures_the_same(seen: FeatureSpec, done: FeatureSpec, expected: object) -> None:
    assert partners({STATE: seen}, done) == ({} if expected is None else {STATE: expected})


# Copies


def copies(state: np.ndarray, action: np.ndarray, *lengths: int) -> list[Problem]:
    """Return what is told of episodes of these lengths, each in a block of its own but the first two."""
    specs = {STATE: FeatureSpec(shape=state.shape[1:])}, FeatureSpec(shape=action.shape[1:])
    detector = Copies(*specs)
    ends = np.cumsum(lengths or [len(state)])
    states, actions = np.split(state, ends[:-1]), np.split(action, ends[:-1])
    detector.take(block(*states[:2], action=np.concatenate(actions[:2])))
    for one, other in zip(states[2:], actions[2:], strict=True):
        detector.take(block(one, action=other))
    return list(detector.problems())


def counted(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a state of three values and an action of two that all change at every step."""
    step = np.arange(length)[:, None]
    return 1000.0 * step + [[1, 2, 3]], 1000.0 * step + [[4, 5]]


@pytest.mark.parametrize(
    ("lengths", "is_told"),
    [
        # Counted are steps that have one before and one after them; twenty are needed.
        *[((22,), True), ((21,), False), ((12, 12), True), ((11, 12), False)],
        *[((3,) * 20, True), ((3,) * 19 + (2, 1), False)],
    ],
)
@pytest.mark.parametrize("is_next", [False, True])
def test_twenty_steps_in_which_the_action_moves_show_a_copy(lengths, is_told: bool, is_next: bool) -> None:
    state, action = counted(sum(lengths))
    if is_next:
        state[1:, 2] = action[:-1, 0]
    else:
        state[:, 2] = action[:, 0]
    code = "action-is-next-observation" if is_next else "action-is-observation"
    found = copies(state, action, *lengths)
    assert [(one.code, one.where) for one in found] == [(code, STATE)] * is_told
    assert all(one.what.endswith("in 1 of 2 dimensions") for one in found)


@pytest.mark.parametrize(("others", "is_told"), [(2, False), (1, True)])
@pytest.mark.parametrize("later", [0, 1])
def test_a_copy_is_the_same_in_over_nine_of_ten_steps(others: int, is_told: bool, later: int) -> None:
    state, action = counted(22)
    state[later:, :2] = action[: 22 - later]
    state[5 : 5 + others] += 0.5
    found = copies(state, action)
    assert [one.what.split(", ")[-1] for one in found] == ["in all dimensions"] * is_told


@pytest.mark.parametrize("later", [0, 1])
def test_steps_in_which_the_action_rests_show_no_copy(later: int) -> None:
    state, action = counted(62)
    action[20:] = action[19]
    state[20 + later :, :2] = action[20 : 62 - later]
    assert not copies(state, action)


@pytest.mark.parametrize(
    ("width", "size", "shift", "is_told"),
    [(1024, 2, 5, True), (683, 3, 5, False), (45, 45, 1, True), (46, 46, 1, False), (46, 46, 0, True)],
)
def test_in_wide_states_a_copy_is_looked_for_where_it_belongs(width, size, shift, is_told) -> None:
    action = 1000.0 * np.arange(22)[:, None] + np.arange(size)
    state = np.full((22, width), 0.5)
    state[:, (np.arange(size) + shift) % width] = action
    assert bool(copies(state, action)) == is_told


# Lags


def walk(changes: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((1, changes.shape[1])), np.cumsum(changes, axis=0)])


def measured(*episodes: tuple[np.ndarray, np.ndarray], num_steps: int = 1, **more) -> Lag:
    """Return the lags of episodes of changes of the state and of the action."""
    width, size = episodes[0][0].shape[1], episodes[0][1].shape[1]
    lag = Lag(
        {STATE: FeatureSpec(shape=(width,), names=tuple("edcba"[-width:]))},
        FeatureSpec(shape=(size,), names=tuple("abcde"[:size])),
        num_steps=num_steps,
        control_dt=0.1,
    )
    states, actions = [walk(seen) for seen, _ in episodes], [walk(done) for _, done in episodes]
    lag.take(block(*states, action=np.concatenate(actions), **more))
    return lag


def test_the_peak_is_that_of_the_correlation_of_all_changes_at_each_lag() -> None:
    random = np.random.default_rng(0)
    episodes = [(random.normal(size=(n, 3)), random.normal(size=(n, 2))) for n in (8, 40, 70)]
    for seen, done in episodes[1:]:
        seen[2:, 2] += 3 * done[:-2, 0]  # both are called a
        seen[4:, 1] -= 2 * done[:-4, 1]  # less where the action is more
    expected = []
    for i, j in ((0, 2), (1, 1)):
        peaks = {}
        for lag in range(-30, 31):
            pairs = [
                (done[t, i], seen[t + lag, j])
                for seen, done in episodes
                if abs(lag) <= len(done) // 2
                for t in range(len(done))
                if 0 <= t + lag < len(done)
            ]
            peaks[lag] = np.corrcoef(np.array(pairs).T)[0, 1]
        best = max(peaks, key=peaks.__getitem__)
        expected.append((best if best == 2 else np.nan, peaks[best]))
    lags, peaks = measured(*episodes).lags(STATE)
    np.testing.assert_array_equal(lags, [lag for lag, _ in expected])
    np.testing.assert_allclose(peaks, [peak for _, peak in expected], rtol=1e-4)


def related(correlation: float, lag: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return changes of state and action whose `count` pairs at a lag have exactly this correlation."""
    random = np.random.default_rng(1)
    x, z = random.normal(size=(2, count))
    x = (x - x.mean()) / x.std()
    z -= z.mean() + (x @ z) / count * x
    y = correlation * x + (1 - correlation**2) ** 0.5 * z / z.std()
    before, after = random.normal(size=(2, abs(lag)))
    if lag < 0:
        return np.concatenate([y, after])[:, None], np.concatenate([before, x])[:, None]
    return np.concatenate([before, y])[:, None], np.concatenate([x, after])[:, None]


@pytest.mark.parametrize(
    ("correlation", "lag", "count", "is_told"),
    [
        # Three tenths, and five standard errors: a half of 100 pairs.
        *[(0.29, 3, 1000, False), (0.31, 3, 1000, True), (0.48, 2, 100, False), (0.52, 2, 100, True)],
        # A state that moves first must be related by six tenths.
        *[(0.58, -2, 1000, False), (0.62, -2, 1000, True), (0.4, 0, 1000, True)],
    ],
)
def test_from_what_correlation_on_a_lag_is_known(correlation, lag, count, is_told) -> None:
    lags, peaks = measured(related(correlation, lag, count)).lags(STATE)
    np.testing.assert_array_equal(lags, [lag if is_told else np.nan])
    assert peaks == pytest.approx(correlation, abs=1e-4)


@pytest.mark.parametrize(
    ("ahead", "other", "behind", "is_told"),
    [(0.7, 3, 0.62, False), (0.7, 3, 0.55, True), (0.7, 0, 0.62, False), (0.7, -5, 0.65, True)],
)
def test_that_a_state_moves_first_is_known_where_it_is_no_less_likely(ahead, other, behind, is_told) -> None:
    """The correlation must be a tenth above that of every lag on the other side of 0, 0 included."""
    random = np.random.default_rng(2)
    done, rest = random.normal(size=(2, 4000))
    seen = ahead * np.roll(done, -2) + behind * np.roll(done, other)
    seen += (1 - ahead**2 - behind**2) ** 0.5 * rest
    lags, _ = measured((seen[:, None], done[:, None])).lags(STATE)
    np.testing.assert_array_equal(lags, [-2 if is_told else np.nan])


def later(lag: int, count: int, length: int = 7) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return episodes of changes of a state that follows its action exactly."""
    random = np.random.default_rng(3)
    done = random.normal(size=(count, length, 1))
    first = random.normal(size=(count, lag, 1))
    return [(np.concatenate([a, b])[:length], b) for a, b in zip(first, done, strict=True)]


@pytest.mark.parametrize(
    ("lag", "count", "length", "is_told"),
    [
        # Episodes of eight steps on; lags of half their changes; twenty pairs, five standard errors of 1.
        *[(1, 20, 7, True), (1, 20, 6, False), (3, 20, 7, True), (4, 20, 7, False)],
        *[(1, 5, 7, True), (1, 4, 7, False)],
    ],
)
def test_which_episodes_tell_of_which_lags(lag: int, count: int, length: int, is_told: bool) -> None:
    lags, _ = measured(*later(lag, count, length)).lags(STATE)
    np.testing.assert_array_equal(lags, [lag if is_told else np.nan])


def test_of_much_data_every_few_episodes_are_measured_and_branches_never() -> None:
    mixed = [later(1 if number % 3 == 0 else 4, 1, 50)[0] for number in range(9)]
    assert measured(*mixed, num_steps=60_000).lags(STATE)[0] == [1]
    assert measured(*mixed, num_steps=59_999).lags(STATE)[0] == [4]
    assert measured(*mixed, num_steps=39_999).lags(STATE)[0] == [4]
    assert measured(*mixed, numbers=[*range(4, 13)], num_steps=60_000).lags(STATE)[0] == [4]
    assert measured(*mixed, branches=(1, 2, 4, 5, 7, 8)).lags(STATE)[0] == [1]


def delayed(*lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Return changes of as many values, which follow those of the action after these steps."""
    done = np.random.default_rng(4).normal(size=(200, len(lags)))
    seen = np.stack([np.roll(done[:, k], lag) for k, lag in enumerate(lags)], axis=1)
    return seen[:, ::-1], done  # the names of the state run backwards


@pytest.mark.parametrize(
    ("lags", "code", "says"),
    [
        ((2, 5, 5), "lag", "follows the action by 5 steps (2 to 5), 0.5 s, in 3 of 3 dimensions"),
        ((1, 1), "lag", "follows the action by 1 step, 0.1 s, in 2 of 2 dimensions"),
        ((0,), "lag", "moves in the step of the action itself, in 1 of 1 dimensions"),
        ((-1,), "action-late", "moves 1 step before the action does, in 1 of 1 dimensions"),
        ((30, 31), "lag", "follows the action by 30 steps, 3 s, in 1 of 2 dimensions"),
        ((-30, -31), "action-late", "moves 30 steps before the action does, in 1 of 2 dimensions"),
        ((-2, -3), "action-late", "moves 2 steps (-3 to -2) before the action does, in 2 of 2 dimensions"),
    ],
)
def test_how_a_lag_is_told(lags: tuple[int, ...], code: str, says: str) -> None:
    (problem,) = measured(delayed(*lags)).problems()
    assert (problem.code, problem.where, problem.what) == (code, STATE, says)


def test_a_value_that_rests_lags_by_nothing() -> None:
    seen, done = delayed(2, 2)
    seen[:, 0] = 0.0
    detector = measured((seen, done))
    np.testing.assert_array_equal(detector.lags(STATE)[0], [2, np.nan])
    assert [one.what.split(", ")[-1] for one in told(detector)] == ["in 1 of 2 dimensions"]


def test_lags_at_which_nothing_or_little_is_left_do_not_hide_the_one_there_is() -> None:
    """Of 100 changes the first twenty move; of 30 that repeat after twelve, 17 are left at lag 13."""
    done = np.random.default_rng(5).normal(size=(100, 1)) * (np.arange(100)[:, None] < 20)
    np.testing.assert_array_equal(measured((np.roll(done, 2, axis=0), done)).lags(STATE)[0], [2])
    done = np.tile(np.random.default_rng(6).normal(size=(12, 1)), (3, 1))[:30]
    seen = np.roll(np.tile(done[:12], (3, 1)), 1, axis=0)[:30]
    seen[:13] += np.random.default_rng(7).normal(0, 0.1, (13, 1))
    np.testing.assert_array_equal(measured((seen, done)).lags(STATE)[0], [1])
