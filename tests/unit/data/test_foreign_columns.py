"""Columns that only happen to be called as ours are ordinary columns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lerobot_folders import FEATURES, rows, write_v21, write_v30
from steadyhand.core.protocol import Actor
from steadyhand.data.dataset import open_dataset

SCALAR = {"dtype": "float32", "shape": [1], "names": None}
KILOGRAMS = np.r_[np.zeros(8), np.full(4, -2.5)].astype(np.float32)
THEIRS: dict[str, tuple[dict[str, Any], Any]] = {
    "weight": (SCALAR, KILOGRAMS),
    "actor": ({**SCALAR, "dtype": "int64"}, np.full(12, 900)),
    "intervention": ({**SCALAR, "dtype": "bool"}, np.ones(12, dtype=bool)),
    "expert_action": (FEATURES["action"], np.full((12, 2), 7, dtype=np.float32)),
    "expert_action_valid": ({**SCALAR, "dtype": "bool"}, np.zeros(12, dtype=bool)),
}


@pytest.mark.parametrize("write", [write_v21, write_v30])
@pytest.mark.parametrize("name", THEIRS)
def test_a_foreign_column_teaches_nothing(tmp_path: Path, write: Any, name: str) -> None:
    feature, values = THEIRS[name]
    episodes = [rows(k, **{name: values}) for k in range(2)]
    dataset = open_dataset(write(tmp_path / "d", episodes, {**FEATURES, name: feature}))
    frames, episode = dataset.frames(), dataset.episode(1)
    assert (frames.weight == 1).all()
    np.testing.assert_array_equal(frames.expert_action, frames.action)
    np.testing.assert_array_equal(episode.expert_action, episodes[1]["action"])
    assert episode.expert_action_valid.all()
    assert (episode.weight == 1).all()
    assert (episode.actor == Actor.EXPERT).all()
    assert not episode.intervention.any()
    assert dataset.stored.foreign == (name,)
    np.testing.assert_array_equal(dataset.column(name).reshape(24, -1)[:12], values.reshape(12, -1))


def test_a_reward_that_is_no_number_does_not_stop_cloning(tmp_path: Path) -> None:
    reward = np.where(np.arange(12) == 4, np.nan, 0.0).astype(np.float32)
    features = {**FEATURES, "next.reward": SCALAR}
    episodes = [rows(0, **{"next.reward": reward}), rows(1, **{"next.reward": reward * 0 + 1})]
    dataset = open_dataset(write_v30(tmp_path / "d", [episodes[0]], features))
    assert len(dataset.frames()) == 12
