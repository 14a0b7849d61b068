"""Stored statistics against the files: how far they may be off, and which of them count."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lerobot_folders import rows, write_v30
from steadyhand.core.specs import ACTION, STATE
from steadyhand.data.checks import check
from steadyhand.data.dataset import open_dataset
from steadyhand.data.problems import Problem
from steadyhand.data.stats import array_stats
from steadyhand.data.store import EpisodeStore
from toy_episodes import ACTION_SPEC, OBSERVATION, episode

SPECS: dict[str, Any] = {"observation": OBSERVATION, "action": ACTION_SPEC, "control_dt": 0.1}


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
