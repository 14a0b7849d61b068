"""`check` on data whose fault is known: each finds it, names where, and stays silent where there is none."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from lerobot_folders import FEATURES, STATE, rows, write_v21, write_v30
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.checks import CheckReport, check, check_dataset
from steadyhand.data.checks.blocks import blocks
from steadyhand.data.checks.pairing import Lag
from steadyhand.data.episode import demonstration
from steadyhand.data.formats.arrays import ArrayDataset, episodes_from_arrays
from steadyhand.data.problems import Problem
from steadyhand.data.store import EpisodeStore

FRONT, SIDE = "observation.images.front", "observation.images.side"


def found(data: Path | ArrayDataset, code: str) -> list[Problem]:
    problems = check(data).problems if isinstance(data, Path) else check_dataset(data)
    return [problem for problem in problems if problem.code == code]


def smooth(seed: int, length: int = 60, width: int = 2) -> np.ndarray:
    """Return a path that turns slowly, so that a change at one step is not like that at the next."""
    random = np.random.default_rng(seed)
    phase, rate = random.uniform(0, 6, width), random.uniform(0.1, 0.3, width)
    path = np.sin(rate * np.arange(length)[:, None] + phase)
    noise = np.cumsum(0.02 * random.standard_normal((length, width)), axis=0)
    return (path + noise).astype(np.float32)


def arrays(seen: list[np.ndarray], done: list[np.ndarray], **more: Any) -> ArrayDataset:
    ends = np.cumsum([len(action) for action in done])
    return episodes_from_arrays(
        {STATE: np.concatenate(seen)}, np.concatenate(done), ends, control_dt=0.1, **more
    )


def sound(count: int = 6) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [smooth(seed, width=3) for seed in range(count)], [smooth(100 + seed) for seed in range(count)]


def test_sound_arrays_have_no_fault() -> None:
    assert check_dataset(arrays(*sound())) == ()


@pytest.mark.parametrize("write", [write_v21, write_v30])
def test_sound_folders_have_no_fault(tmp_path: Path, write: Any) -> None:
    assert check(write(tmp_path / "d", [rows(seed) for seed in range(3)])).problems == ()


# Numbers


def test_an_action_that_is_the_next_observation() -> None:
    paths = [smooth(seed, 61) for seed in range(4)]
    copied = arrays([path[:-1] for path in paths], [path[1:] for path in paths])
    (problem,) = found(copied, "action-is-next-observation")
    assert "all dimensions" in problem.what
    assert not found(copied, "action-is-observation")


def test_an_action_that_is_the_observation_of_its_own_step_in_one_dimension() -> None:
    seen, done = sound()
    for state, action in zip(seen, done, strict=True):
        state[:, 2] = action[:, 1]
    (problem,) = found(arrays(seen, done), "action-is-observation")
    assert "1 of 2 dimensions" in problem.what


@pytest.mark.parametrize("lag", [1, 3, 7])
def test_the_lag_of_the_state_behind_the_action(lag: int) -> None:
    done = [smooth(seed, 120) + 0 for seed in range(5)]
    random = np.random.default_rng(lag)
    for action in done:
        action += random.normal(0, 0.2, action.shape).astype(np.float32)
    seen = [np.concatenate([np.repeat(a[:1], lag, axis=0), a[:-lag]]) * 0.9 for a in done]
    seen = [state + random.normal(0, 0.02, state.shape).astype(np.float32) for state in seen]
    data = arrays(seen, done)
    (problem,) = found(data, "lag")
    assert f"follows the action by {lag} step" in problem.what
    assert f"{lag * 0.1:.2g} s" in problem.what
    measured = Lag(data.observation, data.action, num_steps=data.num_frames, control_dt=0.1)
    for block in blocks(data):
        measured.take(block)
    assert measured.lags(STATE)[0].tolist() == [lag, lag]


def test_unrelated_noise_lags_by_nothing() -> None:
    random = np.random.default_rng(3)
    for _ in range(5):
        seen, done = (list(random.normal(size=(4, 20, 1)).astype(np.float32)) for _ in range(2))
        assert not found(arrays(seen, done), "lag")
        assert not found(arrays(seen, done), "action-late")


def test_a_state_that_moves_before_its_action() -> None:
    done = [smooth(seed, 120) + np.random.default_rng(seed).normal(0, 0.2, (120, 2)) for seed in range(4)]
    seen = [np.concatenate([action[2:], action[-2:]]) for action in done]
    noise = np.random.default_rng(9)
    seen = [state + noise.normal(0, 0.02, state.shape) for state in seen]
    (problem,) = found(arrays(seen, done), "action-late")
    assert problem.severity == "warning"
    assert "2 steps" in problem.what


def test_a_value_a_million_times_as_far_out_is_an_error() -> None:
    seen, done = sound()
    seen[3][17, 1] = 5e6
    (problem,) = found(arrays(seen, done), "far-value")
    assert problem.severity == "error"
    assert problem.where == f"{STATE}, episode 3, step 17"
    assert "5e+06 in dimension 1" in problem.what
    assert "more such" not in problem.what
    seen[3][18, 0] = -5e6
    (problem,) = found(arrays(seen, done), "far-value")
    assert "and 1 more such value" in problem.what
    seen[3][18, 0] = 0.0
    seen[3][17, 1] = 50.0
    assert not found(arrays(seen, done), "far-value")


def test_few_values_that_set_the_range_of_an_action() -> None:
    random = np.random.default_rng(0)
    seen = [random.uniform(-1, 1, (500, 2)).astype(np.float32) for _ in range(4)]
    done = [random.uniform(-1, 1, (500, 2)).astype(np.float32) for _ in range(4)]
    assert not found(arrays(seen, done), "range-by-few")
    done[1][7, 1], done[2][9, 1] = 12.5, -5.0
    (problem,) = found(arrays(seen, done), "range-by-few")
    assert problem.severity == "warning"
    assert "dimension 1: -5 to 12.5, where 98 % lie within -0.9" in problem.what


def test_a_rare_pulse_and_a_normal_spread_are_no_outliers() -> None:
    random = np.random.default_rng(1)
    seen = [random.uniform(-1, 1, (500, 2)).astype(np.float32) for _ in range(4)]
    done = [random.normal(size=(500, 2)).astype(np.float32) for _ in range(4)]
    for action in done:
        action[:, 1] = np.arange(500) == 250
    assert not found(arrays(seen, done), "range-by-few")


def test_two_recordings_in_one_episode() -> None:
    seen, done = sound()
    seen[2][30:] += 4.0
    seen[2][30:, 0] -= 9.0
    (problem,) = found(arrays(seen, done), "state-leap")
    assert "step 30 of episode 2" in problem.what
    assert problem.where == "episode 2"


def test_a_recording_that_was_cut_in_two() -> None:
    seen, done = sound()
    cut = (
        [*seen[:2], seen[2][:25], seen[2][25:], *seen[3:]],
        [*done[:2], done[2][:25], done[2][25:], *done[3:]],
    )
    (problem,) = found(arrays(*cut), "wrong-cut")
    assert (problem.severity, problem.where) == ("warning", "episode 3")
    assert "1 of 6 cases" in problem.what


def test_recordings_that_end_where_they_began_do_not_hide_one_that_was_cut_in_two() -> None:
    """By chance is how often an episode begins where another one ended, not where it ended itself."""
    done = sound(18)[1]
    there = [smooth(seed, length=30, width=8) for seed in range(18)]
    seen = [np.concatenate([state, state[::-1]]) for state in there]
    seen = [*seen[:5], seen[5][:25], seen[5][25:], *seen[6:]]
    done = [*done[:5], done[5][:25], done[5][25:], *done[6:]]
    (problem,) = found(arrays(seen, done), "wrong-cut")
    assert problem.where == "episode 6"


def test_a_dimension_that_hardly_moves_is_named_apart_from_one_that_never_does() -> None:
    seen, done = sound()
    for state in seen:
        state[:, 0] = 0.5
        state[:, 1] = 0.5 + 1e-6 * state[:, 1]
    (never,) = found(arrays(seen, done), "constant")
    (hardly,) = found(arrays(seen, done), "hardly-moves")
    assert (never.where, hardly.where) == (STATE, STATE)
    assert never.what.endswith("dimension 0")
    assert "dimension 1 by" in hardly.what


def test_copies_are_named_with_their_original() -> None:
    seen, done = sound()
    (problem,) = found(arrays([*seen, seen[4]], [*done, done[4]]), "duplicate")
    assert problem.where == "episode 6 (of 4)"


def test_how_few_values_set_the_range(tmp_path: Path) -> None:
    count = np.arange(101.0)
    count[100] = 600.0
    state = np.random.default_rng(0).normal(size=(101, 3))
    (problem,) = found(arrays([state], [np.stack([state[:, 0], count], axis=1)]), "range-by-few")
    assert problem.what == (
        "few values set the range of dimension 1: 0 to 600, where 98 % lie within 1 to 99"
    )


def test_a_report_has_the_worst_first_and_is_good_without_errors(tmp_path: Path) -> None:
    note, warning, error = (
        Problem(code=severity, severity=severity, where="", what="")
        for severity in ("note", "warning", "error")
    )
    report = CheckReport(root=tmp_path, problems=(note,)).with_problems([warning])
    assert report.problems == (warning, note)
    assert report.ok
    report = report.with_problems([error, note])
    assert report.problems == (error, warning, note, note)
    assert not report.ok


def test_of_no_episodes_and_of_none_that_can_be_read_no_numbers_are_judged(tmp_path: Path) -> None:
    specs = {"observation": {STATE: FeatureSpec(shape=(3,))}, "action": FeatureSpec(shape=(2,))}
    EpisodeStore.create(tmp_path / "none", **specs, control_dt=0.1).close()
    assert check(tmp_path / "none").problems == ()
    root = write_v21(tmp_path / "d", [rows(0), rows(1)])
    for path in (root / "data").rglob("*.parquet"):
        path.unlink()
    assert [one.code for one in check(root).problems] == ["data-file"] * 2


# Our own columns


def store(root: Path, **columns: Any) -> Path:
    """Write four episodes; `columns` replaces columns of the files afterwards."""
    with EpisodeStore.create(
        root, observation={STATE: FeatureSpec(shape=(3,))}, action=FeatureSpec(shape=(2,)), control_dt=0.1
    ) as made:
        for seen, done in zip(*sound(4), strict=True):
            made.append(demonstration({STATE: seen}, done, control_dt=0.1))
        made.compact()
    (path,) = (root / "data").rglob("*.parquet")
    table = pq.read_table(path)
    for name, values in columns.items():
        place = table.column_names.index(name)
        table = table.set_column(
            place, table.field(place), table.column(name).type.to_pandas_dtype() and [values]
        )
    if columns:
        pq.write_table(table, path)
    return root


def test_a_weight_below_zero_is_an_error(tmp_path: Path) -> None:
    weight = np.ones(240, dtype=np.float32)
    weight[130] = -0.5
    (problem,) = found(store(tmp_path / "d", weight=weight), "weight")
    assert (problem.severity, problem.where) == ("error", "episode 2, step 10")


def test_an_actor_that_there_is_not_is_an_error_in_our_own_data_alone(tmp_path: Path) -> None:
    actor = np.zeros(240, dtype=np.uint8)
    actor[61] = 9
    (problem,) = found(store(tmp_path / "d", actor=actor), "actor")
    assert (problem.severity, problem.where) == ("error", "episode 1, step 1")
    features = {**FEATURES, "actor": {"dtype": "int64", "shape": [1], "names": None}}
    foreign = write_v21(tmp_path / "f", [rows(0, actor=np.full(12, 9))], features)
    assert check(foreign).ok
    (problem,) = found(foreign, "foreign-column")
    assert (problem.severity, problem.where) == ("note", "actor")


# Size


def test_starts_near_ends_of_other_episodes_are_no_wrong_cut() -> None:
    """All start and end near one place but two, so that being near the last end says little."""
    seen, done = sound(12)
    for number, state in enumerate(seen):
        state[0] = state[-1] = 0.0
        if number % 4 == 3:
            state[0] += 5.0
    assert not found(arrays(seen, done), "wrong-cut")


@pytest.mark.parametrize(("moving", "is_told"), [(2, False), (3, True), (4, True)])
def test_a_lag_is_told_where_three_tenths_of_the_dimensions_have_it(moving: int, is_told: bool) -> None:
    random = np.random.default_rng(0)
    done = [smooth(seed, 200, 10) + random.normal(0, 0.2, (200, 10)).astype(np.float32) for seed in range(4)]
    seen = []
    for action in done:
        late = np.concatenate([np.repeat(action[:1], 3, axis=0), action[:-3]])
        still = random.normal(size=action.shape)
        seen.append(np.where(np.arange(10) < moving, late, still).astype(np.float32))
    assert bool(found(arrays(seen, done), "lag")) == is_told


def test_where_a_step_may_lead_anywhere_no_cut_is_told_apart() -> None:
    random = np.random.default_rng(0)
    seen = [random.uniform(size=(60, 2)).astype(np.float32) for _ in range(8)]
    done = [random.normal(size=(60, 1)).astype(np.float32) for _ in range(8)]
    assert not found(arrays(seen, done), "wrong-cut")
    still = [np.concatenate([state, np.full((60, 1), 0.3, np.float32)], axis=1) for state in seen]
    assert not found(arrays(still, done), "wrong-cut")


@pytest.mark.parametrize(("width", "is_told"), [(1000, True), (1100, False)])
def test_copies_at_other_places_are_looked_for_among_two_thousand_pairs(width: int, is_told: bool) -> None:
    random = np.random.default_rng(0)
    seen = [random.normal(size=(30, width)).astype(np.float32) for _ in range(3)]
    done = [np.stack([state[:, 7], state[:, 3]], axis=1) for state in seen]
    assert bool(found(arrays(seen, done), "action-is-observation")) == is_told


def test_units_do_not_hide_a_lag() -> None:
    done = [smooth(seed, 120) + np.random.default_rng(seed).normal(0, 0.2, (120, 2)) for seed in range(5)]
    seen = [np.concatenate([np.repeat(action[:1], 2, axis=0), action[:-2]]) for action in done]
    for of_state, of_action in ((1.0, 1.0), (1e-4, 1e3), (1e3, 1e-4), (1e-4, 1e-4)):
        data = arrays([state * of_state for state in seen], [action * of_action for action in done])
        measured = Lag(data.observation, data.action, num_steps=data.num_frames, control_dt=0.1)
        for block in blocks(data):
            measured.take(block)
        lags, peaks = measured.lags(STATE)
        assert lags.tolist() == [2, 2]
        assert peaks == pytest.approx(1.0, abs=1e-3)


def test_how_much_of_the_time_nothing_moves() -> None:
    seen, done = sound(1)
    for column in (seen[0], done[0]):
        column[20:] = column[20]  # 39 of 59 steps
    (problem,) = found(arrays(seen, done), "idle")
    assert "in 66% of the steps" in problem.what
