"""Blocks of episodes: bounded, in order, each episode once, and what cannot be read is left out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from check_blocks import counting
from lerobot_folders import rows, write_v21, write_v30
from steadyhand.core.specs import ACTION, STATE
from steadyhand.data.checks import check, check_dataset
from steadyhand.data.checks.blocks import block_steps, blocks
from steadyhand.data.dataset import open_dataset
from steadyhand.data.episode import Branch
from steadyhand.data.stats import array_stats
from steadyhand.data.store import EpisodeStore
from toy_episodes import ACTION_SPEC, OBSERVATION, episode

SPECS: dict[str, Any] = {"observation": OBSERVATION, "action": ACTION_SPEC, "control_dt": 0.1}


@pytest.mark.parametrize("lengths", [(60,) * 40, (300, 300, 300), (100,) * 6, (1, 700, 1, 1)])
def test_blocks_are_bounded_and_together_are_the_data(
    monkeypatch: pytest.MonkeyPatch, lengths: tuple[int, ...]
) -> None:
    data = counting(*lengths)
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
        steps = block_steps(counting(1, width=width))
        assert steps * (width + 2 * 4) == pytest.approx(2**21, rel=0.5)
    assert block_steps(counting(1, width=50_000)) == 256


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
    data = counting(*(60,) * 10)
    data.all_episodes[7].observation[STATE][17, 1] = 5e9
    monkeypatch.setattr("steadyhand.data.checks.blocks._BLOCK_VALUES", 1)
    far = [one.where for one in check_dataset(data) if one.code == "far-value"]
    assert far == [f"{STATE}, episode 7, step 17"]
