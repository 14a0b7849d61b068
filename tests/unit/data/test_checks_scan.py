"""Two passes over the numbers: blocks of episodes, what is known of all, and the stored statistics."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from check_blocks import block
from lerobot_folders import rows, write_v21, write_v30
from steadyhand.core.specs import ACTION, STATE
from steadyhand.data.base import Dataset
from steadyhand.data.checks import check, check_dataset
from steadyhand.data.checks.blocks import Block, block_steps, blocks
from steadyhand.data.checks.scan import Known, Moments, Scan
from steadyhand.data.dataset import open_dataset
from steadyhand.data.episode import Branch
from steadyhand.data.formats.arrays import ArrayDataset, episodes_from_arrays
from steadyhand.data.problems import Problem
from steadyhand.data.stats import QUANTILES, array_stats
from steadyhand.data.store import EpisodeStore
from toy_episodes import ACTION_SPEC, OBSERVATION, episode

SPECS: dict[str, Any] = {"observation": OBSERVATION, "action": ACTION_SPEC, "control_dt": 0.1}


def arrays(*lengths: int, width: int = 3) -> ArrayDataset:
    """Return episodes whose states count through all steps, and twice that as the action."""
    count = np.arange(sum(lengths), dtype=np.float32)[:, None]
    state, action = count + np.zeros(width, np.float32), 2 * count + np.zeros(4, np.float32)
    return episodes_from_arrays({STATE: state}, action, np.cumsum(lengths), control_dt=0.1)


# Blocks


@pytest.mark.parametrize("lengths", [(60,) * 40, (300, 300, 300), (100,) * 6, (1, 700, 1, 1)])
def test_blocks_are_bounded_and_together_are_the_data(
    monkeypatch: pytest.MonkeyPatch, lengths: tuple[int, ...]
) -> None:
    data = arrays(*lengths)
    monkeypatch.setattr("steadyhand.data.checks.blocks._BLOCK_VALUES", 256 * 19)
    assert block_steps(data) == 256
    parts = list(blocks(data))
    assert max(len(part) for part in parts) < 256 + max(lengths)
    assert len(parts) <= sum(lengths) // 256 + 1
    np.testing.assert_array_equal(
        np.concatenate([part.action for part in parts])[:, 0] / 2, range(sum(lengths))
    )
    np.testing.assert_array_equal(np.concatenate([part.numbers for part in parts]), range(len(lengths)))
    assert all(part.is_compacted for part in parts)


def test_a_block_has_about_two_million_numbers_and_256_steps_at_least() -> None:
    for width in (3, 500):
        steps = block_steps(arrays(1, width=width))
        assert steps * (width + 2 * 4) == pytest.approx(2**21, rel=0.5)
    assert block_steps(arrays(1, width=50_000)) == 256


def test_blocks_of_files_are_of_one_file_and_of_no_more_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steadyhand.data.checks.blocks._BLOCK_VALUES", 1)
    one_file = open_dataset(write_v30(tmp_path / "one", [rows(seed, 64) for seed in range(9)]))
    assert [len(part) for part in blocks(one_file)] == [256, 256, 64]
    many = open_dataset(write_v21(tmp_path / "many", [rows(seed, 64) for seed in range(3)]))
    assert [len(part) for part in blocks(many)] == [64, 64, 64]


@pytest.mark.parametrize("compacted", [4, 2, 0])
def test_branches_are_branches_in_files_and_in_the_journal(tmp_path: Path, compacted: int) -> None:
    branches = [episode(2 + k, length=1, branch=Branch(parent=k, step=1)) for k in (0, 1)]
    with EpisodeStore.create(tmp_path / "d", **SPECS) as store:
        for number, one in enumerate((episode(0), episode(1), *branches)):
            store.append(one)
            if number + 1 == compacted:
                store.compact()
    parts = list(blocks(open_dataset(tmp_path / "d")))
    assert np.concatenate([part.is_branch for part in parts]).tolist() == [False, False, True, True]
    assert sum(len(part.numbers) for part in parts if part.is_compacted) == compacted


def test_an_episode_that_cannot_be_read_is_left_out_of_what_is_known(tmp_path: Path) -> None:
    data = [rows(seed, 40) for seed in range(5)]
    data[1]["action"][3] = np.nan
    data[4][STATE][5, 0] = 1e9
    root = write_v30(tmp_path / "d", data)
    skipped: set[int] = set()
    assert [part.numbers.tolist() for part in blocks(open_dataset(root), skipped=skipped)] == [
        [0],
        [2],
        [3],
        [4],
    ]
    assert skipped == {1}
    problems = check(root).problems
    assert [one.where for one in problems if one.code == "far-value"] == [f"{STATE}, episode 4, step 5"]
    # The statistics of all are not those of the others, and nobody says that they should be.
    whole = {name: array_stats(np.concatenate([one[name] for one in data])) for name in (ACTION, STATE)}
    (root / "meta/stats.json").write_text(json.dumps({name: s.to_lerobot() for name, s in whole.items()}))
    assert "stored-stats" not in {one.code for one in check(root).problems}


def test_what_is_found_does_not_depend_on_where_blocks_end(monkeypatch: pytest.MonkeyPatch) -> None:
    data = arrays(*(60,) * 10)
    data.all_episodes[7].observation[STATE][17, 1] = 5e9
    monkeypatch.setattr("steadyhand.data.checks.blocks._BLOCK_VALUES", 1)
    far = [one.where for one in check_dataset(data) if one.code == "far-value"]
    assert far == [f"{STATE}, episode 7, step 17"]


# What is known of all


def scanned(data: Dataset, parts: list[Block] | None = None) -> dict[str, Known]:
    scan = Scan(data.observation, data.action, num_steps=data.num_frames)
    for part in blocks(data) if parts is None else parts:
        scan.take(part)
    return scan.known()


def test_moments_of_parts_add_up_to_those_of_the_whole() -> None:
    values = np.random.default_rng(0).normal([5.0, -300.0, 0.0], [1.0, 0.1, 9.0], (50, 3))
    values += np.arange(50)[:, None]
    parts = [Moments.of(part) for part in np.split(values, [1, 9, 40])]
    whole = parts[0] + parts[1] + (parts[2] + parts[3])
    assert whole.count == 50
    np.testing.assert_allclose(whole.mean, values.mean(0))
    np.testing.assert_allclose(whole.squares / 50, values.var(0))
    np.testing.assert_array_equal([whole.low, whole.high], [values.min(0), values.max(0)])


def test_statistics_of_the_first_pass_are_those_of_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    state = random.normal([5.0, -300.0, 0.0], [1.0, 0.1, 0.0], (600, 3)).astype(np.float32)
    data = episodes_from_arrays({STATE: state}, state[:, :1], np.arange(60, 601, 60), control_dt=0.1)
    monkeypatch.setattr("steadyhand.data.checks.blocks._BLOCK_VALUES", 1)
    known = scanned(data)[STATE]
    assert known.is_complete
    np.testing.assert_array_equal(known.sample, state)
    inside = np.arange(599) % 60 != 59
    np.testing.assert_allclose(known.change, np.abs(np.diff(state, axis=0))[inside], atol=1e-5)
    stats, expected = known.stats(), array_stats(state)
    for name in ("mean", "std", "min", "max", *QUANTILES):
        np.testing.assert_allclose(getattr(stats, name), getattr(expected, name), rtol=1e-5, atol=1e-6)
    assert stats.count == 600
    assert stats.std[2] == 0.0


@pytest.mark.parametrize(("values", "width", "size"), [(90, 3, 30), (91, 3, 30), (2, 3, 1), (900, 3, 300)])
def test_of_many_steps_some_are_drawn_each_once(
    monkeypatch: pytest.MonkeyPatch, values: int, width: int, size: int
) -> None:
    monkeypatch.setattr("steadyhand.data.checks.scan._SAMPLE_VALUES", values)
    monkeypatch.setattr("steadyhand.data.checks.blocks._BLOCK_VALUES", 1)
    known = scanned(arrays(*(50,) * 6, width=width))[STATE]
    drawn = known.sample[:, 0]
    assert len(drawn) == size
    assert (np.diff(drawn) > 0).all()
    assert set(drawn) <= set(range(300))
    assert drawn.max() > 200 or size == 1
    assert known.is_complete == (size == 300)
    # Each step of the state is one more than the one before, but at the ends of episodes there is none.
    np.testing.assert_array_equal(known.change, np.ones((sum(drawn % 50 != 49), width)))


def test_what_lies_in_the_files_is_known_apart() -> None:
    data = arrays(5, 7)
    first, second = (block(np.ones((3, 3)) * n, action=np.ones((3, 4)), numbers=[n]) for n in (1, 2))
    second.__dict__["is_compacted"] = False
    known = scanned(data, [first, second])[STATE]
    assert known.compacted is not None
    assert (known.moments.count, known.compacted.count) == (6, 3)
    assert known.moments.high.tolist() == [2, 2, 2]
    assert known.stats(known.compacted).max.tolist() == [1, 1, 1]
    assert scanned(data, []) == {}


# Stored statistics


def stored(root: Path, **changes: Any) -> list[Problem]:
    """Return what is told of the statistics after some entries of theirs have changed."""
    path = root / "meta/stats.json"
    before = path.read_text()
    stats = json.loads(before)
    for name, change in changes.items():
        feature, _, key = name.replace("state", STATE).replace("grid", "observation.grid").partition("__")
        stats[feature][key] = change(np.array(stats[feature][key])).tolist()
    path.write_text(json.dumps(stats))
    found = [one for one in check(root).problems if one.code in ("stored-stats", "stats")]
    path.write_text(before)
    return found


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording whose state is (10 to 11, 5 always, far below 0) and whose labels are no actions."""
    root = tmp_path_factory.mktemp("ours") / "d"
    with EpisodeStore.create(root, **SPECS) as store:
        for seed in range(3):
            one = episode(seed, length=9)
            one.observation[STATE][:] = np.linspace(10, 11, 9)[:, None]
            one.observation[STATE][:, 1] = 5.0
            one.observation[STATE][:, 2] -= 1e3
            store.append(one)
        store.compact()
    return root


def test_stored_statistics_are_those_of_the_files(ours: Path) -> None:
    assert not stored(ours)


@pytest.mark.parametrize(
    ("change", "is_told"),
    [
        # A thousandth of the range, and a millionth.
        *[([by, 0.0, 0.0], told) for by, told in ((0.9e-3, False), (-0.9e-3, False), (1.1e-3, True))],
        *[([0.0, by, 0.0], told) for by, told in ((0.9e-6, False), (-1.1e-6, True), (1.9e-6, True))],
        ([0.0, 0.0, -1.1e-3], True),
    ],
)
@pytest.mark.parametrize("key", ["mean", "std", "min", "max"])
def test_how_far_stored_statistics_may_be_off(
    ours: Path, change: list[float], is_told: bool, key: str
) -> None:
    problems = stored(ours, **{f"state__{key}": lambda value: value + change})
    assert [(one.where, one.severity, one.what) for one in problems] == [
        (f"meta/stats.json, {STATE}", "warning", f"{key} differ from the data"),
    ] * is_told


def test_quantiles_alone_are_good_to_know_and_others_are_a_warning(ours: Path) -> None:
    def one_more(value: np.ndarray) -> np.ndarray:
        return value + 1

    (note,) = stored(ours, state__q10=one_more, state__q90=one_more)
    assert (note.severity, note.what) == ("note", "q10, q90 differ from the data")
    (both,) = stored(ours, state__mean=one_more, state__q50=one_more)
    assert (both.severity, both.what) == ("warning", "mean, q50 differ from the data")
    assert not stored(ours, action__mean=one_more, grid__mean=one_more), "labels count, and vectors"
    (label,) = stored(ours, expert_action__mean=one_more)
    assert label.where == "meta/stats.json, action"
    (shape,) = stored(ours, state__max=lambda value: value[:1])
    assert shape.what == "max differ from the data"
    (text,) = stored(ours, state__max=lambda value: value.astype(str).astype(object) + "m")
    assert text.what == "max differ from the data"


def test_statistics_that_are_none(ours: Path) -> None:
    path = ours / "meta/stats.json"
    before = path.read_text()
    for text, expected in (("{", ["stats"]), ("[]", []), ("{}", ["stored-stats"] * 2)):
        path.write_text(text)
        assert [one.code for one in check(ours).problems if "stats" in one.code] == expected
    path.write_text(before)


def test_what_is_not_in_the_files_is_not_in_their_statistics(
    ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EpisodeStore.open(ours) as store:
        one = episode(4, length=9)
        one.observation[STATE][:] += 99.0
        store.append(one)
    assert open_dataset(ours).num_pending == 1
    assert not stored(ours)
    assert not [one for one in check(ours, episodes="1-").problems if one.code == "stored-stats"]


def test_quantiles_of_a_sample_are_not_compared(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steadyhand.data.checks.scan._SAMPLE_VALUES", 12)
    assert not stored(ours, state__q10=lambda value: value + 1)
    assert stored(ours, state__max=lambda value: value + 1)


def test_statistics_of_other_programs_are_those_of_the_action(tmp_path: Path) -> None:
    data = [rows(seed) for seed in range(3)]
    root = write_v30(tmp_path / "d", data)
    values = {name: np.concatenate([one[name] for one in data]) for name in (ACTION, STATE)}
    stats = {name: array_stats(value).to_lerobot() for name, value in values.items()}
    (root / "meta/stats.json").write_text(json.dumps({**stats, "expert_action": stats[STATE]}))
    assert not stored(root)
    assert stored(root, action__mean=lambda value: value + 1)
